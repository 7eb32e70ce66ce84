/*
 * notify.c
 *		Notifying subscribers from the publishing transaction.
 *
 * Only where the library is not preloaded, so that there is no notifier.  It
 * costs what NOTIFY costs: commits wait for each other.  The publisher does not
 * know the stable end, so the payload has none; and what is held up by another
 * transaction that is then rolled back is not notified again.  A transaction
 * that is prepared notifies nobody, for NOTIFY cannot be prepared.
 */
#include "postgres.h"

#include "access/xact.h"
#include "append/notify.h"
#include "base/guc.h"
#include "base/slots.h"
#include "catalog/channel.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/memutils.h"

typedef struct Notice
{
	Oid			stream;
	int			partition;
	char		channel[NAMEDATALEN];
} Notice;

static List *notices = NIL;		/* in TopTransactionContext */

static void
at_end(XactEvent event, void *arg)
{
	ListCell   *lc;

	if (event == XACT_EVENT_PRE_COMMIT)
	{
		foreach(lc, notices)
		{
			Notice	   *notice = lfirst(lc);

			Async_Notify(notice->channel, weir_payload(notice->partition, -1));
		}
	}
	if (event != XACT_EVENT_PARALLEL_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		notices = NIL;
}

void
weir_notify_at_commit(Oid stream, int partition)
{
	static bool registered = false;
	MemoryContext old;
	Notice	   *notice;
	ListCell   *lc;

	if (weir_has_workers() || !weir_notify_from_publisher || !IsUnderPostmaster)
		return;
	foreach(lc, notices)
	{
		notice = lfirst(lc);
		if (notice->stream == stream && notice->partition == partition)
			return;
	}
	if (!registered)
		RegisterXactCallback(at_end, NULL);
	registered = true;
	old = MemoryContextSwitchTo(TopTransactionContext);
	notice = palloc(sizeof(Notice));
	notice->stream = stream;
	notice->partition = partition;
	weir_channel(stream, notice->channel);
	notices = lappend(notices, notice);
	MemoryContextSwitchTo(old);
}
