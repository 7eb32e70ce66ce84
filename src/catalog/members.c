/*
 * members.c
 *		The rows of weir.member and weir.lease.
 *
 * A lease is renewed by a new version of its row, like a position is moved
 * (groups.c): heartbeats cost the same however many dead versions an old
 * snapshot keeps.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/access.h"
#include "catalog/indexing.h"
#include "catalog/members.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

/* Of members, too: a member's id is its first generation. */
int64
weir_next_generation(void)
{
	return nextval_internal(weir_table_oid(S_GENERATION), false);
}

/* ---- weir.member ---- */

enum
{
	M_ID = 1,
	M_GROUP,
	M_NAME,
	M_GENERATION,
	M_HELD,
	M_LEASE,
	M_JOINED,
	M_END
};

static void
read_member(WeirLookup *at, WeirMemberRow *row)
{
	row->id = DatumGetInt64(weir_column(at, M_ID));
	row->group = DatumGetInt64(weir_column(at, M_GROUP));
	row->name = TextDatumGetCString(weir_column(at, M_NAME));
	row->generation = DatumGetInt64(weir_column(at, M_GENERATION));
	row->held = DatumGetInt32(weir_column(at, M_HELD));
	/* At most a day, so all of it is time. */
	row->lease = DatumGetIntervalP(weir_column(at, M_LEASE))->time;
	row->joined = DatumGetTimestampTz(weir_column(at, M_JOINED));
	row->tid = at->tuple->t_self;
}

/* The interval must live as long as the values. */
static void
fill_member(const WeirMemberRow *row, Interval *lease, Datum *values)
{
	memset(lease, 0, sizeof(Interval));
	lease->time = row->lease;
	values[M_ID - 1] = Int64GetDatum(row->id);
	values[M_GROUP - 1] = Int64GetDatum(row->group);
	values[M_NAME - 1] = CStringGetTextDatum(row->name);
	values[M_GENERATION - 1] = Int64GetDatum(row->generation);
	values[M_HELD - 1] = Int32GetDatum(row->held);
	values[M_LEASE - 1] = IntervalPGetDatum(lease);
	values[M_JOINED - 1] = TimestampTzGetDatum(row->joined);
}

static void
begin_members(WeirLookup *at, WeirTableId index, AttrNumber column, int64 key,
			  Snapshot snapshot, LOCKMODE mode)
{
	ScanKeyData skey;

	ScanKeyInit(&skey, column, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(key));
	at->rel = weir_table_open(T_MEMBER, mode);
	at->scan = systable_beginscan(at->rel, weir_table_oid(index), true,
								  snapshot, 1, &skey);
}

bool
weir_member_get(int64 id, WeirMemberRow *row)
{
	WeirLookup	at;
	bool		found;

	begin_members(&at, I_MEMBER, M_ID, id, NULL, AccessShareLock);
	at.tuple = systable_getnext(at.scan);
	found = HeapTupleIsValid(at.tuple);
	if (found)
		read_member(&at, row);
	weir_finish(&at, AccessShareLock);
	return found;
}

static int
by_id(const ListCell *a, const ListCell *b)
{
	int64		left = ((WeirMemberRow *) lfirst(a))->id;
	int64		right = ((WeirMemberRow *) lfirst(b))->id;

	return (left > right) - (left < right);
}

/* The members of a group, palloc'd WeirMemberRow, oldest first. */
List *
weir_member_list(int64 group, Snapshot snapshot)
{
	List	   *list = NIL;
	WeirLookup	at;

	begin_members(&at, I_MEMBER_NAME, M_GROUP, group, snapshot, AccessShareLock);
	while (HeapTupleIsValid(at.tuple = systable_getnext(at.scan)))
	{
		WeirMemberRow *row = palloc(sizeof(WeirMemberRow));

		read_member(&at, row);
		list = lappend(list, row);
	}
	weir_finish(&at, AccessShareLock);
	list_sort(list, by_id);
	return list;
}

void
weir_member_insert(const WeirMemberRow *row)
{
	Datum		values[M_END - 1];
	Interval	lease;

	fill_member(row, &lease, values);
	weir_insert_row(T_MEMBER, values, NULL);
}

