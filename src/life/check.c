/*
 * check.c
 *		stream_check: verifying what order and reading lean on.
 *
 * One row per problem.  A heap that is marked as verified must be in physical
 * order, item for item; any other must at least have no offset twice among
 * what is visible.  The tables must be those of the rows, and guarded.
 */
#include "postgres.h"

#include "access/table.h"
#include "append/order.h"
#include "append/tail.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/cache.h"
#include "catalog/groups.h"
#include "catalog/members.h"
#include "catalog/tables.h"
#include "funcapi.h"
#include "life/replay.h"
#include "life/tables.h"
#include "miscadmin.h"
#include "read/args.h"
#include "read/sorted.h"
#include "read/stable.h"
#include "read/walk.h"
#include "stream/bounds.h"
#include "stream/parts.h"
#include "stream/state.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(weir_stream_check);

/* More than that many problems of one segment help nobody. */
#define MAX_PROBLEMS	20

typedef struct Check
{
	ReturnSetInfo *rsinfo;
	int			partition;
	Oid			segment;
	int			problems;		/* of this segment */
	int			total;
} Check;

static bool
put_problem(void *arg, const char *problem, const char *detail)
{
	Check	   *check = arg;
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = Int32GetDatum(check->partition);
	nulls[0] = check->partition < 0;
	values[1] = ObjectIdGetDatum(check->segment);
	nulls[1] = !OidIsValid(check->segment);
	values[2] = CStringGetTextDatum(problem);
	values[3] = CStringGetTextDatum(detail);
	tuplestore_putvalues(check->rsinfo->setResult, check->rsinfo->setDesc,
						 values, nulls);
	check->total++;
	return ++check->problems < MAX_PROBLEMS;
}

static void
check_guard(Check *check, Relation rel)
{
	if (!weir_guard_is_on(rel))
		put_problem(check, "guard",
					psprintf("trigger %s of \"%s\" is missing or switched off",
							 WEIR_GUARD_TRIGGER, RelationGetRelationName(rel)));
}

/* ---- the rows against the tables ---- */

/*
 * The oldest ones may be detached already: retention detaches, then drops, and
 * until then they are read like the others.  Loose ones are attached later.
 */
static bool
same_segments(List *rows, List *attached)
{
	List	   *fixed = NIL;
	ListCell   *lc;
	int			detached;

	foreach(lc, rows)
		if (!((WeirSegmentRow *) lfirst(lc))->loose)
			fixed = lappend(fixed, lfirst(lc));
	rows = fixed;
	detached = list_length(rows) - list_length(attached);
	if (detached < 0 || attached == NIL)
		return false;
	for (int i = 0; i < list_length(attached); i++)
	{
		WeirSegmentRow *a = list_nth(rows, detached + i);
		WeirSegmentRow *b = list_nth(attached, i);

		if (a->segment != b->segment || a->lower != b->lower ||
			a->upper != b->upper)
			return false;
	}
	return true;
}

/*
 * The rows of a partition's segments, and whether they fit its tables.  Row and
 * table come together, but we look at one after the other: wait for whoever
 * makes a segment or detaches one, and look again.
 */
static List *
segments_of(Relation partition, bool *fit)
{
	List	   *rows;
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, RelationGetRelid(partition));
	for (int i = 0;; i++)
	{
		AcceptInvalidationMessages();
		rows = weir_segment_list(RelationGetRelid(partition));
		*fit = same_segments(rows, weir_attached_segments(partition));
		if (*fit || i >= 3)
			return rows;
		WaitForLockers(tag, ShareUpdateExclusiveLock, false);
	}
}

static void
check_partitions(Check *check, WeirStream *stream)
{
	Relation	rel = table_open(stream->oid, AccessShareLock);
	List	   *attached = weir_attached_partitions(rel);
	ListCell   *lc;

	check->partition = -1;
	check->segment = InvalidOid;
	check_guard(check, rel);
	foreach(lc, attached)
	{
		WeirPartitionRow *row = lfirst(lc);

		if (row->number < 0 || row->number >= stream->npartitions ||
			stream->partitions[row->number].oid != row->partition)
			put_problem(check, "partitions",
						psprintf("\"%s\" is attached as partition %d and not recorded so",
								 get_rel_name(row->partition), row->number));
	}
	table_close(rel, NoLock);
}

