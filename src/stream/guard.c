/*
 * guard.c
 *		What keeps hands off the tables of a stream.
 *
 * weir.guard() is the trigger on each of them.  It refuses every direct
 * write, with one way through: COPY into a segment that has no block yet,
 * which is how a dump's data is loaded.  It then takes AccessExclusive on
 * the segment *before* it looks, so that there is neither a second loader
 * nor a publisher nor a reader who still believes in the order of the file,
 * and takes the mark of verified order away: what COPY brings is checked
 * before anybody relies on it.  It bumps the roll counter, so that a publisher
 * who knows an earlier segment looks again, and waits for us.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/shmem.h"
#include "base/slots.h"
#include "catalog/cache.h"
#include "commands/trigger.h"
#include "stream/event.h"
#include "stream/parts.h"
#include "tcop/cmdtag.h"
#include "tcop/pquery.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(weir_guard);
PG_FUNCTION_INFO_V1(weir_load);

/* ---- direct writes ---- */

static void
refuse_write(TriggerData *trigger)
{
	Relation	rel = trigger->tg_relation;
	Oid			stream;
	const char *verb;
	const char *hint;

	weir_part_of(RelationGetRelid(rel), &stream);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		verb = "insert into";
		hint = "Use stream_publish() or stream_publish_batch().";
	}
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		verb = "update";
		hint = "Messages are immutable: publish a new one with the same key.";
	}
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
	{
		verb = "delete from";
		hint = "Use stream_trim() to drop old segments, or publish a null value for the key.";
	}
	else
	{
		verb = "truncate";
		hint = "Use stream_trim() to drop old segments, or stream_drop() and stream_create().";
	}
	if (OidIsValid(stream) && stream != RelationGetRelid(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_DIRECT_WRITE),
				 errmsg("cannot %s \"%s\", a part of stream \"%s\"", verb,
						RelationGetRelationName(rel), get_rel_name(stream)),
				 errhint("%s", hint)));
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_DIRECT_WRITE),
			 errmsg("cannot %s stream \"%s\"", verb,
					RelationGetRelationName(rel)),
			 errhint("%s", hint)));
}

/* As the first append to another segment does; see append/append.c. */
static void
send_publishers_looking(Oid segment)
{
	WeirSegmentRow row;
	WeirAppendSlot *slot;

	if (!weir_segment_get(segment, &row))
		return;
	slot = weir_append_slot(row.partition);
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	pg_atomic_fetch_add_u64(&slot->rolls, 1);
	LWLockRelease(&slot->lock);
}

static bool
is_copy(TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
		TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) &&
		ActivePortal != NULL && ActivePortal->commandTag == CMDTAG_COPY;
}

Datum
weir_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	rel;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.guard() must be called as a trigger")));
	rel = trigger->tg_relation;
	if (rel->rd_rel->relkind != RELKIND_RELATION || !is_copy(trigger))
		refuse_write(trigger);

	LockRelationOid(RelationGetRelid(rel), AccessExclusiveLock);
	if (RelationGetNumberOfBlocks(rel) > 0)
		refuse_write(trigger);
	weir_verified_delete(RelationGetRelid(rel));
	CacheInvalidateRelcache(rel);
	send_publishers_looking(RelationGetRelid(rel));
	return PointerGetDatum(NULL);
}

static bool
is_of_partition(TriggerData *trigger)
{
	return strcmp(RelationGetRelationName(trigger->tg_relation), "partition") == 0;
}

/* A restored request may come after the keeper has looked at the partitions. */
static bool
is_request(TriggerData *trigger)
{
	return strcmp(RelationGetRelationName(trigger->tg_relation), "resume_request") == 0;
}

/*
 * A restored partition: what ties a detached table to its stream is not
 * dumped, so the keeper shall look at it.
 */
static HeapTuple
unsettled(HeapTuple tuple, TupleDesc desc)
{
	int			attno = 0;
	Datum		value = BoolGetDatum(false);
	bool		isnull = false;

	for (int i = 1; i <= desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, i - 1)->attname), "settled") == 0)
			attno = i;
	weir_wake_for_options();
	return attno == 0 ? tuple :
		heap_modify_tuple_by_cols(tuple, desc, 1, &attno, &value, &isnull);
}

/*
 * The trigger on the catalog tables themselves.  weir's own code inserts
 * below triggers, so a row that comes here comes from a dump.  If the stream
 * exists already (--data-only), its row is the truth, but for where a
 * partition starts: that belongs to the data.
 */
Datum
weir_load(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	HeapTuple	tuple;
	WeirPartitionRow row;
	Oid			stream;
	Oid			relid;
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.load() must be called as a trigger")));
	desc = RelationGetDescr(trigger->tg_relation);
	tuple = trigger->tg_trigtuple;
	if (is_request(trigger))
	{
		weir_wake_for_rows();
		return PointerGetDatum(tuple);
	}
	relid = DatumGetObjectId(heap_getattr(tuple, 1, desc, &isnull));
	if (!isnull && relid == weir_activity_oid())
		weir_tie_activity();
	if (isnull || weir_part_of(relid, &stream) == WEIR_PART_NONE)
		return PointerGetDatum(is_of_partition(trigger) ?
							   unsettled(tuple, desc) : tuple);

	if (is_of_partition(trigger) && weir_partition_get(relid, &row))
	{
		int64		start = DatumGetInt64(heap_getattr(tuple, 4, desc, &isnull));

		if (!isnull && start > row.start_offset)
			weir_partition_set_start(relid, start);
	}
	return PointerGetDatum(NULL);
}
