/*
 * settle.c
 *		Making the tables follow the desired state of partitions.
 *
 * A paused partition that is to be detached is detached, any other attached.
 * The keeper does it; its work list is weir.resume_request and the rows of
 * weir.partition that are not settled, never the activity log: an open
 * transaction with an event would stop that.
 *
 * 1. Requests: under the state lock, look at the row and the requests with a
 *	  new snapshot, and flip only a row that still carries the id.  Row, event
 *	  and invalidation in one transaction.
 * 2. A pending detach is finished first, whatever is wanted by then: there can
 *	  be one per stream, and it cannot be taken back.
 *	  A publisher that needs a segment meanwhile gets a loose one, which is
 *	  attached next.
 * 3. DETACH PARTITION CONCURRENTLY.  Its first transaction marks the partition
 *	  (plans leave it out from then on), its second waits for those who use
 *	  the stream, and completes; what fails there is finished by step 2.
 * 4. ATTACH, with all locks got within one slice of 20 ms, or none.
 * 5. Under the state lock, compare again and mark the row as settled.
 *
 * Steps 2 to 5 begin with the state lock, so that they and a session that
 * changes the state, or attaches in its own transaction, see each other's
 * work.  Each step is a transaction of its own and can be repeated; a crash between
 * any two leaves rows from which the next keeper goes on.  Nobody queues
 * behind us for longer than a slice; a try that somebody was in the way of is
 * repeated at growing distance, and not at all while the same transaction is
 * still in the way.
 *
 * Without workers the session that pauses or resumes does what can be done
 * without waiting, with a plain DETACH.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/sql.h"
#include "catalog/cache.h"
#include "life/change.h"
#include "life/drain.h"
#include "life/settle.h"
#include "life/tables.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/smgr.h"
#include "stream/follow.h"
#include "stream/parts.h"
#include "stream/state.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SLICE			20		/* milliseconds */
#define FIRST_RETRY		50
#define LAST_RETRY		500
#define LAST_FAILED		60000	/* an error, not somebody in the way */
#define STATE_RETRY		1000	/* somebody holds a state lock */

/* ---- in the session of the one who changed it ---- */

static void
settled(WeirPartitionRow *row)
{
	row->settled = true;
	weir_partition_update(row);
}

/* All locks or none: nobody is to wait for us for nothing. */
static bool
try_stream_and_below(const WeirPartitionRow *row, LOCKMODE mode)
{
	if (!ConditionalLockRelationOid(row->stream, mode))
		return false;
	if (weir_try_all(weir_tables_below(row->partition), AccessExclusiveLock))
		return true;
	UnlockRelationOid(row->stream, mode);
	return false;
}

/*
 * Do what can be done at once.  The caller holds the state lock; what is left
 * undone stays unsettled, for the next change of the partition.
 */
void
weir_settle_inline(Oid partition)
{
	WeirPartitionRow row;
	bool		detach;
	WeirActual	actual;

	if (!weir_partition_get(partition, &row))
		return;
	detach = weir_wants_detached(&row);
	actual = weir_actual_state(partition);
	if (actual == WEIR_ATTACHED && detach)
	{
		if (!try_stream_and_below(&row, AccessExclusiveLock))
			return;
		weir_detach_partition(&row);
	}
	else if (actual == WEIR_DETACHED && !detach)
	{
		if (!try_stream_and_below(&row, ShareUpdateExclusiveLock))
			return;
		weir_attach_loose(&row);
		weir_attach_partition(&row);
	}
	if (weir_is_settled(&row))
		settled(&row);
}

static void
finalize_now(void *arg)
{
	const WeirPartitionRow *row = arg;

	if (weir_actual_state(row->partition) == WEIR_DETACHING)
		weir_finalize_detach(row);
}

static void
cannot_attach(const WeirPartitionRow *row)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("cannot attach partition %d of stream \"%s\": transactions that use it are still open",
					row->number, get_rel_name(row->stream)),
			 errhint("Without wait the keeper attaches it later; the partition is active meanwhile.")));
}

