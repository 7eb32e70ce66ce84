/*
 * tables.c
 *		The rows of weir.stream, weir.partition, weir.segment, weir.verified.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/watch.h"
#include "catalog/access.h"
#include "catalog/tables.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

/* ---- weir.stream ---- */

bool
weir_stream_get(Oid stream, WeirStreamRow *row)
{
	WeirLookup		at;
	bool		found = weir_find_by_oid(&at, T_STREAM, I_STREAM, stream,
									AccessShareLock);

	if (found)
	{
		row->stream = stream;
		row->partitions = DatumGetInt32(weir_column(&at, 2));
		row->options = DatumGetJsonbPCopy(weir_column(&at, 3));
	}
	weir_finish(&at, AccessShareLock);
	return found;
}

/* The OIDs of all streams. */
List *
weir_stream_list(void)
{
	List	   *list = NIL;
	WeirLookup	at;

	at.rel = weir_table_open(T_STREAM, AccessShareLock);
	at.scan = systable_beginscan(at.rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(at.tuple = systable_getnext(at.scan)))
		list = lappend_oid(list, DatumGetObjectId(weir_column(&at, 1)));
	weir_finish(&at, AccessShareLock);
	return list;
}

void
weir_stream_insert(const WeirStreamRow *row)
{
	Datum		values[3];

	values[0] = ObjectIdGetDatum(row->stream);
	values[1] = Int32GetDatum(row->partitions);
	values[2] = JsonbPGetDatum(row->options);
	weir_insert_row(T_STREAM, values, NULL);
}

/* Only options ever change. */
void
weir_stream_update(const WeirStreamRow *row)
{
	WeirLookup		at;

	if (!weir_find_by_oid(&at, T_STREAM, I_STREAM, row->stream, RowExclusiveLock))
		elog(ERROR, "stream %u has no row", row->stream);
	weir_update_column(&at, 3, JsonbPGetDatum(row->options));
	weir_finish(&at, NoLock);
	CommandCounterIncrement();
}

bool
weir_stream_delete(Oid stream)
{
	weir_note_everything();		/* whoever waits for it */
	return weir_delete_rows(T_STREAM, I_STREAM, stream);
}

/* ---- weir.partition ---- */

enum
{
	P_PARTITION = 1,
	P_STREAM,
	P_NUMBER,
	P_START_OFFSET,
	P_CREATED,
	P_STATE,
	P_CAUSE,
	P_RESUME_ALL,
	P_DETACH,
	P_READ_ONLY,
	P_SETTLED,
	P_PAUSE_ID,
	P_PAUSED_AT,
	P_PAUSE_FIRST,
	P_PAUSE_LATEST,
	P_READ_ONLY_FIRST,
	P_READ_ONLY_LATEST,
	P_END
};

StaticAssertDecl(P_END - 1 <= WEIR_MAX_COLUMNS, "a partition's row fits");

static void
read_partition(WeirLookup *at, WeirPartitionRow *row)
{
	row->partition = DatumGetObjectId(weir_column(at, P_PARTITION));
	row->stream = DatumGetObjectId(weir_column(at, P_STREAM));
	row->number = DatumGetInt32(weir_column(at, P_NUMBER));
	row->start_offset = DatumGetInt64(weir_column(at, P_START_OFFSET));
	row->created = DatumGetTimestampTz(weir_column(at, P_CREATED));
	row->paused = strcmp(TextDatumGetCString(weir_column(at, P_STATE)), "paused") == 0;
	row->cause = TextDatumGetCString(weir_column(at, P_CAUSE));
	row->resume_all = DatumGetBool(weir_column(at, P_RESUME_ALL));
	row->detach = DatumGetBool(weir_column(at, P_DETACH));
	row->read_only = DatumGetBool(weir_column(at, P_READ_ONLY));
	row->settled = DatumGetBool(weir_column(at, P_SETTLED));
	row->pause_id = DatumGetInt64(weir_column(at, P_PAUSE_ID));
	row->paused_at = DatumGetInt64(weir_column_or(at, P_PAUSED_AT, Int64GetDatum(-1)));
	row->pause_first = DatumGetTimestampTz(weir_column_or(at, P_PAUSE_FIRST, 0));
	row->pause_latest = DatumGetTimestampTz(weir_column_or(at, P_PAUSE_LATEST, 0));
	row->read_only_first = DatumGetTimestampTz(weir_column_or(at, P_READ_ONLY_FIRST, 0));
	row->read_only_latest = DatumGetTimestampTz(weir_column_or(at, P_READ_ONLY_LATEST, 0));
}

