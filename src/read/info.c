/*
 * info.c
 *		What the views show of partitions and segments, without a scan.
 *
 * To whom may not read the stream the functions show nothing rather than an
 * error: a view's other conditions are no protection against being evaluated
 * later.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/subtrans.h"
#include "access/table.h"
#include "access/xlog.h"
#include "append/tail.h"
#include "base/compat.h"
#include "base/shmem.h"
#include "catalog/cache.h"
#include "catalog/tables.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "read/stable.h"
#include "read/times.h"
#include "read/walk.h"
#include "stream/parts.h"
#include "stream/state.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(weir_partition_info);
PG_FUNCTION_INFO_V1(weir_segment_info);
PG_FUNCTION_INFO_V1(weir_end_info);
PG_FUNCTION_INFO_V1(weir_oldest_unread);
PG_FUNCTION_INFO_V1(weir_longest_append_hold);

static bool
may_see(Oid stream)
{
	bool		is_missing = false;

	return OidIsValid(stream) &&
		pg_class_aclcheck_ext(stream, GetUserId(), ACL_SELECT,
							  &is_missing) == ACLCHECK_OK && !is_missing;
}

static Datum
make_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

static int64
total_size(Oid relid)
{
	return DatumGetInt64(DirectFunctionCall1(pg_total_relation_size,
											 ObjectIdGetDatum(relid)));
}

/* The actual state, and why it will not be another one. */
static void
put_tables(Oid stream, Oid partition, Datum *values, bool *nulls)
{
	char	   *reason = weir_why_attached(stream, partition);

	values[0] = CStringGetTextDatum(weir_actual_name(weir_actual_state(partition)));
	nulls[1] = reason == NULL;
	if (reason)
		values[1] = CStringGetTextDatum(reason);
}

static void
put_time(int64 ts, Datum *value, bool *isnull)
{
	*value = TimestampTzGetDatum(ts);
	*isnull = ts == 0;
}

/* weir.partition_info(stream, partition) */
Datum
weir_partition_info(PG_FUNCTION_ARGS)
{
	Datum		values[8] = {0};
	bool		nulls[8] = {true, true, true, true, true, true, true, true};

	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1) && may_see(PG_GETARG_OID(0)))
	{
		WeirStream *stream = weir_stream_open(PG_GETARG_OID(0), AccessShareLock);
		WeirPartition *partition = weir_partition_open(stream, PG_GETARG_INT32(1),
													   AccessShareLock);
		List	   *segments = weir_segment_list(partition->oid);
		int64		bytes = 0;
		ListCell   *lc;

		foreach(lc, segments)
		{
			Relation	rel = try_table_open(((WeirSegmentRow *) lfirst(lc))->segment,
											 AccessShareLock);

			if (rel == NULL)
				continue;
			bytes += total_size(RelationGetRelid(rel));
			table_close(rel, AccessShareLock);
		}
		values[0] = Int32GetDatum(list_length(segments));
		values[1] = Int64GetDatum(weir_start_offset(partition));
		values[2] = Int64GetDatum(weir_next_offset(partition));
		values[3] = Int64GetDatum(bytes);
		memset(nulls, false, sizeof(nulls));
		put_tables(stream->oid, partition->oid, values + 4, nulls + 4);
		put_time(weir_first_publish(partition->oid), values + 6, nulls + 6);
		put_time(weir_last_publish(partition->oid), values + 7, nulls + 7);
	}
	return make_row(fcinfo, values, nulls);
}