/* Attach a partition and wait for those who are in the way. */
void
weir_attach_now(Oid partition)
{
	WeirPartitionRow row;

	if (!weir_partition_get(partition, &row))
		return;
	if (weir_actual_state(partition) == WEIR_DETACHING)
	{
		LockRelationOid(row.stream, ShareUpdateExclusiveLock);
		if (!weir_do_patiently(finalize_now, &row, partition))
			cannot_attach(&row);
	}
	if (weir_actual_state(partition) == WEIR_DETACHED)
	{
		LockRelationOid(row.stream, ShareUpdateExclusiveLock);
		if (!weir_lock_patiently(weir_tables_below(partition), AccessExclusiveLock))
			cannot_attach(&row);
		if (weir_actual_state(partition) == WEIR_DETACHED)
		{
			weir_attach_loose(&row);
			weir_attach_partition(&row);
		}
	}
	if (weir_is_settled(&row))
		settled(&row);
}

/* ---- the keeper: one partition ---- */

typedef struct Task
{
	Oid			partition;		/* hash key */
	int			tries;			/* that somebody was in the way of */
	TimestampTz next;
	VirtualTransactionId blocker;	/* of the last try */
	Oid			blocked_on;		/* what it holds */
	Oid			stream;			/* out */
	bool		detaching;		/* out: the detach is pending */
	bool		done;			/* out: settled, or gone */
	bool		drop_files;		/* out: was detached just now */
	bool		unguarded;		/* out: its guard is off */
} Task;

static HTAB *tasks = NULL;
static MemoryContext turn_context;	/* of the keeper's current turn */

/* The row, with a lock that keeps DROP away; false: gone, or being dropped. */
static bool
open_row(Task *task, WeirPartitionRow *row)
{
	if (!weir_partition_get(task->partition, row))
	{
		task->done = true;
		return false;
	}
	return ConditionalLockRelationOid(row->stream, AccessShareLock) &&
		weir_partition_get(task->partition, row);
}

/*
 * Mark as settled, if it is.  Who holds the state lock is changing the state,
 * and will wake us.
 */
static void
compare(Task *task, WeirPartitionRow *row)
{
	if (!weir_state_lock_conditional(task->partition) ||
		!weir_nobody_to_follow() ||
		!weir_partition_get(task->partition, row) ||
		!weir_is_settled(row))
		return;
	if (!row->settled)
	{
		/* A restored one is not tied yet; grants may be newer than the detach. */
		if (weir_actual_state(row->partition) == WEIR_DETACHED)
		{
			weir_tie_to_stream(row->stream, row->partition);
			weir_follow_grants(row->stream, row->partition);
		}
		settled(row);
	}
	task->done = true;
}

/* Is another partition of the stream in the middle of a detach? */
static bool
another_is_pending(const WeirPartitionRow *row)
{
	ListCell   *lc;

	foreach(lc, weir_partition_list(row->stream, NULL))
	{
		WeirPartitionRow *other = lfirst(lc);

		if (other->partition != row->partition && !other->settled &&
			weir_actual_state(other->partition) == WEIR_DETACHING)
			return true;
	}
	return false;
}

static void
detach(Task *task, WeirPartitionRow *row)
{
	MemoryContext old;
	List	   *pairs;

	if (another_is_pending(row))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("another partition of stream \"%s\" is being detached",
						get_rel_name(row->stream))));
	/* The command commits in the middle: what follows must outlive that. */
	old = MemoryContextSwitchTo(turn_context);
	pairs = weir_index_pairs(row->partition);
	(void) weir_partition_get(task->partition, row);
	MemoryContextSwitchTo(old);

	WEIR_DEBUG_POINT("detach_begin");
	weir_run_toplevel("ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY",
					  weir_qualified_name(row->stream),
					  weir_qualified_name(row->partition));
	WEIR_DEBUG_POINT("detach_done");
	weir_after_detach(row, pairs);
	task->drop_files = true;
}

static void
finalize(Task *task, WeirPartitionRow *row)
{
	WEIR_DEBUG_POINT("finalize_begin");
	weir_finalize_detach(row);
	task->drop_files = true;
}

static void
attach(Task *task, WeirPartitionRow *row)
{
	WEIR_DEBUG_POINT("attach_begin");
	LockRelationOid(row->stream, ShareUpdateExclusiveLock);
	if (!weir_lock_within(weir_tables_below(task->partition),
						  AccessExclusiveLock, SLICE))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("partition %d of stream \"%s\" is in use",
						row->number, get_rel_name(row->stream))));
	/* stream_resume(wait => true) may have been faster. */
	if (weir_actual_state(task->partition) == WEIR_DETACHED)
		weir_attach_partition(row);
}

