/*
 * member.c
 *		stream_join, stream_leave: members of a group, for work outside of
 *		transactions.
 *
 * A member owns partitions: its id stands in the positions.  It reads with
 * stream_read, works, and says with stream_commit (commit.c) how far it got.
 * Nothing is kept in a session: a member is a row, and each call stands alone.
 *
 * Who owns a partition is written by a new version of its position, as every
 * move is.  So taking, giving up and committing come one after the other, and a
 * partition changes hands exactly at its committed position.  An owner that is
 * no member any more owns nothing: deleting a member frees all that it had, in
 * one row, and touches no position.
 *
 * A generation is a number that belongs to one member, of one group, for ever.
 * Whenever the partitions of a member change it gets a new one, and the one
 * before is worth nothing.
 *
 * stream_join without a generation makes a member; with it, it is the heartbeat
 * of that member:
 * 1. Look at members, leases and positions with a new snapshot.  If nobody's
 *	  lease is over and the member has its share (spread.c), renew the lease: no
 *	  heartbeat waits for another.
 * 2. Else lock the group, to the end of the transaction, and look again.
 * 3. Delete members whose lease is over.  A lease that somebody has locked is
 *	  being renewed.
 * 4. Give up what is above the share, take what is free up to it.  A position
 *	  that somebody has locked is not waited for; the next heartbeat tries again.
 *
 * No partition is taken from a member whose lease lives: it gives it up itself,
 * at a heartbeat that says that nothing is in flight.  So a message is
 * delivered twice only if a member stays silent for longer than its lease.
 * Such a member may come back as long as nobody has deleted it: what keeps
 * others from harm is the generation, not the clock.
 *
 * REPEATABLE READ and SERIALIZABLE: members or owners that were changed after
 * the transaction's snapshot raise 40001.  Leases do not count: they say
 * nothing but when.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/watch.h"
#include "catalog/cache.h"
#include "catalog/members.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "group/group.h"
#include "group/member.h"
#include "group/spread.h"
#include "miscadmin.h"
#include "stream/event.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(weir_stream_join);
PG_FUNCTION_INFO_V1(weir_stream_leave);

enum
{
	ARG_STREAM,
	ARG_GROUP,
	ARG_MEMBER,
	ARG_LEASE,
	ARG_GENERATION,
	ARG_BUSY
};

enum
{
	ARG_LEAVE_GENERATION = 3
};

#define DEFAULT_LEASE	(30 * USECS_PER_SEC)

typedef struct Joining
{
	/* what was asked for */
	WeirStream *stream;
	char	   *group_name;
	char	   *name;
	bool		has_generation;
	int64		generation;
	int64		lease;			/* in microseconds; 0: not given */
	bool		busy;			/* something is in flight: give up nothing */

	/* what there is */
	WeirGroupRow group;
	List	   *members;		/* WeirMemberRow, ids ascending */
	WeirPositionRow *positions; /* by partition */
	WeirMemberRow *self;
	TimestampTz expires;
} Joining;

/* ---- leases ---- */

/*
 * Lock the newest version of a lease.  WEIR_LOCK_TAKEN (only without wait):
 * somebody has it.  WEIR_LOCK_MOVED: it is gone, and the member with it.
 */
WeirLocked
weir_member_lock_lease(int64 member, bool wait, WeirLeaseRow *lease)
{
	while (weir_lease_get(member, NULL, lease))
	{
		WeirLocked	locked = weir_lease_lock(lease, wait);

		if (locked != WEIR_LOCK_MOVED)
			return locked;
		CHECK_FOR_INTERRUPTS();
	}
	return WEIR_LOCK_MOVED;
}

/*
 * Renew a lease; until when it now runs, 0 if the member is gone.  Without
 * wait, one that somebody has locked is left to him: he is renewing it, or
 * deletes the member.
 */
TimestampTz
weir_member_renew(const WeirMemberRow *member, bool wait)
{
	WeirLeaseRow lease;

	switch (weir_member_lock_lease(member->id, wait, &lease))
	{
		case WEIR_LOCKED:
			weir_lease_renew(&lease, GetCurrentTimestamp() + member->lease);
			return lease.expires;
		case WEIR_LOCK_TAKEN:
			return lease.expires;
		case WEIR_LOCK_MOVED:
			break;
	}
	return 0;
}

/* Before a group is deleted: nobody may be renewing then. */
void
weir_members_lock(const WeirGroupRow *group)
{
	WeirLeaseRow lease;
	ListCell   *lc;

	foreach(lc, weir_member_list(group->id, NULL))
		(void) weir_member_lock_lease(((WeirMemberRow *) lfirst(lc))->id, true,
									  &lease);
}

/* ---- looking ---- */

