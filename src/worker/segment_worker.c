/*
 * segment_worker.c
 *		The short-lived worker that makes a segment or verifies one, or makes
 *		the activity log.
 *
 * A publisher waits for it by latch, where the deadlock detector does not
 * look, so it waits for no lock longer than LOCK_TIMEOUT; the publisher then
 * helps itself (stream/maker.c).  Its commit need not be flushed: the
 * publisher's own comes later in the WAL and takes it along.
 *
 * Verifying: with ShareUpdateExclusive on the partition no maker's segment can
 * be under way unseen, with ShareLock on the segment nobody writes to it, from
 * the first page to the commit of the mark.  Both conditionally: what cannot
 * be had now is not worth waiting for.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "append/order.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/worker.h"
#include "catalog/cache.h"
#include "catalog/tables.h"
#include "life/activity.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/lmgr.h"
#include "stream/maker.h"
#include "stream/parts.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#define LOCK_TIMEOUT "100ms"

PGDLLEXPORT void weir_segment_worker_main(Datum arg);

static void
verify_segment(Oid segment)
{
	WeirSegmentRow row;
	WeirPartitionRow partition;
	Relation	rel;

	if (!weir_segment_get(segment, &row) ||
		!weir_partition_get(row.partition, &partition) ||
		!ConditionalLockRelationOid(row.partition, ShareUpdateExclusiveLock) ||
		!ConditionalLockRelationOid(segment, ShareLock))
		return;
	rel = try_table_open(segment, NoLock);
	if (rel == NULL)
		return;
	if (weir_guard_is_on(rel) &&
		weir_order_check(rel, partition.number, row.lower, row.upper, NULL, NULL))
	{
		weir_verified_delete(segment);
		weir_verified_insert(segment, weir_file_number(rel));
		CacheInvalidateRelcache(rel);
	}
	table_close(rel, NoLock);
}

void
weir_segment_worker_main(Datum arg)
{
	WeirTask	task;

	memcpy(&task, MyBgworkerEntry->bgw_extra, sizeof(task));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(task.database, InvalidOid, 0);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);
	/* What a database may have as its default and we cannot use. */
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET,
					PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_USERSET, PGC_S_OVERRIDE);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (weir_is_installed())
	{
		switch (task.kind)
		{
			case WEIR_TASK_MAKE_SEGMENT:
				pgstat_report_activity(STATE_RUNNING, "making a segment");
				weir_make_next_segment(task.object, task.bound);
				break;
			case WEIR_TASK_VERIFY_SEGMENT:
				pgstat_report_activity(STATE_RUNNING, "verifying a segment");
				verify_segment(task.object);
				break;
			case WEIR_TASK_MAKE_ACTIVITY:
				pgstat_report_activity(STATE_RUNNING, "making the activity log");
				weir_make_activity();
				break;
		}
	}
	WEIR_DEBUG_POINT("worker_before_commit");
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);
}
