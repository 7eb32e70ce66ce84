/*
 * wake.c
 *		Waking workers when a transaction commits.
 *
 * What is to be woken for is collected here, in the backend, and moved into
 * shared memory at the end of the commit, when the transaction has become
 * visible, its invalidations are sent and its locks are gone.  Any earlier (the
 * callback of the commit itself is) the woken worker could look with caches
 * that still say what was, and sleep on.
 *
 * It is forgotten when the transaction aborts and when it is prepared: COMMIT
 * PREPARED wakes for everything (worker/hooks.c).  The abort of a
 * subtransaction forgets nothing: a wake-up too many is harmless.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/slots.h"
#include "miscadmin.h"
#include "utils/resowner.h"

#define MAX_DATABASES 4

static WeirWake pending;
static bool or_hint = false;	/* if there is no keeper, hint the launcher */
static bool if_there = false;
static Oid	databases[MAX_DATABASES];
static int	ndatabases = 0;
static bool committed = false;	/* deliver at the end of the commit */
static Oid	held[MAX_DATABASES];	/* databases to be let go of at the end */
static int	nheld = 0;

bool
weir_has_workers(void)
{
	return IsUnderPostmaster && !IsBinaryUpgrade && weir_slots_exist();
}

static void
forget(void)
{
	committed = if_there = or_hint = false;
	pending.rows = pending.options = pending.overflow = false;
	pending.npartitions = ndatabases = 0;
}

static void
deliver(void)
{
	if (if_there || or_hint)
		weir_slots_wake(&pending, or_hint);
	for (int i = 0; i < ndatabases; i++)
		weir_slots_hint(databases[i]);
	forget();
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			committed = true;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget();
			break;
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			break;
	}
}

/* Called several times in the end of a transaction: the first time does it. */
static void
at_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level,
		   void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;
	if (committed)
		deliver();
	while (nheld > 0)
		weir_slots_release(held[--nheld]);
}

void
weir_wake_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterResourceReleaseCallback(at_release, NULL);
}

void
weir_release_at_end(Oid database)
{
	if (nheld < MAX_DATABASES)
		held[nheld++] = database;
	else
		weir_slots_release(database);
}

void
weir_wake_for_rows(void)
{
	if (weir_has_workers())
		or_hint = pending.rows = true;
}

/* Streams have come or changed their options: look at their rows too. */
void
weir_wake_for_options(void)
{
	weir_wake_for_rows();
	pending.options = pending.rows;
}

void
weir_wake_for_partition(Oid partition)
{
	if (!weir_has_workers())
		return;
	or_hint = true;
	for (int i = 0; i < pending.npartitions; i++)
	{
		if (pending.partitions[i] == partition)
			return;
	}
	if (pending.npartitions < WEIR_WAKE_PARTITIONS)
		pending.partitions[pending.npartitions++] = partition;
	else
		pending.overflow = true;
}

void
weir_wake_for_all(void)
{
	weir_wake_for_rows();
	pending.overflow = pending.options = pending.rows;
}

void
weir_wake_if_there(void)
{
	if (weir_has_workers())
		if_there = pending.rows = pending.options = pending.overflow = true;
}

/* More than fit are found by their sessions' first wake-up. */
void
weir_hint_database(Oid database)
{
	if (weir_has_workers() && ndatabases < MAX_DATABASES)
		databases[ndatabases++] = database;
}
