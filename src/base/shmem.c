/*
 * shmem.c
 *		The shared memory of weir; shmem.h says what it holds and why its
 *		layout is fixed.
 *
 * It comes from ShmemInitStruct on every version, preloaded or not: the
 * slack that every cluster has takes the 64 kB, so there is one path and one
 * table.  A small header of its own, whose size never changes at all, says
 * which layout the table has before anybody touches the table.  The tables of
 * workers, watchers and listeners (slots.c, watch.c, listeners.c) are there only
 * with preloading.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/listeners.h"
#include "base/shmem.h"
#include "base/slots.h"
#include "base/watch.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

/* Never change this struct, nor the name under which it is found. */
typedef struct WeirRegistry
{
	uint32		magic;
	uint32		layout;
	uint64		table_size;
	char		reserved[48];
} WeirRegistry;

#define REGISTRY_MAGIC		0x77656972	/* "weir" */
#define REGISTRY_NAME		"weir registry"
#define TABLE_NAME			"weir append table"

typedef struct WeirShared
{
	int			tranche;
	slock_t		horizon_mutex;	/* guards horizon */
	int			nhorizon;
	WeirHorizon horizon[WEIR_HORIZON_SAMPLES];	/* oldest first */
	pg_atomic_uint64 last_sample;	/* when, so that asking is free */
	WeirAppendSlotPadded slots[FLEXIBLE_ARRAY_MEMBER];
} WeirShared;

StaticAssertDecl(sizeof(WeirRegistry) == 64, "the registry never changes");
StaticAssertDecl(sizeof(WeirAppendSlot) <= 2 * PG_CACHE_LINE_SIZE,
				 "an append slot fits its padding");

/* Samples of the horizon are this far apart, in microseconds. */
#define HORIZON_SPACING		INT64CONST(50000)

static WeirShared *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static Size
table_size(void)
{
	return add_size(offsetof(WeirShared, slots),
					mul_size(WEIR_APPEND_SLOTS, sizeof(WeirAppendSlotPadded)));
}

static void
initialize_table(WeirShared *table)
{
	memset(table, 0, offsetof(WeirShared, slots));
	table->tranche = LWLockNewTrancheId();
	SpinLockInit(&table->horizon_mutex);
	pg_atomic_init_u64(&table->last_sample, 0);
	for (int i = 0; i < WEIR_APPEND_SLOTS; i++)
	{
		WeirAppendSlot *slot = &table->slots[i].slot;

		memset(&table->slots[i], 0, sizeof(WeirAppendSlotPadded));
		LWLockInitialize(&slot->lock, table->tranche);
		pg_atomic_init_u64(&slot->rolls, 1);
		SpinLockInit(&slot->mutex);
		pg_atomic_init_u64(&slot->longest_hold_us, 0);
		pg_atomic_init_u64(&slot->last_read, 0);
	}
}

/*
 * Find the table or make it.  An error leaves no lock behind: both structs
 * are complete before anybody else can see them.
 */
static void
attach_table(void)
{
	WeirRegistry *registry;
	WeirShared *table;
	uint32		found_layout;
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	registry = ShmemInitStruct(REGISTRY_NAME, sizeof(WeirRegistry), &found);
	if (!found)
	{
		memset(registry, 0, sizeof(WeirRegistry));
		registry->magic = REGISTRY_MAGIC;
		registry->layout = WEIR_SHMEM_LAYOUT;
		registry->table_size = table_size();
	}
	found_layout = registry->layout;
	if (registry->magic != REGISTRY_MAGIC ||
		found_layout != WEIR_SHMEM_LAYOUT ||
		registry->table_size != table_size())
	{
		LWLockRelease(AddinShmemInitLock);
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_LIBRARY_MISMATCH),
				 errmsg("another build of library \"weir\" is in use by this server"),
				 errdetail("It keeps append locks in layout %u, this build in layout %u.",
						   found_layout, (uint32) WEIR_SHMEM_LAYOUT),
				 errhint("Restart the server so that all sessions use one build.")));
	}
	table = ShmemInitStruct(TABLE_NAME, table_size(), &found);
	if (!found)
		initialize_table(table);
	LWLockRelease(AddinShmemInitLock);

	LWLockRegisterTranche(table->tranche, "weir_append");
	shared = table;
}

