/*
 * tables.h
 *		The rows of weir.stream, weir.partition, weir.segment, weir.verified.
 *
 * All reading here is with a snapshot of this moment, whatever the isolation
 * level: these rows steer where publishers write and readers look, and a
 * worker's commit counts as soon as it is visible.  Nothing here checks a
 * privilege; nothing here takes a lock on a stream.
 */
#ifndef WEIR_CATALOG_TABLES_H
#define WEIR_CATALOG_TABLES_H

#include "access/genam.h"
#include "utils/jsonb.h"

typedef struct WeirStreamRow
{
	Oid			stream;
	int			partitions;
	Jsonb	   *options;
} WeirStreamRow;

typedef struct WeirPartitionRow
{
	Oid			partition;
	Oid			stream;
	int			number;
	int64		start_offset;
} WeirPartitionRow;

typedef struct WeirSegmentRow
{
	Oid			segment;
	Oid			partition;
	int64		lower;
	int64		upper;
} WeirSegmentRow;

extern void weir_tables_init(void);
extern bool weir_is_installed(void);

extern bool weir_stream_get(Oid stream, WeirStreamRow *row);
extern void weir_stream_insert(const WeirStreamRow *row);
extern void weir_stream_update(const WeirStreamRow *row);
extern bool weir_stream_delete(Oid stream);

extern bool weir_partition_get(Oid partition, WeirPartitionRow *row);
extern List *weir_partition_list(Oid stream);
extern void weir_partition_insert(const WeirPartitionRow *row);
extern void weir_partition_set_start(Oid partition, int64 start_offset);
extern bool weir_partition_delete(Oid partition);

extern bool weir_segment_get(Oid segment, WeirSegmentRow *row);
extern bool weir_segment_at(Oid partition, int64 offset, WeirSegmentRow *row);
extern bool weir_segment_next(Oid partition, int64 lower, WeirSegmentRow *row);
extern List *weir_segment_list(Oid partition);
extern void weir_segment_insert(const WeirSegmentRow *row);
extern bool weir_segment_delete(Oid segment);

extern bool weir_verified_get(Oid segment, Oid file_number);
extern void weir_verified_insert(Oid segment, Oid file_number);
extern void weir_verified_delete(Oid segment);

#endif							/* WEIR_CATALOG_TABLES_H */
