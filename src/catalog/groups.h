/*
 * groups.h
 *		The rows of weir.group and weir.position.
 */
#ifndef WEIR_CATALOG_GROUPS_H
#define WEIR_CATALOG_GROUPS_H

#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

/* The longest name of a group, in bytes. */
#define WEIR_MAX_GROUP_NAME		255

typedef struct WeirGroupRow
{
	int64		id;
	Oid			stream;
	char	   *name;
	TimestampTz created;
} WeirGroupRow;

typedef struct WeirPositionRow
{
	int64		group;
	int			partition;
	int64		version;
	int64		next;
	TimestampTz moved;
	int64		skipped;
	int64		owner;			/* the member who works on it outside of
								 * transactions; 0 or no member: nobody */
	ItemPointerData tid;		/* of the row that was read */
} WeirPositionRow;

/* How a row was locked. */
typedef enum WeirLocked
{
	WEIR_LOCKED,
	WEIR_LOCK_TAKEN,			/* somebody is working on it */
	WEIR_LOCK_MOVED				/* there is a newer one */
} WeirLocked;

extern bool weir_group_get(Oid stream, const char *name, WeirGroupRow *row);
extern List *weir_group_list(Oid stream);
extern int64 weir_group_insert(Oid stream, const char *name);
extern void weir_group_delete(const WeirGroupRow *row);

extern bool weir_position_get(int64 group, int partition, Snapshot snapshot,
							  WeirPositionRow *row);
extern int weir_position_versions(int64 group, int partition,
								  Snapshot snapshot);
extern WeirLocked weir_position_lock(const WeirPositionRow *row, bool wait);
extern void weir_position_insert(const WeirPositionRow *row);
extern void weir_position_move(WeirPositionRow *row);
extern void weir_position_own(WeirPositionRow *row, int64 owner);

extern WeirLocked weir_lock_version(Oid table, ItemPointer tid, bool wait);

#endif							/* WEIR_CATALOG_GROUPS_H */