static inline WeirShared *
table(void)
{
	if (unlikely(shared == NULL))
		attach_table();
	return shared;
}

static void
request_shmem(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(MAXALIGN(sizeof(WeirRegistry)),
									table_size()));
	RequestAddinShmemSpace(weir_slots_size());
	RequestAddinShmemSpace(weir_watch_size());
	RequestAddinShmemSpace(weir_listeners_size());
}

static void
startup_shmem(void)
{
	if (previous_startup_hook)
		previous_startup_hook();
	/* A restart after a crash starts over with fresh memory. */
	shared = NULL;
	attach_table();
	weir_slots_startup();
	weir_watch_startup();
	weir_listeners_startup();
}

void
weir_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

/* Which slot is that of a partition of this database? */
int
weir_append_slot_number(Oid partition)
{
	uint32		hash = hash_combine(murmurhash32(MyDatabaseId),
									murmurhash32(partition));

	return hash % WEIR_APPEND_SLOTS;
}

/* The append lock and its neighbours. */
WeirAppendSlot *
weir_append_slot(Oid partition)
{
	return &table()->slots[weir_append_slot_number(partition)].slot;
}

/* The longest hold of any append lock since the last reset, microseconds. */
uint64
weir_longest_hold(bool reset)
{
	WeirShared *t = table();
	uint64		longest = 0;

	for (int i = 0; i < WEIR_APPEND_SLOTS; i++)
	{
		pg_atomic_uint64 *hold = &t->slots[i].slot.longest_hold_us;
		uint64		us = reset ? pg_atomic_exchange_u64(hold, 0) :
			pg_atomic_read_u64(hold);

		longest = Max(longest, us);
	}
	return longest;
}

/*
 * Remember a pair (LSN, next xid), unless the last one is fresh.  The LSN is
 * read first: whatever was inserted up to it had its xid before, so below
 * next_xid.  When the ring is full every second sample goes, but never the
 * oldest and the newest, so that it covers both the last moments and long
 * ago.
 */
void
weir_horizon_sample(int64 now)
{
	WeirShared *t = table();
	uint64		last = pg_atomic_read_u64(&t->last_sample);
	WeirHorizon sample;

	if ((int64) last <= now && now - (int64) last < HORIZON_SPACING)
		return;
	if (!pg_atomic_compare_exchange_u64(&t->last_sample, &last, (uint64) now))
		return;

	sample.lsn = RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) :
		GetXLogInsertRecPtr();
	sample.next_xid = U64FromFullTransactionId(ReadNextFullTransactionId());
	sample.taken_at = now;

	SpinLockAcquire(&t->horizon_mutex);
	if (t->nhorizon == WEIR_HORIZON_SAMPLES)
	{
		for (int i = 1; i < WEIR_HORIZON_SAMPLES / 2; i++)
			t->horizon[i] = t->horizon[2 * i + 1];
		t->nhorizon = WEIR_HORIZON_SAMPLES / 2;
	}
	/* Two samplers may finish in the other order: keep the ring sorted. */
	if (t->nhorizon == 0 ||
		(t->horizon[t->nhorizon - 1].lsn <= sample.lsn &&
		 t->horizon[t->nhorizon - 1].next_xid <= sample.next_xid))
		t->horizon[t->nhorizon++] = sample;
	SpinLockRelease(&t->horizon_mutex);
}

/*
 * The greatest LSN so that every tuple on a page with at most that LSN is
 * decided for a snapshot with this xmin; InvalidXLogRecPtr if none is known.
 */
XLogRecPtr
weir_horizon_before(TransactionId xmin)
{
	WeirShared *t = table();
	FullTransactionId next = ReadNextFullTransactionId();
	uint64		full = U64FromFullTransactionId(next);
	XLogRecPtr	lsn = InvalidXLogRecPtr;

	/* xmin is at most 2^31 behind the next xid. */
	full -= (uint32) (XidFromFullTransactionId(next) - xmin);

	SpinLockAcquire(&t->horizon_mutex);
	for (int i = t->nhorizon - 1; i >= 0; i--)
	{
		if (t->horizon[i].next_xid <= full)
		{
			lsn = t->horizon[i].lsn;
			break;
		}
	}
	SpinLockRelease(&t->horizon_mutex);
	return lsn;
}
