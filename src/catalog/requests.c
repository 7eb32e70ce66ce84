/*
 * requests.c
 *		Requests to resume paused partitions, and the keeper's checkpoint.
 *
 * A publisher that finds a partition paused changes no shared row: it inserts
 * a request that names the pause.  Requests of earlier pauses mean nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/access.h"
#include "catalog/indexing.h"
#include "catalog/tables.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

int64
weir_next_pause_id(void)
{
	return nextval_internal(weir_table_oid(S_PAUSE_ID), false);
}

static void
begin_scan(WeirLookup *at, int64 pause_id, LOCKMODE mode)
{
	ScanKeyData skey;

	ScanKeyInit(&skey, 2, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(pause_id));
	at->rel = weir_table_open(T_REQUEST, mode);
	at->scan = systable_beginscan(at->rel, weir_table_oid(I_REQUEST), true,
								  NULL, 1, &skey);
}

static bool
next_of(WeirLookup *at, Oid partition)
{
	while (HeapTupleIsValid(at->tuple = systable_getnext(at->scan)))
		if (!OidIsValid(partition) ||
			DatumGetObjectId(weir_column(at, 1)) == partition)
			return true;
	return false;
}

/*
 * Why a pause was asked to end, for this partition or (InvalidOid) for any;
 * NULL if it was not.
 */
const char *
weir_request_cause(int64 pause_id, Oid partition)
{
	const char *cause = NULL;
	WeirLookup	at;

	begin_scan(&at, pause_id, AccessShareLock);
	if (next_of(&at, partition))
		cause = TextDatumGetCString(weir_column(&at, 3));
	weir_finish(&at, AccessShareLock);
	return cause;
}

bool
weir_request_get(int64 pause_id, Oid partition)
{
	bool		found;
	WeirLookup	at;

	begin_scan(&at, pause_id, AccessShareLock);
	found = next_of(&at, partition);
	weir_finish(&at, AccessShareLock);
	return found;
}

void
weir_request_insert(int64 pause_id, Oid partition, const char *cause)
{
	Datum		values[3];

	values[0] = ObjectIdGetDatum(partition);
	values[1] = Int64GetDatum(pause_id);
	values[2] = CStringGetTextDatum(cause);
	weir_insert_row(T_REQUEST, values, NULL);
}

/* All that is asked for: a list of palloc'd WeirRequest. */
List *
weir_request_list(void)
{
	List	   *list = NIL;
	WeirLookup	at;

	at.rel = weir_table_open(T_REQUEST, AccessShareLock);
	at.scan = systable_beginscan(at.rel, InvalidOid, false, NULL, 0, NULL);
	while (next_of(&at, InvalidOid))
	{
		WeirRequest *request = palloc(sizeof(WeirRequest));

		request->partition = DatumGetObjectId(weir_column(&at, 1));
		request->pause_id = DatumGetInt64(weir_column(&at, 2));
		list = lappend(list, request);
	}
	weir_finish(&at, AccessShareLock);
	return list;
}

/*
 * Take away the visible requests of a pause.  One transaction at a time does
 * this for a pause: it holds the state lock of a partition that has it, or
 * nobody has it any more and it is the keeper.
 */
void
weir_request_delete(int64 pause_id, Oid partition)
{
	WeirLookup	at;

	begin_scan(&at, pause_id, RowExclusiveLock);
	while (next_of(&at, partition))
		CatalogTupleDelete(at.rel, &at.tuple->t_self);
	weir_finish(&at, NoLock);
	CommandCounterIncrement();
}

/* Is a partition paused, by its row and the requests that are visible now? */
bool
weir_row_is_paused(const WeirPartitionRow *row)
{
	return row->paused &&
		!weir_request_get(row->pause_id,
						  row->resume_all ? InvalidOid : row->partition);
}

/* ---- the checkpoint; only the keeper touches it ---- */

int64
weir_checkpoint_get(void)
{
	WeirLookup	at;
	int64		offset = 0;

	at.rel = weir_table_open(T_CHECKPOINT, AccessShareLock);
	at.scan = systable_beginscan(at.rel, InvalidOid, false, NULL, 0, NULL);
	at.tuple = systable_getnext(at.scan);
	if (HeapTupleIsValid(at.tuple))
		offset = DatumGetInt64(weir_column(&at, 1));
	weir_finish(&at, AccessShareLock);
	return offset;
}

void
weir_checkpoint_set(int64 activity_offset)
{
	Datum		value = Int64GetDatum(activity_offset);
	WeirLookup	at;
	bool		found;

	at.rel = weir_table_open(T_CHECKPOINT, RowExclusiveLock);
	at.scan = systable_beginscan(at.rel, InvalidOid, false, NULL, 0, NULL);
	at.tuple = systable_getnext(at.scan);
	found = HeapTupleIsValid(at.tuple);
	if (found)
		weir_update_column(&at, 1, value);
	weir_finish(&at, NoLock);
	if (!found)
		weir_insert_row(T_CHECKPOINT, &value, NULL);
	CommandCounterIncrement();
}
