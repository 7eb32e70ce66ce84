/*
 * rows.c
 *		Messages as the caller of a reading function wants them.
 *
 * Two forms: given a name or a regclass, rows with the value as text; given
 * NULL::stream, the stream's own rows, which go from the heap to the result
 * by one copy.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "parser/parse_type.h"
#include "read/rows.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

/* Which stream, and in which form? */
Oid
weir_stream_of_call(FunctionCallInfo fcinfo, int argno, bool *whole)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, argno);
	Oid			relid;

	*whole = false;
	if (type == TEXTOID)
	{
		List	   *names;

		(void) weir_stream_arg(fcinfo, argno);
		names = textToQualifiedNameList(PG_GETARG_TEXT_PP(argno));
		return RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock, false);
	}
	if (type == REGCLASSOID || !OidIsValid(type))
		return weir_stream_arg(fcinfo, argno);

	*whole = true;
	relid = typeidTypeRelid(type);
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("type %s is not the row type of a stream",
						format_type_be(type)),
				 errhint("Give the stream as 'name', or as NULL::name to get its own rows.")));
	return relid;
}

/* The columns of a message with the value as text. */
void
weir_columns_as_text(WeirStream *stream, HeapTuple tuple, Datum *values,
					 bool *nulls)
{
	heap_deform_tuple(tuple, stream->tupdesc, values, nulls);
	if (!nulls[WEIR_COL_VALUE - 1] && stream->value_type != TEXTOID)
		values[WEIR_COL_VALUE - 1] =
			CStringGetTextDatum(OutputFunctionCall(&stream->value_output,
												   values[WEIR_COL_VALUE - 1]));
}

/* Store the rows, as the executor wants them in FROM. */
void
weir_rows_begin(WeirRows *rows, FunctionCallInfo fcinfo, WeirStream *stream,
				bool whole)
{
	InitMaterializedSRF(fcinfo, 0);
	rows->stream = stream;
	rows->whole = whole;
	rows->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	rows->per_row = AllocSetContextCreate(CurrentMemoryContext, "weir row",
										  ALLOCSET_DEFAULT_SIZES);
}

void
weir_rows_put(WeirRows *rows, HeapTuple tuple)
{
	Datum		values[WEIR_NCOLS];
	bool		nulls[WEIR_NCOLS];
	MemoryContext old;

	if (rows->whole)
	{
		tuplestore_puttuple(rows->rsinfo->setResult, tuple);
		return;
	}
	old = MemoryContextSwitchTo(rows->per_row);
	weir_columns_as_text(rows->stream, tuple, values, nulls);
	tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc, values,
						 nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(rows->per_row);
}

void
weir_rows_end(WeirRows *rows)
{
	MemoryContextDelete(rows->per_row);
}
