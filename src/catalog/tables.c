/*
 * tables.c
 *		The rows of weir.stream, weir.partition, weir.segment, weir.verified.
 *
 * Scans are systable scans without a snapshot of the caller's: for tables
 * that have no system cache each scan takes a new one.  Writers end with
 * CommandCounterIncrement, so that the next look sees the row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/inval.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/tables.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

typedef enum TableId
{
	T_STREAM,
	T_PARTITION,
	T_SEGMENT,
	T_VERIFIED,
	I_STREAM,
	I_PARTITION,
	I_PARTITION_NUMBER,
	I_SEGMENT,
	I_SEGMENT_BOUNDS,
	I_VERIFIED,
	TABLE_COUNT
} TableId;

static const char *const table_names[TABLE_COUNT] = {
	"stream", "partition", "segment", "verified",
	"stream_pkey", "partition_pkey", "partition_number_key",
	"segment_pkey", "segment_bounds_key", "verified_segment_idx"
};

static Oid	oids[TABLE_COUNT];
static bool oids_valid = false;

static void
tables_changed(Oid relid)
{
	if (!oids_valid)
		return;
	if (OidIsValid(relid))
	{
		bool		ours = false;

		for (int i = 0; i < TABLE_COUNT; i++)
			ours |= oids[i] == relid;
		if (!ours)
			return;
	}
	oids_valid = false;
}

void
weir_tables_init(void)
{
	weir_inval_subscribe(tables_changed);
}

static bool
look_up_oids(void)
{
	Oid			schema;
	Oid			found[TABLE_COUNT];

	if (oids_valid)
		return true;
	schema = get_namespace_oid("weir", true);
	if (!OidIsValid(schema))
		return false;
	for (int i = 0; i < TABLE_COUNT; i++)
	{
		found[i] = get_relname_relid(table_names[i], schema);
		if (!OidIsValid(found[i]))
			return false;
	}
	memcpy(oids, found, sizeof(oids));
	oids_valid = true;
	return true;
}

/* Is the extension there, in this database, complete? */
bool
weir_is_installed(void)
{
	return look_up_oids();
}

static Oid
oid_of(TableId id)
{
	if (!look_up_oids())
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"weir\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION weir.")));
	return oids[id];
}

/* ---- the two shapes of access: one row by key, and writing ---- */

typedef struct Lookup
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
} Lookup;

static bool
find_by_oid(Lookup *at, TableId table, TableId index, Oid key, LOCKMODE mode)
{
	ScanKeyData skey;

	ScanKeyInit(&skey, 1, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(key));
	at->rel = table_open(oid_of(table), mode);
	at->scan = systable_beginscan(at->rel, oid_of(index), true, NULL, 1, &skey);
	at->tuple = systable_getnext(at->scan);
	return HeapTupleIsValid(at->tuple);
}

static void
finish(Lookup *at, LOCKMODE mode)
{
	systable_endscan(at->scan);
	table_close(at->rel, mode);
}

static Datum
column(Lookup *at, int attno)
{
	bool		isnull;
	Datum		value = heap_getattr(at->tuple, attno,
									 RelationGetDescr(at->rel), &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of table \"%s\"",
			 attno, RelationGetRelationName(at->rel));
	return value;
}

