/*
 * args.h
 *		What the functions of this folder are told: some partitions.
 */
#ifndef WEIR_LIFE_ARGS_H
#define WEIR_LIFE_ARGS_H

#include "catalog/cache.h"
#include "fmgr.h"

extern List *weir_numbers_arg(FunctionCallInfo fcinfo, int argno,
							  WeirStream *stream);
extern bool weir_bool_arg(FunctionCallInfo fcinfo, int argno, const char *name);
extern List *weir_lock_rows(WeirStream *stream, List *numbers);
extern void weir_warn_without_workers(const char *what);

#endif							/* WEIR_LIFE_ARGS_H */