/* REPEATABLE READ: what we act on must be what the transaction sees. */
static void
require_unchanged(Joining *join)
{
	Snapshot	snapshot = GetTransactionSnapshot();
	List	   *before = weir_member_list(join->group.id, snapshot);
	bool		same = list_length(before) == list_length(join->members);
	ListCell   *a;
	ListCell   *b;

	forboth(a, before, b, join->members)
		same &= ((WeirMemberRow *) lfirst(a))->generation ==
			((WeirMemberRow *) lfirst(b))->generation;
	for (int i = 0; same && i < join->stream->npartitions; i++)
	{
		WeirPositionRow position;

		same = weir_position_get(join->group.id, i, snapshot, &position) &&
			position.owner == join->positions[i].owner;
	}
	if (!same)
		weir_position_changed(join->stream, join->group_name);
}

/* Members and positions of the group, with one new snapshot. */
static void
look(Joining *join)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	join->members = weir_member_list(join->group.id, snapshot);
	if (join->positions == NULL)
		join->positions = palloc_array(WeirPositionRow,
									   join->stream->npartitions);
	for (int i = 0; i < join->stream->npartitions; i++)
		if (!weir_position_get(join->group.id, i, snapshot, &join->positions[i]))
			weir_position_gone(join->stream, &join->group);
	UnregisterSnapshot(snapshot);
	if (IsolationUsesXactSnapshot())
		require_unchanged(join);
}

static WeirMemberRow *
member_by_name(Joining *join)
{
	ListCell   *lc;

	foreach(lc, join->members)
		if (strcmp(((WeirMemberRow *) lfirst(lc))->name, join->name) == 0)
			return lfirst(lc);
	return NULL;
}

static void
stale(Joining *join, const WeirMemberRow *member)
{
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_STALE_GENERATION),
			 errmsg("generation " INT64_FORMAT " of member \"%s\" of group \"%s\" of stream \"%s\" is stale",
					join->generation, join->name, join->group_name,
					get_rel_name(join->stream->oid)),
			 member ? errdetail("Its generation is " INT64_FORMAT ".",
								member->generation) :
			 errdetail("The group has no such member any more."),
			 errhint("Give up what is in flight: others may have it. stream_join() without a generation joins anew.")));
}

static void
find_self(Joining *join)
{
	join->self = member_by_name(join);
	if (join->self == NULL || join->self->generation != join->generation)
		stale(join, join->self);
}

/* What a member owns: numbers (int list). */
static List *
owned_by(Joining *join, int64 member)
{
	List	   *list = NIL;

	for (int i = 0; i < join->stream->npartitions; i++)
		if (join->positions[i].owner == member)
			list = lappend_int(list, i);
	return list;
}

/* Mark what self should have; returns how much it has. */
static int
find_share(Joining *join, bool *wanted)
{
	int			npartitions = join->stream->npartitions;
	int64	   *owners = palloc_array(int64, npartitions);
	int64	   *members = palloc_array(int64, list_length(join->members));
	WeirSpread	spread = {npartitions, owners, list_length(join->members), members};
	int			self = -1;

	for (int i = 0; i < npartitions; i++)
		owners[i] = join->positions[i].owner;
	for (int i = 0; i < spread.nmembers; i++)
	{
		WeirMemberRow *member = list_nth(join->members, i);

		members[i] = member->id;
		if (member == join->self)
			self = i;
	}
	return weir_spread(&spread, self, wanted);
}

/* Is there nothing to do but to renew the lease? */
static bool
is_settled(Joining *join)
{
	bool	   *wanted = palloc_array(bool, join->stream->npartitions);
	ListCell   *lc;

	if (join->lease != 0 && join->lease != join->self->lease)
		return false;
	if (join->busy)
		return true;
	foreach(lc, join->members)
	{
		WeirMemberRow *member = lfirst(lc);

		if (member != join->self && !weir_lease_lives(member->id))
			return false;
	}
	if (find_share(join, wanted) != join->self->held)
		return false;
	for (int i = 0; i < join->stream->npartitions; i++)
		if ((join->positions[i].owner == join->self->id) != wanted[i])
			return false;
	return true;
}

/* ---- changing; the group is locked ---- */

static void
tell(Joining *join, const char *what, const char *cause,
	 const WeirMemberRow *member)
{
	WeirEvent	event = {0};

	event.event = what;
	event.stream = join->stream->oid;
	event.partitions = owned_by(join, member->id);
	event.cause = cause;
	event.offset = -1;
	event.group = join->group_name;
	event.member = member->name;
	weir_event(&event);
}

