/*
 * cache.h
 *		What a backend remembers of streams and of their heaps.
 *
 * Entries are rebuilt from the catalog after any change of the relations
 * they came from.  A pointer stays valid until the end of the transaction
 * that got it, even if the entry is rebuilt meanwhile; what it says may then
 * be old, which is why publishers compare roll counters and readers look at
 * the rows of weir.segment.
 */
#ifndef WEIR_CATALOG_CACHE_H
#define WEIR_CATALOG_CACHE_H

#include "access/tupdesc.h"
#include "base/shmem.h"
#include "catalog/columns.h"
#include "catalog/options.h"
#include "fmgr.h"
#include "storage/lockdefs.h"
#include "utils/acl.h"
#include "utils/relcache.h"

/* Where a publisher last found the open segment; owned by append/target.c. */
typedef struct WeirTarget
{
	bool		known;
	uint64		rolls;			/* the counter, read before the rows were */
	Oid			segment;		/* to append to */
	Oid			previous;		/* the last one before it that has a message */
	Oid			next;			/* the one after it */
	int64		lower;
	int64		upper;
	int64		previous_ts;	/* greatest ts of an unverified previous one */
	bool		looked_back;	/* previous was looked for, there may be none */
	int64		first_ts;		/* of the segment, 0: not looked yet */
	int64		stay_until;		/* no early roll before this time */
	int			reached;		/* what the keeper is told of (WeirReached) */
	uint64		told;			/* when: aborts of this backend + 1, 0: not yet */
} WeirTarget;

typedef struct WeirPartition
{
	Oid			oid;
	int			number;
	WeirAppendSlot *slot;
	int			slot_number;
	bool		paused;			/* by its row: there may be a request */
	bool		resume_all;
	bool		read_only;
	int64		pause_id;
	WeirTarget	target;
} WeirPartition;

typedef struct WeirStream
{
	Oid			oid;
	bool		valid;			/* false: rebuild before the next use */
	bool		may_append;		/* publishing looked at its triggers */
	MemoryContext context;
	WeirOptions options;
	TupleDesc	tupdesc;		/* a copy, not reference-counted */
	Oid			value_type;
	int32		value_typmod;
	Oid			value_ioparam;
	FmgrInfo	value_input;
	FmgrInfo	value_output;
	int			npartitions;
	WeirPartition *partitions;
	int			nresume_all;	/* pauses that a publish to any partition ends */
	int64	   *resume_all;		/* their ids */
	uint32		round_robin;	/* where the next keyless message goes */
} WeirStream;

/* A segment's heap, as this backend knows it. */
typedef struct WeirHeap
{
	Oid			oid;			/* hash key */
	bool		valid;
	bool		verified;		/* physical order is offset order */
	bool		may_append;		/* publishing looked at its constraints */
	Oid			file_number;
	uint64		generation;		/* another one after every change */
} WeirHeap;

extern void weir_cache_init(void);
extern WeirStream *weir_stream_open(Oid stream, LOCKMODE lockmode);
extern WeirStream *weir_stream_refresh(WeirStream *stream);
extern WeirPartition *weir_partition_open(WeirStream *stream, int number,
										  LOCKMODE lockmode);
extern WeirHeap *weir_heap_lookup(Relation segment);
extern void weir_check_privilege(Oid stream, AclMode mode);
extern void weir_check_owner(Oid stream);
extern void weir_require_writable(const char *function);
extern Oid	weir_stream_arg(FunctionCallInfo fcinfo, int argno);

#endif							/* WEIR_CATALOG_CACHE_H */