static void
insert_row(TableId table, Datum *values)
{
	bool		nulls[8] = {false};
	Relation	rel = table_open(oid_of(table), RowExclusiveLock);
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

static bool
delete_rows(TableId table, TableId index, Oid key)
{
	Lookup		at;
	bool		found = false;

	for (bool more = find_by_oid(&at, table, index, key, RowExclusiveLock);
		 more;
		 at.tuple = systable_getnext(at.scan), more = HeapTupleIsValid(at.tuple))
	{
		CatalogTupleDelete(at.rel, &at.tuple->t_self);
		found = true;
	}
	finish(&at, NoLock);
	if (found)
		CommandCounterIncrement();
	return found;
}

static void
update_column(Lookup *at, int attno, Datum value)
{
	Datum		values[8] = {0};
	bool		nulls[8] = {false};
	bool		replace[8] = {false};
	HeapTuple	tuple;

	values[attno - 1] = value;
	replace[attno - 1] = true;
	tuple = heap_modify_tuple(at->tuple, RelationGetDescr(at->rel), values,
							  nulls, replace);
	CatalogTupleUpdate(at->rel, &tuple->t_self, tuple);
	heap_freetuple(tuple);
}

/* ---- weir.stream ---- */

bool
weir_stream_get(Oid stream, WeirStreamRow *row)
{
	Lookup		at;
	bool		found = find_by_oid(&at, T_STREAM, I_STREAM, stream,
									AccessShareLock);

	if (found)
	{
		row->stream = stream;
		row->partitions = DatumGetInt32(column(&at, 2));
		row->options = DatumGetJsonbPCopy(column(&at, 3));
	}
	finish(&at, AccessShareLock);
	return found;
}

void
weir_stream_insert(const WeirStreamRow *row)
{
	Datum		values[3];

	values[0] = ObjectIdGetDatum(row->stream);
	values[1] = Int32GetDatum(row->partitions);
	values[2] = JsonbPGetDatum(row->options);
	insert_row(T_STREAM, values);
}

/* Only options ever change. */
void
weir_stream_update(const WeirStreamRow *row)
{
	Lookup		at;

	if (!find_by_oid(&at, T_STREAM, I_STREAM, row->stream, RowExclusiveLock))
		elog(ERROR, "stream %u has no row", row->stream);
	update_column(&at, 3, JsonbPGetDatum(row->options));
	finish(&at, NoLock);
	CommandCounterIncrement();
}

bool
weir_stream_delete(Oid stream)
{
	return delete_rows(T_STREAM, I_STREAM, stream);
}

/* ---- weir.partition ---- */

static void
read_partition(Lookup *at, WeirPartitionRow *row)
{
	row->partition = DatumGetObjectId(column(at, 1));
	row->stream = DatumGetObjectId(column(at, 2));
	row->number = DatumGetInt32(column(at, 3));
	row->start_offset = DatumGetInt64(column(at, 4));
}

bool
weir_partition_get(Oid partition, WeirPartitionRow *row)
{
	Lookup		at;
	bool		found = find_by_oid(&at, T_PARTITION, I_PARTITION, partition,
									AccessShareLock);

	if (found)
		read_partition(&at, row);
	finish(&at, AccessShareLock);
	return found;
}

/* A list of palloc'd WeirPartitionRow, by number. */
List *
weir_partition_list(Oid stream)
{
	List	   *list = NIL;
	ScanKeyData skey;
	Lookup		at;
	Relation	index;

	ScanKeyInit(&skey, 2, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(stream));
	at.rel = table_open(oid_of(T_PARTITION), AccessShareLock);
	index = index_open(oid_of(I_PARTITION_NUMBER), AccessShareLock);
	at.scan = systable_beginscan_ordered(at.rel, index, NULL, 1, &skey);
	while (HeapTupleIsValid(at.tuple = systable_getnext_ordered(at.scan,
																ForwardScanDirection)))
	{
		WeirPartitionRow *row = palloc(sizeof(WeirPartitionRow));

		read_partition(&at, row);
		list = lappend(list, row);
	}
	systable_endscan_ordered(at.scan);
	index_close(index, AccessShareLock);
	table_close(at.rel, AccessShareLock);
	return list;
}

void
weir_partition_insert(const WeirPartitionRow *row)
{
	Datum		values[4];

	values[0] = ObjectIdGetDatum(row->partition);
	values[1] = ObjectIdGetDatum(row->stream);
	values[2] = Int32GetDatum(row->number);
	values[3] = Int64GetDatum(row->start_offset);
	insert_row(T_PARTITION, values);
}

void
weir_partition_set_start(Oid partition, int64 start_offset)
{
	Lookup		at;

	if (!find_by_oid(&at, T_PARTITION, I_PARTITION, partition,
					 RowExclusiveLock))
		elog(ERROR, "partition %u has no row", partition);
	update_column(&at, 4, Int64GetDatum(start_offset));
	finish(&at, NoLock);
	CommandCounterIncrement();
}

bool
weir_partition_delete(Oid partition)
{
	return delete_rows(T_PARTITION, I_PARTITION, partition);
}

/* ---- weir.segment ---- */

static void
read_segment(Lookup *at, WeirSegmentRow *row)
{
	row->segment = DatumGetObjectId(column(at, 1));
	row->partition = DatumGetObjectId(column(at, 2));
	row->lower = DatumGetInt64(column(at, 3));
	row->upper = DatumGetInt64(column(at, 4));
}

bool
weir_segment_get(Oid segment, WeirSegmentRow *row)
{
	Lookup		at;
	bool		found = find_by_oid(&at, T_SEGMENT, I_SEGMENT, segment,
									AccessShareLock);

	if (found)
		read_segment(&at, row);
	finish(&at, AccessShareLock);
	return found;
}

/*
 * Walk the segments of a partition in order of their bounds, from a bound on:
 * the first one whose lower bound compares so with it, or all of them.
 */
static List *
scan_segments(Oid partition, StrategyNumber strategy, RegProcedure compare,
			  int64 bound, ScanDirection direction, bool all)
{
	List	   *list = NIL;
	ScanKeyData skey[2];
	Lookup		at;
	Relation	index;

	ScanKeyInit(&skey[0], 2, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(partition));
	ScanKeyInit(&skey[1], 3, strategy, compare, Int64GetDatum(bound));
	at.rel = table_open(oid_of(T_SEGMENT), AccessShareLock);
	index = index_open(oid_of(I_SEGMENT_BOUNDS), AccessShareLock);
	at.scan = systable_beginscan_ordered(at.rel, index, NULL, 2, skey);
	while (HeapTupleIsValid(at.tuple = systable_getnext_ordered(at.scan,
																direction)))
	{
		WeirSegmentRow *row = palloc(sizeof(WeirSegmentRow));

		read_segment(&at, row);
		list = lappend(list, row);
		if (!all)
			break;
	}
	systable_endscan_ordered(at.scan);
	index_close(index, AccessShareLock);
	table_close(at.rel, AccessShareLock);
	return list;
}

static bool
first_of(List *list, WeirSegmentRow *row)
{
	bool		found = list != NIL;

	if (found)
		*row = *(WeirSegmentRow *) linitial(list);
	list_free_deep(list);
	return found;
}

/* The last segment whose lower bound is at most this offset. */
bool
weir_segment_at(Oid partition, int64 offset, WeirSegmentRow *row)
{
	return first_of(scan_segments(partition, BTLessEqualStrategyNumber,
								  F_INT8LE, offset, BackwardScanDirection,
								  false), row);
}

/* The first segment whose lower bound is greater than this one. */
bool
weir_segment_next(Oid partition, int64 lower, WeirSegmentRow *row)
{
	return first_of(scan_segments(partition, BTGreaterStrategyNumber,
								  F_INT8GT, lower, ForwardScanDirection,
								  false), row);
}

/* A list of palloc'd WeirSegmentRow, in order. */
List *
weir_segment_list(Oid partition)
{
	return scan_segments(partition, BTGreaterEqualStrategyNumber, F_INT8GE,
						 0, ForwardScanDirection, true);
}

void
weir_segment_insert(const WeirSegmentRow *row)
{
	Datum		values[4];

	values[0] = ObjectIdGetDatum(row->segment);
	values[1] = ObjectIdGetDatum(row->partition);
	values[2] = Int64GetDatum(row->lower);
	values[3] = Int64GetDatum(row->upper);
	insert_row(T_SEGMENT, values);
}

bool
weir_segment_delete(Oid segment)
{
	return delete_rows(T_SEGMENT, I_SEGMENT, segment);
}

/* ---- weir.verified ---- */

bool
weir_verified_get(Oid segment, Oid file_number)
{
	Lookup		at;
	bool		found = false;

	for (bool more = find_by_oid(&at, T_VERIFIED, I_VERIFIED, segment,
								 AccessShareLock);
		 more && !found;
		 at.tuple = systable_getnext(at.scan), more = HeapTupleIsValid(at.tuple))
		found = DatumGetObjectId(column(&at, 2)) == file_number;
	finish(&at, AccessShareLock);
	return found;
}

void
weir_verified_insert(Oid segment, Oid file_number)
{
	Datum		values[2];

	values[0] = ObjectIdGetDatum(segment);
	values[1] = ObjectIdGetDatum(file_number);
	insert_row(T_VERIFIED, values);
}

void
weir_verified_delete(Oid segment)
{
	delete_rows(T_VERIFIED, I_VERIFIED, segment);
}
