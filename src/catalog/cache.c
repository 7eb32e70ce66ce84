/*
 * cache.c
 *		What a backend remembers of streams and of their heaps.
 *
 * Two hash tables, streams and heaps, and a third one that leads from the
 * relation of a partition to its stream.  A relation change marks what hangs
 * on it as invalid and frees nothing; the next open builds anew and hands the
 * old memory to the transaction, so that pointers in use stay good.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/inval.h"
#include "catalog/cache.h"
#include "catalog/pg_am_d.h"
#include "catalog/tables.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/syscache.h"

typedef struct StreamEntry
{
	Oid			oid;			/* hash key */
	WeirStream *stream;			/* NULL: not built yet */
} StreamEntry;

typedef struct OwnerEntry
{
	Oid			partition;		/* hash key */
	Oid			stream;
} OwnerEntry;

static MemoryContext cache_context = NULL;
static HTAB *streams = NULL;
static HTAB *owners = NULL;
static HTAB *heaps = NULL;
static uint64 generations = 0;
static uint64 changes = 0;		/* seen so far, to notice one during a build */

static HTAB *
make_hash(const char *name, Size entrysize)
{
	HASHCTL		ctl;

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = entrysize;
	ctl.hcxt = cache_context;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
make_caches(void)
{
	if (cache_context != NULL)
		return;
	cache_context = AllocSetContextCreate(CacheMemoryContext, "weir cache",
										  ALLOCSET_DEFAULT_SIZES);
	streams = make_hash("weir streams", sizeof(StreamEntry));
	owners = make_hash("weir partitions", sizeof(OwnerEntry));
	heaps = make_hash("weir heaps", sizeof(WeirHeap));
}

static void
forget_stream(Oid stream)
{
	StreamEntry *entry = hash_search(streams, &stream, HASH_FIND, NULL);

	if (entry && entry->stream)
		entry->stream->valid = false;
}

static void
forget_everything(void)
{
	HASH_SEQ_STATUS seq;
	StreamEntry *entry;
	WeirHeap   *heap;

	hash_seq_init(&seq, streams);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (entry->stream)
			entry->stream->valid = false;
	hash_seq_init(&seq, heaps);
	while ((heap = hash_seq_search(&seq)) != NULL)
		heap->valid = false;
}

static void
relation_changed(Oid relid)
{
	OwnerEntry *owner;
	WeirHeap   *heap;

	changes++;
	if (cache_context == NULL)
		return;
	if (!OidIsValid(relid))
	{
		forget_everything();
		return;
	}
	forget_stream(relid);
	owner = hash_search(owners, &relid, HASH_FIND, NULL);
	if (owner)
		forget_stream(owner->stream);
	heap = hash_search(heaps, &relid, HASH_FIND, NULL);
	if (heap)
		heap->valid = false;
}

void
weir_cache_init(void)
{
	weir_inval_subscribe(relation_changed);
}

/* ---- streams ---- */

static void
add_resume_all(WeirStream *stream, int64 pause_id)
{
	for (int i = 0; i < stream->nresume_all; i++)
		if (stream->resume_all[i] == pause_id)
			return;
	stream->resume_all[stream->nresume_all++] = pause_id;
}

static void
load_partitions(WeirStream *stream)
{
	List	   *rows = weir_partition_list(stream->oid, NULL);
	ListCell   *lc;
	int			i = 0;

	stream->resume_all = MemoryContextAlloc(stream->context,
											Max(list_length(rows), 1) * sizeof(int64));

	stream->partitions = MemoryContextAllocZero(stream->context,
												list_length(rows) * sizeof(WeirPartition));
	foreach(lc, rows)
	{
		WeirPartitionRow *row = lfirst(lc);
		OwnerEntry *owner;

		if (row->number != i)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("partition %d of stream \"%s\" has no row in weir.partition",
							i, get_rel_name(stream->oid)),
					 errhint("Run stream_adopt('%s').", get_rel_name(stream->oid))));
		stream->partitions[i].oid = row->partition;
		stream->partitions[i].number = row->number;
		stream->partitions[i].slot = weir_append_slot(row->partition);
		stream->partitions[i].slot_number = weir_append_slot_number(row->partition);
		stream->partitions[i].paused = row->paused;
		stream->partitions[i].resume_all = row->resume_all;
		stream->partitions[i].read_only = row->read_only;
		stream->partitions[i].pause_id = row->pause_id;
		if (row->paused && row->resume_all)
			add_resume_all(stream, row->pause_id);
		owner = hash_search(owners, &row->partition, HASH_ENTER, NULL);
		owner->stream = stream->oid;
		i++;
	}
	stream->npartitions = i;
	list_free_deep(rows);
}

static WeirStream *
build_stream(const WeirStreamRow *row)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "weir stream",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	WeirStream *stream = palloc0(sizeof(WeirStream));
	Relation	rel = table_open(row->stream, NoLock);
	Form_pg_attribute value;
	Oid			function;
	bool		is_varlena;

	stream->oid = row->stream;
	stream->context = context;
	weir_options_parse(row->options, &stream->options);
	weir_require_columns(rel);
	stream->tupdesc = CreateTupleDescCopy(RelationGetDescr(rel));
	table_close(rel, NoLock);

	value = TupleDescAttr(stream->tupdesc, WEIR_COL_VALUE - 1);
	stream->value_type = value->atttypid;
	stream->value_typmod = value->atttypmod;
	getTypeInputInfo(value->atttypid, &function, &stream->value_ioparam);
	fmgr_info_cxt(function, &stream->value_input, context);
	getTypeOutputInfo(value->atttypid, &function, &is_varlena);
	fmgr_info_cxt(function, &stream->value_output, context);
	stream->round_robin = (uint32) MyProcPid;
	load_partitions(stream);
	MemoryContextSwitchTo(old);
	return stream;
}

