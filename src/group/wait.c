/*
 * wait.c
 *		CALL stream_wait: waiting without a snapshot.
 *
 * A function waits with the snapshot of its statement, which holds back VACUUM
 * and FINALIZE.  This procedure ends the transaction it was called in, looks in
 * transactions of its own, and rests between them, so nothing at all is held.
 * It must therefore not be called in a transaction block.
 *
 * What it finds for a group may be taken by another consumer before the caller
 * comes.  A position that somebody is working on counts as nothing to read:
 * whoever works on it wakes us when he is done.  So do partitions that a member
 * owns, but for that member, who gives his generation.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/subxact.h"
#include "base/watch.h"
#include "catalog/members.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "group/group.h"
#include "miscadmin.h"
#include "read/args.h"
#include "read/stable.h"
#include "read/wait.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(weir_stream_wait);

enum
{
	ARG_STREAM,
	ARG_WAIT,
	ARG_GROUP,
	ARG_PARTITION,
	ARG_OFFSET,
	ARG_GENERATION
};

typedef struct Waiter
{
	Oid			relid;
	char	   *group;			/* NULL: none */
	int			partition;		/* or WEIR_EVERY_PARTITION */
	int64		offset;			/* wait for this; -1: for anything new */
	int64		generation;		/* of a member; 0: none */
	MemoryContext context;		/* of the whole call */
	int64	   *ends;			/* of the partitions, at the first look */
	const WeirSlotSet *woken;
	bool		found;
} Waiter;

/* The same without a group, or one that is just dropped: it has read nothing. */
static bool
has_position(WeirStream *stream, const WeirGroupRow *group, int number,
			 WeirPositionRow *position)
{
	if (group != NULL && weir_position_get(group->id, number, NULL, position))
		return true;
	position->next = weir_start_offset(&stream->partitions[number]);
	return false;
}

/* May the caller have it: is he the owner, or nobody, and nobody works on it? */
static bool
is_free(Waiter *waiter, WeirStream *stream, const WeirPositionRow *position)
{
	WeirMemberRow owner;

	if (waiter->generation != 0)
		return weir_member_get(position->owner, &owner) &&
			owner.generation == waiter->generation;
	if (weir_lease_lives(position->owner))
		return false;
	if (RecoveryInProgress() || XactReadOnly)
		return true;
	switch (weir_position_lock(position, false))
	{
		case WEIR_LOCKED:
			/* Whoever came by while we had it took it for being worked on. */
			weir_note_position(stream->partitions[position->partition].slot_number);
			return true;
		case WEIR_LOCK_MOVED:
			return true;
		case WEIR_LOCK_TAKEN:
			break;
	}
	return false;
}

static bool
is_ready(Waiter *waiter, WeirStream *stream, const WeirGroupRow *group, int number)
{
	WeirPartition *partition = weir_partition_open(stream, number, AccessShareLock);
	int64		end = weir_stable_end(partition, GetActiveSnapshot());
	WeirPositionRow position;

	if (waiter->group != NULL)
	{
		if (!has_position(stream, group, number, &position))
			return waiter->generation == 0 && position.next < end;
		return position.next < end && is_free(waiter, stream, &position);
	}
	if (waiter->offset >= 0)
		return waiter->offset < end;
	if (waiter->ends[number] < 0)
		waiter->ends[number] = end;
	return waiter->ends[number] < end;
}

/* Always taken back: a row that is locked here is not to stay so. */
static bool
look_at_partitions(void *arg)
{
	Waiter	   *waiter = arg;
	WeirStream *stream = weir_open_for_read(waiter->relid);
	WeirGroupRow group;
	bool		has_group = waiter->group != NULL &&
		weir_group_get(waiter->relid, waiter->group, &group);

	if (waiter->partition != WEIR_EVERY_PARTITION)
		(void) weir_partition_open(stream, waiter->partition, NoLock);
	else if (waiter->offset >= 0 && stream->npartitions > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset needs a partition"),
				 errdetail("Stream \"%s\" has %d partitions, each with offsets of its own.",
						   get_rel_name(stream->oid), stream->npartitions)));
	if (waiter->ends == NULL)
	{
		waiter->ends = MemoryContextAlloc(waiter->context,
										  stream->npartitions * sizeof(int64));
		memset(waiter->ends, 0xFF, stream->npartitions * sizeof(int64));
	}
	for (int i = 0; i < stream->npartitions; i++)
	{
		if (waiter->partition != WEIR_EVERY_PARTITION && waiter->partition != i)
			continue;
		if (!weir_slot_set_has(waiter->woken, stream->partitions[i].slot_number))
			continue;
		if (is_ready(waiter, stream, has_group ? &group : NULL, i))
			waiter->found = true;
	}
	return false;
}

/* In a transaction that ends with the look. */
static bool
look(void *arg, const WeirSlotSet *woken)
{
	Waiter	   *waiter = arg;

	waiter->woken = woken;
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) weir_in_subtransaction(look_at_partitions, waiter, NULL);
	PopActiveSnapshot();
	SPI_commit();
	return waiter->found;
}

static Datum
result(bool ready)
{
	TupleDesc	desc = CreateTemplateTupleDesc(1);
	Datum		value = BoolGetDatum(ready);
	bool		null = false;

	TupleDescInitEntry(desc, 1, "ready", BOOLOID, -1, 0);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), &value, &null));
}

/* CALL stream_wait(stream, wait, group, partition, offset, generation, ready) */
Datum
weir_stream_wait(PG_FUNCTION_ARGS)
{
	Waiter		waiter = {0};
	WeirWait	wait = {0};
	bool		ready;

	waiter.relid = weir_stream_arg(fcinfo, ARG_STREAM);
	if (PG_ARGISNULL(ARG_WAIT))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("wait must not be null")));
	wait.ms = weir_wait_arg(fcinfo, ARG_WAIT);
	waiter.group = PG_ARGISNULL(ARG_GROUP) ? NULL : weir_group_arg(fcinfo, ARG_GROUP);
	waiter.partition = PG_ARGISNULL(ARG_PARTITION) ? WEIR_EVERY_PARTITION :
		PG_GETARG_INT32(ARG_PARTITION);
	waiter.offset = PG_ARGISNULL(ARG_OFFSET) ? -1 : PG_GETARG_INT64(ARG_OFFSET);
	if (!PG_ARGISNULL(ARG_OFFSET) && (waiter.offset < 0 || waiter.group != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 waiter.group != NULL ?
				 errmsg("group and offset cannot both be given") :
				 errmsg("offset must not be negative")));
	waiter.generation = PG_ARGISNULL(ARG_GENERATION) ? 0 : PG_GETARG_INT64(ARG_GENERATION);
	if (!PG_ARGISNULL(ARG_GENERATION) && waiter.group == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("generation needs a group")));
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("stream_wait() cannot be called in a transaction block"),
				 errhint("In a transaction, stream_read() and stream_fetch() can wait.")));

	wait.stream = waiter.relid;
	wait.partition = waiter.partition;
	wait.kinds = WEIR_WATCH_MESSAGES | (waiter.group ? WEIR_WATCH_POSITIONS : 0);
	wait.look = look;
	wait.arg = &waiter;
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	waiter.context = CurrentMemoryContext;
	SPI_commit();
	ready = weir_wait(&wait);
	SPI_finish();
	return result(ready);
}
