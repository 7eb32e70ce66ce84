/*
 * idle.c
 *		Pausing partitions that nobody publishes to.
 *
 * The clock is the last publish, kept in the partition's own data, so it is
 * right at once after a restart; or the last change of the state, if that is
 * later.  With auto_pause_with_subscribers off, reading holds the pause off
 * too, and so do sessions that listen and members of groups, whose time counts
 * from the last look at which they were there.
 *
 * The keeper has a due time for each active partition of a stream that wants
 * this, in its memory, and sleeps until the first one: a paused partition has
 * no timer.
 *
 * A pause itself is one like any other, but only tries for its locks: state
 * lock, then ShareRowExclusive on the partition.  Not got: somebody is
 * publishing, so it is not idle.  Under them the clock is read again.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/listeners.h"
#include "base/shmem.h"
#include "catalog/cache.h"
#include "catalog/groups.h"
#include "catalog/members.h"
#include "catalog/tables.h"
#include "life/change.h"
#include "life/drain.h"
#include "life/idle.h"
#include "miscadmin.h"
#include "read/times.h"
#include "storage/lmgr.h"
#include "stream/event.h"
#include "stream/state.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* The streams are looked through at most so often, in microseconds. */
#define LOOK_SPACING	INT64CONST(1000000)

/* Somebody was in the way: again after so long, in milliseconds. */
#define TRY_AGAIN		1000

typedef struct Timer
{
	Oid			partition;		/* hash key */
	Oid			stream;
	TimestampTz due;
	bool		listed;			/* found by the last look */
	bool		gone;			/* out: needs no timer any more */
} Timer;

static HTAB *timers = NULL;
static List *streams = NIL;		/* that want it, in TopMemoryContext */
static TimestampTz last_look = 0;
static bool options_changed = true;
static bool stale = true;

static void
make_timers(void)
{
	HASHCTL		ctl;

	if (timers != NULL)
		return;
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Timer);
	ctl.hcxt = TopMemoryContext;
	timers = hash_create("weir idle timers", 64, &ctl,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* ---- the clock ---- */

/* Does a session listen to the stream, or has a member of a group its lease? */
static bool
has_subscribers(Oid stream)
{
	ListCell   *g;
	ListCell   *m;

	if (weir_is_listened_to(stream))
		return true;
	foreach(g, weir_group_list(stream))
		foreach(m, weir_member_list(((WeirGroupRow *) lfirst(g))->id, NULL))
			if (weir_lease_lives(((WeirMemberRow *) lfirst(m))->id))
				return true;
	return false;
}

static TimestampTz
idle_since(const WeirPartitionRow *row, const WeirOptions *options)
{
	TimestampTz since = Max(row->created, row->pause_latest);

	since = Max(since, weir_last_publish(row->partition));
	if (options->auto_pause_with_subscribers)
		return since;
	if (has_subscribers(row->stream))
		return GetCurrentTimestamp();
	return Max(since, (TimestampTz)
			   pg_atomic_read_u64(&weir_append_slot(row->partition)->last_read));
}

/* ---- a look at the streams that want it ---- */

static void
list_streams(void)
{
	List	   *found = NIL;
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, weir_stream_list())
	{
		WeirStreamRow row;

		if (weir_stream_get(lfirst_oid(lc), &row) &&
			row.stream != weir_activity_oid() &&
			weir_options_has(row.options, "auto_pause_after"))
			found = lappend_oid(found, row.stream);
	}
	list_free(streams);
	old = MemoryContextSwitchTo(TopMemoryContext);
	streams = list_copy(found);
	MemoryContextSwitchTo(old);
	options_changed = false;
}

static void
list_partitions(Oid stream, const WeirOptions *options)
{
	ListCell   *lc;

	foreach(lc, weir_partition_list(stream, NULL))
	{
		WeirPartitionRow *row = lfirst(lc);
		Timer	   *timer;

		if (row->paused)
			continue;
		timer = hash_search(timers, &row->partition, HASH_ENTER, NULL);
		timer->stream = stream;
		timer->listed = true;
		timer->gone = false;
		timer->due = idle_since(row, options) + options->auto_pause_after;
	}
}

