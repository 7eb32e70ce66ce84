/*
 * end.c
 *		stream_at_end: is this the end of a read-only partition?
 *
 * Making a partition read-only drains it, so with the snapshot that shows the
 * flag every message is visible that was published before.  Flag and end are
 * taken from one snapshot, the statement's: with a newer flag than messages a
 * reader would stop before the last ones.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/tables.h"
#include "fmgr.h"
#include "read/args.h"
#include "read/stable.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(weir_stream_at_end);

/* stream_at_end(stream, partition, offset) */
Datum
weir_stream_at_end(PG_FUNCTION_ARGS)
{
	WeirStream *stream = weir_open_for_read(weir_stream_arg(fcinfo, 0));
	WeirPartition *partition = weir_partition_arg(fcinfo, 1, stream);
	Snapshot	snapshot = GetActiveSnapshot();
	List	   *rows = weir_partition_list(stream->oid, snapshot);
	WeirPartitionRow *row;

	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	row = partition->number < list_length(rows) ?
		list_nth(rows, partition->number) : NULL;
	PG_RETURN_BOOL(row != NULL && row->read_only &&
				   PG_GETARG_INT64(2) >= weir_stable_end(partition, snapshot));
}
