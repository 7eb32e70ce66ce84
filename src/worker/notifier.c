/*
 * notifier.c
 *		The notifier: one for each database in which somebody subscribes.
 *
 * It follows the streams that sessions listen to (base/listeners.h), is woken
 * when a transaction that wrote to one of their partitions has ended
 * (base/watch.h), and notifies of each partition whose stable end has moved.
 * What it notifies of is readable: it has looked with a snapshot of its own.
 * No NOTIFY is in the publisher's transaction, so commits need not wait for
 * each other.
 *
 * The first notification after a quiet time is sent at once; then it rests
 * for an interval and sends what came meanwhile in one go.  NOTIFY signals every
 * session of the database that listens to anything, so the interval grows with
 * their number, and the cost for a second stays the same.  Nor does the notifier
 * take more than a share of the time of one processor: where a send takes long,
 * because the machine is busy, it comes less often.
 *
 * Nothing is missed: a stream that it begins to follow, be it that a first
 * session has subscribed or that the notifier itself is new, is notified of
 * once in any case.  What cannot be sent (the queue is full because a listener
 * sleeps in a transaction) is tried again; so is a stream that somebody has
 * locked, while others are notified of as ever.
 *
 * It runs no DDL, waits for no lock for long, and its commits are not flushed:
 * a crash ends all listeners as well.  Without anything to follow it ends.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/guc.h"
#include "base/listeners.h"
#include "base/slots.h"
#include "base/subxact.h"
#include "base/watch.h"
#include "catalog/access.h"
#include "catalog/cache.h"
#include "catalog/channel.h"
#include "catalog/tables.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "read/stable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/process.h"

PGDLLEXPORT void weir_notifier_main(Datum arg);

/* The interval grows by so much for each session that listens. */
#define US_PER_LISTENER		500

/* And to so many times what a send takes, so that a busy machine gets fewer. */
#define SHARE_OF_TIME		12
#define LONGEST_SHARE_US	2000

/* With nothing to follow it ends after so long; else it rests for so long. */
#define LONGEST_REST_MS		60000

/* What could not be sent is tried again after so long, then twice that ... */
#define BUSY_DELAY_MS		10
#define LAST_BUSY_DELAY_MS	100
#define FAILED_DELAY_MS		1000
#define LAST_DELAY_MS		10000

typedef struct Followed
{
	Oid			stream;			/* hash key */
	bool		listed;			/* found by the last look at the listeners */
	bool		known;			/* channel and arrays are filled in */
	bool		gone;			/* it is no stream any more */
	bool		whole;			/* look at all of it, not only at what is due */
	int			left_ms;		/* could not be looked at: the longest time to
								 * wait before the next try; 0: it could */
	char		channel[NAMEDATALEN];
	int			npartitions;
	int		   *slots;
	int64	   *told;			/* the ends that were sent; -1: none yet */
	int64	   *ends;			/* those that are being sent */
} Followed;

static const WeirSetting settings[] =
{
	{"lock_timeout", "50ms"},
	{"synchronous_commit", "off"},
};

static HTAB *followed = NULL;
static uint64 generation = 0;	/* of the listeners, as of the last look */
static bool looked = false;		/* there was one, and nothing came since */
static bool changed = true;		/* other streams than before are followed */
static Oid	key_table = InvalidOid; /* where the key of the channels is */
static WeirSlotSet due;			/* where something is to be looked at */
static TimestampTz retry_at = DT_NOEND; /* when to try again those left */
static int	retry_ms = 0;
static TimestampTz sent_at = 0;
static int64 send_us = 0;		/* what a send takes, about */
static TimestampTz not_before = 0;	/* after a failure */
static int	delay_ms = 0;

static bool
is_empty(const WeirSlotSet *set)
{
	for (int w = 0; w < WEIR_SLOT_WORDS; w++)
		if (set->words[w] != 0)
			return false;
	return true;
}

/* ---- one stream ---- */

/*
 * One that somebody has locked holds up no other one: not by a wait, and not by
 * an error either.  All of it is done in a subtransaction.
 */