static void
fill_partition(const WeirPartitionRow *row, Datum *values, bool *nulls)
{
	memset(nulls, false, WEIR_MAX_COLUMNS * sizeof(bool));
	values[P_PARTITION - 1] = ObjectIdGetDatum(row->partition);
	values[P_STREAM - 1] = ObjectIdGetDatum(row->stream);
	values[P_NUMBER - 1] = Int32GetDatum(row->number);
	values[P_START_OFFSET - 1] = Int64GetDatum(row->start_offset);
	values[P_CREATED - 1] = TimestampTzGetDatum(row->created);
	values[P_STATE - 1] = CStringGetTextDatum(row->paused ? "paused" : "active");
	values[P_CAUSE - 1] = CStringGetTextDatum(row->cause ? row->cause : "created");
	values[P_RESUME_ALL - 1] = BoolGetDatum(row->resume_all);
	values[P_DETACH - 1] = BoolGetDatum(row->detach);
	values[P_READ_ONLY - 1] = BoolGetDatum(row->read_only);
	values[P_SETTLED - 1] = BoolGetDatum(row->settled);
	values[P_PAUSE_ID - 1] = Int64GetDatum(row->pause_id);
	values[P_PAUSED_AT - 1] = Int64GetDatum(row->paused_at);
	nulls[P_PAUSED_AT - 1] = row->paused_at < 0;
	values[P_PAUSE_FIRST - 1] = TimestampTzGetDatum(row->pause_first);
	nulls[P_PAUSE_FIRST - 1] = row->pause_first == 0;
	values[P_PAUSE_LATEST - 1] = TimestampTzGetDatum(row->pause_latest);
	nulls[P_PAUSE_LATEST - 1] = row->pause_latest == 0;
	values[P_READ_ONLY_FIRST - 1] = TimestampTzGetDatum(row->read_only_first);
	nulls[P_READ_ONLY_FIRST - 1] = row->read_only_first == 0;
	values[P_READ_ONLY_LATEST - 1] = TimestampTzGetDatum(row->read_only_latest);
	nulls[P_READ_ONLY_LATEST - 1] = row->read_only_latest == 0;
}

/* A new partition: active, nothing ever changed. */
void
weir_partition_init(WeirPartitionRow *row, Oid stream, int number)
{
	memset(row, 0, sizeof(WeirPartitionRow));
	row->stream = stream;
	row->number = number;
	row->created = GetCurrentTransactionStartTimestamp();
	row->cause = "created";
	row->settled = true;
	row->paused_at = -1;
}

bool
weir_partition_get(Oid partition, WeirPartitionRow *row)
{
	WeirLookup		at;
	bool		found = weir_find_by_oid(&at, T_PARTITION, I_PARTITION, partition,
									AccessShareLock);

	if (found)
		read_partition(&at, row);
	weir_finish(&at, AccessShareLock);
	return found;
}

/*
 * A list of palloc'd WeirPartitionRow, by number; as of a snapshot, or (NULL)
 * of this moment.
 */
List *
weir_partition_list(Oid stream, Snapshot snapshot)
{
	List	   *list = NIL;
	ScanKeyData skey;
	WeirLookup		at;
	Relation	index;

	ScanKeyInit(&skey, 2, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(stream));
	at.rel = weir_table_open(T_PARTITION, AccessShareLock);
	index = index_open(weir_table_oid(I_PARTITION_NUMBER), AccessShareLock);
	at.scan = systable_beginscan_ordered(at.rel, index, snapshot, 1, &skey);
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
	Datum		values[WEIR_MAX_COLUMNS];
	bool		nulls[WEIR_MAX_COLUMNS];

	fill_partition(row, values, nulls);
	weir_insert_row(T_PARTITION, values, nulls);
}

/* The caller holds the partition's state lock (stream/state.h). */
void
weir_partition_update(const WeirPartitionRow *row)
{
	Datum		values[WEIR_MAX_COLUMNS];
	bool		nulls[WEIR_MAX_COLUMNS];
	WeirLookup	at;

	if (!weir_find_by_oid(&at, T_PARTITION, I_PARTITION, row->partition,
						  RowExclusiveLock))
		elog(ERROR, "partition %u has no row", row->partition);
	fill_partition(row, values, nulls);
	weir_update_row(&at, values, nulls);
	weir_finish(&at, NoLock);
	CommandCounterIncrement();
}

/* The OIDs of all partitions whose tables do not follow their state yet. */
List *
weir_partition_unsettled(void)
{
	List	   *list = NIL;
	WeirLookup	at;
	ScanKeyData skey;

	ScanKeyInit(&skey, P_SETTLED, BTEqualStrategyNumber, F_BOOLEQ,
				BoolGetDatum(false));
	at.rel = weir_table_open(T_PARTITION, AccessShareLock);
	at.scan = systable_beginscan(at.rel, weir_table_oid(I_PARTITION_UNSETTLED),
								 true, NULL, 1, &skey);
	while (HeapTupleIsValid(at.tuple = systable_getnext(at.scan)))
		list = lappend_oid(list, DatumGetObjectId(weir_column(&at, P_PARTITION)));
	weir_finish(&at, AccessShareLock);
	return list;
}

