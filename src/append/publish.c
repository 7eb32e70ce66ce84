/*
 * publish.c
 *		stream_publish and stream_publish_batch.
 *
 * Both do in this order: refuse what cannot be (read-only, no privilege)
 * before any lock; lock the stream, learn what it is; convert the values and
 * choose the partitions; lock the partition and see to its state (resume.c);
 * append.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "append/append.h"
#include "append/honour.h"
#include "append/message.h"
#include "append/partitioner.h"
#include "append/resume.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(weir_stream_publish);
PG_FUNCTION_INFO_V1(weir_stream_publish_batch);

/* The arguments that both functions have, in their places. */
enum
{
	ARG_STREAM,
	ARG_VALUE,
	ARG_KEY,
	ARG_HEADERS,
	ARG_PARTITION,
	ARG_EXPECTED
};

static WeirStream *
open_for_publish(FunctionCallInfo fcinfo, const char *function)
{
	Oid			relid = weir_stream_arg(fcinfo, ARG_STREAM);
	WeirStream *stream;

	weir_require_writable(function);
	weir_check_privilege(relid, ACL_INSERT);
	stream = weir_stream_open(relid, RowExclusiveLock);
	weir_honour_stream(stream);
	return stream;
}

/* Which of the overloaded functions are we? */
static WeirValueForm
form_of_call(FunctionCallInfo fcinfo)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, ARG_VALUE);

	if (!OidIsValid(type))
	{
		Oid		   *types;
		int			ntypes;

		(void) get_func_signature(fcinfo->flinfo->fn_oid, &types, &ntypes);
		type = types[ARG_VALUE];
	}
	return weir_form_of_type(type);
}

static int
named_partition(FunctionCallInfo fcinfo, WeirStream *stream)
{
	int			named;

	if (PG_ARGISNULL(ARG_PARTITION))
		return stream->npartitions == 1 ? 0 : WEIR_ANY_PARTITION;
	named = PG_GETARG_INT32(ARG_PARTITION);
	/* -1 is how we say "none", not how a user may. */
	if (named < 0)
		(void) weir_partition_open(stream, named, NoLock);
	return named;
}

static int64
expected_offset(FunctionCallInfo fcinfo)
{
	int64		expected;

	if (PG_ARGISNULL(ARG_EXPECTED))
		return WEIR_ANY_OFFSET;
	expected = PG_GETARG_INT64(ARG_EXPECTED);
	if (expected < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected_offset must not be negative")));
	return expected;
}

static void
require_partition(WeirStream *stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("expected_offset needs a partition or a key"),
			 errdetail("Stream \"%s\" has %d partitions, each with offsets of its own.",
					   get_rel_name(stream->oid), stream->npartitions)));
}

static void
init_runs(WeirRuns *runs)
{
	runs->nruns = 0;
	runs->nalloc = 8;
	runs->runs = palloc(runs->nalloc * sizeof(WeirRun));
}

static int
choose(WeirStream *stream, const WeirMessage *message, int named)
{
	text	   *key;

	if (message->no_key)
		return weir_choose_partition(stream, false, NULL, 0, named);
	/* One partition: every key is at home there. */
	if (stream->npartitions == 1 && named == 0)
		return 0;
	key = DatumGetTextPP(message->key);
	return weir_choose_partition(stream, true, VARDATA_ANY(key),
								 VARSIZE_ANY_EXHDR(key), named);
}