/* Delete a member whose lease is over and who is not just renewing it. */
static bool
expel(Joining *join, const WeirMemberRow *member)
{
	WeirLeaseRow lease;

	if (weir_lease_lives(member->id))
		return false;
	switch (weir_member_lock_lease(member->id, false, &lease))
	{
		case WEIR_LOCKED:
			if (lease.expires > GetCurrentTimestamp())
				return false;	/* renewed since we looked */
			break;
		case WEIR_LOCK_TAKEN:
			return false;
		case WEIR_LOCK_MOVED:
			break;
	}
	weir_member_delete(member->id);
	tell(join, "expired", "lease", member);
	return true;
}

static void
expel_expired(Joining *join)
{
	List	   *left = NIL;
	ListCell   *lc;

	foreach(lc, join->members)
		if (lfirst(lc) == join->self || !expel(join, lfirst(lc)))
			left = lappend(left, lfirst(lc));
	join->members = left;
}

/*
 * Write a new owner into a position (0: nobody).  False: somebody is working on
 * it, or it is no longer whose it was.
 */
static bool
give(Joining *join, int number, int64 owner)
{
	WeirPositionRow *position = &join->positions[number];
	int64		before = position->owner;
	WeirPositionRow seen;

	if (IsolationUsesXactSnapshot() &&
		(!weir_position_get(join->group.id, number, GetTransactionSnapshot(), &seen) ||
		 seen.version != position->version))
		weir_position_changed(join->stream, join->group_name);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		switch (weir_position_lock(position, false))
		{
			case WEIR_LOCKED:
				/* Who waits to fetch it passed it over meanwhile. */
				weir_note_position(join->stream->partitions[number].slot_number);
				weir_position_own(position, owner);
				return true;
			case WEIR_LOCK_TAKEN:
				return false;
			case WEIR_LOCK_MOVED:
				break;
		}
		if (IsolationUsesXactSnapshot())
			weir_position_changed(join->stream, join->group_name);
		if (!weir_position_get(join->group.id, number, NULL, position))
			weir_position_gone(join->stream, &join->group);
		if (position->owner != before)
			return false;
	}
}

/* Give up and take.  True: the partitions are not what they were. */
static bool
take_share(Joining *join)
{
	bool	   *wanted = palloc_array(bool, join->stream->npartitions);
	bool		changed = false;
	int			held;

	(void) find_share(join, wanted);
	for (int i = 0; i < join->stream->npartitions; i++)
		if ((join->positions[i].owner == join->self->id) != wanted[i])
			changed |= give(join, i, wanted[i] ? join->self->id : 0);
	held = list_length(owned_by(join, join->self->id));
	changed |= held != join->self->held;
	join->self->held = held;
	return changed;
}

static void
refuse_alive(Joining *join, const WeirMemberRow *member)
{
	WeirLeaseRow lease;
	bool		found = weir_lease_get(member->id, NULL, &lease);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("group \"%s\" of stream \"%s\" already has a member \"%s\"",
					join->group_name, get_rel_name(join->stream->oid),
					join->name),
			 found ? errdetail("Its lease runs until %s.",
							   timestamptz_to_str(lease.expires)) : 0,
			 errhint("Use another name, or stream_leave() if that member is no more; its heartbeats pass its generation.")));
}

static void
join_anew(Joining *join)
{
	WeirMemberRow *self = palloc0(sizeof(WeirMemberRow));
	WeirMemberRow *other;

	(void) weir_group_lock(join->stream, join->group_name, true);
	(void) weir_group_ensure(join->stream, join->group_name, true, &join->group);
	look(join);
	expel_expired(join);
	other = member_by_name(join);
	if (other != NULL)
		refuse_alive(join, other);
	self->id = self->generation = weir_next_generation();
	self->group = join->group.id;
	self->name = join->name;
	self->lease = join->lease != 0 ? join->lease : DEFAULT_LEASE;
	self->joined = GetCurrentTimestamp();
	join->self = self;
	join->members = lappend(join->members, self);
	(void) take_share(join);
	join->expires = GetCurrentTimestamp() + self->lease;
	weir_member_insert(self);
	weir_lease_insert(self->id, join->expires);
	tell(join, "joined", "manual", self);
}

static void
rearrange(Joining *join)
{
	bool		changed = false;

	(void) weir_group_lock(join->stream, join->group_name, true);
	weir_group_known(join->stream, join->group_name, &join->group);
	look(join);
	find_self(join);
	if (!join->busy)
	{
		expel_expired(join);
		changed = take_share(join);
	}
	if (changed)
		join->self->generation = weir_next_generation();
	if (changed || (join->lease != 0 && join->lease != join->self->lease))
	{
		if (join->lease != 0)
			join->self->lease = join->lease;
		weir_member_update(join->self);
	}
	/* Not waited for: others wait for us. */
	join->expires = weir_member_renew(join->self, false);
}

