/*
 * passed.h
 *		Remembering a long dead tail, so as not to walk it at each poll.
 */
#ifndef WEIR_READ_PASSED_H
#define WEIR_READ_PASSED_H

#include "access/xlogdefs.h"
#include "storage/block.h"
#include "utils/relcache.h"

extern void weir_passed_note(Relation segment, int64 from, BlockNumber block,
							 BlockNumber nblocks, XLogRecPtr lsn);
extern bool weir_passed_get(Relation segment, int64 from, BlockNumber nblocks,
							BlockNumber *block);

#endif							/* WEIR_READ_PASSED_H */