static void
do_with_stream(Followed *f, bool (*step) (void *arg))
{
	ErrorData  *error = NULL;

	(void) weir_in_subtransaction(step, f, &error);
	f->left_ms = 0;
	if (error == NULL)
		return;
	if (error->sqlerrcode == ERRCODE_UNDEFINED_TABLE)
		f->gone = true;
	else if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
	{
		f->left_ms = LAST_BUSY_DELAY_MS;
		weir_worker_blocked();
	}
	else
	{
		f->left_ms = LAST_DELAY_MS;
		weir_worker_failed(error->message);
	}
	FreeErrorData(error);
}

static WeirStream *
open_stream(Followed *f)
{
	if (!ConditionalLockRelationOid(f->stream, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("stream with OID %u is locked", f->stream)));
	return weir_stream_open(f->stream, AccessShareLock);
}

/* When to try again those that were left, which has just been done, or not. */
static void
note_left(bool tried)
{
	HASH_SEQ_STATUS seq;
	Followed   *f;
	int			longest = 0;

	hash_seq_init(&seq, followed);
	while ((f = hash_seq_search(&seq)) != NULL)
		longest = Max(longest, f->left_ms);
	if (longest == 0)
	{
		retry_ms = 0;
		retry_at = DT_NOEND;
	}
	else if (tried || retry_at == DT_NOEND)
	{
		retry_ms = Min(Max(2 * retry_ms, BUSY_DELAY_MS), longest);
		retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), retry_ms);
	}
}

/* ---- what to follow ---- */

static void
make_table(void)
{
	HASHCTL		ctl;

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Followed);
	ctl.hcxt = TopMemoryContext;
	followed = hash_create("weir followed streams", 64, &ctl,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
unfollow(Followed *f)
{
	if (f->known)
	{
		pfree(f->slots);
		pfree(f->told);
		pfree(f->ends);
		changed = true;
	}
	hash_search(followed, &f->stream, HASH_REMOVE, NULL);
}

/* Fill in what is not known yet. */
static bool
get_to_know(void *arg)
{
	Followed   *f = arg;
	WeirStreamRow row;
	WeirStream *stream;
	MemoryContext old;

	f->gone = !weir_stream_get(f->stream, &row);
	if (f->gone)
		return false;
	stream = open_stream(f);
	weir_channel(f->stream, f->channel);
	old = MemoryContextSwitchTo(TopMemoryContext);
	f->npartitions = stream->npartitions;
	f->slots = palloc(f->npartitions * sizeof(int));
	f->told = palloc(f->npartitions * sizeof(int64));
	f->ends = palloc(f->npartitions * sizeof(int64));
	MemoryContextSwitchTo(old);
	for (int i = 0; i < f->npartitions; i++)
	{
		f->slots[i] = stream->partitions[i].slot_number;
		f->told[i] = f->ends[i] = -1;
	}
	f->known = changed = true;
	return true;
}

/* Made anew the extension has another key, and other channels. */
static void
check_key(void)
{
	HASH_SEQ_STATUS seq;
	Followed   *f;
	Oid			table = weir_table_oid(T_SECRET);

	if (table == key_table)
		return;
	key_table = table;
	hash_seq_init(&seq, followed);
	while ((f = hash_seq_search(&seq)) != NULL)
		unfollow(f);
}

static void
list_followed(void *arg)
{
	static Oid	streams[WEIR_LISTENED_STREAMS];
	HASH_SEQ_STATUS seq;
	Followed   *f;
	bool		all;
	bool		found;
	int			n = weir_listened_streams(streams, &all);
	List	   *more = all ? weir_stream_list() : NIL;
	ListCell   *lc;

	check_key();
	/* Those that come twice do no harm. */
	for (int i = 0; i < n; i++)
		more = lappend_oid(more, streams[i]);
	hash_seq_init(&seq, followed);
	while ((f = hash_seq_search(&seq)) != NULL)
		f->listed = false;
	foreach(lc, more)
	{
		f = hash_search(followed, &lfirst_oid(lc), HASH_ENTER, &found);
		if (!found)
			memset((char *) f + sizeof(Oid), 0, sizeof(Followed) - sizeof(Oid));
		if (!f->known && !f->listed)
			do_with_stream(f, get_to_know);
		f->listed = true;
	}
	hash_seq_init(&seq, followed);
	while ((f = hash_seq_search(&seq)) != NULL)
		if (!f->listed || f->gone)
			unfollow(f);
}

static void
watch_followed(void)
{
	HASH_SEQ_STATUS seq;
	Followed   *f;
	WeirSlotSet slots = {{0}};
	char		status[WEIR_STATUS_SIZE];
	int			n = 0;

	changed = false;
	hash_seq_init(&seq, followed);
	while ((f = hash_seq_search(&seq)) != NULL)
	{
		for (int i = 0; f->known && i < f->npartitions; i++)
			weir_slot_set_add(&slots, f->slots[i]);
		n += f->known ? 1 : 0;
	}
	snprintf(status, sizeof(status), "following %d streams", n);
	weir_worker_says(status);
	if (is_empty(&slots))
		weir_watch_end();
	else
		(void) weir_watch_begin(WEIR_WATCH_MESSAGES, &slots);
	/* What ended before we watched. */
	due = slots;
}

static void
note_attempt(WeirAttempt result)
{
	if (result == WEIR_ATTEMPT_DONE)
	{
		delay_ms = 0;
		return;
	}
	if (result == WEIR_ATTEMPT_BUSY)
		delay_ms = BUSY_DELAY_MS;
	else
		delay_ms = delay_ms < FAILED_DELAY_MS ? FAILED_DELAY_MS :
			Min(2 * delay_ms, LAST_DELAY_MS);
	not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay_ms);
}

