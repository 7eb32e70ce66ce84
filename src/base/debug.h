/*
 * debug.h
 *		Named points at which a test can hold, fail or kill a process.
 *
 * Only in builds with WEIR_DEBUG.  weir.debug_points is a list of NAME=ACTION,
 * separated by blanks:
 *		lock:N		take advisory lock N, and let go of it: waits while a test
 *					holds it
 *		error		raise an error
 *		crash		die at once, as by kill -9
 * No point lies under an LWLock.
 */
#ifndef WEIR_BASE_DEBUG_H
#define WEIR_BASE_DEBUG_H

#ifdef WEIR_DEBUG
extern void weir_debug_init(void);
extern void weir_debug_point(const char *name);

#define WEIR_DEBUG_INIT()		weir_debug_init()
#define WEIR_DEBUG_POINT(name)	weir_debug_point(name)
#else
#define WEIR_DEBUG_INIT()		((void) 0)
#define WEIR_DEBUG_POINT(name)	((void) 0)
#endif

#endif							/* WEIR_BASE_DEBUG_H */