/*
 * Is the table where the state wants it?  A row that is not settled, or whose
 * pause was ended by a request, is being worked on, or will be.
 */
static void
check_settled(Check *check, Oid partition)
{
	WeirPartitionRow before;
	WeirPartitionRow after;
	WeirActual	actual;

	if (!weir_partition_get(partition, &before))
		return;
	actual = weir_actual_state(partition);
	if (!weir_partition_get(partition, &after) || !before.settled ||
		!after.settled || before.pause_id != after.pause_id ||
		before.paused != after.paused || after.paused != weir_row_is_paused(&after))
		return;
	if (actual != (weir_wants_detached(&after) ? WEIR_DETACHED : WEIR_ATTACHED))
		put_problem(check, "attached",
					psprintf("the partition is %s and its table is %s",
							 after.paused ? "paused" : "active",
							 weir_actual_name(actual)));
}

/* State rows and activity log were committed together. */
static void
check_log(Check *check, WeirStream *stream)
{
	Snapshot	snapshot = GetActiveSnapshot();
	WeirReplay *log = weir_replay(0, stream->oid, snapshot);
	ListCell   *lc;

	if (!weir_replay_complete(log))
		return;
	foreach(lc, weir_partition_list(stream->oid, snapshot))
	{
		WeirPartitionRow *row = lfirst(lc);
		WeirReplayed said = weir_replayed(log, stream->oid, row->number);

		check->partition = row->number;
		if (said.knows_paused && said.paused != row->paused)
			put_problem(check, "activity",
						psprintf("the activity log says %s, the row says %s",
								 said.paused ? "paused" : "active",
								 row->paused ? "paused" : "active"));
		if (said.knows_read_only && said.read_only != row->read_only)
			put_problem(check, "activity",
						psprintf("the activity log says %s, the row says %s",
								 said.read_only ? "read-only" : "writable",
								 row->read_only ? "read-only" : "writable"));
	}
}

/* ---- what lies in the heaps ---- */

/* No offset twice in a heap in any order, and no time that falls. */
static void
check_unverified(Check *check, Relation rel, const WeirSegmentRow *row)
{
	WeirSorted *sorted = weir_sorted_get(rel);
	WeirWalk	walk;
	int64		last = PG_INT64_MIN;

	if (sorted->in_order)
	{
		weir_order_check(rel, check->partition, row->lower, row->upper,
						 put_problem, check);
		return;
	}
	for (int64 i = 1; i < sorted->nitems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (sorted->items[i].offset == sorted->items[i - 1].offset &&
			!put_problem(check, "order",
						 psprintf("offset " INT64_FORMAT " is there twice",
								  sorted->items[i].offset)))
			return;
	}
	if (check->problems > 0)
		return;
	weir_walk_begin(&walk, row->partition, GetActiveSnapshot(), row->lower, false);
	while (weir_walk_next(&walk) && walk.offset < row->upper)
	{
		int64		ts = weir_tuple_ts(walk.tuple.t_data);

		if (ts < last &&
			!put_problem(check, "time",
						 psprintf("offset " INT64_FORMAT " is older than the one before it",
								  walk.offset)))
			break;
		last = ts;
	}
	weir_walk_end(&walk);
}

static void
check_segment(Check *check, const WeirSegmentRow *row)
{
	Relation	rel = try_table_open(row->segment, AccessShareLock);

	check->segment = row->segment;
	check->problems = 0;
	if (rel == NULL)
	{
		WeirSegmentRow now;

		/* Row and table go together, since we read the rows perhaps. */
		if (weir_segment_get(row->segment, &now))
			put_problem(check, "segments", "a recorded segment has no table");
		return;
	}
	check_guard(check, rel);
	if (!RelationIsPermanent(rel))
		put_problem(check, "unlogged",
					psprintf("\"%s\" is not WAL-logged: a crash takes its messages",
							 RelationGetRelationName(rel)));
	if (weir_heap_lookup(rel)->verified)
		weir_order_check(rel, check->partition, row->lower, row->upper,
						 put_problem, check);
	else
		check_unverified(check, rel, row);
	table_close(rel, NoLock);
}

