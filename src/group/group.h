/*
 * group.h
 *		Consumer groups: finding one, making one, locking its parts.
 */
#ifndef WEIR_GROUP_GROUP_H
#define WEIR_GROUP_GROUP_H

#include "catalog/cache.h"
#include "catalog/groups.h"
#include "fmgr.h"

extern char *weir_group_arg(FunctionCallInfo fcinfo, int argno);
extern char *weir_member_arg(FunctionCallInfo fcinfo, int argno);
extern bool weir_group_lock(WeirStream *stream, const char *name, bool wait);
extern void weir_group_known(WeirStream *stream, const char *name,
							 WeirGroupRow *row);
extern bool weir_group_ensure(WeirStream *stream, const char *name, bool wait,
							  WeirGroupRow *row);
extern void weir_position_gone(WeirStream *stream, const WeirGroupRow *group);
extern void weir_position_changed(WeirStream *stream, const char *group);
extern void weir_position_lock_newest(WeirStream *stream,
									  const WeirGroupRow *group, int number,
									  WeirPositionRow *position);
extern bool weir_group_stays(WeirStream *stream, int number, int64 offset);
extern void weir_group_moved(WeirStream *stream, int number, int64 before,
							 int64 after);

#endif							/* WEIR_GROUP_GROUP_H */