/* Follow those streams that somebody listens to now. */
static void
follow(void)
{
	uint64		now = weir_listeners_generation();
	WeirAttempt result;

	if (looked && now == generation)
		return;
	result = weir_attempt(list_followed, NULL, "looking for subscribers");
	note_attempt(result);
	looked = result == WEIR_ATTEMPT_DONE;
	generation = now;
	note_left(false);
	if (changed)
		watch_followed();
}

/* ---- sending ---- */

static bool
is_due(Followed *f, bool retry)
{
	if (!f->known || f->gone)
		return false;
	if (f->left_ms > 0)
		return retry;
	for (int i = 0; i < f->npartitions; i++)
		if (weir_slot_set_has(&due, f->slots[i]))
			return true;
	return false;
}

static bool
send_stream(void *arg)
{
	Followed   *f = arg;
	WeirStream *stream = open_stream(f);

	for (int i = 0; i < f->npartitions && i < stream->npartitions; i++)
	{
		if (!f->whole && !weir_slot_set_has(&due, f->slots[i]))
			continue;
		f->ends[i] = weir_stable_end(weir_partition_open(stream, i, AccessShareLock),
									 GetActiveSnapshot());
		/* At 0 there was never anything to read. */
		if (f->ends[i] != f->told[i] && f->ends[i] > 0)
			Async_Notify(f->channel, weir_payload(i, f->ends[i]));
	}
	return true;
}

static void
send(void *arg)
{
	bool	   *retry = arg;
	HASH_SEQ_STATUS seq;
	Followed   *f;
	List	   *list = NIL;
	ListCell   *lc;

	WEIR_DEBUG_POINT("notifier_send");
	hash_seq_init(&seq, followed);
	while ((f = hash_seq_search(&seq)) != NULL)
	{
		f->whole = false;
		if (is_due(f, *retry))
			list = lappend(list, f);
	}
	foreach(lc, list)
	{
		f = lfirst(lc);
		f->whole = f->left_ms > 0;
		do_with_stream(f, send_stream);
		/* Its listeners will hear no more. */
		if (f->gone)
			looked = false;
	}
}

