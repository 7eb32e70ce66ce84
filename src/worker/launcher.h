/*
 * launcher.h
 *		The launcher: one per cluster, starts the workers of each database.
 */
#ifndef WEIR_WORKER_LAUNCHER_H
#define WEIR_WORKER_LAUNCHER_H

extern void weir_launcher_init(void);

#endif							/* WEIR_WORKER_LAUNCHER_H */
