/*
 * read.c
 *		stream_read: messages of a partition, in order.
 *
 * Three forms share one function.  Given a name or a regclass it returns the
 * value as text; given NULL::stream it returns the stream's own rows, which
 * go from the heap to the result by one copy.
 *
 * An offset below the partition's start is refused (the messages may have
 * been dropped), one beyond all that can exist is refused (a position that
 * nobody can have got); one in between where nothing is readable yet gives no
 * rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/error.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_type.h"
#include "read/args.h"
#include "read/stable.h"
#include "read/walk.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(weir_stream_read);

enum
{
	ARG_STREAM,
	ARG_PARTITION,
	ARG_OFFSET,
	ARG_MAX_MESSAGES,
	ARG_START,
	ARG_STOP_OFFSET,
	ARG_REVERSE
};

typedef struct Request
{
	WeirStream *stream;
	WeirPartition *partition;
	Snapshot	snapshot;
	bool		rows;			/* the stream's own rows are wanted */
	bool		backward;
	int64		from;
	int64		stop;
	int64		max_messages;
} Request;

/* Which stream, and in which form? */
static Oid
stream_of_call(FunctionCallInfo fcinfo, bool *rows)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, ARG_STREAM);
	Oid			relid;

	*rows = false;
	if (type == TEXTOID)
	{
		List	   *names;

		(void) weir_stream_arg(fcinfo, ARG_STREAM);
		names = textToQualifiedNameList(PG_GETARG_TEXT_PP(ARG_STREAM));
		return RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock, false);
	}
	if (type == REGCLASSOID || !OidIsValid(type))
		return weir_stream_arg(fcinfo, ARG_STREAM);

	*rows = true;
	relid = typeidTypeRelid(type);
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("type %s is not the row type of a stream",
						format_type_be(type)),
				 errhint("Write stream_read('name', ...) or stream_read(NULL::name, ...).")));
	return relid;
}

static void
check_offset(Request *request, int64 offset)
{
	int64		start;

	if (offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset must not be negative")));
	start = weir_start_offset(request->partition);
	if (offset < start)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_NOT_RETAINED),
				 errmsg("offset " INT64_FORMAT " of partition %d of stream \"%s\" is no longer retained",
						offset, request->partition->number,
						get_rel_name(request->stream->oid)),
				 errdetail("The partition now starts at offset " INT64_FORMAT ".",
						   start)));
}

static void
refuse_after_end(Request *request, int64 offset, int64 next)
{
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_OFFSET_AFTER_END),
			 errmsg("offset " INT64_FORMAT " is after the end of partition %d of stream \"%s\"",
					offset, request->partition->number,
					get_rel_name(request->stream->oid)),
			 errdetail("The next message gets offset " INT64_FORMAT ".", next),
			 errhint("Store offsets of messages, not forecasts: positions beyond stream_high_watermark() are not stable.")));
}

/* Where to begin: an offset, or a named end, or the end one reads away from. */
static void
find_start(FunctionCallInfo fcinfo, Request *request)
{
	bool		earliest = !request->backward;

	if (!PG_ARGISNULL(ARG_OFFSET))
	{
		request->from = PG_GETARG_INT64(ARG_OFFSET);
		if (!PG_ARGISNULL(ARG_START))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("offset and start cannot both be given")));
		check_offset(request, request->from);
		if (request->backward)
		{
			int64		end = weir_stable_end(request->partition, request->snapshot);

			if (request->from >= end)
			{
				int64		next = weir_next_offset(request->partition);

				if (request->from > next)
					refuse_after_end(request, request->from, next);
				request->from = end - 1;
			}
		}
		return;
	}
	if (!PG_ARGISNULL(ARG_START))
	{
		char	   *start = text_to_cstring(PG_GETARG_TEXT_PP(ARG_START));

		if (strcmp(start, "earliest") != 0 && strcmp(start, "latest") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid start: \"%s\"", start),
					 errhint("It is \"earliest\" or \"latest\"; for a time use stream_offset_at().")));
		earliest = strcmp(start, "earliest") == 0;
	}
	if (earliest)
		request->from = weir_start_offset(request->partition) -
			(request->backward ? 1 : 0);
	else
		request->from = weir_stable_end(request->partition, request->snapshot) -
			(request->backward ? 1 : 0);
}

static void
read_request(FunctionCallInfo fcinfo, Request *request)
{
	Oid			relid = stream_of_call(fcinfo, &request->rows);

	request->stream = weir_open_for_read(relid);
	request->partition = weir_partition_arg(fcinfo, ARG_PARTITION,
											request->stream);
	request->snapshot = GetActiveSnapshot();
	request->backward = !PG_ARGISNULL(ARG_REVERSE) && PG_GETARG_BOOL(ARG_REVERSE);
	request->max_messages = PG_ARGISNULL(ARG_MAX_MESSAGES) ? PG_INT64_MAX :
		PG_GETARG_INT64(ARG_MAX_MESSAGES);
	if (request->max_messages < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must not be negative")));
	request->stop = request->backward ? 0 : PG_INT64_MAX;
	if (!PG_ARGISNULL(ARG_STOP_OFFSET))
		request->stop = PG_GETARG_INT64(ARG_STOP_OFFSET);
	if (request->stop < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stop_offset must not be negative")));
	find_start(fcinfo, request);
}

/* A row with the value as text. */
static void
put_as_text(ReturnSetInfo *rsinfo, Request *request, HeapTuple tuple,
			MemoryContext per_row)
{
	Datum		values[WEIR_NCOLS];
	bool		nulls[WEIR_NCOLS];
	MemoryContext old = MemoryContextSwitchTo(per_row);

	heap_deform_tuple(tuple, request->stream->tupdesc, values, nulls);
	if (!nulls[WEIR_COL_VALUE - 1] && request->stream->value_type != TEXTOID)
		values[WEIR_COL_VALUE - 1] =
			CStringGetTextDatum(OutputFunctionCall(&request->stream->value_output,
												   values[WEIR_COL_VALUE - 1]));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(per_row);
}

static bool
beyond_stop(Request *request, int64 offset)
{
	return request->backward ? offset < request->stop : offset > request->stop;
}

static int64
deliver(ReturnSetInfo *rsinfo, Request *request, WeirWalk *walk)
{
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext,
												  "weir row",
												  ALLOCSET_DEFAULT_SIZES);
	int64		count = 0;

	while (count < request->max_messages && weir_walk_next(walk) &&
		   !beyond_stop(request, walk->offset))
	{
		if (request->rows)
			tuplestore_puttuple(rsinfo->setResult, &walk->tuple);
		else
			put_as_text(rsinfo, request, &walk->tuple, per_row);
		count++;
	}
	MemoryContextDelete(per_row);
	return count;
}

/* stream_read(stream, partition, offset, max, start, stop, reverse) */
Datum
weir_stream_read(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Request		request;
	WeirWalk	walk;
	int64		next;

	read_request(fcinfo, &request);
	InitMaterializedSRF(fcinfo, 0);
	if (request.from < 0 || request.max_messages == 0)
		return (Datum) 0;

	WEIR_DEBUG_POINT("read_before_walk");
	weir_walk_begin(&walk, request.partition->oid, request.snapshot,
					request.from, request.backward);
	if (deliver(rsinfo, &request, &walk) == 0 && walk.finished &&
		!walk.undecided && walk.nothing_there && !request.backward &&
		request.from > (next = weir_next_offset(request.partition)))
		refuse_after_end(&request, request.from, next);
	weir_walk_end(&walk);
	return (Datum) 0;
}
