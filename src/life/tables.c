/*
 * tables.c
 *		Detaching the table of a partition from the stream, and attaching it.
 *
 * What a detached partition still shares with its stream is put into
 * dependencies: DROP TABLE of the stream takes it along, DROP INDEX the index
 * that belonged to it.  (Such dependencies are not dumped; settle.c ties a
 * restored partition again.)  Who may read the stream may read the detached
 * table.  All that runs in one transaction with the event.
 *
 * Locks are the business of the callers: ATTACH needs ShareUpdateExclusive on
 * the stream and AccessExclusive on everything below the partition, a plain
 * DETACH AccessExclusive on the stream too.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/sql.h"
#include "catalog/dependency.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "life/tables.h"
#include "storage/bufmgr.h"
#include "stream/event.h"
#include "stream/follow.h"
#include "stream/parts.h"
#include "stream/state.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

/* An index of a partition, and the index of the stream that it is part of. */
typedef struct IndexPair
{
	Oid			index;
	Oid			parent;
} IndexPair;

/* ---- what is wanted ---- */

bool
weir_wants_detached(const WeirPartitionRow *row)
{
	return weir_row_is_paused(row) && row->detach &&
		weir_why_attached(row->stream, row->partition) == NULL;
}

bool
weir_is_settled(const WeirPartitionRow *row)
{
	return weir_actual_state(row->partition) ==
		(weir_wants_detached(row) ? WEIR_DETACHED : WEIR_ATTACHED) &&
		weir_loose_segments(row->partition) == NIL;
}

/* The segments that were made while the partition was being detached. */
List *
weir_loose_segments(Oid partition)
{
	List	   *loose = NIL;
	ListCell   *lc;

	foreach(lc, weir_segment_list(partition))
		if (((WeirSegmentRow *) lfirst(lc))->loose)
			loose = lappend(loose, lfirst(lc));
	return loose;
}

/* The partition and its segments. */
List *
weir_tables_below(Oid partition)
{
	List	   *relids = list_make1_oid(partition);
	ListCell   *lc;

	foreach(lc, weir_segment_list(partition))
		relids = lappend_oid(relids, ((WeirSegmentRow *) lfirst(lc))->segment);
	return relids;
}

/* ---- dependencies ---- */

void
weir_tie_to_stream(Oid stream, Oid partition)
{
	weir_tie(partition, stream);
	CommandCounterIncrement();
}

/* To be asked before a detach: afterwards nothing says it. */
List *
weir_index_pairs(Oid partition)
{
	Relation	rel = table_open(partition, AccessShareLock);
	List	   *pairs = NIL;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Oid			index = lfirst_oid(lc);

		if (get_rel_relispartition(index))
		{
			IndexPair  *pair = palloc(sizeof(IndexPair));

			pair->index = index;
			pair->parent = get_partition_parent(index, true);
			pairs = lappend(pairs, pair);
		}
	}
	table_close(rel, AccessShareLock);
	return pairs;
}

/* Before an attach, which makes dependencies of its own. */
static void
untie(const WeirPartitionRow *row)
{
	Relation	stream = table_open(row->stream, AccessShareLock);
	Relation	rel = table_open(row->partition, AccessShareLock);
	ListCell   *lc;
	ListCell   *lc2;

	deleteDependencyRecordsForSpecific(RelationRelationId, row->partition,
									   DEPENDENCY_AUTO, RelationRelationId,
									   row->stream);
	foreach(lc, RelationGetIndexList(rel))
		foreach(lc2, RelationGetIndexList(stream))
			deleteDependencyRecordsForSpecific(RelationRelationId, lfirst_oid(lc),
											   DEPENDENCY_AUTO, RelationRelationId,
											   lfirst_oid(lc2));
	table_close(rel, AccessShareLock);
	table_close(stream, AccessShareLock);
	CommandCounterIncrement();
}

/* ---- detach and attach ---- */

static void
tell(const WeirPartitionRow *row, const char *what, const char *from,
	 const char *to)
{
	WeirEvent	event = {0};

	event.event = what;
	event.stream = row->stream;
	event.partitions = list_make1_int(row->number);
	event.cause = row->cause;
	event.from = from;
	event.to = to;
	event.offset = -1;
	weir_event(&event);
}

/* In the transaction in which a detach became complete. */
void
weir_after_detach(const WeirPartitionRow *row, List *index_pairs)
{
	ListCell   *lc;

	CommandCounterIncrement();
	weir_tie(row->partition, row->stream);
	foreach(lc, index_pairs)
	{
		IndexPair  *pair = lfirst(lc);

		if (get_rel_name(pair->index) != NULL && get_rel_name(pair->parent) != NULL)
			weir_tie(pair->index, pair->parent);
	}
	CommandCounterIncrement();
	weir_follow_grants(row->stream, row->partition);
	tell(row, "detached", "attached", "detached");
}