/* (partition int, "offset" bigint), described once per backend. */
static Datum
result_of_publish(int partition, int64 offset)
{
	static TupleDesc desc = NULL;
	Datum		values[2];
	bool		nulls[2] = {false};

	if (desc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		TupleDesc	built = CreateTemplateTupleDesc(2);

		TupleDescInitEntry(built, 1, "partition", INT4OID, -1, 0);
		TupleDescInitEntry(built, 2, "offset", INT8OID, -1, 0);
		desc = BlessTupleDesc(built);
		MemoryContextSwitchTo(old);
	}
	values[0] = Int32GetDatum(partition);
	values[1] = Int64GetDatum(offset);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* stream_publish(stream, value, key, headers, partition, expected_offset) */
Datum
weir_stream_publish(PG_FUNCTION_ARGS)
{
	WeirStream *stream = open_for_publish(fcinfo, "stream_publish()");
	int			named = named_partition(fcinfo, stream);
	int64		expected = expected_offset(fcinfo);
	WeirMessage message;
	WeirPartition *partition;
	HeapTuple	tuple;
	WeirRuns	runs;
	int			number;

	message.no_value = PG_ARGISNULL(ARG_VALUE);
	message.value = PG_GETARG_DATUM(ARG_VALUE);
	message.no_key = PG_ARGISNULL(ARG_KEY);
	message.key = PG_GETARG_DATUM(ARG_KEY);
	message.no_headers = PG_ARGISNULL(ARG_HEADERS);
	message.headers = PG_GETARG_DATUM(ARG_HEADERS);

	if (expected != WEIR_ANY_OFFSET && message.no_key &&
		named == WEIR_ANY_PARTITION)
		require_partition(stream);
	number = choose(stream, &message, named);
	partition = weir_partition_for_publish(&stream, number);
	tuple = weir_form_message(stream, number, form_of_call(fcinfo), &message);

	init_runs(&runs);
	weir_append(stream, partition, &tuple, 1, expected, &runs);
	return result_of_publish(number, runs.runs[0].first);
}

/* ---- batches ---- */

typedef struct Batch
{
	WeirStream *stream;
	WeirValueForm form;
	int			count;
	Datum	   *values;
	bool	   *no_values;
	Datum	   *keys;			/* NULL: none was given */
	bool	   *no_keys;
	Datum	   *headers;
	bool	   *no_headers;
} Batch;

static int
array_argument(FunctionCallInfo fcinfo, int argno, const char *name,
			   Oid element, Datum **elements, bool **nulls)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(argno);
	int			count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be an array of one dimension, not %d", name,
						ARR_NDIM(array))));
	deconstruct_array(array, element, -1, false, TYPALIGN_INT,
					  elements, nulls, &count);
	return count;
}

static void
require_length(const char *name, int length, int count)
{
	if (length != count)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_ARRAY_MISMATCH),
				 errmsg("values has %d elements, %s has %d", count, name,
						length),
				 errhint("Give each message a key and headers, null where it has none, or leave the array out.")));
}

static void
read_batch(FunctionCallInfo fcinfo, WeirStream *stream, Batch *batch)
{
	static const Oid elements[] = {TEXTOID, BYTEAOID, JSONBOID};

	memset(batch, 0, sizeof(Batch));
	batch->stream = stream;
	batch->form = form_of_call(fcinfo);
	if (PG_ARGISNULL(ARG_VALUE))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("values must not be null")));
	batch->count = array_argument(fcinfo, ARG_VALUE, "values",
								  elements[batch->form], &batch->values,
								  &batch->no_values);
	if (!PG_ARGISNULL(ARG_KEY))
		require_length("keys",
					   array_argument(fcinfo, ARG_KEY, "keys", TEXTOID,
									  &batch->keys, &batch->no_keys),
					   batch->count);
	if (!PG_ARGISNULL(ARG_HEADERS))
		require_length("headers",
					   array_argument(fcinfo, ARG_HEADERS, "headers", JSONBOID,
									  &batch->headers, &batch->no_headers),
					   batch->count);
}

static void
get_message(Batch *batch, int i, WeirMessage *message)
{
	message->value = batch->values[i];
	message->no_value = batch->no_values[i];
	message->no_key = batch->keys == NULL || batch->no_keys[i];
	message->key = message->no_key ? (Datum) 0 : batch->keys[i];
	message->no_headers = batch->headers == NULL || batch->no_headers[i];
	message->headers = message->no_headers ? (Datum) 0 : batch->headers[i];
}

/*
 * Append messages [0, count) of an order (NULL: as they are) to a partition.
 * Tuples are formed for one hold at a time: they are then still in the
 * processor's cache when they are written, and memory stays flat.
 */
