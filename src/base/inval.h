/*
 * inval.h
 *		One relcache callback for all caches of weir.
 *
 * A backend has room for ten callbacks, for all extensions together, and
 * they cannot be taken back: so one is registered and fans out.
 */
#ifndef WEIR_BASE_INVAL_H
#define WEIR_BASE_INVAL_H

/*
 * Told which relation changed, InvalidOid for "any".  Runs at any lock
 * acquisition, so it may only set flags.
 */
typedef void (*WeirInvalidate) (Oid relid);

extern void weir_inval_init(void);
extern void weir_inval_subscribe(WeirInvalidate callback);

#endif							/* WEIR_BASE_INVAL_H */
