/*
 * seek.c
 *		stream_seek, stream_position, stream_drop_group.
 *
 * A seek moves positions of a group anywhere between the start of a partition
 * and its stable end: forward, back, to a time.  It waits for whoever is
 * fetching from the partition, so it never comes between a fetch and its
 * commit.  It takes the partition from the member who owns it: a commit of what
 * he read before is refused, or it would undo the seek; his next heartbeat
 * takes it back where it is then.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/cache.h"
#include "catalog/groups.h"
#include "fmgr.h"
#include "funcapi.h"
#include "group/group.h"
#include "group/member.h"
#include "miscadmin.h"
#include "read/offsets.h"
#include "read/stable.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(weir_stream_seek);
PG_FUNCTION_INFO_V1(weir_stream_position);
PG_FUNCTION_INFO_V1(weir_stream_drop_group);

enum
{
	ARG_STREAM,
	ARG_GROUP,
	ARG_PARTITION,
	ARG_OFFSET,
	ARG_TS,
	ARG_START
};

/* Where to: one of three ways to say it. */
typedef struct Goal
{
	bool		by_offset;
	int64		offset;
	bool		by_ts;
	TimestampTz ts;
	bool		earliest;		/* else latest */
} Goal;

static void
read_goal(FunctionCallInfo fcinfo, Goal *goal)
{
	int			given = !PG_ARGISNULL(ARG_OFFSET) + !PG_ARGISNULL(ARG_TS) +
		!PG_ARGISNULL(ARG_START);

	memset(goal, 0, sizeof(Goal));
	if (given != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("one of offset, ts and start must be given")));
	if (!PG_ARGISNULL(ARG_OFFSET))
	{
		goal->by_offset = true;
		goal->offset = PG_GETARG_INT64(ARG_OFFSET);
		if (goal->offset < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("offset must not be negative")));
	}
	else if (!PG_ARGISNULL(ARG_TS))
	{
		goal->by_ts = true;
		goal->ts = PG_GETARG_TIMESTAMPTZ(ARG_TS);
	}
	else
	{
		char	   *start = text_to_cstring(PG_GETARG_TEXT_PP(ARG_START));

		goal->earliest = strcmp(start, "earliest") == 0;
		if (!goal->earliest && strcmp(start, "latest") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid start: \"%s\"", start),
					 errhint("It is \"earliest\" or \"latest\".")));
	}
}

/* The offset to go to, of one partition; the two errors are different ones. */
static int64
offset_of(WeirStream *stream, int number, const Goal *goal, Snapshot snapshot)
{
	WeirPartition *partition = &stream->partitions[number];
	int64		start = weir_start_offset(partition);
	int64		end = weir_stable_end(partition, snapshot);

	if (goal->by_ts)
		return weir_offset_at(partition, goal->ts, snapshot);
	if (!goal->by_offset)
		return goal->earliest ? start : end;
	if (goal->offset < start)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_NOT_RETAINED),
				 errmsg("offset " INT64_FORMAT " of partition %d of stream \"%s\" is no longer retained",
						goal->offset, number, get_rel_name(stream->oid)),
				 errdetail("The partition now starts at offset " INT64_FORMAT ".",
						   start)));
	if (goal->offset > end)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_AFTER_END),
				 errmsg("offset " INT64_FORMAT " is after the end of partition %d of stream \"%s\"",
						goal->offset, number, get_rel_name(stream->oid)),
				 errdetail("The stable end is " INT64_FORMAT ".", end)));
	return goal->offset;
}

static int64
seek(WeirStream *stream, const WeirGroupRow *group, int number,
	 const Goal *goal)
{
	WeirPositionRow position;
	Snapshot	snapshot;
	int64		before;

	(void) weir_partition_open(stream, number, AccessShareLock);
	weir_position_lock_newest(stream, group, number, &position);
	/* Later than the lock: whoever fetched is decided, and his messages too. */
	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ?
								GetTransactionSnapshot() : GetLatestSnapshot());
	PushActiveSnapshot(snapshot);
	before = position.next;
	do
		position.next = offset_of(stream, number, goal, snapshot);
	while (!weir_group_stays(stream, number, position.next));
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	position.owner = 0;
	weir_position_move(&position);
	weir_group_moved(stream, number, before, position.next);
	return position.next;
}

static WeirStream *
open_stream(FunctionCallInfo fcinfo)
{
	Oid			relid = weir_stream_arg(fcinfo, ARG_STREAM);

	weir_check_privilege(relid, ACL_SELECT);
	return weir_stream_open(relid, AccessShareLock);
}

/* stream_seek(stream, group, partition, offset, ts, start) */
Datum
weir_stream_seek(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *name = weir_group_arg(fcinfo, ARG_GROUP);
	WeirStream *stream;
	WeirGroupRow group;
	Goal		goal;
	int			first = 0;
	int			last;

	weir_require_writable("stream_seek()");
	read_goal(fcinfo, &goal);
	stream = open_stream(fcinfo);
	last = stream->npartitions - 1;
	if (!PG_ARGISNULL(ARG_PARTITION))
	{
		first = last = PG_GETARG_INT32(ARG_PARTITION);
		(void) weir_partition_open(stream, first, NoLock);
	}
	else if (goal.by_offset && last > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset needs a partition"),
				 errdetail("Stream \"%s\" has %d partitions, each with offsets of its own.",
						   get_rel_name(stream->oid), stream->npartitions)));
	(void) weir_group_ensure(stream, name, true, &group);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = first; i <= last; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		values[0] = Int32GetDatum(i);
		values[1] = Int64GetDatum(seek(stream, &group, i, &goal));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* stream_position(stream, group, partition) */
Datum
weir_stream_position(PG_FUNCTION_ARGS)
{
	char	   *name = weir_group_arg(fcinfo, ARG_GROUP);
	WeirStream *stream = open_stream(fcinfo);
	WeirPositionRow position;
	WeirGroupRow group;
	int			number = PG_ARGISNULL(ARG_PARTITION) ? 0 : PG_GETARG_INT32(ARG_PARTITION);

	if (PG_ARGISNULL(ARG_PARTITION) && stream->npartitions > 1)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("partition of stream \"%s\" must be given",
						get_rel_name(stream->oid))));
	(void) weir_partition_open(stream, number, NoLock);
	weir_group_known(stream, name, &group);
	if (!weir_position_get(group.id, number, GetActiveSnapshot(), &position))
		PG_RETURN_NULL();
	PG_RETURN_INT64(position.next);
}

/* stream_drop_group(stream, group) */
Datum
weir_stream_drop_group(PG_FUNCTION_ARGS)
{
	char	   *name = weir_group_arg(fcinfo, ARG_GROUP);
	WeirStream *stream;
	WeirGroupRow group;

	weir_require_writable("stream_drop_group()");
	stream = open_stream(fcinfo);
	weir_group_known(stream, name, &group);
	(void) weir_group_lock(stream, name, true);
	weir_group_known(stream, name, &group);
	for (int i = 0; i < stream->npartitions; i++)
	{
		WeirPositionRow position;

		weir_position_lock_newest(stream, &group, i, &position);
		/* Gone is as far as one can move. */
		weir_group_moved(stream, i, position.next, PG_INT64_MAX);
	}
	weir_members_lock(&group);
	weir_group_delete(&group);
	PG_RETURN_VOID();
}