static void
look(void *arg)
{
	HASH_SEQ_STATUS seq;
	Timer	   *timer;
	ListCell   *lc;

	if (options_changed)
		list_streams();

	hash_seq_init(&seq, timers);
	while ((timer = hash_seq_search(&seq)) != NULL)
		timer->listed = false;
	foreach(lc, streams)
	{
		WeirStreamRow row;
		WeirOptions options;

		if (!weir_stream_get(lfirst_oid(lc), &row) ||
			!weir_options_has(row.options, "auto_pause_after"))
			continue;
		weir_options_parse(row.options, &options);
		if (ConditionalLockRelationOid(row.stream, AccessShareLock))
			list_partitions(row.stream, &options);
	}
	hash_seq_init(&seq, timers);
	while ((timer = hash_seq_search(&seq)) != NULL)
		if (!timer->listed)
			hash_search(timers, &timer->partition, HASH_REMOVE, NULL);
}

/* ---- one partition whose time has come ---- */

static void
pause_if_idle(void *arg)
{
	Timer	   *timer = arg;
	WeirPause	how = {"auto-paused", "idle", false, false};
	WeirPartitionRow row;
	WeirStream *stream;
	TimestampTz due;

	timer->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TRY_AGAIN);
	if (!ConditionalLockRelationOid(timer->stream, AccessShareLock) ||
		!weir_state_lock_conditional(timer->partition))
		return;
	timer->gone = true;
	if (!weir_partition_get(timer->partition, &row) || row.paused)
		return;
	stream = weir_stream_open(row.stream, AccessShareLock);
	if (stream->options.auto_pause_after == 0)
		return;
	timer->gone = false;
	due = idle_since(&row, &stream->options) + stream->options.auto_pause_after;
	if (due > GetCurrentTimestamp())
	{
		timer->due = due;
		return;
	}
	WEIR_DEBUG_POINT("idle_before_lock");
	if (!weir_try_all(list_make1_oid(row.partition), ShareRowExclusiveLock))
		return;
	/* Whoever published until now has committed: look again. */
	due = idle_since(&row, &stream->options) + stream->options.auto_pause_after;
	if (due > GetCurrentTimestamp())
	{
		timer->due = due;
		return;
	}
	how.detach = stream->options.auto_pause_detach;
	weir_apply_pause(stream, list_make1(&row), &how);
	timer->gone = true;
	WEIR_DEBUG_POINT("idle_paused");
}

/* The duty of the keeper. */
TimestampTz
weir_idle_duty(const WeirWake *wake)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = DT_NOEND;
	HASH_SEQ_STATUS seq;
	Timer	   *timer;
	List	   *due = NIL;
	ListCell   *lc;

	make_timers();
	options_changed |= wake->start || wake->options;
	stale |= options_changed || (wake->rows && streams != NIL);
	if (stale && now - last_look >= LOOK_SPACING)
	{
		stale = weir_attempt(look, NULL, "looking for idle partitions") != WEIR_ATTEMPT_DONE;
		last_look = now;
	}
	/* Listed first: a scan of the table must not go over a commit. */
	hash_seq_init(&seq, timers);
	while ((timer = hash_seq_search(&seq)) != NULL)
		if (timer->due <= now)
			due = lappend(due, timer);
		else
			next = Min(next, timer->due);
	foreach(lc, due)
	{
		timer = lfirst(lc);
		if (weir_attempt(pause_if_idle, timer, "pausing an idle partition") == WEIR_ATTEMPT_FAILED)
			timer->due = TimestampTzPlusMilliseconds(now, 5 * TRY_AGAIN);
		if (timer->gone)
			hash_search(timers, &timer->partition, HASH_REMOVE, NULL);
		else
			next = Min(next, timer->due);
	}
	return stale ? Min(next, last_look + LOOK_SPACING) : next;
}