/* Under locks that let it through at once. */
void
weir_detach_partition(const WeirPartitionRow *row)
{
	List	   *pairs = weir_index_pairs(row->partition);

	weir_run_ddl("ALTER TABLE %s DETACH PARTITION %s",
				 weir_qualified_name(row->stream),
				 weir_qualified_name(row->partition));
	weir_after_detach(row, pairs);
}

/*
 * FINALIZE waits for older snapshots, with AccessExclusive on the partition:
 * wait before that, where nobody queues behind us.
 */
void
weir_wait_for_snapshots(void)
{
	PushActiveSnapshot(GetLatestSnapshot());
	WaitForOlderSnapshots(GetActiveSnapshot()->xmin, false);
	PopActiveSnapshot();
}

/* A detach that a timeout or a crash left pending. */
void
weir_finalize_detach(const WeirPartitionRow *row)
{
	List	   *pairs;

	weir_wait_for_snapshots();
	pairs = weir_index_pairs(row->partition);
	weir_run_ddl("ALTER TABLE %s DETACH PARTITION %s FINALIZE",
				 weir_qualified_name(row->stream),
				 weir_qualified_name(row->partition));
	WEIR_DEBUG_POINT("detach_finalized");
	weir_after_detach(row, pairs);
}

/*
 * Attach the loose segments of a partition that is not being detached any
 * more.  Under AccessExclusive on them; nothing is scanned.
 */
void
weir_attach_loose(const WeirPartitionRow *row)
{
	ListCell   *lc;

	foreach(lc, weir_loose_segments(row->partition))
	{
		WeirSegmentRow *segment = lfirst(lc);
		char	   *name = weir_qualified_name(segment->segment);

		deleteDependencyRecordsForSpecific(RelationRelationId, segment->segment,
										   DEPENDENCY_AUTO, RelationRelationId,
										   row->partition);
		CommandCounterIncrement();
		weir_run_ddl("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (" INT64_FORMAT
					 ") TO (" INT64_FORMAT ")",
					 weir_qualified_name(row->partition), name,
					 segment->lower, segment->upper);
		weir_run_ddl("ALTER TABLE ONLY %s DROP CONSTRAINT " WEIR_BOUNDS_CHECK, name);
		weir_segment_set_attached(segment->segment);
	}
	CacheInvalidateRelcacheByRelid(row->partition);
}

/* Under locks that let it through at once. */
void
weir_attach_partition(const WeirPartitionRow *row)
{
	untie(row);
	weir_revoke_grants(row->stream, row->partition);
	weir_run_ddl("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES IN (%d)",
				 weir_qualified_name(row->stream),
				 weir_qualified_name(row->partition), row->number);
	WEIR_DEBUG_POINT("attached");
	tell(row, "attached", "detached", "attached");
}

/* ---- letting go ---- */

/*
 * Write what is dirty, so that nothing of the partition has to stay here: one
 * look at all buffers for all its files.  And close them.
 */
void
weir_let_go(Oid partition)
{
	List	   *rels = NIL;
	SMgrRelation *files;
	int			n = 0;
	ListCell   *lc;

	foreach(lc, weir_segment_list(partition))
	{
		Relation	rel = try_relation_open(((WeirSegmentRow *) lfirst(lc))->segment,
											AccessShareLock);
		ListCell   *lc2;

		if (rel == NULL)
			continue;
		rels = lappend(rels, rel);
		foreach(lc2, RelationGetIndexList(rel))
			rels = lappend(rels, relation_open(lfirst_oid(lc2), AccessShareLock));
		if (OidIsValid(rel->rd_rel->reltoastrelid))
			rels = lappend(rels, relation_open(rel->rd_rel->reltoastrelid,
											   AccessShareLock));
	}
	files = palloc(Max(list_length(rels), 1) * sizeof(SMgrRelation));
	/* Opening a relation can close the file of another: not from here on. */
	foreach(lc, rels)
		if (RelationGetNumberOfBlocks((Relation) lfirst(lc)) > 0)
			files[n++] = RelationGetSmgr((Relation) lfirst(lc));
	if (n > 0)
		FlushRelationsAllBuffers(files, n);
	foreach(lc, rels)
	{
		RelationCloseSmgr((Relation) lfirst(lc));
		relation_close((Relation) lfirst(lc), AccessShareLock);
	}
}
