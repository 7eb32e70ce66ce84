/*
 * subxact.c
 *		Doing something in a subtransaction that may be taken back.
 *
 * An error must not leave through an internal subtransaction: the server would
 * then abort only that, and the rest of the transaction would keep its locks
 * until the user says ROLLBACK.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/subxact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

bool
weir_in_subtransaction(bool (*step) (void *arg), void *arg,
					   ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile raised = NULL;
	volatile bool keep = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		keep = step(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		raised = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		keep = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL)
		*error = raised;
	else if (raised != NULL)
		ReThrowError(raised);
	return keep;
}