static void
heartbeat(Joining *join)
{
	weir_group_known(join->stream, join->group_name, &join->group);
	look(join);
	find_self(join);
	if (is_settled(join))
		join->expires = weir_member_renew(join->self, true);
	else
		rearrange(join);
	if (join->expires == 0)
		stale(join, NULL);
}

/* ---- the functions ---- */

/* In microseconds; 0 if it was not given. */
static int64
lease_arg(FunctionCallInfo fcinfo, int argno)
{
	Interval   *lease;
	Interval	zero = {0};
	Interval	day = {0};

	if (PG_ARGISNULL(argno))
		return 0;
	lease = PG_GETARG_INTERVAL_P(argno);
	day.day = 1;
	if (DatumGetInt32(DirectFunctionCall2(interval_cmp, IntervalPGetDatum(lease),
										  IntervalPGetDatum(&zero))) <= 0 ||
		DatumGetInt32(DirectFunctionCall2(interval_cmp, IntervalPGetDatum(lease),
										  IntervalPGetDatum(&day))) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be more than zero and at most 1 day")));
	/* The sum is within a day; its parts, with opposite signs, may not fit. */
	return (int64) ((uint64) lease->time +
					(uint64) USECS_PER_DAY * (uint64) lease->day +
					(uint64) (DAYS_PER_MONTH * USECS_PER_DAY) * (uint64) lease->month);
}

static void
open_group_of(FunctionCallInfo fcinfo, const char *function, Joining *join)
{
	Oid			relid = weir_stream_arg(fcinfo, ARG_STREAM);

	join->group_name = weir_group_arg(fcinfo, ARG_GROUP);
	join->name = weir_member_arg(fcinfo, ARG_MEMBER);
	weir_require_writable(function);
	weir_check_privilege(relid, ACL_SELECT);
	join->stream = weir_stream_open(relid, AccessShareLock);
}

static void
put_result(FunctionCallInfo fcinfo, Joining *join)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *owned = owned_by(join, join->self->id);
	int			n = list_length(owned);
	Datum	   *partitions = palloc_array(Datum, Max(n, 1));
	Datum	   *offsets = palloc_array(Datum, Max(n, 1));
	Datum		values[4];
	bool		nulls[4] = {false};

	for (int i = 0; i < n; i++)
	{
		int			number = list_nth_int(owned, i);

		partitions[i] = Int32GetDatum(number);
		offsets[i] = Int64GetDatum(join->positions[number].next);
	}
	values[0] = Int64GetDatum(join->self->generation);
	values[1] = PointerGetDatum(construct_array(partitions, n, INT4OID, sizeof(int32),
												true, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(offsets, n, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[3] = TimestampTzGetDatum(join->expires);
	InitMaterializedSRF(fcinfo, 0);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* stream_join(stream, group, member, lease, generation, busy) */
Datum
weir_stream_join(PG_FUNCTION_ARGS)
{
	Joining		join = {0};

	join.lease = lease_arg(fcinfo, ARG_LEASE);
	join.has_generation = !PG_ARGISNULL(ARG_GENERATION);
	if (join.has_generation)
		join.generation = PG_GETARG_INT64(ARG_GENERATION);
	join.busy = !PG_ARGISNULL(ARG_BUSY) && PG_GETARG_BOOL(ARG_BUSY);
	if (join.busy && !join.has_generation)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("busy needs a generation"),
				 errdetail("Who joins has nothing in flight.")));
	open_group_of(fcinfo, "stream_join()", &join);
	if (join.has_generation)
		heartbeat(&join);
	else
		join_anew(&join);
	put_result(fcinfo, &join);
	return (Datum) 0;
}

/* stream_leave(stream, group, member, generation) */
Datum
weir_stream_leave(PG_FUNCTION_ARGS)
{
	Joining		join = {0};
	WeirLeaseRow lease;

	open_group_of(fcinfo, "stream_leave()", &join);
	weir_group_known(join.stream, join.group_name, &join.group);
	(void) weir_group_lock(join.stream, join.group_name, true);
	weir_group_known(join.stream, join.group_name, &join.group);
	look(&join);
	if (!PG_ARGISNULL(ARG_LEAVE_GENERATION))
	{
		join.generation = PG_GETARG_INT64(ARG_LEAVE_GENERATION);
		find_self(&join);
	}
	else if ((join.self = member_by_name(&join)) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" of stream \"%s\" has no member \"%s\"",
						join.group_name, get_rel_name(join.stream->oid),
						join.name)));
	(void) weir_member_lock_lease(join.self->id, true, &lease);
	/* What it owned is for whoever waits. */
	for (int i = 0; i < join.stream->npartitions; i++)
		if (join.positions[i].owner == join.self->id)
			weir_note_position(join.stream->partitions[i].slot_number);
	weir_member_delete(join.self->id);
	tell(&join, "left", "manual", join.self);
	PG_RETURN_VOID();
}
