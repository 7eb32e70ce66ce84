/*
 * access.c
 *		The shapes in which rows of weir's own tables are read and written.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/inval.h"
#include "catalog/access.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/tables.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

static const char *const table_names[WEIR_TABLE_COUNT] = {
	[T_STREAM] = "stream",
	[T_PARTITION] = "partition",
	[T_SEGMENT] = "segment",
	[T_VERIFIED] = "verified",
	[T_REQUEST] = "resume_request",
	[T_CHECKPOINT] = "checkpoint",
	[T_GROUP] = "group",
	[T_POSITION] = "position",
	[T_SECRET] = "secret",
	[T_MEMBER] = "member",
	[T_LEASE] = "lease",
	[S_PAUSE_ID] = "pause_id",
	[S_GROUP_ID] = "group_id",
	[S_GENERATION] = "generation",
	[I_STREAM] = "stream_pkey",
	[I_PARTITION] = "partition_pkey",
	[I_PARTITION_NUMBER] = "partition_number_key",
	[I_PARTITION_UNSETTLED] = "partition_unsettled_idx",
	[I_SEGMENT] = "segment_pkey",
	[I_SEGMENT_BOUNDS] = "segment_bounds_key",
	[I_VERIFIED] = "verified_segment_idx",
	[I_REQUEST] = "resume_request_idx",
	[I_GROUP_NAME] = "group_name_key",
	[I_POSITION] = "position_idx",
	[I_MEMBER] = "member_pkey",
	[I_MEMBER_NAME] = "member_name_key",
	[I_LEASE] = "lease_idx"
};

static Oid	oids[WEIR_TABLE_COUNT];
static bool oids_valid = false;

static void
tables_changed(Oid relid)
{
	if (!oids_valid)
		return;
	if (OidIsValid(relid))
	{
		bool		ours = false;

		for (int i = 0; i < WEIR_TABLE_COUNT; i++)
			ours |= oids[i] == relid;
		if (!ours)
			return;
	}
	oids_valid = false;
}

void
weir_tables_init(void)
{
	weir_inval_subscribe(tables_changed);
}

static bool
look_up_oids(void)
{
	Oid			schema;
	Oid			found[WEIR_TABLE_COUNT];

	if (oids_valid)
		return true;
	schema = get_namespace_oid("weir", true);
	if (!OidIsValid(schema))
		return false;
	for (int i = 0; i < WEIR_TABLE_COUNT; i++)
	{
		found[i] = get_relname_relid(table_names[i], schema);
		if (!OidIsValid(found[i]))
			return false;
	}
	memcpy(oids, found, sizeof(oids));
	oids_valid = true;
	return true;
}

/* Is the extension there, in this database, complete? */
bool
weir_is_installed(void)
{
	return look_up_oids();
}

Oid
weir_table_oid(WeirTableId id)
{
	if (!look_up_oids())
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"weir\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION weir.")));
	return oids[id];
}

/* Open a table of ours; it may be going with the extension. */
Relation
weir_table_open(WeirTableId id, LOCKMODE mode)
{
	Relation	rel = try_table_open(weir_table_oid(id), mode);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"weir\" is being dropped")));
	return rel;
}

/* ---- the two shapes of access: one row by key, and writing ---- */

bool
weir_find_by_oid(WeirLookup *at, WeirTableId table, WeirTableId index, Oid key, LOCKMODE mode)
{
	ScanKeyData skey;

	ScanKeyInit(&skey, 1, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(key));
	at->rel = weir_table_open(table, mode);
	at->scan = systable_beginscan(at->rel, weir_table_oid(index), true, NULL, 1, &skey);
	at->tuple = systable_getnext(at->scan);
	return HeapTupleIsValid(at->tuple);
}

void
weir_finish(WeirLookup *at, LOCKMODE mode)
{
	systable_endscan(at->scan);
	table_close(at->rel, mode);
}

Datum
weir_column(WeirLookup *at, int attno)
{
	bool		isnull;
	Datum		value = heap_getattr(at->tuple, attno,
									 RelationGetDescr(at->rel), &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of table \"%s\"",
			 attno, RelationGetRelationName(at->rel));
	return value;
}

/* A NULL, or a value if there is one. */
Datum
weir_column_or(WeirLookup *at, int attno, Datum if_null)
{
	bool		isnull;
	Datum		value = heap_getattr(at->tuple, attno,
									 RelationGetDescr(at->rel), &isnull);

	return isnull ? if_null : value;
}

/* nulls may be NULL: there is none. */
void
weir_insert_row(WeirTableId table, Datum *values, bool *nulls)
{
	bool		no_nulls[WEIR_MAX_COLUMNS] = {false};
	Relation	rel = weir_table_open(table, RowExclusiveLock);
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values,
										nulls ? nulls : no_nulls);

	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

bool
weir_delete_rows(WeirTableId table, WeirTableId index, Oid key)
{
	WeirLookup		at;
	bool		found = false;

	for (bool more = weir_find_by_oid(&at, table, index, key, RowExclusiveLock);
		 more;
		 at.tuple = systable_getnext(at.scan), more = HeapTupleIsValid(at.tuple))
	{
		CatalogTupleDelete(at.rel, &at.tuple->t_self);
		found = true;
	}
	weir_finish(&at, NoLock);
	if (found)
		CommandCounterIncrement();
	return found;
}

void
weir_update_column(WeirLookup *at, int attno, Datum value)
{
	Datum		values[WEIR_MAX_COLUMNS] = {0};
	bool		nulls[WEIR_MAX_COLUMNS] = {false};
	bool		replace[WEIR_MAX_COLUMNS] = {false};
	HeapTuple	tuple;

	values[attno - 1] = value;
	replace[attno - 1] = true;
	tuple = heap_modify_tuple(at->tuple, RelationGetDescr(at->rel), values,
							  nulls, replace);
	CatalogTupleUpdate(at->rel, &tuple->t_self, tuple);
	heap_freetuple(tuple);
}

/* Every column anew. */
void
weir_update_row(WeirLookup *at, Datum *values, bool *nulls)
{
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(at->rel), values, nulls);

	tuple->t_self = at->tuple->t_self;
	CatalogTupleUpdate(at->rel, &tuple->t_self, tuple);
	heap_freetuple(tuple);
}
