/*
 * bounds.c
 *		What the tables themselves say of partitions and segments.
 *
 * The rows of weir.partition and weir.segment can be rebuilt from the
 * partition bounds of the tables, and are compared with them.
 */
#include "postgres.h"

#include "base/compat.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "stream/bounds.h"
#include "utils/rel.h"

static void
bad_bound(Relation parent)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("table \"%s\" is not partitioned as a stream is",
					RelationGetRelationName(parent))));
}

/* The partitions of a stream, palloc'd WeirPartitionRow, by number. */
List *
weir_attached_partitions(Relation stream)
{
	PartitionDesc desc;
	List	   *list = NIL;

	if (stream->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		bad_bound(stream);
	desc = RelationGetPartitionDesc(stream, true);
	if (desc->nparts > 0 &&
		(desc->boundinfo->strategy != PARTITION_STRATEGY_LIST ||
		 desc->boundinfo->ndatums != desc->nparts))
		bad_bound(stream);
	for (int i = 0; i < desc->nparts; i++)
	{
		WeirPartitionRow *row = palloc0(sizeof(WeirPartitionRow));

		weir_partition_init(row, RelationGetRelid(stream),
							DatumGetInt32(desc->boundinfo->datums[i][0]));
		row->partition = desc->oids[desc->boundinfo->indexes[i]];
		list = lappend(list, row);
	}
	return list;
}

/* The segments of a partition, palloc'd WeirSegmentRow, in order. */
List *
weir_attached_segments(Relation partition)
{
	PartitionDesc desc;
	List	   *list = NIL;

	if (partition->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		bad_bound(partition);
	desc = RelationGetPartitionDesc(partition, true);
	if (desc->nparts == 0)
		return NIL;
	if (desc->boundinfo->strategy != PARTITION_STRATEGY_RANGE)
		bad_bound(partition);

	/* indexes[i] is the part that ends at datums[i], -1 for a hole. */
	for (int i = 1; i < desc->boundinfo->ndatums; i++)
	{
		int			index = desc->boundinfo->indexes[i];
		WeirSegmentRow *row;

		if (index < 0)
			continue;
		if (desc->boundinfo->kind[i][0] != PARTITION_RANGE_DATUM_VALUE ||
			desc->boundinfo->kind[i - 1][0] != PARTITION_RANGE_DATUM_VALUE)
			bad_bound(partition);
		row = palloc0(sizeof(WeirSegmentRow));
		row->segment = desc->oids[index];
		row->partition = RelationGetRelid(partition);
		row->messages = -1;		/* and not loose */
		row->lower = DatumGetInt64(desc->boundinfo->datums[i - 1][0]);
		row->upper = DatumGetInt64(desc->boundinfo->datums[i][0]);
		list = lappend(list, row);
	}
	return list;
}
