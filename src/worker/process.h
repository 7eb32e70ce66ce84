/*
 * process.h
 *		What the long-lived workers of a database have in common.
 */
#ifndef WEIR_WORKER_PROCESS_H
#define WEIR_WORKER_PROCESS_H

typedef struct WeirSetting
{
	const char *name;
	const char *value;
} WeirSetting;

/* Begin, as the worker of the slot in arg, with these settings; or end. */
extern void weir_worker_begin(Datum arg, const WeirSetting *settings, int n);

/*
 * Is the extension there, as far as committed?  If not the process ends, or,
 * when something came meanwhile, false is returned: take another turn.
 */
extern bool weir_worker_belongs(void);

#endif							/* WEIR_WORKER_PROCESS_H */
