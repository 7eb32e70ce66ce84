/*
 * fetch.c
 *		stream_fetch: transactional consumption.
 *
 * Takes a partition with something to read whose position nobody else is
 * working on, returns its messages in order, and moves the position in the
 * same transaction: a commit acknowledges them, exactly once together with
 * all else that the transaction did; a rollback, also to a savepoint, gives
 * them back.
 *
 * For each partition, from another one on each time:
 * 1. Look at the position, without a lock.  Nothing behind it, or a member owns
 *	  it whose lease lives (member.c): the next one.  What is behind it may be
 *	  undecided or rolled back.  A lock in vain costs a transaction id and wakes
 *	  whoever waits for the position, ourselves too: after one in vain we look
 *	  whether there is anything readable first, until there is.
 * 2. In a subtransaction, lock the row that was found, without waiting; it
 *	  must still be the newest.  Somebody else has it: the next one.
 * 3. READ COMMITTED: take a new snapshot, later than the lock, so that it shows
 *	  whatever the one before us has left.  REPEATABLE READ and SERIALIZABLE:
 *	  the transaction's; a position that was moved after it was taken raises
 *	  40001.
 * 4. Walk from the position on (read/walk.c) and move the position to behind
 *	  the last message, which takes it from an owner whose lease is over; the
 *	  subtransaction stays.  Nothing readable after all: take it back, and with
 *	  it the lock.
 *
 * With wait, all of it is done in another subtransaction, taken back where it
 * finds nothing, so that nothing is held while it waits (read/wait.c).  It is
 * woken by the end of transactions that wrote messages, and of those that held
 * a position: they may have given messages back, or left some.
 *
 * Order of locks: stream, partition, segments (AccessShare); rows of
 * weir.position, each without waiting.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/subxact.h"
#include "catalog/cache.h"
#include "catalog/groups.h"
#include "catalog/members.h"
#include "fmgr.h"
#include "funcapi.h"
#include "group/group.h"
#include "miscadmin.h"
#include "read/args.h"
#include "read/rows.h"
#include "read/stable.h"
#include "read/wait.h"
#include "read/walk.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(weir_stream_fetch);

enum
{
	ARG_STREAM,
	ARG_GROUP,
	ARG_MAX_MESSAGES,
	ARG_PARTITION,
	ARG_SKIP_GAP,
	ARG_WAIT
};

typedef struct Fetch
{
	Oid			relid;
	char	   *name;			/* of the group */
	int			wanted;			/* partition; WEIR_EVERY_PARTITION: any */
	const WeirSlotSet *woken;	/* where it is worth to look; NULL: everywhere */
	WeirStream *stream;
	WeirGroupRow group;
	int64		max_messages;
	bool		skip_gap;
	WeirRows	rows;
	int			partition;		/* the one that is tried */
	WeirPositionRow position;
	bool		moved;			/* somebody moved it before we had the lock */
} Fetch;

static void
serialization_failure(Fetch *fetch)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent fetch"),
			 errdetail("The position of group \"%s\" in partition %d of stream \"%s\" was moved after this transaction's snapshot.",
					   fetch->group.name, fetch->partition,
					   get_rel_name(fetch->stream->oid)),
			 errhint("Try the transaction again.")));
}

/* The newest position, for this isolation level. */
static bool
find_position(Fetch *fetch)
{
	WeirPositionRow newest;

	if (!weir_position_get(fetch->group.id, fetch->partition, NULL, &newest))
		return false;
	if (!IsolationUsesXactSnapshot())
	{
		fetch->position = newest;
		return true;
	}
	if (!weir_position_get(fetch->group.id, fetch->partition,
						   GetTransactionSnapshot(), &fetch->position) ||
		fetch->position.version != newest.version)
		serialization_failure(fetch);
	return true;
}

/* What retention has taken before it was read: only with consent. */
static void
check_gap(Fetch *fetch)
{
	WeirPositionRow *position = &fetch->position;
	int64		start = weir_start_offset(&fetch->stream->partitions[fetch->partition]);

	if (position->next >= start)
		return;
	if (!fetch->skip_gap)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_NOT_RETAINED),
				 errmsg("offsets " INT64_FORMAT " to " INT64_FORMAT
						" of partition %d of stream \"%s\" are no longer retained",
						position->next, start - 1, fetch->partition,
						get_rel_name(fetch->stream->oid)),
				 errdetail("Group \"%s\" has not read them.", fetch->group.name),
				 errhint("To go on behind the gap: stream_fetch(..., skip_gap => true), or stream_seek().")));
	position->skipped += start - position->next;
	position->next = start;
}

