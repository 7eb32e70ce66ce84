/*
 * listeners.c
 *		Which sessions LISTEN, and to which streams.
 *
 * A table in shared memory counts, for each stream of each database, the
 * sessions that listen to its channel, and for each database those that listen
 * to anything: NOTIFY signals all of these.  A session keeps the list of its
 * channels and what a transaction is to change in it; the change is made when
 * that commits, before LISTEN has told the client that it listens, and counted
 * back when the session ends.  What is counted too much is harmless (somebody
 * is notified in vain), so a LISTEN in a savepoint that is rolled back may
 * count; an UNLISTEN there may not, and is forgotten.
 *
 * One LWLock guards the table; nothing waits under it, and nothing is done under
 * it that takes longer the more channels a session has.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/listeners.h"
#include "base/slots.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#define TABLE_NAME "weir listeners"

typedef struct Listened
{
	Oid			database;		/* InvalidOid: the entry is free */
	Oid			stream;			/* InvalidOid: sessions that listen at all */
	uint32		sessions;
} Listened;

typedef struct Listeners
{
	LWLock		lock;			/* guards all that follows */
	uint64		generation;
	uint32		uncounted;		/* channels that found no room */
	Listened	entries[WEIR_LISTENED_STREAMS];
} Listeners;

static Listeners *table = NULL;

/* A channel of this session, or one that its transaction is to change. */
typedef struct Channel
{
	dlist_node	node;
	Oid			stream;			/* InvalidOid: it is none of ours */
	bool		listen;			/* else unlisten */
	bool		counted;		/* it has an entry in the table */
	SubTransactionId subid;
	char		name[NAMEDATALEN];	/* empty: all channels */
} Channel;

static dlist_head channels = DLIST_STATIC_INIT(channels);
static dlist_head changes = DLIST_STATIC_INIT(changes);
static bool listens = false;	/* this session is counted as one that does */
static bool came = false;		/* the notifier is to hear of a channel of ours */
static bool went = false;		/* a stream has lost its last listener */

/* ---- shared memory; the hooks are in shmem.c ---- */

Size
weir_listeners_size(void)
{
	return MAXALIGN(sizeof(Listeners));
}

void
weir_listeners_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	table = ShmemInitStruct(TABLE_NAME, sizeof(Listeners), &found);
	if (!found)
	{
		memset(table, 0, sizeof(Listeners));
		LWLockInitialize(&table->lock, LWLockNewTrancheId());
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(table->lock.tranche, "weir_listeners");
}

/* ---- under the lock ---- */

static Listened *
find_entry(Oid stream)
{
	for (int i = 0; i < WEIR_LISTENED_STREAMS; i++)
	{
		Listened   *entry = &table->entries[i];

		if (entry->database == MyDatabaseId && entry->stream == stream)
			return entry;
	}
	return NULL;
}

/* False: there is no room. */
static bool
count_up(Oid stream)
{
	Listened   *entry = find_entry(stream);

	for (int i = 0; i < WEIR_LISTENED_STREAMS && entry == NULL; i++)
	{
		if (OidIsValid(table->entries[i].database))
			continue;
		entry = &table->entries[i];
		entry->database = MyDatabaseId;
		entry->stream = stream;
		entry->sessions = 0;
		table->generation++;
	}
	if (entry == NULL)
		return false;
	entry->sessions++;
	return true;
}

static void
count_down(Oid stream)
{
	Listened   *entry = find_entry(stream);

	if (entry == NULL || --entry->sessions > 0)
		return;
	memset(entry, 0, sizeof(Listened));
	table->generation++;
	went = true;
}

static void
count_channel_down(Channel *channel)
{
	if (channel->counted)
		count_down(channel->stream);
	else if (OidIsValid(channel->stream) && --table->uncounted == 0)
	{
		table->generation++;
		went = true;
	}
}

/* ---- the session ---- */

static void
add_channel(Channel *channel)
{
	dlist_push_tail(&channels, &channel->node);
	if (listens && !OidIsValid(channel->stream))
		return;
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	if (OidIsValid(channel->stream))
	{
		channel->counted = count_up(channel->stream);
		if (!channel->counted && table->uncounted++ == 0)
			table->generation++;
		came = true;
	}
	if (!listens)
		listens = count_up(InvalidOid);
	LWLockRelease(&table->lock);
}

static void
remove_channel(Channel *channel)
{
	bool		last;

	dlist_delete(&channel->node);
	last = listens && dlist_is_empty(&channels);
	if (!last && !OidIsValid(channel->stream))
		return;
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	count_channel_down(channel);
	if (last)
	{
		count_down(InvalidOid);
		listens = false;
	}
	LWLockRelease(&table->lock);
}

static bool
is_listening(const char *name)
{
	dlist_iter	iter;

	dlist_foreach(iter, &channels)
	{
		if (strcmp(dlist_container(Channel, node, iter.cur)->name, name) == 0)
			return true;
	}
	return false;
}