static void
append_batch(Batch *batch, int number, const int *order, int count,
			 int64 expected, WeirRuns *runs)
{
	WeirPartition *partition = weir_partition_for_publish(&batch->stream, number);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "weir batch",
												  ALLOCSET_DEFAULT_SIZES);
	HeapTuple  *tuples = palloc(Min(count, WEIR_HOLD_MESSAGES) * sizeof(HeapTuple));
	int			i = 0;

	while (i < count)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Size		bytes = 0;
		int			n = 0;

		while (i < count && n < WEIR_HOLD_MESSAGES && bytes < WEIR_HOLD_BYTES)
		{
			WeirMessage message;

			get_message(batch, order ? order[i] : i, &message);
			tuples[n] = weir_form_message(batch->stream, number, batch->form,
										  &message);
			bytes += tuples[n]->t_len;
			n++, i++;
		}
		MemoryContextSwitchTo(old);
		weir_append(batch->stream, partition, tuples, n, expected, runs);
		expected = WEIR_ANY_OFFSET;
		MemoryContextReset(context);
	}
	pfree(tuples);
	MemoryContextDelete(context);
}

/*
 * Sort the messages by partition, keeping their order within each: start[p]
 * to start[p + 1] are the places in order of those of partition p.
 */
static int *
order_by_partition(Batch *batch, int named, int *start)
{
	int			n = batch->stream->npartitions;
	int		   *target = palloc(batch->count * sizeof(int));
	int		   *order = palloc(batch->count * sizeof(int));
	int			keyless = WEIR_ANY_PARTITION;
	int		   *fill = palloc0((n + 1) * sizeof(int));

	for (int i = 0; i < batch->count; i++)
	{
		WeirMessage message;

		get_message(batch, i, &message);
		if (message.no_key && named == WEIR_ANY_PARTITION)
		{
			/* All messages without a key stay together. */
			if (keyless == WEIR_ANY_PARTITION)
				keyless = choose(batch->stream, &message, named);
			target[i] = keyless;
		}
		else
			target[i] = choose(batch->stream, &message, named);
		if (target[i] >= n)
			(void) weir_partition_open(batch->stream, target[i], NoLock);
		fill[target[i] + 1]++;
	}
	for (int p = 0; p < n; p++)
		fill[p + 1] += fill[p];
	memcpy(start, fill, (n + 1) * sizeof(int));
	for (int i = 0; i < batch->count; i++)
		order[fill[target[i]]++] = i;
	pfree(target);
	pfree(fill);
	return order;
}

static void
publish_batch(Batch *batch, int named, int64 expected, WeirRuns *runs)
{
	int			npartitions = batch->stream->npartitions;
	int		   *start;
	int		   *order;

	if (npartitions == 1 || (named != WEIR_ANY_PARTITION && batch->keys == NULL))
	{
		append_batch(batch, named, NULL, batch->count, expected, runs);
		return;
	}
	start = palloc((npartitions + 1) * sizeof(int));
	order = order_by_partition(batch, named, start);
	for (int p = 0; p < npartitions; p++)
	{
		int			count = start[p + 1] - start[p];

		if (count == 0)
			continue;
		if (expected != WEIR_ANY_OFFSET && count != batch->count)
			require_partition(batch->stream);
		append_batch(batch, p, order + start[p], count, expected, runs);
	}
}

/* stream_publish_batch(stream, values, keys, headers, partition, expected) */
Datum
weir_stream_publish_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	WeirStream *stream = open_for_publish(fcinfo, "stream_publish_batch()");
	int			named = named_partition(fcinfo, stream);
	int64		expected = expected_offset(fcinfo);
	WeirRuns	runs;
	Batch		batch;

	read_batch(fcinfo, stream, &batch);
	if (expected != WEIR_ANY_OFFSET && named == WEIR_ANY_PARTITION &&
		batch.keys == NULL)
		require_partition(stream);
	init_runs(&runs);
	if (batch.count > 0)
		publish_batch(&batch, named, expected, &runs);
	else if (named != WEIR_ANY_PARTITION)
		(void) weir_partition_open(stream, named, NoLock);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < runs.nruns; i++)
	{
		Datum		values[4];
		bool		nulls[4] = {false};

		values[0] = Int32GetDatum(runs.runs[i].partition);
		values[1] = Int64GetDatum(runs.runs[i].first);
		values[2] = Int64GetDatum(runs.runs[i].first + runs.runs[i].count - 1);
		values[3] = Int64GetDatum(runs.runs[i].count);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
