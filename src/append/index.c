/*
 * index.c
 *		Index entries for messages that were appended.
 *
 * Users may put any index on a stream.  Entries are made after the append
 * lock is released: a unique index may wait for another transaction, an
 * expression may run any code.  An error takes the messages back with the
 * (sub)transaction, as for any INSERT.
 */
#include "postgres.h"

#include "append/index.h"
#include "base/compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/rel.h"

void
weir_insert_index_entries(Relation segment, HeapTuple *tuples, int ntuples)
{
	EState	   *estate;
	RangeTblEntry *rte;
	ResultRelInfo *rri;
	TupleTableSlot *slot;

	if (likely(!segment->rd_rel->relhasindex))
		return;

	estate = CreateExecutorState();
	rte = makeNode(RangeTblEntry);
	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(segment);
	rte->relkind = segment->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	weir_init_range_table(estate, rte);
	rri = makeNode(ResultRelInfo);
	InitResultRelInfo(rri, segment, 1, NULL, 0);
	ExecOpenIndices(rri, false);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(segment),
									&TTSOpsHeapTuple);

	for (int i = 0; i < ntuples && rri->ri_NumIndices > 0; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ExecStoreHeapTuple(tuples[i], slot, false);
		slot->tts_tid = tuples[i]->t_self;
		list_free(weir_insert_index_tuples(rri, slot, estate));
		ResetPerTupleExprContext(estate);
	}

	ExecDropSingleTupleTableSlot(slot);
	ExecCloseIndices(rri);
	FreeExecutorState(estate);
}
