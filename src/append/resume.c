/*
 * resume.c
 *		What publishing does about paused and read-only partitions.
 *
 * The state is read after the partition's lock was got, through a cache that
 * is flushed by the invalidation of a pause: a pause drains with a lock that
 * conflicts with ours, and its invalidation is sent before that lock is let
 * go.  So a publish was either committed before a pause, or knows of it.
 *
 * A publisher that finds its partition paused changes no shared row and waits
 * for nobody: it appends as always and inserts a request that carries the id
 * of the pause, in its own transaction.  If that commits the partition is not
 * paused any more, by definition (catalog/requests.c); if not, nothing
 * happened.  One committed request is enough, so that a dead keeper leaves at
 * most one for each publisher that was beside another.
 *
 * A pause with resume_all is ended by a publish to any partition of the
 * stream; then the id alone counts.
 */
#include "postgres.h"

#include "append/resume.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/slots.h"
#include "catalog/tables.h"
#include "utils/lsyscache.h"

static void
refuse_read_only(WeirStream *stream, WeirPartition *partition)
{
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_READ_ONLY_PARTITION),
			 errmsg("partition %d of stream \"%s\" is read-only",
					partition->number, get_rel_name(stream->oid)),
			 errhint("Its owner can make it writable: stream_set_readonly('%s', '{%d}', false).",
					 get_rel_name(stream->oid), partition->number)));
}

/* Ask for everything to be resumed that a publish to this partition resumes. */
void
weir_request_resume(WeirStream *stream, WeirPartition *partition,
					const char *cause)
{
	bool		asked = false;

	for (int i = 0; i < stream->nresume_all; i++)
		if (!weir_request_get(stream->resume_all[i], InvalidOid))
		{
			weir_request_insert(stream->resume_all[i], partition->oid, cause);
			asked = true;
		}
	if (partition->paused && !partition->resume_all &&
		!weir_request_get(partition->pause_id, partition->oid))
	{
		weir_request_insert(partition->pause_id, partition->oid, cause);
		asked = true;
	}
	if (asked)
		weir_wake_for_rows();
}

/*
 * Lock a partition to publish to it, and see to its state.  *stream is taken
 * anew if something has changed until the lock was got.
 */
WeirPartition *
weir_partition_for_publish(WeirStream **stream, int number)
{
	WeirPartition *partition = weir_partition_open(*stream, number,
												   RowExclusiveLock);

	WEIR_DEBUG_POINT("publish_locked");
	if (unlikely(!(*stream)->valid))
	{
		*stream = weir_stream_refresh(*stream);
		partition = weir_partition_open(*stream, number, NoLock);
	}
	if (unlikely(partition->read_only))
		refuse_read_only(*stream, partition);
	if (unlikely(partition->paused || (*stream)->nresume_all > 0))
		weir_request_resume(*stream, partition, "publish");
	return partition;
}
