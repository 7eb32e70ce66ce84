/*
 * hooks.h
 *		Hooks into PostgreSQL's commands, for the sake of workers.
 */
#ifndef WEIR_WORKER_HOOKS_H
#define WEIR_WORKER_HOOKS_H

extern void weir_hooks_init(void);

#endif							/* WEIR_WORKER_HOOKS_H */
