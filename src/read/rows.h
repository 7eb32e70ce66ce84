/*
 * rows.h
 *		Messages as the caller of a reading function wants them.
 */
#ifndef WEIR_READ_ROWS_H
#define WEIR_READ_ROWS_H

#include "access/htup.h"
#include "catalog/cache.h"
#include "nodes/execnodes.h"

typedef struct WeirRows
{
	WeirStream *stream;
	bool		whole;			/* the stream's own rows are wanted */
	ReturnSetInfo *rsinfo;
	MemoryContext per_row;
} WeirRows;

extern Oid	weir_stream_of_call(FunctionCallInfo fcinfo, int argno, bool *whole);
extern void weir_columns_as_text(WeirStream *stream, HeapTuple tuple,
								 Datum *values, bool *nulls);
extern void weir_rows_begin(WeirRows *rows, FunctionCallInfo fcinfo,
							WeirStream *stream, bool whole);
extern void weir_rows_put(WeirRows *rows, HeapTuple tuple);
extern void weir_rows_end(WeirRows *rows);

#endif							/* WEIR_READ_ROWS_H */
