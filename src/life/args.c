/*
 * args.c
 *		What the functions of this folder are told: some partitions.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/slots.h"
#include "catalog/pg_type.h"
#include "catalog/tables.h"
#include "life/args.h"
#include "stream/state.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

/*
 * Numbers of partitions, ascending, each once; null or empty means all.  An
 * unknown one is an error.
 */
List *
weir_numbers_arg(FunctionCallInfo fcinfo, int argno, WeirStream *stream)
{
	List	   *numbers = NIL;
	ArrayType  *array;
	Datum	   *elements;
	bool	   *nulls;
	int			count = 0;

	if (!PG_ARGISNULL(argno))
	{
		array = PG_GETARG_ARRAYTYPE_P(argno);
		if (ARR_NDIM(array) > 1)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("partitions must be an array of one dimension, not %d",
							ARR_NDIM(array))));
		deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT,
						  &elements, &nulls, &count);
	}
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a partition must not be null"),
					 errhint("Leave partitions out to name all of them.")));
		(void) weir_partition_open(stream, DatumGetInt32(elements[i]), NoLock);
		numbers = list_append_unique_int(numbers, DatumGetInt32(elements[i]));
	}
	if (count == 0)
		for (int i = 0; i < stream->npartitions; i++)
			numbers = lappend_int(numbers, i);
	list_sort(numbers, list_int_cmp);
	return numbers;
}

bool
weir_bool_arg(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	return PG_GETARG_BOOL(argno);
}

/* Take the state locks of partitions, then read their rows. */
List *
weir_lock_rows(WeirStream *stream, List *numbers)
{
	List	   *rows = NIL;
	ListCell   *lc;

	foreach(lc, numbers)
	{
		WeirPartitionRow *row = palloc(sizeof(WeirPartitionRow));
		Oid			partition = stream->partitions[lfirst_int(lc)].oid;

		weir_state_lock(partition);
		if (!weir_partition_get(partition, row))
			elog(ERROR, "partition %u has no row", partition);
		rows = lappend(rows, row);
	}
	return rows;
}

/* Once per session: what does not happen because nobody does it. */
void
weir_warn_without_workers(const char *what)
{
	static bool warned = false;

	if (warned || weir_has_workers())
		return;
	warned = true;
	ereport(WARNING,
			(errmsg("weir is not preloaded: %s", what),
			 errdetail("Without its workers tables are detached and attached by the session that pauses and resumes, where nobody is in the way; auto-pause and retention do not happen."),
			 errhint("Add \"weir\" to shared_preload_libraries and restart the server.")));
}
