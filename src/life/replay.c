/*
 * replay.c
 *		What the activity log says of the states of partitions.
 *
 * The events are replayed in order, up to the first one whose transaction is
 * still open; what the last one said of a partition is compared with its row
 * as of the same snapshot.  They were committed together, so they agree:
 * stream_check() and the keeper at its start say so if not.
 *
 * An event is about a stream if both name and OID are the same: a renamed or
 * restored stream has no history until its next event, and never another's.
 *
 * The keeper replays from its checkpoint to the stable end, and moves the
 * checkpoint there, also while it runs, whenever a good number of events has
 * come: how many partitions were paused and resumed in its life does not
 * lengthen the next start.  The rows, not the log, are its work list.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "catalog/cache.h"
#include "life/replay.h"
#include "miscadmin.h"
#include "read/stable.h"
#include "read/walk.h"
#include "stream/event.h"
#include "stream/parts.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

/* So many events may lie behind the checkpoint. */
#define CHECKPOINT_EVENTS	1000

#define WHOLE_STREAM		(-1)

typedef struct Key
{
	char		name[4 * NAMEDATALEN + 8];	/* qualified and quoted */
	Oid			stream;
	int			partition;		/* or WHOLE_STREAM */
} Key;

typedef struct Entry
{
	Key			key;
	uint32		life;			/* how often the stream came and went before */
	bool		created;		/* of a stream: since its beginning */
	WeirReplayed said;
} Entry;

struct WeirReplay
{
	HTAB	   *entries;
	bool		complete;
	int64		end;
};

static Entry *
entry_for(WeirReplay *replay, const char *name, Oid stream, int partition,
		  HASHACTION action)
{
	Key			key;
	Entry	   *entry;
	bool		found;

	memset(&key, 0, sizeof(key));
	strlcpy(key.name, name, sizeof(key.name));
	key.stream = stream;
	key.partition = partition;
	entry = hash_search(replay->entries, &key, action, &found);
	if (entry && !found)
		memset((char *) entry + sizeof(Key), 0, sizeof(Entry) - sizeof(Key));
	return entry;
}

/* ---- one event ---- */

static char *
text_of(Jsonb *json, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&json->root, name,
													 strlen(name), &buffer);

	return value && value->type == jbvString ?
		pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

/* -1 for what is no number of ours: the log may have messages of others. */
static int64
number_of(JsonbValue *value)
{
	char	   *text;
	char	   *end;
	int64		number;

	if (value == NULL || value->type != jbvNumeric)
		return -1;
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(value->val.numeric)));
	errno = 0;
	number = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' && number >= 0 && number <= PG_UINT32_MAX ?
		number : -1;
}

static void
partition_said(WeirReplay *replay, const char *name, Oid stream, int partition,
			   const char *event)
{
	Entry	   *whole = entry_for(replay, name, stream, WHOLE_STREAM, HASH_ENTER);
	Entry	   *entry = entry_for(replay, name, stream, partition, HASH_ENTER);

	if (entry->life != whole->life)
	{
		entry->life = whole->life;
		memset(&entry->said, 0, sizeof(WeirReplayed));
	}
	if (strcmp(event, "paused") == 0 || strcmp(event, "auto-paused") == 0 ||
		strcmp(event, "resumed") == 0)
	{
		entry->said.knows_paused = true;
		entry->said.paused = strcmp(event, "resumed") != 0;
	}
	else if (strcmp(event, "readonly set") == 0 ||
			 strcmp(event, "readonly cleared") == 0)
	{
		entry->said.knows_read_only = true;
		entry->said.read_only = strcmp(event, "readonly set") == 0;
	}
}

static void
replay_event(WeirReplay *replay, Jsonb *json, Oid only)
{
	char	   *event;
	char	   *name;
	JsonbValue	buffer;
	JsonbValue *value;
	int64		stream;

	if (!JB_ROOT_IS_OBJECT(json))
		return;
	event = text_of(json, "event");
	name = text_of(json, "stream");
	value = getKeyJsonValueFromContainer(&json->root, "oid", strlen("oid"), &buffer);
	stream = number_of(value);
	if (event == NULL || name == NULL || stream < 0 ||
		(OidIsValid(only) && (Oid) stream != only))
		return;
	if (strcmp(event, "created") == 0 || strcmp(event, "dropped") == 0)
	{
		Entry	   *whole = entry_for(replay, name, (Oid) stream,
									   WHOLE_STREAM, HASH_ENTER);

		whole->life++;
		whole->created = strcmp(event, "created") == 0;
		return;
	}
	value = getKeyJsonValueFromContainer(&json->root, "partitions",
										 strlen("partitions"), &buffer);
	if (value == NULL || value->type != jbvBinary)
		return;
	for (uint32 i = 0; i < JsonContainerSize(value->val.binary.data); i++)
		partition_said(replay, name, (Oid) stream,
					   (int) number_of(getIthJsonbValueFromContainer(value->val.binary.data, i)),
					   event);
}