/* No position beyond what a reader can have seen: messages would be lost. */
static void
check_reach(Check *check, Oid stream, int number, int64 end)
{
	ListCell   *lc;

	foreach(lc, weir_group_list(stream))
	{
		WeirGroupRow *group = lfirst(lc);
		WeirPositionRow position;

		if (weir_position_get(group->id, number, GetActiveSnapshot(), &position) &&
			position.next > end)
			put_problem(check, "positions",
						psprintf("the position of group \"%s\" is " INT64_FORMAT
								 ", the stable end " INT64_FORMAT,
								 group->name, position.next, end));
	}
}

/* Nothing that is visible may lie beyond what can have been given. */
static void
check_end(Check *check, Oid stream, WeirPartition *partition)
{
	int64		end = weir_stable_end(partition, GetActiveSnapshot());
	int64		next = weir_next_offset(partition);

	check->segment = InvalidOid;
	if (end > next)
		put_problem(check, "end",
					psprintf("stable end " INT64_FORMAT " is beyond the next offset "
							 INT64_FORMAT, end, next));
	check_reach(check, stream, partition->number, end);
}

static void
check_partition(Check *check, WeirStream *stream, int number)
{
	WeirPartition *partition = weir_partition_open(stream, number, AccessShareLock);
	Relation	rel = table_open(partition->oid, AccessShareLock);
	bool		fit;
	List	   *rows = segments_of(rel, &fit);
	int64		upper = -1;
	int			before = check->total;
	ListCell   *lc;

	check->partition = number;
	check->segment = InvalidOid;
	check->problems = 0;
	check_guard(check, rel);
	check_settled(check, partition->oid);
	if (!fit)
		put_problem(check, "segments",
					"the attached segments are not those that are recorded");
	foreach(lc, rows)
	{
		WeirSegmentRow *row = lfirst(lc);

		if (row->lower < upper)
			put_problem(check, "segments",
						psprintf("\"%s\" overlaps the segment before it",
								 get_rel_name(row->segment)));
		upper = row->upper;
		check_segment(check, row);
	}
	/* What follows reads, and would stumble over what was found. */
	if (check->total == before)
		check_end(check, stream->oid, partition);
	table_close(rel, NoLock);
}

/* No name twice, and one lease each.  Oldest first, so a twin comes later. */
static void
check_members(Check *check, const WeirGroupRow *group)
{
	List	   *members = weir_member_list(group->id, GetActiveSnapshot());
	ListCell   *lc;

	check->partition = -1;
	foreach(lc, members)
	{
		WeirMemberRow *member = lfirst(lc);
		int			n = weir_lease_versions(member->id, GetActiveSnapshot());

		if (n != 1)
			put_problem(check, "members",
						psprintf("member \"%s\" of group \"%s\" has %d leases",
								 member->name, group->name, n));
		for (int i = 0; i < foreach_current_index(lc); i++)
			if (strcmp(((WeirMemberRow *) list_nth(members, i))->name, member->name) == 0)
				put_problem(check, "members",
							psprintf("group \"%s\" has two members \"%s\"",
									 group->name, member->name));
	}
}

/* Not one that was made or dropped since the snapshot. */
static bool
has_no_position(const WeirGroupRow *group, int number)
{
	WeirPositionRow position;
	WeirGroupRow now;

	return !weir_position_get(group->id, number, NULL, &position) &&
		weir_group_get(group->stream, group->name, &now) && now.id == group->id;
}

/* Every group has one position in each partition. */
static void
check_positions(Check *check, WeirStream *stream)
{
	ListCell   *lc;

	foreach(lc, weir_group_list(stream->oid))
	{
		WeirGroupRow *group = lfirst(lc);

		check_members(check, group);
		for (int i = 0; i < stream->npartitions; i++)
		{
			int			n = weir_position_versions(group->id, i, GetActiveSnapshot());

			check->partition = i;
			if (n > 1 || (n == 0 && has_no_position(group, i)))
				put_problem(check, "positions",
							psprintf("group \"%s\" has %d positions", group->name, n));
		}
	}
}

/* stream_check(stream) */
Datum
weir_stream_check(PG_FUNCTION_ARGS)
{
	Check		check = {0};
	WeirStream *stream = weir_open_for_read(weir_stream_arg(fcinfo, 0));

	InitMaterializedSRF(fcinfo, 0);
	check.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PushActiveSnapshot(GetLatestSnapshot());
	check_partitions(&check, stream);
	check_log(&check, stream);
	check_positions(&check, stream);
	for (int i = 0; i < stream->npartitions; i++)
		check_partition(&check, stream, i);
	PopActiveSnapshot();
	return (Datum) 0;
}
