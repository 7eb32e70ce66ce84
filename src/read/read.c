/*
 * read.c
 *		stream_read: messages of a partition, in order.
 *
 * Three forms share one function.  Given a name or a regclass it returns the
 * value as text; given NULL::stream it returns the stream's own rows, which
 * go from the heap to the result by one copy.  In FROM the result is stored,
 * as the executor wants it; in a select list it comes row by row, so that an
 * endless read costs no memory and LIMIT ends it.
 *
 * An offset below the partition's start is refused (the messages may have
 * been dropped), one beyond all that can exist is refused (a position that
 * nobody can have got); one in between where nothing is readable yet gives no
 * rows.
 *
 * With wait, a read that finds nothing waits for a first message (wait.c), also
 * at an offset that does not exist yet, and then reads with a new snapshot: the
 * statement's is older than what it waited for.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "append/resume.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/subxact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "read/args.h"
#include "read/rows.h"
#include "read/stable.h"
#include "read/wait.h"
#include "read/walk.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(weir_stream_read);

enum
{
	ARG_STREAM,
	ARG_PARTITION,
	ARG_OFFSET,
	ARG_MAX_MESSAGES,
	ARG_START,
	ARG_STOP_OFFSET,
	ARG_REVERSE,
	ARG_RESUME,
	ARG_WAIT
};

typedef struct Request
{
	WeirStream *stream;
	WeirPartition *partition;
	Snapshot	snapshot;		/* registered */
	bool		waited;			/* for a message; from is known */
	bool		rows;			/* the stream's own rows are wanted */
	bool		backward;
	int64		from;
	int64		stop;
	int64		max_messages;
} Request;

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

/*
 * Reading does not resume a paused partition unless asked; then the right to
 * publish is needed, as for what else resumes it.
 */
static void
note_reading(FunctionCallInfo fcinfo, Request *request)
{
	WeirStream *stream = request->stream;

	weir_note_reading(stream, request->partition);
	if (PG_ARGISNULL(ARG_RESUME) || !PG_GETARG_BOOL(ARG_RESUME) ||
		(!request->partition->paused && stream->nresume_all == 0))
		return;
	weir_require_writable("stream_read(resume => true)");
	weir_check_privilege(stream->oid, ACL_INSERT);
	weir_request_resume(stream, request->partition, "read");
}

/* What needs no look at the stream. */
static void
read_numbers(FunctionCallInfo fcinfo, Request *request)
{
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
}

/* ---- waiting for the first message ---- */

typedef struct Peek
{
	FunctionCallInfo fcinfo;
	Oid			relid;
	Request    *request;
	bool		found;
} Peek;

/* Always taken back, and with it all locks. */
static bool
peek(void *arg)
{
	Peek	   *p = arg;
	Request    *request = p->request;
	WeirWalk	walk;

	request->stream = weir_open_for_read(p->relid);
	request->partition = weir_partition_arg(p->fcinfo, ARG_PARTITION,
											request->stream);
	request->snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(request->snapshot);
	if (!request->waited)
		find_start(p->fcinfo, request);
	else
		check_offset(request, request->from);
	request->waited = true;
	weir_walk_begin(&walk, request->partition->oid, request->snapshot,
					request->from, false);
	p->found = weir_walk_next(&walk);
	weir_walk_end(&walk);
	PopActiveSnapshot();
	UnregisterSnapshot(request->snapshot);
	return false;
}

static bool
look(void *arg, const WeirSlotSet *woken)
{
	(void) weir_in_subtransaction(peek, arg, NULL);
	return ((Peek *) arg)->found;
}

/*
 * With a snapshot for the whole transaction nothing new can appear, and going
 * backward nothing new is wanted.
 */
static void
wait_for_message(FunctionCallInfo fcinfo, Oid relid, Request *request)
{
	Peek		p = {fcinfo, relid, request, false};
	WeirWait	wait = {relid, 0, WEIR_WATCH_MESSAGES};

	wait.ms = weir_wait_arg_capped(fcinfo, ARG_WAIT);
	if (wait.ms > 0 && request->backward)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("wait and reverse cannot both be given")));
	if (wait.ms == 0 || IsolationUsesXactSnapshot())
		return;
	wait.partition = PG_ARGISNULL(ARG_PARTITION) ? 0 : PG_GETARG_INT32(ARG_PARTITION);
	wait.look = look;
	wait.arg = &p;
	(void) weir_wait(&wait);
}

