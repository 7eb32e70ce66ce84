/*
 * args.c
 *		What the reading functions are told: which stream, which partition;
 *		and that somebody reads.
 */
#include "postgres.h"

#include "base/compat.h"
#include "read/args.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* Check SELECT, then lock the stream for reading. */
WeirStream *
weir_open_for_read(Oid relid)
{
	weir_check_privilege(relid, ACL_SELECT);
	return weir_stream_open(relid, AccessShareLock);
}

/* A null means the only partition there is. */
WeirPartition *
weir_partition_arg(FunctionCallInfo fcinfo, int argno, WeirStream *stream)
{
	if (PG_ARGISNULL(argno) && stream->npartitions > 1)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("partition of stream \"%s\" must be given",
						get_rel_name(stream->oid)),
				 errdetail("It has %d partitions, numbered from 0.",
						   stream->npartitions)));
	return weir_partition_open(stream,
							   PG_ARGISNULL(argno) ? 0 : PG_GETARG_INT32(argno),
							   AccessShareLock);
}

/* Somebody reads: that may hold off an auto-pause. */
void
weir_note_reading(WeirStream *stream, WeirPartition *partition)
{
	if (!stream->options.auto_pause_with_subscribers &&
		stream->options.auto_pause_after > 0)
		pg_atomic_write_u64(&partition->slot->last_read,
							(uint64) GetCurrentTimestamp());
}