static void
not_a_stream(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream with OID %u does not exist", relid)));
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not a stream", name),
			 errhint("Streams are made by stream_create(); one that a dump brought without its catalog rows comes back by stream_adopt().")));
}

/* A stream that is gone: its memory goes with the transaction. */
static void
forget_dropped(Oid relid)
{
	StreamEntry *entry = hash_search(streams, &relid, HASH_FIND, NULL);

	if (entry == NULL)
		return;
	if (entry->stream)
		MemoryContextSetParent(entry->stream->context, TopTransactionContext);
	hash_search(streams, &relid, HASH_REMOVE, NULL);
}

/*
 * Lock a stream and learn what it is.  The caller has checked privileges.
 * An error if it is no stream (any more).
 */
WeirStream *
weir_stream_open(Oid relid, LOCKMODE lockmode)
{
	StreamEntry *entry;
	WeirStreamRow row;
	WeirStream *built;
	uint64		before;
	bool		found;

	make_caches();
	/* A lock that we hold already would process none. */
	AcceptInvalidationMessages();
	entry = hash_search(streams, &relid, HASH_FIND, NULL);
	if (unlikely(entry == NULL) && !weir_stream_get(relid, &row))
		not_a_stream(relid);	/* no reason to lock it */
	if (lockmode != NoLock)
		LockRelationOid(relid, lockmode);

	entry = hash_search(streams, &relid, HASH_FIND, NULL);
	if (likely(entry && entry->stream && entry->stream->valid))
		return entry->stream;

	before = changes;
	if (!weir_stream_get(relid, &row))
	{
		forget_dropped(relid);
		not_a_stream(relid);
	}
	built = build_stream(&row);

	entry = hash_search(streams, &relid, HASH_ENTER, &found);
	if (!found)
		entry->stream = NULL;
	if (entry->stream)
	{
		built->round_robin = entry->stream->round_robin;
		MemoryContextSetParent(entry->stream->context, TopTransactionContext);
	}
	MemoryContextSetParent(built->context, cache_context);
	built->valid = changes == before;
	entry->stream = built;
	return built;
}

/*
 * The entry of a stream that the caller has locked, anew if something has
 * changed.  After the lock of a partition was got, this is how it is told
 * what was committed before that.
 */
WeirStream *
weir_stream_refresh(WeirStream *stream)
{
	return likely(stream->valid) ? stream : weir_stream_open(stream->oid, NoLock);
}

/* Lock a partition; an error that names it if there is none of this number. */
WeirPartition *
weir_partition_open(WeirStream *stream, int number, LOCKMODE lockmode)
{
	if (number < 0 || number >= stream->npartitions)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_UNKNOWN_PARTITION),
				 errmsg("stream \"%s\" has no partition %d",
						get_rel_name(stream->oid), number),
				 errdetail_plural("It has %d partition, numbered 0.",
								  "It has %d partitions, numbered from 0.",
								  stream->npartitions, stream->npartitions)));
	if (lockmode != NoLock)
		LockRelationOid(stream->partitions[number].oid, lockmode);
	return &stream->partitions[number];
}

/* ---- heaps ---- */

/* What is known of a segment that the caller has open and locked. */
WeirHeap *
weir_heap_lookup(Relation segment)
{
	Oid			oid = RelationGetRelid(segment);
	Oid			file_number = weir_file_number(segment);
	WeirHeap   *heap;
	bool		found;

	make_caches();
	heap = hash_search(heaps, &oid, HASH_FIND, NULL);
	if (likely(heap && heap->valid && heap->file_number == file_number))
		return heap;

	if (segment->rd_rel->relkind != RELKIND_RELATION ||
		segment->rd_rel->relam != HEAP_TABLE_AM_OID ||
		RelationUsesLocalBuffers(segment))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("segment \"%s\" is not an ordinary table of access method \"heap\"",
						RelationGetRelationName(segment))));
	weir_require_columns(segment);
	heap = hash_search(heaps, &oid, HASH_ENTER, &found);
	heap->valid = true;			/* before looking: a change meanwhile clears it */
	heap->may_append = false;
	heap->generation = ++generations;
	heap->file_number = file_number;
	heap->verified = false;
	heap->verified = weir_verified_get(oid, file_number);
	return heap;
}

/* ---- privileges, checked before any lock ---- */

/* INSERT to publish, SELECT to read; row-level security is refused. */
void
weir_check_privilege(Oid stream, AclMode mode)
{
	AclResult	result;

	/* Also a REVOKE counts at once, within an open transaction too. */
	AcceptInvalidationMessages();
	result = pg_class_aclcheck(stream, GetUserId(), mode);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, get_rel_name(stream));
	if (unlikely(check_enable_rls(stream, InvalidOid, true) == RLS_ENABLED))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row-level security is enabled on stream \"%s\"",
						get_rel_name(stream)),
				 errdetail("Stream functions work below row-level security and do not go around it."),
				 errhint("Use SELECT on the stream to read, or a role that row-level security does not apply to.")));
}

void
weir_check_owner(Oid stream)
{
	if (!object_ownercheck(RelationRelationId, stream, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(stream));
}

/* Refuse what writes, where nothing may be written. */
void
weir_require_writable(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	PreventCommandIfParallelMode(function);
}

/* The stream that an SQL function was given. */
Oid
weir_stream_arg(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("stream must not be null")));
	return PG_GETARG_OID(argno);
}