/* Put the messages from the position on; the offset behind the last one. */
static int64
put_messages(Fetch *fetch, Snapshot snapshot)
{
	WeirPartition *partition = &fetch->stream->partitions[fetch->partition];
	int64		next = -1;
	int64		n = 0;
	WeirWalk	walk;

	weir_walk_begin(&walk, partition->oid, snapshot, fetch->position.next, false);
	while (n < fetch->max_messages && weir_walk_next(&walk))
	{
		CHECK_FOR_INTERRUPTS();
		weir_rows_put(&fetch->rows, &walk.tuple);
		next = walk.offset + 1;
		n++;
	}
	weir_walk_end(&walk);
	return next;
}

/* What this isolation level reads with. */
static Snapshot
push_snapshot(void)
{
	Snapshot	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ?
											GetTransactionSnapshot() :
											GetLatestSnapshot());

	PushActiveSnapshot(snapshot);
	return snapshot;
}

static void
pop_snapshot(Snapshot snapshot)
{
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
}

static bool
has_readable(WeirPartition *partition, int64 from)
{
	Snapshot	snapshot;
	WeirWalk	walk;
	bool		found;

	if (from >= weir_next_offset(partition))
		return false;
	snapshot = push_snapshot();
	weir_walk_begin(&walk, partition->oid, snapshot, from, false);
	found = weir_walk_next(&walk);
	weir_walk_end(&walk);
	pop_snapshot(snapshot);
	return found;
}

/* The last lock of a position in this session was in vain. */
static bool in_vain = false;

/* Is there a message behind the position, or a gap? */
static bool
is_worth_a_lock(WeirPartition *partition, int64 position)
{
	if (position < weir_start_offset(partition))
		return true;
	return in_vain ? has_readable(partition, position) :
		position < weir_next_offset(partition);
}

/* Steps 2 to 4, in a subtransaction. */
static bool
take(void *arg)
{
	Fetch	   *fetch = arg;
	Snapshot	snapshot;
	int64		before = fetch->position.next;
	int64		next;

	switch (weir_position_lock(&fetch->position, false))
	{
		case WEIR_LOCKED:
			weir_note_position(fetch->stream->partitions[fetch->partition].slot_number);
			break;
		case WEIR_LOCK_MOVED:
			fetch->moved = true;
			/* FALLTHROUGH */
		case WEIR_LOCK_TAKEN:
			return false;
	}
	/* Its owner may have renewed the lease since we looked. */
	if (weir_lease_lives(fetch->position.owner))
		return false;
	fetch->position.owner = 0;
	snapshot = push_snapshot();
	check_gap(fetch);
	next = put_messages(fetch, snapshot);
	pop_snapshot(snapshot);
	in_vain = next < 0 && fetch->position.next == before;
	if (in_vain)
		return false;
	fetch->position.next = Max(next, fetch->position.next);
	weir_position_move(&fetch->position);
	weir_group_moved(fetch->stream, fetch->partition, before,
					 fetch->position.next);
	return true;
}

/* The partition is locked. */
static bool
try_locked(Fetch *fetch, WeirPartition *partition)
{
	do
	{
		CHECK_FOR_INTERRUPTS();
		fetch->moved = false;
		if (!find_position(fetch) || weir_lease_lives(fetch->position.owner) ||
			!is_worth_a_lock(partition, fetch->position.next))
			return false;
		if (weir_in_subtransaction(take, fetch, NULL))
			return true;
		if (fetch->moved && IsolationUsesXactSnapshot())
			serialization_failure(fetch);
	} while (fetch->moved);
	return false;
}

/*
 * Try one partition.  True: it has given messages (or a gap was passed).  Where
 * nothing was found no lock stays: there may be thousands.
 */
static bool
try_partition(Fetch *fetch, int number)
{
	WeirPartition *partition = weir_partition_open(fetch->stream, number,
												   AccessShareLock);

	weir_note_reading(fetch->stream, partition);
	fetch->partition = number;
	if (try_locked(fetch, partition))
		return true;
	UnlockRelationOid(partition->oid, AccessShareLock);
	return false;
}

