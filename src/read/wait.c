/*
 * wait.c
 *		Waiting until there is something to read.
 *
 * The waiter looks; if there is nothing he watches the partitions
 * (base/watch.h), looks again, and rests until a transaction that concerns him
 * has ended.  While he rests he holds nothing of ours: no lock, no pin, no
 * snapshot; what the caller and his statement hold is not ours to give up.
 *
 * Each rest is 1 s at most, whatever happens to wake-ups.  Where nobody can wake
 * us (no preloading, a standby) we poll, less and less often.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "miscadmin.h"
#include "read/wait.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LONGEST_REST_MS		1000
#define FIRST_POLL_MS		2
#define LAST_POLL_MS		100

/* ---- how long ---- */

/* Milliseconds; 0 for NULL and for no time. */
int64
weir_wait_arg(FunctionCallInfo fcinfo, int argno)
{
	Interval   *wait;
	double		us;

	if (PG_ARGISNULL(argno))
		return 0;
	wait = PG_GETARG_INTERVAL_P(argno);
	us = (double) wait->time +
		((double) wait->day + (double) wait->month * DAYS_PER_MONTH) * USECS_PER_DAY;
	if (us < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("wait must not be negative")));
	/* Also what 17 calls infinity: a few million years. */
	return (int64) Min(us / 1000.0 + 0.999, (double) PG_INT32_MAX * 1000.0);
}

/* The caller keeps a snapshot while he waits. */
int64
weir_wait_arg_capped(FunctionCallInfo fcinfo, int argno)
{
	return Min(weir_wait_arg(fcinfo, argno), weir_max_wait);
}

/* ---- what to watch ---- */

typedef struct Watched
{
	const WeirWait *wait;
	WeirSlotSet slots;
	const char *name;
} Watched;

/* In a subtransaction that is taken back: it leaves no lock. */
static bool
list_slots(void *arg)
{
	Watched    *watched = arg;
	WeirStream *stream = weir_stream_open(watched->wait->stream, AccessShareLock);

	watched->name = get_rel_name(stream->oid);
	memset(&watched->slots, 0, sizeof(WeirSlotSet));
	for (int i = 0; i < stream->npartitions; i++)
		if (watched->wait->partition == WEIR_EVERY_PARTITION ||
			watched->wait->partition == i)
			weir_slot_set_add(&watched->slots, stream->partitions[i].slot_number);
	return false;
}

/* ---- waiting ---- */

/*
 * A look, in which the stream may be found to be gone.  There may be any number
 * of them: each begins with the memory of the one before.
 */
static bool
look_again(const WeirWait *wait, const char *name, const WeirSlotSet *woken,
		   MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	volatile bool result = false;

	MemoryContextReset(context);
	PG_TRY();
	{
		result = wait->look(wait->arg, woken);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_UNDEFINED_TABLE)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream \"%s\" was dropped while it was waited for", name)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return result;
}

static bool
wait_until(const WeirWait *wait, const char *name, TimestampTz until,
		   const WeirSlotSet *slots)
{
	static uint32 wait_event = 0;
	bool		woken_by_others = weir_watch_begin(wait->kinds, slots);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "weir look",
												  ALLOCSET_SMALL_SIZES);
	long		poll_ms = FIRST_POLL_MS;
	WeirSlotSet woken;
	TimestampTz all_due = 0;	/* when to look everywhere */

	if (wait_event == 0)
		wait_event = weir_wait_event("WeirWaitMessages");
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		long		rest;

		weir_watch_arm();
		weir_watch_take(&woken);
		/* However often we are woken: what only time brings is not missed. */
		if (!woken_by_others || now >= all_due)
		{
			memset(&woken, 0xFF, sizeof(woken));
			all_due = TimestampTzPlusMilliseconds(now, LONGEST_REST_MS);
		}
		if (look_again(wait, name, &woken, context))
			return true;
		now = GetCurrentTimestamp();
		if (now >= until)
			return false;
		rest = Min(TimestampDifferenceMilliseconds(now, until),
				   woken_by_others ? LONGEST_REST_MS : poll_ms);
		InvalidateCatalogSnapshotConditionally();
		weir_watch_rest(rest, wait_event);
		CHECK_FOR_INTERRUPTS();
		/* Look at the privileges and at what is there now. */
		AcceptInvalidationMessages();
		poll_ms = Min(poll_ms * 2, LAST_POLL_MS);
	}
}

/* True: it is there.  False: the time is over. */
bool
weir_wait(const WeirWait *wait)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait->ms);
	volatile bool result = false;
	Watched		watched = {wait};
	WeirSlotSet all;

	memset(&all, 0xFF, sizeof(all));
	if (wait->look(wait->arg, &all))
		return true;
	if (wait->ms == 0)
		return false;
	(void) weir_in_subtransaction(list_slots, &watched, NULL);
	PG_TRY();
	{
		result = wait_until(wait, watched.name, until, &watched.slots);
	}
	PG_FINALLY();
	{
		weir_watch_end();
	}
	PG_END_TRY();
	return result;
}