/*
 * A table without its guard is being restored: the triggers of a dump come
 * after its indexes, which ATTACH would make for us, under the same names.
 */
static bool
is_guarded(Oid relid)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	bool		guarded = rel != NULL && weir_guard_is_on(rel);

	if (rel)
		table_close(rel, NoLock);
	return guarded;
}

/* Segments that a publisher needed while the partition was being detached. */
static void
attach_loose(Task *task, WeirPartitionRow *row)
{
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, weir_loose_segments(task->partition))
		relids = lappend_oid(relids, ((WeirSegmentRow *) lfirst(lc))->segment);
	LockRelationOid(task->partition, ShareUpdateExclusiveLock);
	if (!weir_lock_within(relids, AccessExclusiveLock, SLICE))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("a segment of partition %d of stream \"%s\" is in use",
						row->number, get_rel_name(row->stream))));
	weir_attach_loose(row);
	WEIR_DEBUG_POINT("loose_attached");
}

static void
step(void *arg)
{
	Task	   *task = arg;
	WeirPartitionRow row;
	bool		detached;

	/*
	 * Who changes the state holds its lock: so what we decide here stays true
	 * until our (first) commit, and he sees what we have begun.
	 */
	if (!open_row(task, &row) ||
		!weir_state_lock_conditional(task->partition) ||
		!weir_partition_get(task->partition, &row))
		return;
	task->stream = row.stream;
	if (!is_guarded(row.stream) || !is_guarded(row.partition))
	{
		task->unguarded = true;
		return;
	}
	detached = weir_wants_detached(&row);
	if (weir_actual_state(task->partition) != WEIR_DETACHING &&
		weir_loose_segments(task->partition) != NIL)
	{
		attach_loose(task, &row);
		return;
	}
	switch (weir_actual_state(task->partition))
	{
		case WEIR_DETACHING:
			task->detaching = true;
			finalize(task, &row);
			return;				/* what it has to follow: the next time */
		case WEIR_ATTACHED:
			task->detaching = detached;
			if (detached)
			{
				detach(task, &row);
				return;
			}
			break;
		case WEIR_DETACHED:
			if (!detached)
				attach(task, &row);
			break;
	}
	compare(task, &row);
}

/* ---- who is in the way ---- */

static bool
still_there(const VirtualTransactionId *blocker, Oid relid)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	int			n;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	holders = GetLockConflicts(&tag, AccessExclusiveLock, &n);
	for (int i = 0; i < n; i++)
		if (VirtualTransactionIdEquals(holders[i], *blocker))
			return true;
	return false;
}

/* A pending detach waits for the users of the stream, all else for others. */
static void
note_blocker(Task *task)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	int			n;

	task->blocked_on = task->detaching ? task->stream : task->partition;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, task->blocked_on);
	holders = GetLockConflicts(&tag, AccessExclusiveLock, &n);
	if (n > 0)
		task->blocker = holders[0];
	else
		SetInvalidVirtualTransactionId(task->blocker);
}

/* A try would only make others wait while the last blocker is still there. */
static bool
is_blocked(Task *task)
{
	return VirtualTransactionIdIsValid(task->blocker) &&
		still_there(&task->blocker, task->blocked_on);
}

/* ---- the keeper: all of them ---- */

