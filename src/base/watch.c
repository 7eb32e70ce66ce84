/*
 * watch.c
 *		Being woken when a transaction that wrote to a partition has ended.
 *
 * Each process has an entry of its own in shared memory: the slots of the
 * append table that it watches, those in which something has ended, and
 * whether it wants its latch set.  A transaction collects the slots it wrote
 * to; when it has ended, is seen to have ended by every new snapshot, and has
 * let go of its locks, it looks whether anybody watches one of them.  If nobody
 * does, that is one read of shared memory for each slot and nothing else.  What
 * a subtransaction did is told when that is rolled back, but never to oneself:
 * whoever waits looks in subtransactions, and would look for ever.
 *
 * No wake-up is lost.  The watcher arms its entry and then looks; the other
 * ends its transaction, marks the slot, and then takes the arming.  If it found
 * the entry not armed yet, the watcher's look comes after the end of the
 * transaction and sees it.  The counters of watchers work the same way: raised
 * before the first look.
 *
 * The latch may be swallowed by somebody else's wait in the same process, so
 * whoever rests looks at the arming and not at the latch.
 *
 * Nothing here locks; nothing after the end of a transaction can fail.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/watch.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/resowner.h"
#include "utils/wait_event.h"

#define TABLE_NAME "weir watchers"

typedef struct Watcher
{
	pg_atomic_uint32 kinds;		/* WeirWatchKind; 0: watches nothing */
	pg_atomic_uint32 armed;		/* set the latch */
	pg_atomic_uint64 slots[WEIR_SLOT_WORDS];
	pg_atomic_uint64 woken[WEIR_SLOT_WORDS];
} Watcher;

typedef struct Watchers
{
	pg_atomic_uint32 counts[WEIR_APPEND_SLOTS]; /* how many watch each slot */
	pg_atomic_uint64 active[FLEXIBLE_ARRAY_MEMBER]; /* a bit for each entry that
													 * watches anything */
} Watchers;

static Watchers *table = NULL;
static Watcher *watchers = NULL;	/* behind it, one for each process */
static int	nwatchers = 0;
static Watcher *mine = NULL;	/* while I watch */
static WeirSlotSet mine_counted;	/* the slots whose counters I raised */

static bool noted = false;		/* anything to be told at the end */
static SubTransactionId noted_in = InvalidSubTransactionId; /* in none later */
static bool part_ended = false; /* tell as soon as its locks are gone */
static bool all_ended = false;
static WeirSlotSet messages;
static WeirSlotSet positions;

/* ---- shared memory; the hooks are in shmem.c ---- */

static int
active_words(void)
{
	return (nwatchers + 63) / 64;
}

static Size
table_size(void)
{
	return MAXALIGN(add_size(offsetof(Watchers, active),
							 mul_size(active_words(), sizeof(pg_atomic_uint64))));
}

Size
weir_watch_size(void)
{
	/* Processes that can run SQL: others have no reason to wait here. */
	nwatchers = MaxBackends;
	return add_size(table_size(), mul_size(nwatchers, sizeof(Watcher)));
}

