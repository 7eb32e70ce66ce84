/*
 * tables.h
 *		Detaching the table of a partition from the stream, and attaching it.
 */
#ifndef WEIR_LIFE_TABLES_H
#define WEIR_LIFE_TABLES_H

#include "catalog/tables.h"

extern bool weir_wants_detached(const WeirPartitionRow *row);
extern bool weir_is_settled(const WeirPartitionRow *row);
extern List *weir_loose_segments(Oid partition);
extern void weir_attach_loose(const WeirPartitionRow *row);
extern List *weir_tables_below(Oid partition);
extern List *weir_index_pairs(Oid partition);
extern void weir_after_detach(const WeirPartitionRow *row, List *index_pairs);
extern void weir_attach_partition(const WeirPartitionRow *row);
extern void weir_detach_partition(const WeirPartitionRow *row);
extern void weir_finalize_detach(const WeirPartitionRow *row);
extern void weir_tie_to_stream(Oid stream, Oid partition);
extern void weir_let_go(Oid partition);
extern void weir_wait_for_snapshots(void);

#endif							/* WEIR_LIFE_TABLES_H */
