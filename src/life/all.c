/*
 * all.c
 *		stream_pause_all, stream_resume_all: every stream of the caller.
 *
 * Procedures, with one transaction per stream: locks and append order of
 * thousands of streams cannot be held at once on a busy server.  A stream that
 * cannot be changed (lock_timeout, say) is named by a warning and counted, and
 * does not keep the others.  Called in a transaction block all is one
 * transaction: then the first failure ends it and nothing is changed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/subxact.h"
#include "catalog/cache.h"
#include "catalog/tables.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "life/args.h"
#include "life/pause.h"
#include "miscadmin.h"
#include "stream/event.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(weir_stream_pause_all);
PG_FUNCTION_INFO_V1(weir_stream_resume_all);

typedef struct All
{
	const WeirPause *how;		/* NULL: resume */
	bool		atomic;			/* in somebody's transaction block */
	int			streams;
	int			partitions;
	int			failed;
} All;

/* The streams that the user owns; the activity log is nobody's to pause. */
static List *
own_streams(void)
{
	List	   *own = NIL;
	ListCell   *lc;

	foreach(lc, weir_stream_list())
		if (lfirst_oid(lc) != weir_activity_oid() &&
			get_rel_name(lfirst_oid(lc)) != NULL &&
			object_ownercheck(RelationRelationId, lfirst_oid(lc), GetUserId()))
			own = lappend_oid(own, lfirst_oid(lc));
	return own;
}

/* How many partitions were changed. */
static int
change(All *all, Oid relid)
{
	WeirStream *stream = weir_open_for_change(relid, all->how ?
											  "stream_pause_all()" : "stream_resume_all()",
											  all->how ? "pause" : "resume");
	List	   *numbers = NIL;

	for (int i = 0; i < stream->npartitions; i++)
		numbers = lappend_int(numbers, i);
	return list_length(all->how ?
					   weir_pause_partitions(stream, numbers, all->how) :
					   weir_resume_partitions(stream, numbers, false));
}

typedef struct One
{
	All		   *all;
	Oid			stream;
	int			changed;
} One;

static bool
change_one(void *arg)
{
	One		   *one = arg;

	one->changed = change(one->all, one->stream);
	return true;
}

/* The same, where a failure is not the end. */
static int
try_change(All *all, Oid relid)
{
	One			one = {all, relid, 0};
	ErrorData  *error;

	if (weir_in_subtransaction(change_one, &one, &error))
		return one.changed;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("%s", error->message)));
	FreeErrorData(error);
	return -1;
}

static void
count(All *all, int changed)
{
	if (changed < 0)
		all->failed++;
	else if (changed > 0)
	{
		all->streams++;
		all->partitions += changed;
	}
}

static void
change_all(All *all)
{
	MemoryContext context;
	List	   *streams;
	ListCell   *lc;

	SPI_connect_ext(all->atomic ? 0 : SPI_OPT_NONATOMIC);
	/* SPI's own context outlives the commits. */
	streams = own_streams();
	context = AllocSetContextCreate(CurrentMemoryContext, "weir all streams",
									ALLOCSET_DEFAULT_SIZES);
	foreach(lc, streams)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		if (all->atomic)
		{
			count(all, change(all, lfirst_oid(lc)));
			continue;
		}
		PushActiveSnapshot(GetTransactionSnapshot());
		count(all, try_change(all, lfirst_oid(lc)));
		PopActiveSnapshot();
		SPI_commit();
	}
	SPI_finish();
}

static Datum
run(FunctionCallInfo fcinfo, const WeirPause *how)
{
	All			all = {how, true, 0, 0, 0};
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	weir_require_writable(how ? "stream_pause_all()" : "stream_resume_all()");
	if (fcinfo->context && IsA(fcinfo->context, CallContext))
		all.atomic = castNode(CallContext, fcinfo->context)->atomic;
	weir_warn_without_workers("nothing resumes or detaches by itself");
	change_all(&all);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum(all.streams);
	values[1] = Int32GetDatum(all.partitions);
	values[2] = Int32GetDatum(all.failed);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* CALL stream_pause_all(resume_all, detach) */
Datum
weir_stream_pause_all(PG_FUNCTION_ARGS)
{
	WeirPause	how = {"paused", "manual", false, false};

	how.resume_all = weir_bool_arg(fcinfo, 0, "resume_all");
	how.detach = weir_bool_arg(fcinfo, 1, "detach");
	return run(fcinfo, &how);
}

/* CALL stream_resume_all() */
Datum
weir_stream_resume_all(PG_FUNCTION_ARGS)
{
	return run(fcinfo, NULL);
}
