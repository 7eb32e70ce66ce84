/*
 * pause.c
 *		stream_pause, stream_resume, stream_set_readonly.
 *
 * Each changes the desired state in the transaction of the caller, with its
 * record in the activity log, and returns one row per partition that says
 * what the state is and whether it was changed.  Owner only; the privilege is
 * checked before any lock.
 *
 * Order of locks: stream (AccessShare), state locks by number, partitions by
 * number (ShareRowExclusive, by draining).  The state locks come first, so
 * that nobody who waits for another's open transaction keeps publishers off
 * meanwhile.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/slots.h"
#include "catalog/cache.h"
#include "fmgr.h"
#include "funcapi.h"
#include "life/args.h"
#include "life/change.h"
#include "life/drain.h"
#include "life/pause.h"
#include "life/settle.h"
#include "stream/event.h"
#include "stream/state.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(weir_stream_pause);
PG_FUNCTION_INFO_V1(weir_stream_resume);
PG_FUNCTION_INFO_V1(weir_stream_set_readonly);

/* ---- the changes ---- */

static List *
numbers_of(List *rows)
{
	List	   *numbers = NIL;
	ListCell   *lc;

	foreach(lc, rows)
		numbers = lappend_int(numbers, ((WeirPartitionRow *) lfirst(lc))->number);
	return numbers;
}

static void
tell_attached(WeirStream *stream, WeirPartitionRow *row)
{
	char	   *reason = row->detach ?
		weir_why_attached(stream->oid, row->partition) : NULL;

	if (reason)
		ereport(NOTICE,
				(errmsg("paused partitions of stream \"%s\" stay attached because of %s",
						get_rel_name(stream->oid), reason)));
}

/*
 * Pause partitions.  Returns the numbers of those that were not paused so
 * before.
 */
List *
weir_pause_partitions(WeirStream *stream, List *numbers, const WeirPause *how)
{
	List	   *change = NIL;
	ListCell   *lc;

	foreach(lc, weir_lock_rows(stream, numbers))
	{
		WeirPartitionRow *row = lfirst(lc);

		if (!weir_row_is_paused(row) || row->resume_all != how->resume_all ||
			row->detach != how->detach)
			change = lappend(change, row);
	}
	if (change == NIL)
		return NIL;
	numbers = numbers_of(change);
	weir_drain(stream, numbers, "pause");
	WEIR_DEBUG_POINT("pause_drained");
	weir_apply_pause(stream, change, how);
	weir_sweep_requests();
	tell_attached(stream, linitial(change));
	if (!weir_has_workers())
		foreach(lc, change)
			weir_settle_inline(((WeirPartitionRow *) lfirst(lc))->partition);
	WEIR_DEBUG_POINT("pause_done");
	return numbers;
}

/* Resume partitions.  Returns the numbers of those that were paused. */
List *
weir_resume_partitions(WeirStream *stream, List *numbers, bool wait)
{
	List	   *rows = weir_lock_rows(stream, numbers);
	List	   *change = NIL;
	ListCell   *lc;

	weir_follow_requests(stream->oid, rows);
	foreach(lc, rows)
		if (((WeirPartitionRow *) lfirst(lc))->paused)
			change = lappend(change, lfirst(lc));
	weir_apply_resume(stream->oid, change, "manual");
	weir_sweep_requests();
	foreach(lc, rows)
	{
		WeirPartitionRow *row = lfirst(lc);

		if (wait)
			weir_attach_now(row->partition);
		else if (!weir_has_workers())
			weir_settle_inline(row->partition);
	}
	return numbers_of(change);
}

static List *
set_read_only(WeirStream *stream, List *numbers, bool read_only)
{
	List	   *change = NIL;
	ListCell   *lc;

	foreach(lc, weir_lock_rows(stream, numbers))
		if (((WeirPartitionRow *) lfirst(lc))->read_only != read_only)
			change = lappend(change, lfirst(lc));
	if (change != NIL && read_only)
		weir_drain(stream, numbers_of(change), "make read-only");
	weir_apply_read_only(stream->oid, change, read_only);
	return numbers_of(change);
}

/* ---- the functions ---- */

/* Refuse what cannot be, before any lock; then lock the stream. */
WeirStream *
weir_open_for_change(Oid relid, const char *function, const char *verb)
{
	weir_require_writable(function);
	if (get_rel_name(relid) == NULL)
		(void) weir_stream_open(relid, AccessShareLock);	/* raises the error */
	weir_check_owner(relid);
	weir_refuse_activity(relid, verb);
	return weir_stream_open(relid, AccessShareLock);
}

static void
put_rows(FunctionCallInfo fcinfo, List *numbers, List *changed,
		 const char *state)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, numbers)
	{
		Datum		values[3];
		bool		nulls[3] = {false};

		values[0] = Int32GetDatum(lfirst_int(lc));
		values[1] = CStringGetTextDatum(state);
		values[2] = BoolGetDatum(list_member_int(changed, lfirst_int(lc)));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* stream_pause(stream, partitions, resume_all, detach) */
Datum
weir_stream_pause(PG_FUNCTION_ARGS)
{
	WeirPause	how = {"paused", "manual", false, false};
	WeirStream *stream;
	List	   *numbers;

	how.resume_all = weir_bool_arg(fcinfo, 2, "resume_all");
	how.detach = weir_bool_arg(fcinfo, 3, "detach");
	stream = weir_open_for_change(weir_stream_arg(fcinfo, 0), "stream_pause()",
								  "pause");
	numbers = weir_numbers_arg(fcinfo, 1, stream);
	weir_warn_without_workers("nothing resumes or detaches by itself");
	put_rows(fcinfo, numbers, weir_pause_partitions(stream, numbers, &how),
			 "paused");
	return (Datum) 0;
}

/* stream_resume(stream, partitions, wait) */
Datum
weir_stream_resume(PG_FUNCTION_ARGS)
{
	bool		wait = weir_bool_arg(fcinfo, 2, "wait");
	WeirStream *stream = weir_open_for_change(weir_stream_arg(fcinfo, 0),
											  "stream_resume()", "resume");
	List	   *numbers = weir_numbers_arg(fcinfo, 1, stream);

	weir_warn_without_workers("nothing resumes or detaches by itself");
	put_rows(fcinfo, numbers, weir_resume_partitions(stream, numbers, wait),
			 "active");
	return (Datum) 0;
}

/* stream_set_readonly(stream, partitions, read_only) */
Datum
weir_stream_set_readonly(PG_FUNCTION_ARGS)
{
	bool		read_only = weir_bool_arg(fcinfo, 2, "read_only");
	WeirStream *stream = weir_open_for_change(weir_stream_arg(fcinfo, 0),
											  "stream_set_readonly()",
											  "make read-only");
	List	   *numbers = weir_numbers_arg(fcinfo, 1, stream);

	put_rows(fcinfo, numbers, set_read_only(stream, numbers, read_only),
			 read_only ? "read-only" : "writable");
	return (Datum) 0;
}
