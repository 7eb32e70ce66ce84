/*
 * group.c
 *		Consumer groups: finding one, making one, locking its parts.
 *
 * The rows of a group, its positions and members with them, are inserted and
 * deleted only under a heavyweight lock of (stream, name), held to the end of
 * the transaction, and after a look with a new snapshot: a unique index over
 * positions that move does not keep two sessions from making the same one (a
 * dead version does not conflict).  A fetch that does not get the lock finds
 * nothing, as if every position were being worked on.
 *
 * Order of locks: stream, partition; the group; positions; leases.  What is
 * taken out of this order is only tried.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/slots.h"
#include "base/watch.h"
#include "catalog/pg_class.h"
#include "catalog/tables.h"
#include "common/hashfn.h"
#include "group/group.h"
#include "miscadmin.h"
#include "read/stable.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* Sub-objects from here on are names of groups, hashed. */
#define GROUP_SUBID		0x8000

static char *
name_arg(FunctionCallInfo fcinfo, int argno, const char *what)
{
	char	   *name;

	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	name = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	if (name[0] == '\0' || strlen(name) > WEIR_MAX_GROUP_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a %s: \"%.*s\"", what, 64, name),
				 errdetail("A name is from 1 to %d bytes long.",
						   WEIR_MAX_GROUP_NAME)));
	return name;
}

char *
weir_group_arg(FunctionCallInfo fcinfo, int argno)
{
	return name_arg(fcinfo, argno, "group");
}

char *
weir_member_arg(FunctionCallInfo fcinfo, int argno)
{
	return name_arg(fcinfo, argno, "member");
}

/* A group that must be there. */
void
weir_group_known(WeirStream *stream, const char *name, WeirGroupRow *row)
{
	if (!weir_group_get(stream->oid, name, row))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" has no group \"%s\"",
						get_rel_name(stream->oid), name),
				 errhint("A group is made by its first stream_fetch(), stream_join() or stream_seek().")));
}

/* Positions at the start of all partitions. */
static void
make_group(WeirStream *stream, const char *name)
{
	int64		id = weir_group_insert(stream->oid, name);

	for (int i = 0; i < stream->npartitions; i++)
	{
		WeirPositionRow position = {0};

		position.group = id;
		position.partition = i;
		do
			position.next = weir_start_offset(&stream->partitions[i]);
		while (!weir_group_stays(stream, i, position.next));
		position.moved = GetCurrentTimestamp();
		weir_position_insert(&position);
		/* Who waited while we had the lock may want any of them. */
		weir_note_position(stream->partitions[i].slot_number);
	}
}

/* To the end of the transaction.  False: somebody has it, not waited for. */
bool
weir_group_lock(WeirStream *stream, const char *name, bool wait)
{
	LOCKTAG		tag;
	uint32		hash = hash_bytes((const unsigned char *) name, strlen(name));

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, stream->oid,
					   GROUP_SUBID | (hash & (GROUP_SUBID - 1)));
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Find a group or make it.  False: somebody is making it, or not waited for.
 */
bool
weir_group_ensure(WeirStream *stream, const char *name, bool wait,
				  WeirGroupRow *row)
{
	if (weir_group_get(stream->oid, name, row))
		return true;
	if (!weir_group_lock(stream, name, wait))
		return false;
	if (!weir_group_get(stream->oid, name, row))
		make_group(stream, name);
	return weir_group_get(stream->oid, name, row);
}

/* Somebody has dropped the group since we looked. */
void
weir_position_gone(WeirStream *stream, const WeirGroupRow *group)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("group \"%s\" of stream \"%s\" was dropped",
					group->name, get_rel_name(stream->oid))));
}

/* What we are to change was changed after this transaction's snapshot. */
void
weir_position_changed(WeirStream *stream, const char *group)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent use of group \"%s\" of stream \"%s\"",
					group, get_rel_name(stream->oid)),
			 errhint("Try the transaction again.")));
}

/* REPEATABLE READ: what we change must be what the transaction sees. */
static void
require_seen(WeirStream *stream, const WeirGroupRow *group,
			 const WeirPositionRow *position)
{
	WeirPositionRow seen;

	if (!weir_position_get(group->id, position->partition,
						   GetTransactionSnapshot(), &seen) ||
		seen.version != position->version)
		weir_position_changed(stream, group->name);
}

/*
 * Lock the newest version, however often it moves while we wait.  Who waits for
 * messages is told when we are done with it.
 */
void
weir_position_lock_newest(WeirStream *stream, const WeirGroupRow *group,
						  int number, WeirPositionRow *position)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (!weir_position_get(group->id, number, NULL, position))
			weir_position_gone(stream, group);
		if (weir_position_lock(position, true) == WEIR_LOCKED)
		{
			weir_note_position(stream->partitions[number].slot_number);
			if (IsolationUsesXactSnapshot())
				require_seen(stream, group, position);
			return;
		}
		if (IsolationUsesXactSnapshot())
			weir_position_changed(stream, group->name);
	}
}

/* ---- retention that waits for groups (option retention_hold) ---- */

/*
 * A position is about to be put here: keep retention, which cannot see it
 * before the commit, from dropping the segment.  False: it has just done so,
 * choose another offset.  Not needed for a move forward from a position.
 */
bool
weir_group_stays(WeirStream *stream, int number, int64 offset)
{
	WeirPartition *partition = &stream->partitions[number];
	WeirSegmentRow row;

	if (!stream->options.retention_hold)
		return true;
	if (weir_segment_at(partition->oid, offset, &row) ||
		weir_segment_next(partition->oid, -1, &row))
		LockRelationOid(row.segment, AccessShareLock);
	return offset >= weir_start_offset(partition);
}

/*
 * A position of a group was moved in this transaction.  If it has left a
 * segment behind, that may be what retention was waiting for: the keeper
 * looks, once we have committed.
 */
void
weir_group_moved(WeirStream *stream, int number, int64 before, int64 after)
{
	Oid			partition = stream->partitions[number].oid;
	WeirSegmentRow row;

	if (likely(!stream->options.retention_hold) || after <= before)
		return;
	/* Offsets that retention took were in no segment that is still there. */
	if (!weir_segment_at(partition, before, &row) || after >= row.upper)
		weir_wake_for_partition(partition);
}
