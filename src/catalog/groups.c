/*
 * groups.c
 *		The rows of weir.group and weir.position.
 *
 * A position is moved by a new version of its row with a greater number; the
 * newest is the last of the index.  So it is found in the same time however
 * many dead versions an old snapshot keeps: nothing ever walks over them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/access.h"
#include "catalog/groups.h"
#include "catalog/indexing.h"
#include "catalog/members.h"
#include "commands/sequence.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

/* ---- weir.group ---- */

static void
read_group(WeirLookup *at, WeirGroupRow *row)
{
	row->id = DatumGetInt64(weir_column(at, 1));
	row->stream = DatumGetObjectId(weir_column(at, 2));
	row->name = TextDatumGetCString(weir_column(at, 3));
	row->created = DatumGetTimestampTz(weir_column(at, 4));
}

static void
begin_groups(WeirLookup *at, Oid stream, const char *name, LOCKMODE mode)
{
	ScanKeyData skey[2];

	ScanKeyInit(&skey[0], 2, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(stream));
	if (name)
		ScanKeyInit(&skey[1], 3, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(name));
	at->rel = table_open(weir_table_oid(T_GROUP), mode);
	at->scan = systable_beginscan(at->rel, weir_table_oid(I_GROUP_NAME), true,
								  NULL, name ? 2 : 1, skey);
}

bool
weir_group_get(Oid stream, const char *name, WeirGroupRow *row)
{
	WeirLookup	at;
	bool		found;

	begin_groups(&at, stream, name, AccessShareLock);
	at.tuple = systable_getnext(at.scan);
	found = HeapTupleIsValid(at.tuple);
	if (found)
		read_group(&at, row);
	weir_finish(&at, AccessShareLock);
	return found;
}

/* The groups of a stream, palloc'd WeirGroupRow. */
List *
weir_group_list(Oid stream)
{
	List	   *list = NIL;
	WeirLookup	at;

	begin_groups(&at, stream, NULL, AccessShareLock);
	while (HeapTupleIsValid(at.tuple = systable_getnext(at.scan)))
	{
		WeirGroupRow *row = palloc(sizeof(WeirGroupRow));

		read_group(&at, row);
		list = lappend(list, row);
	}
	weir_finish(&at, AccessShareLock);
	return list;
}

int64
weir_group_insert(Oid stream, const char *name)
{
	int64		id = nextval_internal(weir_table_oid(S_GROUP_ID), false);
	Datum		values[4];

	values[0] = Int64GetDatum(id);
	values[1] = ObjectIdGetDatum(stream);
	values[2] = CStringGetTextDatum(name);
	values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	weir_insert_row(T_GROUP, values, NULL);
	return id;
}

