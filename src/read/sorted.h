/*
 * sorted.h
 *		The order of heaps that nobody has verified.
 */
#ifndef WEIR_READ_SORTED_H
#define WEIR_READ_SORTED_H

#include "storage/itemptr.h"
#include "utils/relcache.h"

typedef struct WeirSortedItem
{
	int64		offset;
	ItemPointerData tid;
} WeirSortedItem;

typedef struct WeirSorted
{
	Oid			segment;		/* hash key */
	Oid			file_number;
	BlockNumber nblocks;
	uint64		generation;		/* of the heap's entry in the cache */
	bool		in_order;		/* physical order is offset order: no items */
	int64		used;			/* start of the transaction that used it last */
	int64		nitems;
	WeirSortedItem *items;
} WeirSorted;

extern WeirSorted *weir_sorted_get(Relation segment);
extern int64 weir_sorted_find(const WeirSorted *sorted, int64 offset);

#endif							/* WEIR_READ_SORTED_H */
