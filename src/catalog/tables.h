/*
 * tables.h
 *		The rows of weir.stream, weir.partition, weir.segment, weir.verified,
 *		weir.resume_request, weir.checkpoint.
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
#include "utils/snapshot.h"
#include "utils/timestamp.h"

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
	TimestampTz created;

	/* the desired state; who changes it holds the partition's state lock */
	bool		paused;			/* says the row; a request may outdate it */
	const char *cause;			/* of the state: "manual", "idle", "publish" ... */
	bool		resume_all;		/* a publish to any partition resumes this one */
	bool		detach;			/* a paused partition is to be detached */
	bool		read_only;
	bool		settled;		/* the tables follow the desired state */
	int64		pause_id;		/* 0: never paused */
	int64		paused_at;		/* the stable end then; -1: never paused */
	TimestampTz pause_first;	/* of changes between paused and active, 0: none */
	TimestampTz pause_latest;
	TimestampTz read_only_first;	/* of changes of read_only, 0: none */
	TimestampTz read_only_latest;
} WeirPartitionRow;

typedef struct WeirSegmentRow
{
	Oid			segment;
	Oid			partition;
	int64		lower;
	int64		upper;
	int64		messages;		/* -1: not counted */
	bool		loose;			/* made while its partition was being detached,
								 * and not attached to it yet */
} WeirSegmentRow;

/* What is asked for by weir.resume_request. */
typedef struct WeirRequest
{
	Oid			partition;
	int64		pause_id;
} WeirRequest;

extern void weir_tables_init(void);
extern bool weir_is_installed(void);

extern List *weir_stream_list(void);
extern bool weir_stream_get(Oid stream, WeirStreamRow *row);
extern void weir_stream_insert(const WeirStreamRow *row);
extern void weir_stream_update(const WeirStreamRow *row);
extern bool weir_stream_delete(Oid stream);

extern bool weir_partition_get(Oid partition, WeirPartitionRow *row);
extern List *weir_partition_list(Oid stream, Snapshot snapshot);
extern void weir_partition_init(WeirPartitionRow *row, Oid stream,
								int number);
extern void weir_partition_insert(const WeirPartitionRow *row);
extern void weir_partition_update(const WeirPartitionRow *row);
extern void weir_partition_set_start(Oid partition, int64 start_offset);
extern List *weir_partition_unsettled(void);
extern bool weir_partition_delete(Oid partition);

extern bool weir_segment_get(Oid segment, WeirSegmentRow *row);
extern bool weir_segment_at(Oid partition, int64 offset, WeirSegmentRow *row);
extern bool weir_segment_next(Oid partition, int64 lower, WeirSegmentRow *row);
extern List *weir_segment_list(Oid partition);
extern List *weir_segment_partitions(bool (*wanted) (const WeirSegmentRow *row));
extern void weir_segment_insert(const WeirSegmentRow *row);
extern void weir_segment_set_attached(Oid segment);
extern void weir_segment_set_messages(Oid segment, int64 messages);
extern bool weir_segment_delete(Oid segment);

extern bool weir_verified_get(Oid segment, Oid file_number);
extern void weir_verified_insert(Oid segment, Oid file_number);
extern void weir_verified_delete(Oid segment);

extern int64 weir_next_pause_id(void);
extern bool weir_request_get(int64 pause_id, Oid partition);
extern const char *weir_request_cause(int64 pause_id, Oid partition);
extern void weir_request_insert(int64 pause_id, Oid partition,
								const char *cause);
extern List *weir_request_list(void);
extern void weir_request_delete(int64 pause_id, Oid partition);
extern bool weir_row_is_paused(const WeirPartitionRow *row);

extern int64 weir_checkpoint_get(void);
extern void weir_checkpoint_set(int64 activity_offset);

#endif							/* WEIR_CATALOG_TABLES_H */