static void
read_request(FunctionCallInfo fcinfo, Request *request)
{
	Oid			relid = weir_stream_of_call(fcinfo, ARG_STREAM, &request->rows);

	request->waited = false;
	read_numbers(fcinfo, request);
	wait_for_message(fcinfo, relid, request);
	request->stream = weir_open_for_read(relid);
	request->partition = weir_partition_arg(fcinfo, ARG_PARTITION,
											request->stream);
	note_reading(fcinfo, request);
	request->snapshot = RegisterSnapshot(request->waited ? GetLatestSnapshot() :
										 GetActiveSnapshot());
	if (request->waited)
		check_offset(request, request->from);
	else
		find_start(fcinfo, request);
}

/* ---- one message as the caller wants it ---- */

static Datum
as_datum(Request *request, HeapTuple tuple, TupleDesc desc)
{
	Datum		values[WEIR_NCOLS];
	bool		nulls[WEIR_NCOLS];

	if (request->rows)
		return heap_copy_tuple_as_datum(tuple, desc);
	weir_columns_as_text(request->stream, tuple, values, nulls);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* ---- the walk of a request ---- */

typedef struct Reading
{
	Request		request;
	int64		count;			/* messages given so far */
	TupleDesc	desc;			/* row by row only */
	WeirWalk	walk;
} Reading;

static void
begin_reading(Reading *reading)
{
	WEIR_DEBUG_POINT("read_before_walk");
	reading->count = 0;
	weir_walk_begin(&reading->walk, reading->request.partition->oid,
					reading->request.snapshot, Max(reading->request.from, 0),
					reading->request.backward);
	if (reading->request.from < 0)
		weir_walk_end(&reading->walk);
}

static bool
beyond_stop(Request *request, int64 offset)
{
	return request->backward ? offset < request->stop : offset > request->stop;
}

/* Step to the next wanted message.  At the end, was the start a sane one? */
static bool
next_message(Reading *reading)
{
	Request    *request = &reading->request;
	WeirWalk   *walk = &reading->walk;

	if (reading->count >= request->max_messages)
		return false;
	if (weir_walk_next(walk))
	{
		reading->count++;
		return !beyond_stop(request, walk->offset);
	}
	if (reading->count == 0 && !walk->undecided && walk->nothing_there &&
		!request->backward && !request->waited)
	{
		int64		next = weir_next_offset(request->partition);

		if (request->from > next)
			refuse_after_end(request, request->from, next);
	}
	return false;
}

/* ---- all at once, as in FROM ---- */

static void
read_all(FunctionCallInfo fcinfo)
{
	WeirRows	rows;
	Reading		reading;

	read_request(fcinfo, &reading.request);
	weir_rows_begin(&rows, fcinfo, reading.request.stream, reading.request.rows);
	begin_reading(&reading);
	while (next_message(&reading))
		weir_rows_put(&rows, &reading.walk.tuple);
	weir_walk_end(&reading.walk);
	UnregisterSnapshot(reading.request.snapshot);
	weir_rows_end(&rows);
}

/* ---- row by row, as in a select list: nothing is stored ---- */

static void
stop_reading(Datum arg)
{
	Reading    *reading = (Reading *) DatumGetPointer(arg);

	weir_walk_end(&reading->walk);
	UnregisterSnapshot(reading->request.snapshot);
}

static Reading *
first_call(FunctionCallInfo fcinfo, FuncCallContext *funcctx)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
	Reading    *reading = palloc(sizeof(Reading));

	read_request(fcinfo, &reading->request);
	if (get_call_result_type(fcinfo, NULL, &reading->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	reading->desc = BlessTupleDesc(reading->desc);
	begin_reading(reading);
	RegisterExprContextCallback(rsinfo->econtext, stop_reading,
								PointerGetDatum(reading));
	MemoryContextSwitchTo(old);
	return reading;
}

static Datum
read_one(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	FuncCallContext *funcctx;
	Reading    *reading;

	if (SRF_IS_FIRSTCALL())
	{
		funcctx = SRF_FIRSTCALL_INIT();
		funcctx->user_fctx = first_call(fcinfo, funcctx);
	}
	funcctx = SRF_PERCALL_SETUP();
	reading = funcctx->user_fctx;
	if (next_message(reading))
		SRF_RETURN_NEXT(funcctx, as_datum(&reading->request,
										  &reading->walk.tuple, reading->desc));
	UnregisterExprContextCallback(rsinfo->econtext, stop_reading,
								  PointerGetDatum(reading));
	stop_reading(PointerGetDatum(reading));
	SRF_RETURN_DONE(funcctx);
}

/* stream_read(stream, partition, offset, max, start, stop, reverse, resume, wait) */
Datum
weir_stream_read(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if ((rsinfo->allowedModes & SFRM_Materialize_Preferred) == 0 &&
		(rsinfo->allowedModes & SFRM_ValuePerCall) != 0)
		return read_one(fcinfo);
	read_all(fcinfo);
	return (Datum) 0;
}