static void
begin_positions(WeirLookup *at, Relation *index, int64 group, int partition,
				Snapshot snapshot, LOCKMODE mode)
{
	ScanKeyData skey[2];

	ScanKeyInit(&skey[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(group));
	ScanKeyInit(&skey[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(partition));
	at->rel = table_open(weir_table_oid(T_POSITION), mode);
	*index = index_open(weir_table_oid(I_POSITION), AccessShareLock);
	at->scan = systable_beginscan_ordered(at->rel, *index, snapshot,
										  partition < 0 ? 1 : 2, skey);
}

static void
end_positions(WeirLookup *at, Relation index, LOCKMODE mode)
{
	systable_endscan_ordered(at->scan);
	index_close(index, AccessShareLock);
	table_close(at->rel, mode);
}

/* A group with its positions and members. */
void
weir_group_delete(const WeirGroupRow *row)
{
	WeirLookup	at;
	Relation	index;

	begin_positions(&at, &index, row->id, -1, NULL, RowExclusiveLock);
	while (HeapTupleIsValid(at.tuple = systable_getnext_ordered(at.scan,
																ForwardScanDirection)))
		CatalogTupleDelete(at.rel, &at.tuple->t_self);
	end_positions(&at, index, NoLock);
	weir_members_forget(row->id);
	begin_groups(&at, row->stream, row->name, RowExclusiveLock);
	while (HeapTupleIsValid(at.tuple = systable_getnext(at.scan)))
		CatalogTupleDelete(at.rel, &at.tuple->t_self);
	weir_finish(&at, NoLock);
	CommandCounterIncrement();
}

/* ---- weir.position ---- */

/* The newest version; by a snapshot, or (NULL) by what is there now. */
bool
weir_position_get(int64 group, int partition, Snapshot snapshot,
				  WeirPositionRow *row)
{
	WeirLookup	at;
	Relation	index;
	bool		found;

	begin_positions(&at, &index, group, partition, snapshot, AccessShareLock);
	at.tuple = systable_getnext_ordered(at.scan, BackwardScanDirection);
	found = HeapTupleIsValid(at.tuple);
	if (found)
	{
		row->group = group;
		row->partition = partition;
		row->version = DatumGetInt64(weir_column(&at, 3));
		row->next = DatumGetInt64(weir_column(&at, 4));
		row->moved = DatumGetTimestampTz(weir_column(&at, 5));
		row->skipped = DatumGetInt64(weir_column(&at, 6));
		row->owner = DatumGetInt64(weir_column(&at, 7));
		row->tid = at.tuple->t_self;
	}
	end_positions(&at, index, AccessShareLock);
	return found;
}

/* How many versions a snapshot shows: one, or something is wrong. */
int
weir_position_versions(int64 group, int partition, Snapshot snapshot)
{
	WeirLookup	at;
	Relation	index;
	int			n = 0;

	begin_positions(&at, &index, group, partition, snapshot, AccessShareLock);
	while (HeapTupleIsValid(systable_getnext_ordered(at.scan, ForwardScanDirection)))
		n++;
	end_positions(&at, index, AccessShareLock);
	return n;
}

/*
 * Lock the newest version of a row for the next one.  With wait, wait for
 * whoever works on it; there may then be a newer one.
 */
WeirLocked
weir_lock_version(Oid table, ItemPointer tid, bool wait)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	HeapTupleData tuple;
	TM_FailureData failure;
	TM_Result	result;
	Buffer		buffer;

	tuple.t_self = *tid;
	result = heap_lock_tuple(rel, &tuple, GetCurrentCommandId(true),
							 LockTupleNoKeyExclusive,
							 wait ? LockWaitBlock : LockWaitSkip, false,
							 &buffer, &failure);
	ReleaseBuffer(buffer);
	table_close(rel, NoLock);
	switch (result)
	{
		case TM_Ok:
			return WEIR_LOCKED;
		case TM_WouldBlock:
			return WEIR_LOCK_TAKEN;
		default:
			return WEIR_LOCK_MOVED;
	}
}

WeirLocked
weir_position_lock(const WeirPositionRow *row, bool wait)
{
	ItemPointerData tid = row->tid;

	return weir_lock_version(weir_table_oid(T_POSITION), &tid, wait);
}

static void
fill_position(const WeirPositionRow *row, Datum *values)
{
	values[0] = Int64GetDatum(row->group);
	values[1] = Int32GetDatum(row->partition);
	values[2] = Int64GetDatum(row->version);
	values[3] = Int64GetDatum(row->next);
	values[4] = TimestampTzGetDatum(row->moved);
	values[5] = Int64GetDatum(row->skipped);
	values[6] = Int64GetDatum(row->owner);
}

void
weir_position_insert(const WeirPositionRow *row)
{
	Datum		values[7];

	fill_position(row, values);
	weir_insert_row(T_POSITION, values, NULL);
}

/* The caller has locked this very version. */
static void
write_version(WeirPositionRow *row)
{
	Relation	rel = table_open(weir_table_oid(T_POSITION), RowExclusiveLock);
	Datum		values[7];
	bool		nulls[7] = {false};
	HeapTuple	tuple;

	row->version++;
	fill_position(row, values);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleUpdate(rel, &row->tid, tuple);
	row->tid = tuple->t_self;
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

void
weir_position_move(WeirPositionRow *row)
{
	row->moved = GetCurrentTimestamp();
	write_version(row);
}

/* Another owner, at the same place. */
void
weir_position_own(WeirPositionRow *row, int64 owner)
{
	row->owner = owner;
	write_version(row);
}
