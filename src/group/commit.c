/*
 * commit.c
 *		stream_commit: how far a member got, outside of a transaction.
 *
 * The position is moved under its row lock, by whoever owns the partition.  A
 * commit that waits for a take-over finds another owner, and is refused; a
 * take-over that comes second begins where the commit ended.  Who owns a
 * partition has all that he read: nobody else moved the position meanwhile.
 *
 * A member can be behind what is retained.  What it commits may be below the
 * start then, for it may have read the messages before they went; and nothing
 * is counted as skipped, for they may have been read.
 *
 * Order of locks: stream, partition (AccessShare); the position; the lease,
 * which is only tried: who has it renews it too, or deletes the member.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/cache.h"
#include "catalog/groups.h"
#include "catalog/members.h"
#include "fmgr.h"
#include "group/group.h"
#include "group/member.h"
#include "read/stable.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(weir_stream_commit);

enum
{
	ARG_STREAM,
	ARG_GROUP,
	ARG_PARTITION,
	ARG_OFFSET,
	ARG_GENERATION
};

typedef struct Commit
{
	WeirStream *stream;
	WeirPartition *partition;
	int64		offset;
	int64		generation;
	WeirGroupRow group;
	WeirPositionRow position;	/* locked */
} Commit;

static void
read_args(FunctionCallInfo fcinfo, Commit *commit)
{
	static const char *const names[] = {"partition", "offset", "generation"};

	for (int i = ARG_PARTITION; i <= ARG_GENERATION; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", names[i - ARG_PARTITION])));
	commit->offset = PG_GETARG_INT64(ARG_OFFSET);
	commit->generation = PG_GETARG_INT64(ARG_GENERATION);
	if (commit->offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset must not be negative")));
}

/* The owner of a partition, who must be the one with the generation. */
void
weir_require_owner(WeirStream *stream, const WeirGroupRow *group,
				   const WeirPositionRow *position, int64 generation,
				   WeirMemberRow *owner)
{
	bool		owned = position->owner != 0 &&
		weir_member_get(position->owner, owner);

	if (owned && owner->generation == generation)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_STALE_GENERATION),
			 errmsg("generation " INT64_FORMAT " does not own partition %d of stream \"%s\" in group \"%s\"",
					generation, position->partition,
					get_rel_name(stream->oid), group->name),
			 owned ? errdetail("Member \"%s\" does, with generation " INT64_FORMAT ".",
							   owner->name, owner->generation) :
			 errdetail("No member does."),
			 errhint("Give up what is in flight: others may have it. The next stream_join() says which partitions the member has.")));
}

static void
move(Commit *commit)
{
	WeirPositionRow *position = &commit->position;
	Snapshot	snapshot;
	int64		before;
	int64		end;

	if (commit->offset < position->next)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_COMMIT_BACKWARDS),
				 errmsg("offset " INT64_FORMAT " is before the position of group \"%s\" in partition %d of stream \"%s\"",
						commit->offset, commit->group.name,
						commit->partition->number,
						get_rel_name(commit->stream->oid)),
				 errdetail("The position is " INT64_FORMAT ".", position->next),
				 errhint("Only stream_seek() goes back.")));
	if (commit->offset == position->next)
		return;
	/* Later than the lock: it shows all that the member can have read. */
	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ?
								GetTransactionSnapshot() : GetLatestSnapshot());
	PushActiveSnapshot(snapshot);
	end = weir_stable_end(commit->partition, snapshot);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	if (commit->offset > end)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_AFTER_END),
				 errmsg("offset " INT64_FORMAT " is after the end of partition %d of stream \"%s\"",
						commit->offset, commit->partition->number,
						get_rel_name(commit->stream->oid)),
				 errdetail("The stable end is " INT64_FORMAT ".", end),
				 errhint("Commit the offset of the last message that was read, plus one.")));
	before = position->next;
	position->next = commit->offset;
	weir_position_move(position);
	weir_group_moved(commit->stream, commit->partition->number, before,
					 position->next);
}

/* A commit is a sign of life; only now and then is it worth a row. */
static void
renew(const WeirMemberRow *owner)
{
	WeirLeaseRow lease;

	if (weir_lease_get(owner->id, NULL, &lease) &&
		lease.expires - GetCurrentTimestamp() > owner->lease / 3 * 2)
		return;
	(void) weir_member_renew(owner, false);
}

/* stream_commit(stream, group, partition, offset, generation) */
Datum
weir_stream_commit(PG_FUNCTION_ARGS)
{
	Commit		commit = {0};
	Oid			relid = weir_stream_arg(fcinfo, ARG_STREAM);
	char	   *name = weir_group_arg(fcinfo, ARG_GROUP);
	WeirMemberRow owner;

	read_args(fcinfo, &commit);
	weir_require_writable("stream_commit()");
	weir_check_privilege(relid, ACL_SELECT);
	commit.stream = weir_stream_open(relid, AccessShareLock);
	commit.partition = weir_partition_open(commit.stream,
										   PG_GETARG_INT32(ARG_PARTITION),
										   AccessShareLock);
	weir_group_known(commit.stream, name, &commit.group);
	weir_position_lock_newest(commit.stream, &commit.group,
							  commit.partition->number, &commit.position);
	weir_require_owner(commit.stream, &commit.group, &commit.position,
					   commit.generation, &owner);
	move(&commit);
	renew(&owner);
	PG_RETURN_VOID();
}
