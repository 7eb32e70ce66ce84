/*
 * group.c
 *		Consumer groups: finding one, making one at its first fetch.
 *
 * The rows of a group, its positions with them, are inserted only under a
 * heavyweight lock of (stream, name), held to the end of the transaction, and
 * after a look with a new snapshot: a unique index over positions that move
 * does not keep two sessions from making the same one (a dead version does not
 * conflict).  Who does not get the lock finds nothing to fetch, as if every
 * position were being worked on.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "group/group.h"
#include "miscadmin.h"
#include "read/stable.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* Sub-objects from here on are names of groups, hashed. */
#define GROUP_SUBID		0x8000

char *
weir_group_arg(FunctionCallInfo fcinfo, int argno)
{
	char	   *name;

	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("group must not be null")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	if (name[0] == '\0' || strlen(name) > WEIR_MAX_GROUP_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a group: \"%.*s\"", 64, name),
				 errdetail("A name is from 1 to %d bytes long.",
						   WEIR_MAX_GROUP_NAME)));
	return name;
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
				 errhint("A group is made by its first stream_fetch() or stream_seek().")));
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
		position.next = weir_start_offset(&stream->partitions[i]);
		position.moved = GetCurrentTimestamp();
		weir_position_insert(&position);
	}
}

/*
 * Find a group or make it.  False: somebody is making it, or not waited for.
 */
bool
weir_group_ensure(WeirStream *stream, const char *name, bool wait,
				  WeirGroupRow *row)
{
	LOCKTAG		tag;
	uint32		hash;

	if (weir_group_get(stream->oid, name, row))
		return true;
	hash = hash_bytes((const unsigned char *) name, strlen(name));
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, stream->oid,
					   GROUP_SUBID | (hash & (GROUP_SUBID - 1)));
	if (LockAcquire(&tag, ExclusiveLock, false, !wait) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (!weir_group_get(stream->oid, name, row))
		make_group(stream, name);
	return weir_group_get(stream->oid, name, row);
}