void
weir_watch_startup(void)
{
	bool		found;
	Size		size = weir_watch_size();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	table = ShmemInitStruct(TABLE_NAME, size, &found);
	watchers = (Watcher *) ((char *) table + table_size());
	if (!found)
	{
		for (int i = 0; i < WEIR_APPEND_SLOTS; i++)
			pg_atomic_init_u32(&table->counts[i], 0);
		for (int w = 0; w < active_words(); w++)
			pg_atomic_init_u64(&table->active[w], 0);
		for (int i = 0; i < nwatchers; i++)
		{
			Watcher    *watcher = &watchers[i];

			pg_atomic_init_u32(&watcher->kinds, 0);
			pg_atomic_init_u32(&watcher->armed, 0);
			for (int w = 0; w < WEIR_SLOT_WORDS; w++)
			{
				pg_atomic_init_u64(&watcher->slots[w], 0);
				pg_atomic_init_u64(&watcher->woken[w], 0);
			}
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/* ---- whoever writes ---- */

static void
note(void)
{
	noted = true;
	noted_in = Max(noted_in, GetCurrentSubTransactionId());
}

void
weir_note_messages(int slot)
{
	weir_slot_set_add(&messages, slot);
	note();
}

void
weir_note_position(int slot)
{
	weir_slot_set_add(&positions, slot);
	note();
}

void
weir_note_everything(void)
{
	memset(&messages, 0xFF, sizeof(messages));
	note();
}

static void
forget(void)
{
	noted = part_ended = all_ended = false;
	noted_in = InvalidSubTransactionId;
	memset(&messages, 0, sizeof(messages));
	memset(&positions, 0, sizeof(positions));
}

/* Does anybody watch one of these slots? */
static bool
is_watched(void)
{
	for (int w = 0; w < WEIR_SLOT_WORDS; w++)
	{
		uint64		word = messages.words[w] | positions.words[w];

		while (word != 0)
		{
			int			bit = pg_rightmost_one_pos64(word);

			if (pg_atomic_read_u32(&table->counts[w * 64 + bit]) > 0)
				return true;
			word &= word - 1;
		}
	}
	return false;
}

static void
wake(int number)
{
	Watcher    *watcher = &watchers[number];
	uint32		kinds = pg_atomic_read_u32(&watcher->kinds);
	bool		concerned = false;

	if (kinds == 0 || watcher == mine)
		return;
	for (int w = 0; w < WEIR_SLOT_WORDS; w++)
	{
		uint64		word = messages.words[w] |
			((kinds & WEIR_WATCH_POSITIONS) ? positions.words[w] : 0);

		if (word == 0)
			continue;
		word &= pg_atomic_read_u64(&watcher->slots[w]);
		if (word == 0)
			continue;
		concerned = true;
		/* A mark that is there already is taken after this, so looked at. */
		if ((pg_atomic_read_u64(&watcher->woken[w]) & word) != word)
			(void) pg_atomic_fetch_or_u64(&watcher->woken[w], word);
	}
	if (concerned && pg_atomic_read_u32(&watcher->armed) != 0 &&
		pg_atomic_exchange_u32(&watcher->armed, 0) != 0)
		SetLatch(&ProcGlobal->allProcs[number].procLatch);
}

static void
tell(void)
{
	if (table == NULL)
		return;
	/* The end of the transaction first, then whether somebody watches. */
	pg_memory_barrier();
	if (!is_watched())
		return;
	pg_read_barrier();
	for (int w = 0; w < active_words(); w++)
	{
		uint64		word = pg_atomic_read_u64(&table->active[w]);

		for (; word != 0; word &= word - 1)
			wake(w * 64 + pg_rightmost_one_pos64(word));
	}
}

static void
at_end(XactEvent event, void *arg)
{
	if (!noted)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			all_ended = true;
			break;
		case XACT_EVENT_PREPARE:
			/* Whoever ends it tells everybody. */
			forget();
			break;
		default:
			break;
	}
}

/*
 * What is rolled back holds nobody up any more.  Numbers of subtransactions only
 * grow: what was noted in it or below has its number or a greater one.
 */
static void
at_subabort(SubXactEvent event, SubTransactionId mine_id,
			SubTransactionId parent, void *arg)
{
	if (!noted || event != SUBXACT_EVENT_ABORT_SUB || noted_in < mine_id)
		return;
	noted_in = mine_id - 1;
	part_ended = true;
}

/*
 * Not before the locks are gone: whoever is woken may only try for them.  The
 * first call of the phase comes after the last lock.
 */
static void
at_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level,
		   void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !(part_ended || all_ended))
		return;
	tell();
	part_ended = false;
	if (all_ended)
		forget();
}

void
weir_watch_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_subabort, NULL);
	RegisterResourceReleaseCallback(at_release, NULL);
}

/* ---- whoever waits ---- */

static void
forget_watch(int code, Datum arg)
{
	weir_watch_end();
}

bool
weir_watch_begin(WeirWatchKind kinds, const WeirSlotSet *slots)
{
	static bool registered = false;
	int			number = (int) (MyProc - ProcGlobal->allProcs);

	weir_watch_end();
	if (table == NULL || number >= nwatchers || RecoveryInProgress())
		return false;
	if (!registered)
		before_shmem_exit(forget_watch, (Datum) 0);
	registered = true;

	mine = &watchers[number];
	for (int w = 0; w < WEIR_SLOT_WORDS; w++)
	{
		pg_atomic_write_u64(&mine->slots[w], slots->words[w]);
		pg_atomic_write_u64(&mine->woken[w], 0);
	}
	pg_atomic_write_u32(&mine->armed, 0);
	pg_atomic_write_u32(&mine->kinds, kinds);
	(void) pg_atomic_fetch_or_u64(&table->active[number / 64],
								  UINT64CONST(1) << (number % 64));
	for (int i = 0; i < WEIR_APPEND_SLOTS; i++)
		if (weir_slot_set_has(slots, i))
			pg_atomic_fetch_add_u32(&table->counts[i], 1);
	mine_counted = *slots;
	return true;
}

/* Also a full barrier: what is looked at next is newer. */
void
weir_watch_arm(void)
{
	if (mine != NULL)
		(void) pg_atomic_exchange_u32(&mine->armed, 1);
}

/* Until somebody took the arming, or the time is over, or a signal comes. */
void
weir_watch_rest(long timeout_ms, uint32 wait_event)
{
	if (mine != NULL && pg_atomic_read_u32(&mine->armed) == 0)
		return;
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 timeout_ms, wait_event);
	ResetLatch(MyLatch);
}

void
weir_watch_take(WeirSlotSet *woken)
{
	for (int w = 0; w < WEIR_SLOT_WORDS; w++)
		woken->words[w] = mine == NULL ? 0 :
			pg_atomic_exchange_u64(&mine->woken[w], 0);
}

void
weir_watch_end(void)
{
	int			number;

	if (mine == NULL)
		return;
	number = (int) (mine - watchers);
	(void) pg_atomic_fetch_and_u64(&table->active[number / 64],
								   ~(UINT64CONST(1) << (number % 64)));
	for (int i = 0; i < WEIR_APPEND_SLOTS; i++)
		if (weir_slot_set_has(&mine_counted, i))
			pg_atomic_fetch_sub_u32(&table->counts[i], 1);
	pg_atomic_write_u32(&mine->kinds, 0);
	pg_atomic_write_u32(&mine->armed, 0);
	mine = NULL;
}
