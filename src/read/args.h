/*
 * args.h
 *		What the reading functions are told: which stream, which partition.
 */
#ifndef WEIR_READ_ARGS_H
#define WEIR_READ_ARGS_H

#include "catalog/cache.h"
#include "fmgr.h"

extern WeirStream *weir_open_for_read(Oid relid);
extern WeirPartition *weir_partition_arg(FunctionCallInfo fcinfo, int argno,
										 WeirStream *stream);

#endif							/* WEIR_READ_ARGS_H */