static bool
fetch_any(Fetch *fetch)
{
	static uint32 turn = 0;
	int			n = fetch->stream->npartitions;
	uint32		first = turn == 0 ? (uint32) MyProcPid : turn;

	for (int i = 0; i < n; i++)
	{
		int			number = (int) ((first + (uint32) i) % (uint32) n);
		WeirPartition *partition = &fetch->stream->partitions[number];

		if (fetch->woken != NULL &&
			!weir_slot_set_has(fetch->woken, partition->slot_number))
			continue;
		if (try_partition(fetch, number))
		{
			turn = (uint32) number + 1;
			return true;
		}
	}
	return false;
}

/* Is there anything for a group that is not there yet? */
static bool
has_messages(Fetch *fetch)
{
	for (int i = 0; i < fetch->stream->npartitions; i++)
	{
		WeirPartition *partition;
		bool		found;

		if (fetch->wanted != WEIR_EVERY_PARTITION && fetch->wanted != i)
			continue;
		partition = weir_partition_open(fetch->stream, i, AccessShareLock);
		found = has_readable(partition, weir_start_offset(partition));
		UnlockRelationOid(partition->oid, AccessShareLock);
		if (found)
			return true;
	}
	return false;
}

/* All that a fetch does, but for waiting.  True: there are messages. */
static bool
fetch_now(Fetch *fetch)
{
	fetch->stream = weir_stream_open(fetch->relid, AccessShareLock);
	fetch->rows.stream = fetch->stream;
	if (fetch->wanted != WEIR_EVERY_PARTITION)
		(void) weir_partition_open(fetch->stream, fetch->wanted, NoLock);
	/* While it is waited no group is made in vain over and over. */
	if (fetch->woken != NULL &&
		!weir_group_get(fetch->relid, fetch->name, &fetch->group) &&
		!has_messages(fetch))
		return false;
	if (!weir_group_ensure(fetch->stream, fetch->name, false, &fetch->group))
		return false;
	if (fetch->wanted == WEIR_EVERY_PARTITION)
		return fetch_any(fetch);
	return try_partition(fetch, fetch->wanted);
}

static bool
fetch_step(void *arg)
{
	return fetch_now(arg);
}

/* While waiting: nothing stays of a look that found nothing. */
static bool
look(void *arg, const WeirSlotSet *woken)
{
	Fetch	   *fetch = arg;

	fetch->woken = woken;
	weir_check_privilege(fetch->relid, ACL_SELECT);
	return weir_in_subtransaction(fetch_step, fetch, NULL);
}

static void
read_arguments(FunctionCallInfo fcinfo, Fetch *fetch)
{
	fetch->max_messages = PG_ARGISNULL(ARG_MAX_MESSAGES) ? PG_INT64_MAX :
		PG_GETARG_INT64(ARG_MAX_MESSAGES);
	if (fetch->max_messages < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must be at least 1")));
	fetch->skip_gap = !PG_ARGISNULL(ARG_SKIP_GAP) && PG_GETARG_BOOL(ARG_SKIP_GAP);
	fetch->wanted = WEIR_EVERY_PARTITION;
	if (PG_ARGISNULL(ARG_PARTITION))
		return;
	fetch->wanted = PG_GETARG_INT32(ARG_PARTITION);
	/* -1 is how we say "every", not how a user may. */
	if (fetch->wanted < 0)
		(void) weir_partition_open(weir_stream_open(fetch->relid, AccessShareLock),
								   fetch->wanted, NoLock);
}

/* stream_fetch(stream, group, max_messages, partition, skip_gap, wait) */
Datum
weir_stream_fetch(PG_FUNCTION_ARGS)
{
	Fetch		fetch = {0};
	WeirWait	wait = {0};
	bool		whole;

	fetch.relid = weir_stream_of_call(fcinfo, ARG_STREAM, &whole);
	fetch.name = weir_group_arg(fcinfo, ARG_GROUP);
	weir_require_writable("stream_fetch()");
	weir_check_privilege(fetch.relid, ACL_SELECT);
	read_arguments(fcinfo, &fetch);
	weir_rows_begin(&fetch.rows, fcinfo, NULL, whole);
	wait.ms = weir_wait_arg_capped(fcinfo, ARG_WAIT);
	wait.stream = fetch.relid;
	wait.partition = fetch.wanted;
	wait.kinds = WEIR_WATCH_MESSAGES | WEIR_WATCH_POSITIONS;
	wait.look = look;
	wait.arg = &fetch;
	/* With a snapshot for the whole transaction nothing new can appear. */
	if (wait.ms == 0 || IsolationUsesXactSnapshot() || !weir_wait(&wait))
	{
		fetch.woken = NULL;
		(void) fetch_now(&fetch);
	}
	weir_rows_end(&fetch.rows);
	return (Datum) 0;
}
