/*
 * args.h
 *		What the reading functions are told: which stream, which partition;
 *		and that somebody reads.
 */
#ifndef WEIR_READ_ARGS_H
#define WEIR_READ_ARGS_H

#include "catalog/cache.h"
#include "fmgr.h"

extern WeirStream *weir_open_for_read(Oid relid);
extern WeirPartition *weir_partition_arg(FunctionCallInfo fcinfo, int argno,
										 WeirStream *stream);
extern void weir_note_reading(WeirStream *stream, WeirPartition *partition);

#endif							/* WEIR_READ_ARGS_H */
