/*
 * seek.h
 *		Finding an offset or a time in a heap of verified order.
 */
#ifndef WEIR_READ_SEEK_H
#define WEIR_READ_SEEK_H

#include "storage/block.h"
#include "utils/relcache.h"

/* What is looked for. */
typedef enum WeirSeek
{
	WEIR_SEEK_OFFSET,
	WEIR_SEEK_TS
} WeirSeek;

extern BlockNumber weir_seek_block(Relation segment, BlockNumber nblocks,
								   WeirSeek what, int64 wanted);

#endif							/* WEIR_READ_SEEK_H */