/* weir.segment_info(segment) */
Datum
weir_segment_info(PG_FUNCTION_ARGS)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};
	Oid			stream;
	Relation	rel;

	if (!PG_ARGISNULL(0) &&
		weir_part_of(PG_GETARG_OID(0), &stream) == WEIR_PART_SEGMENT &&
		may_see(stream) &&
		(rel = try_table_open(PG_GETARG_OID(0), AccessShareLock)) != NULL)
	{
		int64		first_ts = weir_first_ts(rel);

		values[0] = Int64GetDatum(RelationGetNumberOfBlocks(rel));
		values[1] = Int64GetDatum(total_size(RelationGetRelid(rel)));
		values[2] = BoolGetDatum(weir_heap_lookup(rel)->verified);
		values[3] = TimestampTzGetDatum(first_ts);
		memset(nulls, false, sizeof(nulls));
		nulls[3] = first_ts == 0;
		table_close(rel, AccessShareLock);
	}
	return make_row(fcinfo, values, nulls);
}

/* ---- ends ---- */

/*
 * Who published the first undecided message at or after the stable end.  The
 * session has none to name if the transaction is prepared, runs on the primary
 * of this standby, or has ended since the snapshot was taken.
 */
static void
put_holder(WeirPartition *partition, int64 end, Datum *values, bool *nulls)
{
	WeirWalk	walk;
	TransactionId xid;
	int			pid;

	weir_walk_begin(&walk, partition->oid, GetActiveSnapshot(), end, false);
	while (weir_walk_next(&walk))
		;
	weir_walk_end(&walk);
	if (!walk.undecided)
		return;
	xid = SubTransGetTopmostTransaction(walk.undecided_xid);
	pid = RecoveryInProgress() ? 0 : BackendXidGetPid(xid);
	values[0] = Int32GetDatum(pid);
	nulls[0] = pid == 0;
	values[1] = TransactionIdGetDatum(xid);
	values[2] = TimestampTzGetDatum(walk.undecided_ts);
	nulls[1] = nulls[2] = false;
}

/* weir.end_info(stream, partition) */
Datum
weir_end_info(PG_FUNCTION_ARGS)
{
	Datum		values[5] = {0};
	bool		nulls[5] = {true, true, true, true, true};

	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1) && may_see(PG_GETARG_OID(0)))
	{
		WeirStream *stream = weir_stream_open(PG_GETARG_OID(0), AccessShareLock);
		WeirPartition *partition = weir_partition_open(stream, PG_GETARG_INT32(1),
													   AccessShareLock);
		int64		end = weir_stable_end(partition, GetActiveSnapshot());

		values[0] = Int64GetDatum(end);
		values[1] = Int64GetDatum(weir_next_offset(partition));
		nulls[0] = nulls[1] = false;
		put_holder(partition, end, values + 2, nulls + 2);
	}
	return make_row(fcinfo, values, nulls);
}

/*
 * weir.oldest_unread(stream, partition, position)
 *
 * It says something of a single message, so nothing under row-level security.
 */
Datum
weir_oldest_unread(PG_FUNCTION_ARGS)
{
	int64		ts = 0;

	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1) && !PG_ARGISNULL(2) &&
		may_see(PG_GETARG_OID(0)) &&
		check_enable_rls(PG_GETARG_OID(0), InvalidOid, true) != RLS_ENABLED)
	{
		WeirStream *stream = weir_stream_open(PG_GETARG_OID(0), AccessShareLock);
		WeirPartition *partition = weir_partition_open(stream, PG_GETARG_INT32(1),
													   AccessShareLock);
		WeirWalk	walk;

		weir_walk_begin(&walk, partition->oid, GetActiveSnapshot(),
						PG_GETARG_INT64(2), false);
		if (weir_walk_next(&walk))
			ts = weir_tuple_ts(walk.tuple.t_data);
		weir_walk_end(&walk);
	}
	if (ts == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(ts);
}

/* weir.longest_append_hold(reset) */
Datum
weir_longest_append_hold(PG_FUNCTION_ARGS)
{
	Interval   *result = palloc0(sizeof(Interval));

	result->time = (int64) weir_longest_hold(!PG_ARGISNULL(0) && PG_GETARG_BOOL(0));
	PG_RETURN_INTERVAL_P(result);
}
