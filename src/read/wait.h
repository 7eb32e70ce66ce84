/*
 * wait.h
 *		Waiting until there is something to read.
 */
#ifndef WEIR_READ_WAIT_H
#define WEIR_READ_WAIT_H

#include "base/watch.h"
#include "catalog/cache.h"
#include "fmgr.h"

/* What is waited for. */
typedef struct WeirWait
{
	Oid			stream;
	int			partition;		/* WEIR_EVERY_PARTITION, or a number */
	WeirWatchKind kinds;
	int64		ms;				/* for so long; 0: not at all */

	/*
	 * Is it there?  Called outside any subtransaction; leaves no lock behind
	 * if it is not.  woken: where something may have happened since the last
	 * look, everywhere at first and now and then.
	 */
	bool		(*look) (void *arg, const WeirSlotSet *woken);
	void	   *arg;
} WeirWait;

#define WEIR_EVERY_PARTITION	(-1)

extern bool weir_wait(const WeirWait *wait);
extern int64 weir_wait_arg(FunctionCallInfo fcinfo, int argno);
extern int64 weir_wait_arg_capped(FunctionCallInfo fcinfo, int argno);

#endif							/* WEIR_READ_WAIT_H */