/* ---- the log ---- */

static bool
log_is_there(void)
{
	Oid			log = weir_activity_oid();
	WeirStreamRow row;

	return OidIsValid(log) && weir_stream_get(log, &row);
}

/*
 * Replay the events of one stream (InvalidOid: of all) from an offset on, as a
 * snapshot shows them.  The result lives in the current memory context.
 */
WeirReplay *
weir_replay(int64 from, Oid only, Snapshot snapshot)
{
	WeirReplay *replay = palloc0(sizeof(WeirReplay));
	WeirStream *log;
	WeirWalk   *walk;
	MemoryContext per_event;
	MemoryContext old;
	HASHCTL		ctl;

	ctl.keysize = sizeof(Key);
	ctl.entrysize = sizeof(Entry);
	ctl.hcxt = CurrentMemoryContext;
	replay->entries = hash_create("weir replay", 64, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	replay->complete = true;
	replay->end = from;
	if (!log_is_there())
		return replay;

	log = weir_stream_open(weir_activity_oid(), AccessShareLock);
	(void) weir_partition_open(log, 0, AccessShareLock);
	walk = palloc(sizeof(WeirWalk));
	per_event = AllocSetContextCreate(CurrentMemoryContext, "weir event",
									  ALLOCSET_SMALL_SIZES);
	weir_walk_begin(walk, log->partitions[0].oid, snapshot,
					Max(from, weir_start_offset(&log->partitions[0])), false);
	while (weir_walk_next(walk))
	{
		bool		isnull;
		Datum		value = heap_getattr(&walk->tuple, WEIR_COL_VALUE,
										 log->tupdesc, &isnull);

		CHECK_FOR_INTERRUPTS();
		replay->end = walk->offset + 1;
		if (isnull)
			continue;
		old = MemoryContextSwitchTo(per_event);
		replay_event(replay, DatumGetJsonbPCopy(value), only);
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_event);
	}
	replay->complete = !walk->undecided;
	weir_walk_end(walk);
	return replay;
}

/* False: events of open transactions are missing. */
bool
weir_replay_complete(const WeirReplay *replay)
{
	return replay->complete;
}

/* What the log says of a partition. */
WeirReplayed
weir_replayed(WeirReplay *replay, Oid stream, int partition)
{
	char	   *name = weir_qualified_name(stream);
	WeirReplayed nothing = {0};
	Entry	   *whole = entry_for(replay, name, stream, WHOLE_STREAM, HASH_FIND);
	Entry	   *entry = entry_for(replay, name, stream, partition, HASH_FIND);

	if (entry && (whole == NULL || whole->life == entry->life))
		nothing = entry->said;
	if (whole && whole->created)
		nothing.knows_paused = nothing.knows_read_only = true;
	return nothing;
}

/* ---- the keeper ---- */

static void
compare_stream(WeirReplay *replay, Oid stream, Snapshot snapshot)
{
	char	   *name = weir_qualified_name(stream);
	ListCell   *lc;

	if (entry_for(replay, name, stream, WHOLE_STREAM, HASH_FIND) == NULL)
		return;
	foreach(lc, weir_partition_list(stream, snapshot))
	{
		WeirPartitionRow *row = lfirst(lc);
		WeirReplayed said = weir_replayed(replay, stream, row->number);

		if ((said.knows_paused && said.paused != row->paused) ||
			(said.knows_read_only && said.read_only != row->read_only))
			ereport(WARNING,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the activity log and the state of partition %d of stream %s do not agree",
							row->number, name),
					 errhint("The state in weir.partition counts; run stream_check().")));
	}
}

static void
move_checkpoint(void *arg)
{
	const WeirWake *wake = arg;
	Snapshot	snapshot = GetActiveSnapshot();
	int64		from = weir_checkpoint_get();
	WeirReplay *replay;
	ListCell   *lc;

	if (!log_is_there())
		return;
	if (!wake->start)
	{
		WeirStream *log = weir_stream_open(weir_activity_oid(), AccessShareLock);

		(void) weir_partition_open(log, 0, AccessShareLock);
		if (weir_next_offset(&log->partitions[0]) - from < CHECKPOINT_EVENTS)
			return;
	}
	replay = weir_replay(from, InvalidOid, snapshot);
	if (wake->start && replay->complete &&
		hash_get_num_entries(replay->entries) > 0)
		foreach(lc, weir_stream_list())
			if (get_rel_name(lfirst_oid(lc)) != NULL)
				compare_stream(replay, lfirst_oid(lc), snapshot);
	if (replay->end > from)
		weir_checkpoint_set(replay->end);
}

/* The duty of the keeper. */
TimestampTz
weir_replay_duty(const WeirWake *wake)
{
	if (wake->start || wake->rows)
		(void) weir_attempt(move_checkpoint, unconstify(WeirWake *, wake),
							"replaying the activity log");
	return DT_NOEND;
}
