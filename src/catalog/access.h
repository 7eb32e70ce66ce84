/*
 * access.h
 *		The shapes in which rows of weir's own tables are read and written;
 *		only for the files of this folder.
 *
 * Scans are systable scans without a snapshot of the caller's: for tables
 * that have no system cache each scan takes a new one.  Writers end with
 * CommandCounterIncrement, so that the next look sees the row.
 */
#ifndef WEIR_CATALOG_ACCESS_H
#define WEIR_CATALOG_ACCESS_H

#include "access/genam.h"
#include "access/htup.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

typedef enum WeirTableId
{
	T_STREAM,
	T_PARTITION,
	T_SEGMENT,
	T_VERIFIED,
	T_REQUEST,
	T_CHECKPOINT,
	T_GROUP,
	T_POSITION,
	T_SECRET,
	T_MEMBER,
	T_LEASE,
	S_PAUSE_ID,
	S_GROUP_ID,
	S_GENERATION,
	I_STREAM,
	I_PARTITION,
	I_PARTITION_NUMBER,
	I_PARTITION_UNSETTLED,
	I_SEGMENT,
	I_SEGMENT_BOUNDS,
	I_VERIFIED,
	I_REQUEST,
	I_GROUP_NAME,
	I_POSITION,
	I_MEMBER,
	I_MEMBER_NAME,
	I_LEASE,
	WEIR_TABLE_COUNT
} WeirTableId;

typedef struct WeirLookup
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
} WeirLookup;

/* The most columns that a table of ours has. */
#define WEIR_MAX_COLUMNS 24

extern Oid	weir_table_oid(WeirTableId id);
extern Relation weir_table_open(WeirTableId id, LOCKMODE mode);
extern bool weir_find_by_oid(WeirLookup *at, WeirTableId table,
							 WeirTableId index, Oid key, LOCKMODE mode);
extern void weir_finish(WeirLookup *at, LOCKMODE mode);
extern Datum weir_column(WeirLookup *at, int attno);
extern Datum weir_column_or(WeirLookup *at, int attno, Datum if_null);
extern void weir_insert_row(WeirTableId table, Datum *values, bool *nulls);
extern bool weir_delete_rows(WeirTableId table, WeirTableId index, Oid key);
extern void weir_update_column(WeirLookup *at, int attno, Datum value);
extern void weir_update_row(WeirLookup *at, Datum *values, bool *nulls);

#endif							/* WEIR_CATALOG_ACCESS_H */