/* The row is what was read last, but for its values. */
void
weir_member_update(WeirMemberRow *row)
{
	Relation	rel = weir_table_open(T_MEMBER, RowExclusiveLock);
	Datum		values[M_END - 1];
	bool		nulls[M_END - 1] = {false};
	Interval	lease;
	HeapTuple	tuple;

	fill_member(row, &lease, values);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleUpdate(rel, &row->tid, tuple);
	row->tid = tuple->t_self;
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* ---- weir.lease ---- */

static void
begin_leases(WeirLookup *at, Relation *index, int64 member, Snapshot snapshot,
			 LOCKMODE mode)
{
	ScanKeyData skey;

	ScanKeyInit(&skey, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(member));
	at->rel = weir_table_open(T_LEASE, mode);
	*index = index_open(weir_table_oid(I_LEASE), AccessShareLock);
	at->scan = systable_beginscan_ordered(at->rel, *index, snapshot, 1, &skey);
}

static void
end_leases(WeirLookup *at, Relation index, LOCKMODE mode)
{
	systable_endscan_ordered(at->scan);
	index_close(index, AccessShareLock);
	table_close(at->rel, mode);
}

/* The newest version; by a snapshot, or (NULL) by what is there now. */
bool
weir_lease_get(int64 member, Snapshot snapshot, WeirLeaseRow *row)
{
	WeirLookup	at;
	Relation	index;
	bool		found;

	begin_leases(&at, &index, member, snapshot, AccessShareLock);
	at.tuple = systable_getnext_ordered(at.scan, BackwardScanDirection);
	found = HeapTupleIsValid(at.tuple);
	if (found)
	{
		row->member = member;
		row->version = DatumGetInt64(weir_column(&at, 2));
		row->expires = DatumGetTimestampTz(weir_column(&at, 3));
		row->tid = at.tuple->t_self;
	}
	end_leases(&at, index, AccessShareLock);
	return found;
}

/* How many versions a snapshot shows: one, or something is wrong. */
int
weir_lease_versions(int64 member, Snapshot snapshot)
{
	WeirLookup	at;
	Relation	index;
	int			n = 0;

	begin_leases(&at, &index, member, snapshot, AccessShareLock);
	while (HeapTupleIsValid(systable_getnext_ordered(at.scan, ForwardScanDirection)))
		n++;
	end_leases(&at, index, AccessShareLock);
	return n;
}

/* Is this the id of a member, and its lease not over? */
bool
weir_lease_lives(int64 member)
{
	WeirLeaseRow lease;

	return member != 0 && weir_lease_get(member, NULL, &lease) &&
		lease.expires > GetCurrentTimestamp();
}

WeirLocked
weir_lease_lock(const WeirLeaseRow *row, bool wait)
{
	ItemPointerData tid = row->tid;

	return weir_lock_version(weir_table_oid(T_LEASE), &tid, wait);
}

void
weir_lease_insert(int64 member, TimestampTz expires)
{
	Datum		values[3];

	values[0] = Int64GetDatum(member);
	values[1] = Int64GetDatum(0);
	values[2] = TimestampTzGetDatum(expires);
	weir_insert_row(T_LEASE, values, NULL);
}

/* The caller has locked this very version. */
void
weir_lease_renew(WeirLeaseRow *row, TimestampTz expires)
{
	Relation	rel = weir_table_open(T_LEASE, RowExclusiveLock);
	Datum		values[3];
	bool		nulls[3] = {false};
	HeapTuple	tuple;

	row->version++;
	row->expires = expires;
	values[0] = Int64GetDatum(row->member);
	values[1] = Int64GetDatum(row->version);
	values[2] = TimestampTzGetDatum(expires);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleUpdate(rel, &row->tid, tuple);
	row->tid = tuple->t_self;
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* ---- both ---- */

static void
delete_leases(int64 member)
{
	WeirLookup	at;
	Relation	index;

	begin_leases(&at, &index, member, NULL, RowExclusiveLock);
	while (HeapTupleIsValid(at.tuple = systable_getnext_ordered(at.scan,
																ForwardScanDirection)))
		CatalogTupleDelete(at.rel, &at.tuple->t_self);
	end_leases(&at, index, NoLock);
}

/* A member with its lease.  What it owned is nobody's from then on. */
void
weir_member_delete(int64 id)
{
	WeirLookup	at;

	delete_leases(id);
	begin_members(&at, I_MEMBER, M_ID, id, NULL, RowExclusiveLock);
	while (HeapTupleIsValid(at.tuple = systable_getnext(at.scan)))
		CatalogTupleDelete(at.rel, &at.tuple->t_self);
	weir_finish(&at, NoLock);
	CommandCounterIncrement();
}

/* All of a group, which goes too. */
void
weir_members_forget(int64 group)
{
	ListCell   *lc;

	foreach(lc, weir_member_list(group, NULL))
		weir_member_delete(((WeirMemberRow *) lfirst(lc))->id);
}