static void
apply(Channel *change)
{
	dlist_mutable_iter iter;

	dlist_delete(&change->node);
	if (change->listen && !is_listening(change->name))
	{
		add_channel(change);
		return;
	}
	if (!change->listen)
	{
		dlist_foreach_modify(iter, &channels)
		{
			Channel    *channel = dlist_container(Channel, node, iter.cur);

			if (change->name[0] != '\0' && strcmp(channel->name, change->name) != 0)
				continue;
			remove_channel(channel);
			pfree(channel);
		}
	}
	pfree(change);
}

static void
tell_notifier(void)
{
	if (came || went)
		weir_slots_want_notifier(came);
	came = went = false;
}

static void
apply_all(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &changes)
		apply(dlist_container(Channel, node, iter.cur));
	tell_notifier();
}

/* What was noted in this subtransaction; 0: in any. */
static void
forget(SubTransactionId subid)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &changes)
	{
		Channel    *change = dlist_container(Channel, node, iter.cur);

		if (subid != 0 && change->subid < subid)
			continue;
		dlist_delete(&change->node);
		pfree(change);
	}
}

static void
at_end(XactEvent event, void *arg)
{
	if (dlist_is_empty(&changes))
		return;
	if (event == XACT_EVENT_COMMIT)
		apply_all();
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget(0);
}

/* Numbers of subtransactions only grow: it and all in it. */
static void
at_subabort(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
			void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && !dlist_is_empty(&changes))
		forget(mine);
}

/* The session ends. */
static void
leave(int code, Datum arg)
{
	dlist_iter	iter;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	dlist_foreach(iter, &channels)
		count_channel_down(dlist_container(Channel, node, iter.cur));
	if (listens)
		count_down(InvalidOid);
	dlist_init(&channels);
	listens = false;
	LWLockRelease(&table->lock);
	tell_notifier();
}

static Oid
stream_of(const char *channel)
{
	size_t		length = strlen(WEIR_CHANNEL_PREFIX);
	char	   *end;
	unsigned long oid;

	if (strncmp(channel, WEIR_CHANNEL_PREFIX, length) != 0)
		return InvalidOid;
	oid = strtoul(channel + length, &end, 10);
	return *end == '_' && oid <= OID_MAX ? (Oid) oid : InvalidOid;
}

static void
note(const char *name, bool listen)
{
	static bool registered = false;
	Channel    *change;

	if (table == NULL || !IsUnderPostmaster)
		return;
	if (!registered)
		before_shmem_exit(leave, (Datum) 0);
	registered = true;
	change = MemoryContextAllocZero(TopMemoryContext, sizeof(Channel));
	strlcpy(change->name, name, NAMEDATALEN);
	change->stream = stream_of(name);
	change->listen = listen;
	change->subid = GetCurrentSubTransactionId();
	dlist_push_tail(&changes, &change->node);
}

void
weir_note_listen(const char *channel)
{
	note(channel, true);
}

void
weir_note_unlisten(const char *channel)
{
	if (!dlist_is_empty(&channels) || !dlist_is_empty(&changes))
		note(channel ? channel : "", false);
}

void
weir_listeners_init(void)
{
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_subabort, NULL);
}

/* ---- the notifier ---- */

int
weir_listened_streams(Oid *streams, bool *all)
{
	int			n = 0;

	LWLockAcquire(&table->lock, LW_SHARED);
	*all = table->uncounted > 0;
	for (int i = 0; i < WEIR_LISTENED_STREAMS; i++)
	{
		Listened   *entry = &table->entries[i];

		if (entry->database == MyDatabaseId && OidIsValid(entry->stream))
			streams[n++] = entry->stream;
	}
	LWLockRelease(&table->lock);
	return n;
}

static int
sessions_of(Oid stream)
{
	Listened   *entry;
	int			n;

	if (table == NULL)
		return 0;
	LWLockAcquire(&table->lock, LW_SHARED);
	entry = find_entry(stream);
	n = entry ? (int) entry->sessions : 0;
	LWLockRelease(&table->lock);
	return n;
}

/* Also when there is no telling, because the table is full. */
bool
weir_is_listened_to(Oid stream)
{
	bool		uncounted;

	if (table == NULL || sessions_of(stream) > 0)
		return table != NULL;
	LWLockAcquire(&table->lock, LW_SHARED);
	uncounted = table->uncounted > 0;
	LWLockRelease(&table->lock);
	return uncounted;
}

int
weir_listening_sessions(void)
{
	return sessions_of(InvalidOid);
}

uint64
weir_listeners_generation(void)
{
	uint64		result;

	LWLockAcquire(&table->lock, LW_SHARED);
	result = table->generation;
	LWLockRelease(&table->lock);
	return result;
}
