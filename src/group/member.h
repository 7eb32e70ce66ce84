/*
 * member.h
 *		Members of groups, who work outside of transactions.
 */
#ifndef WEIR_GROUP_MEMBER_H
#define WEIR_GROUP_MEMBER_H

#include "catalog/members.h"

extern void weir_members_lock(const WeirGroupRow *group);
extern WeirLocked weir_member_lock_lease(int64 member, bool wait,
										 WeirLeaseRow *lease);
extern TimestampTz weir_member_renew(const WeirMemberRow *member, bool wait);

#endif							/* WEIR_GROUP_MEMBER_H */