static Task *
task_for(Oid partition)
{
	Task	   *task;
	bool		found;

	if (tasks == NULL)
	{
		HASHCTL		ctl;

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(Task);
		ctl.hcxt = TopMemoryContext;
		tasks = hash_create("weir settling", 64, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	task = hash_search(tasks, &partition, HASH_ENTER, &found);
	if (!found)
	{
		task->tries = 0;
		task->next = 0;
		SetInvalidVirtualTransactionId(task->blocker);
	}
	return task;
}

static void
let_go(void *arg)
{
	weir_let_go(((Task *) arg)->partition);
}

/* Try a partition until it is settled or somebody is in the way. */
static void
work_on(Task *task)
{
	bool		failed = false;

	for (int i = 0; i < 3; i++)
	{
		WeirAttempt result;

		task->done = false;
		task->detaching = false;
		task->drop_files = false;
		task->unguarded = false;
		result = is_blocked(task) ? WEIR_ATTEMPT_BUSY :
			weir_attempt(step, task, "settling a partition");
		if (task->drop_files && result == WEIR_ATTEMPT_DONE)
			weir_attempt(let_go, task, "letting go of a partition");
		if (task->done && result == WEIR_ATTEMPT_DONE)
			return;
		failed = task->unguarded;
		if (failed)
			break;
		if (result != WEIR_ATTEMPT_DONE)
		{
			note_blocker(task);
			failed = result == WEIR_ATTEMPT_FAILED;
			break;
		}
	}
	task->done = false;
	task->next = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											 Min(FIRST_RETRY << Min(task->tries, 11),
												 failed ? LAST_FAILED : LAST_RETRY));
	task->tries++;
}

typedef struct Lists
{
	MemoryContext context;		/* of the turn */
	List	   *unsettled;
	List	   *streams;		/* for whose partitions there are requests */
	Oid			stream;			/* the one to follow now */
	bool		requested;		/* there are requests at all */
	bool		left;			/* a request that could not be followed now */
} Lists;

/* Follow the requests of one stream. */
static void
follow_stream(void *arg)
{
	Lists	   *lists = arg;
	Oid			stream = lists->stream;
	List	   *rows = NIL;
	ListCell   *lc;

	if (!ConditionalLockRelationOid(stream, AccessShareLock))
	{
		lists->left = true;
		return;
	}
	foreach(lc, weir_partition_list(stream, NULL))
	{
		WeirPartitionRow *row = lfirst(lc);

		if (!row->paused || weir_row_is_paused(row))
			continue;
		if (!weir_state_lock_conditional(row->partition))
			lists->left = true;
		else if (weir_partition_get(row->partition, row))
			rows = lappend(rows, row);
	}
	weir_follow_requests(stream, rows);
}

static void
list_requests(void *arg)
{
	Lists	   *lists = arg;
	MemoryContext old = MemoryContextSwitchTo(lists->context);
	ListCell   *lc;

	foreach(lc, weir_request_list())
	{
		WeirPartitionRow row;

		lists->requested = true;
		if (weir_partition_get(((WeirRequest *) lfirst(lc))->partition, &row))
			lists->streams = list_append_unique_oid(lists->streams, row.stream);
	}
	MemoryContextSwitchTo(old);
}

static void
sweep(void *arg)
{
	weir_sweep_requests();
}

/* One stream that fails does not keep the others. */
static void
follow_all(Lists *lists)
{
	ListCell   *lc;

	lists->left |= weir_attempt(list_requests, lists, "looking for requests") != WEIR_ATTEMPT_DONE;
	foreach(lc, lists->streams)
	{
		lists->stream = lfirst_oid(lc);
		lists->left |= weir_attempt(follow_stream, lists, "following requests") != WEIR_ATTEMPT_DONE;
	}
	WEIR_DEBUG_POINT("requests_followed");
	if (lists->requested)
		(void) weir_attempt(sweep, NULL, "sweeping requests");
}

static void
list_unsettled(void *arg)
{
	Lists	   *lists = arg;
	MemoryContext old = MemoryContextSwitchTo(lists->context);

	lists->unsettled = weir_partition_unsettled();
	MemoryContextSwitchTo(old);
}

/* The duty of the keeper. */
TimestampTz
weir_settle_duty(const WeirWake *wake)
{
	Lists		lists = {CurrentMemoryContext};
	TimestampTz next = DT_NOEND;
	ListCell   *lc;

	turn_context = CurrentMemoryContext;
	follow_all(&lists);
	if (weir_attempt(list_unsettled, &lists, "looking for unsettled partitions") != WEIR_ATTEMPT_DONE)
		lists.left = true;
	foreach(lc, lists.unsettled)
	{
		Task	   *task = task_for(lfirst_oid(lc));

		CHECK_FOR_INTERRUPTS();
		if (task->next <= GetCurrentTimestamp())
			work_on(task);
		if (task->done)
			hash_search(tasks, &task->partition, HASH_REMOVE, NULL);
		else
			next = Min(next, task->next);
	}
	if (lists.left)
		next = Min(next, TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 STATE_RETRY));
	return next;
}
