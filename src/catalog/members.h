/*
 * members.h
 *		The rows of weir.member and weir.lease.
 *
 * Whoever inserts, updates or deletes a member holds the lock of its group
 * (group/group.h).  A lease is renewed without: it is a row of its own, whose
 * next version is written by who has locked the newest one.  Who deletes a
 * member has locked its lease before.
 */
#ifndef WEIR_CATALOG_MEMBERS_H
#define WEIR_CATALOG_MEMBERS_H

#include "catalog/groups.h"

typedef struct WeirMemberRow
{
	int64		id;
	int64		group;
	char	   *name;
	int64		generation;
	int			held;			/* partitions that came with the generation */
	int64		lease;			/* how long one is, in microseconds */
	TimestampTz joined;
	ItemPointerData tid;		/* of the row that was read */
} WeirMemberRow;

typedef struct WeirLeaseRow
{
	int64		member;
	int64		version;
	TimestampTz expires;
	ItemPointerData tid;		/* of the row that was read */
} WeirLeaseRow;

extern int64 weir_next_generation(void);

extern bool weir_member_get(int64 id, WeirMemberRow *row);
extern List *weir_member_list(int64 group, Snapshot snapshot);
extern void weir_member_insert(const WeirMemberRow *row);
extern void weir_member_update(WeirMemberRow *row);
extern void weir_member_delete(int64 id);
extern void weir_members_forget(int64 group);

extern bool weir_lease_get(int64 member, Snapshot snapshot, WeirLeaseRow *row);
extern int weir_lease_versions(int64 member, Snapshot snapshot);
extern bool weir_lease_lives(int64 member);
extern WeirLocked weir_lease_lock(const WeirLeaseRow *row, bool wait);
extern void weir_lease_insert(int64 member, TimestampTz expires);
extern void weir_lease_renew(WeirLeaseRow *row, TimestampTz expires);

#endif							/* WEIR_CATALOG_MEMBERS_H */