/* Note which ends were sent; what was not stays due, or is left. */
static void
settle(bool done)
{
	HASH_SEQ_STATUS seq;
	Followed   *f;

	if (done)
		memset(&due, 0, sizeof(due));
	hash_seq_init(&seq, followed);
	while ((f = hash_seq_search(&seq)) != NULL)
	{
		bool		sent = done && f->left_ms == 0;

		if (!f->known)
			continue;
		memcpy(sent ? f->told : f->ends, sent ? f->ends : f->told,
			   f->npartitions * sizeof(int64));
		for (int i = 0; i < f->npartitions && !done && f->whole; i++)
			weir_slot_set_add(&due, f->slots[i]);
	}
}

static void
send_due(bool retry)
{
	TimestampTz began = GetCurrentTimestamp();
	WeirAttempt result = weir_attempt(send, &retry, "notifying subscribers");

	settle(result == WEIR_ATTEMPT_DONE);
	note_attempt(result);
	note_left(retry);
	sent_at = GetCurrentTimestamp();
	send_us = (3 * send_us + (sent_at - began)) / 4;
}

/* When the next may be sent. */
static TimestampTz
next_send(void)
{
	int64		interval = Max(weir_notify_interval * INT64CONST(1000),
							   (int64) weir_listening_sessions() * US_PER_LISTENER);

	interval = Max(interval, Min(send_us * SHARE_OF_TIME, LONGEST_SHARE_US));
	return Max(sent_at + interval, delay_ms > 0 ? not_before : 0);
}

/* ---- the process ---- */

static uint32
wait_event(void)
{
	static uint32 event = 0;

	if (event == 0)
		event = weir_wait_event("WeirNotifierMain");
	return event;
}

/*
 * Not armed: whoever commits meanwhile need not wake us.  A wake-up that waiting
 * for a lock has swallowed is seen in the slot.
 */
static void
rest_until(TimestampTz until)
{
	long		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

	if (weir_worker_has_wake() || ConfigReloadPending)
		return;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, wait_event());
	ResetLatch(MyLatch);
}

/* Until somebody wakes us, or those left are to be tried. */
static void
rest(void)
{
	long		ms = LONGEST_REST_MS;

	if (retry_at != DT_NOEND)
		ms = Min(ms, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), retry_at));
	if (!weir_worker_has_wake() && !ConfigReloadPending)
		weir_watch_rest(ms, wait_event());
}

/*
 * Nothing to follow: if none comes for long, end.  Something that comes just
 * then sets "wanted", and another turn is taken.
 */
static void
rest_or_end(void)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LONGEST_REST_MS);

	rest_until(until);
	if (GetCurrentTimestamp() >= until && weir_worker_is_unwanted())
		proc_exit(0);
}

static void
take_turn(void)
{
	WeirSlotSet woken;
	TimestampTz next = next_send();
	bool		retry;

	if (GetCurrentTimestamp() < next)
	{
		rest_until(next);
		return;
	}
	retry = retry_at <= GetCurrentTimestamp();
	if (retry)
		looked = false;
	follow();
	if (!looked)
		return;
	if (hash_get_num_entries(followed) == 0)
	{
		rest_or_end();
		return;
	}
	weir_watch_arm();
	weir_watch_take(&woken);
	for (int w = 0; w < WEIR_SLOT_WORDS; w++)
		due.words[w] |= woken.words[w];
	if (is_empty(&due) && !retry)
		rest();
	else
		send_due(retry);
}

void
weir_notifier_main(Datum arg)
{
	MemoryContext turn_context;
	bool		belongs = false;

	weir_worker_begin(arg, settings, lengthof(settings));
	make_table();
	turn_context = AllocSetContextCreate(TopMemoryContext, "weir notifier turn",
										 ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		WeirWake	wake;

		/* A cancel is for what ran when it was sent. */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		MemoryContextSwitchTo(turn_context);
		if (!belongs || weir_worker_has_wake())
		{
			weir_worker_take_wake(&wake);
			belongs = weir_worker_belongs();
			/* Listeners, or streams, have come or gone. */
			looked = false;
			MemoryContextSwitchTo(turn_context);
		}
		if (belongs)
			take_turn();
		MemoryContextSwitchTo(turn_context);
		MemoryContextReset(turn_context);
	}
}
