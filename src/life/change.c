/*
 * change.c
 *		Changing the desired state of partitions: the rows, the event, the
 *		invalidation, all in the transaction of the caller.
 *
 * The caller holds the state locks of the rows, and has read them after that;
 * to pause or to make read-only it has drained the partitions too.  Every
 * change leaves the row unsettled: only who has compared the tables with it,
 * under the state lock, says that it is settled (settle.c).
 *
 * A pause gets an id of its own, so requests of an earlier one are garbage.
 * Garbage is swept by one transaction at a time; who does not get to do it
 * leaves it to the next.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/slots.h"
#include "catalog/namespace.h"
#include "life/change.h"
#include "miscadmin.h"
#include "read/stable.h"
#include "storage/lock.h"
#include "stream/event.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SWEEP_SUBID 3

static List *
numbers_of(List *rows)
{
	List	   *numbers = NIL;
	ListCell   *lc;

	foreach(lc, rows)
		numbers = lappend_int(numbers, ((WeirPartitionRow *) lfirst(lc))->number);
	return numbers;
}

static void
store(WeirPartitionRow *row)
{
	weir_partition_update(row);
	CacheInvalidateRelcacheByRelid(row->partition);
}

static void
stamp(TimestampTz *first, TimestampTz *latest)
{
	*latest = GetCurrentTimestamp();
	if (*first == 0)
		*first = *latest;
}

/* The stable end now that all publishers are decided. */
static int64
end_of(WeirStream *stream, int number)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		end;

	PushActiveSnapshot(snapshot);
	end = weir_stable_end(&stream->partitions[number], snapshot);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	return end;
}

/* The rows are those of partitions that are not paused, or otherwise. */
void
weir_apply_pause(WeirStream *stream, List *rows, const WeirPause *how)
{
	int64		pause_id = weir_next_pause_id();
	WeirEvent	event = {0};
	ListCell   *lc;

	if (rows == NIL)
		return;
	weir_follow_requests(stream->oid, rows);
	foreach(lc, rows)
	{
		WeirPartitionRow *row = lfirst(lc);

		if (!row->paused)
			stamp(&row->pause_first, &row->pause_latest);
		row->paused = true;
		row->cause = how->cause;
		row->resume_all = how->resume_all;
		row->detach = how->detach;
		row->pause_id = pause_id;
		row->paused_at = end_of(stream, row->number);
		row->settled = false;
		store(row);
	}
	event.event = how->event;
	event.stream = stream->oid;
	event.partitions = numbers_of(rows);
	event.cause = how->cause;
	event.from = "active";
	event.to = "paused";
	event.offset = -1;
	event.resume_all = how->resume_all;
	event.detach = how->detach;
	weir_event(&event);
	weir_wake_for_rows();
}

/* The rows say paused. */
void
weir_apply_resume(Oid stream, List *rows, const char *cause)
{
	WeirEvent	event = {0};
	ListCell   *lc;

	if (rows == NIL)
		return;
	foreach(lc, rows)
	{
		WeirPartitionRow *row = lfirst(lc);

		row->paused = false;
		row->cause = cause;
		row->settled = false;
		stamp(&row->pause_first, &row->pause_latest);
		store(row);
	}
	event.event = "resumed";
	event.stream = stream;
	event.partitions = numbers_of(rows);
	event.cause = cause;
	event.from = "paused";
	event.to = "active";
	event.offset = -1;
	weir_event(&event);
	weir_wake_for_rows();
}

/* The rows say the other. */
void
weir_apply_read_only(Oid stream, List *rows, bool read_only)
{
	WeirEvent	event = {0};
	ListCell   *lc;

	if (rows == NIL)
		return;
	foreach(lc, rows)
	{
		WeirPartitionRow *row = lfirst(lc);

		row->read_only = read_only;
		stamp(&row->read_only_first, &row->read_only_latest);
		store(row);
	}
	event.event = read_only ? "readonly set" : "readonly cleared";
	event.stream = stream;
	event.partitions = numbers_of(rows);
	event.cause = "manual";
	event.from = read_only ? "writable" : "read-only";
	event.to = read_only ? "read-only" : "writable";
	event.offset = -1;
	weir_event(&event);
}

/* ---- requests ---- */

/*
 * Of these rows, take to active those whose pause was ended by a request that
 * is visible now.  One event for each cause.
 */
void
weir_follow_requests(Oid stream, List *rows)
{
	static const char *const causes[] = {"publish", "read"};

	for (int i = 0; i < lengthof(causes); i++)
	{
		List	   *resumed = NIL;
		ListCell   *lc;

		foreach(lc, rows)
		{
			WeirPartitionRow *row = lfirst(lc);
			const char *cause;

			if (!row->paused)
				continue;
			cause = weir_request_cause(row->pause_id,
									   row->resume_all ? InvalidOid : row->partition);
			if (cause && strcmp(cause, causes[i]) == 0)
				resumed = lappend(resumed, row);
		}
		weir_apply_resume(stream, resumed, causes[i]);
	}
}

/* Is there a paused partition for which the request means something? */
static bool
is_carried(const WeirRequest *request)
{
	WeirPartitionRow row;
	ListCell   *lc;

	if (!weir_partition_get(request->partition, &row))
		return false;
	foreach(lc, weir_partition_list(row.stream, NULL))
	{
		WeirPartitionRow *other = lfirst(lc);

		if (other->paused && other->pause_id == request->pause_id &&
			(other->resume_all || other->partition == request->partition))
			return true;
	}
	return false;
}

/* Take away the requests that mean nothing any more. */
void
weir_sweep_requests(void)
{
	List	   *requests = weir_request_list();
	ListCell   *lc;
	LOCKTAG		tag;

	if (requests == NIL)
		return;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, NamespaceRelationId,
					   get_namespace_oid("weir", false), SWEEP_SUBID);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return;
	foreach(lc, weir_request_list())
	{
		WeirRequest *request = lfirst(lc);

		if (!is_carried(request))
			weir_request_delete(request->pause_id, request->partition);
	}
}
