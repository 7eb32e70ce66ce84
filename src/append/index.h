/*
 * index.h
 *		Index entries for messages that were appended.
 */
#ifndef WEIR_APPEND_INDEX_H
#define WEIR_APPEND_INDEX_H

#include "access/htup.h"
#include "utils/relcache.h"

extern void weir_insert_index_entries(Relation segment, HeapTuple *tuples,
									  int ntuples);

#endif							/* WEIR_APPEND_INDEX_H */
