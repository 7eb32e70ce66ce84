/*
 * group.h
 *		Consumer groups: finding one, making one at its first fetch.
 */
#ifndef WEIR_GROUP_GROUP_H
#define WEIR_GROUP_GROUP_H

#include "catalog/cache.h"
#include "catalog/groups.h"
#include "fmgr.h"

extern char *weir_group_arg(FunctionCallInfo fcinfo, int argno);
extern void weir_group_known(WeirStream *stream, const char *name,
							 WeirGroupRow *row);
extern bool weir_group_ensure(WeirStream *stream, const char *name, bool wait,
							  WeirGroupRow *row);

#endif							/* WEIR_GROUP_GROUP_H */
