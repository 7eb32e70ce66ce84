/*
 * member.h
 *		Members of groups, who work outside of transactions.
 */
#ifndef WEIR_GROUP_MEMBER_H
#define WEIR_GROUP_MEMBER_H

#include "catalog/cache.h"
#include "catalog/members.h"

extern void weir_members_lock(const WeirGroupRow *group);
extern WeirLocked weir_member_lock_lease(int64 member, bool wait,
										 WeirLeaseRow *lease);
extern TimestampTz weir_member_renew(const WeirMemberRow *member, bool wait);
extern void weir_require_owner(WeirStream *stream, const WeirGroupRow *group,
							   const WeirPositionRow *position,
							   int64 generation, WeirMemberRow *owner);

#endif							/* WEIR_GROUP_MEMBER_H */