/* The caller holds the partition's state lock (stream/state.h). */
void
weir_partition_set_start(Oid partition, int64 start_offset)
{
	WeirLookup		at;

	if (!weir_find_by_oid(&at, T_PARTITION, I_PARTITION, partition,
					 RowExclusiveLock))
		elog(ERROR, "partition %u has no row", partition);
	weir_update_column(&at, P_START_OFFSET, Int64GetDatum(start_offset));
	weir_finish(&at, NoLock);
	CommandCounterIncrement();
}

bool
weir_partition_delete(Oid partition)
{
	return weir_delete_rows(T_PARTITION, I_PARTITION, partition);
}

/* ---- weir.segment ---- */

static void
read_segment(WeirLookup *at, WeirSegmentRow *row)
{
	row->segment = DatumGetObjectId(weir_column(at, 1));
	row->partition = DatumGetObjectId(weir_column(at, 2));
	row->lower = DatumGetInt64(weir_column(at, 3));
	row->upper = DatumGetInt64(weir_column(at, 4));
	row->messages = DatumGetInt64(weir_column_or(at, 5, Int64GetDatum(-1)));
	row->loose = DatumGetBool(weir_column(at, 6));
}

bool
weir_segment_get(Oid segment, WeirSegmentRow *row)
{
	WeirLookup		at;
	bool		found = weir_find_by_oid(&at, T_SEGMENT, I_SEGMENT, segment,
									AccessShareLock);

	if (found)
		read_segment(&at, row);
	weir_finish(&at, AccessShareLock);
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
	WeirLookup		at;
	Relation	index;

	ScanKeyInit(&skey[0], 2, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(partition));
	ScanKeyInit(&skey[1], 3, strategy, compare, Int64GetDatum(bound));
	at.rel = weir_table_open(T_SEGMENT, AccessShareLock);
	index = index_open(weir_table_oid(I_SEGMENT_BOUNDS), AccessShareLock);
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

/* The OIDs of the partitions that have a segment of a certain kind. */
List *
weir_segment_partitions(bool (*wanted) (const WeirSegmentRow *row))
{
	List	   *list = NIL;
	WeirLookup	at;

	at.rel = weir_table_open(T_SEGMENT, AccessShareLock);
	at.scan = systable_beginscan(at.rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(at.tuple = systable_getnext(at.scan)))
	{
		WeirSegmentRow row;

		read_segment(&at, &row);
		if (wanted(&row))
			list = list_append_unique_oid(list, row.partition);
	}
	weir_finish(&at, AccessShareLock);
	return list;
}

void
weir_segment_insert(const WeirSegmentRow *row)
{
	Datum		values[6];
	bool		nulls[6] = {false};

	values[0] = ObjectIdGetDatum(row->segment);
	values[1] = ObjectIdGetDatum(row->partition);
	values[2] = Int64GetDatum(row->lower);
	values[3] = Int64GetDatum(row->upper);
	values[4] = Int64GetDatum(row->messages);
	nulls[4] = row->messages < 0;
	values[5] = BoolGetDatum(row->loose);
	weir_insert_row(T_SEGMENT, values, nulls);
}

/*
 * The rows of segments are updated by the keeper, or under the state lock of
 * the partition.
 */
void
weir_segment_set_attached(Oid segment)
{
	WeirLookup	at;

	if (weir_find_by_oid(&at, T_SEGMENT, I_SEGMENT, segment, RowExclusiveLock))
		weir_update_column(&at, 6, BoolGetDatum(false));
	weir_finish(&at, NoLock);
	CommandCounterIncrement();
}

/* Only the keeper counts. */
void
weir_segment_set_messages(Oid segment, int64 messages)
{
	WeirLookup	at;

	if (weir_find_by_oid(&at, T_SEGMENT, I_SEGMENT, segment, RowExclusiveLock))
		weir_update_column(&at, 5, Int64GetDatum(messages));
	weir_finish(&at, NoLock);
	CommandCounterIncrement();
}

bool
weir_segment_delete(Oid segment)
{
	return weir_delete_rows(T_SEGMENT, I_SEGMENT, segment);
}

/* ---- weir.verified ---- */

bool
weir_verified_get(Oid segment, Oid file_number)
{
	WeirLookup		at;
	bool		found = false;

	for (bool more = weir_find_by_oid(&at, T_VERIFIED, I_VERIFIED, segment,
								 AccessShareLock);
		 more && !found;
		 at.tuple = systable_getnext(at.scan), more = HeapTupleIsValid(at.tuple))
		found = DatumGetObjectId(weir_column(&at, 2)) == file_number;
	weir_finish(&at, AccessShareLock);
	return found;
}

void
weir_verified_insert(Oid segment, Oid file_number)
{
	Datum		values[2];

	values[0] = ObjectIdGetDatum(segment);
	values[1] = ObjectIdGetDatum(file_number);
	weir_insert_row(T_VERIFIED, values, NULL);
}

void
weir_verified_delete(Oid segment)
{
	weir_delete_rows(T_VERIFIED, I_VERIFIED, segment);
}
