/*
 * shmem.h
 *		The shared memory of weir: append locks, roll counters, hints.
 *
 * One table of WEIR_APPEND_SLOTS slots, hashed by (database, partition).
 * A slot shared by two partitions is safe: they wait for each other for the
 * time of a hold, and see a roll of the other as one of their own.
 *
 * Nothing here is truth that must survive: a crash resets the table together
 * with every backend and so with every cache that was compared against it.
 *
 * The layout is a contract between all processes of a cluster that have any
 * build of the library loaded.  Name, size and meaning of the table never
 * change within a major version of weir: two tables would be two locks for
 * one partition, and the order would be gone.  WEIR_SHMEM_LAYOUT names the
 * layout; a build that finds another one refuses to work.
 */
#ifndef WEIR_BASE_SHMEM_H
#define WEIR_BASE_SHMEM_H

#include "access/transam.h"
#include "access/xlogdefs.h"
#include "port/atomics.h"
#include "storage/block.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#define WEIR_APPEND_SLOTS		256
#define WEIR_HORIZON_SAMPLES	16

#ifndef WEIR_SHMEM_LAYOUT
#define WEIR_SHMEM_LAYOUT		2
#endif

/*
 * Where the stable end of a partition was when somebody looked: the greatest
 * visible message below the first undecided one, and for which snapshot.  A
 * visible message stays in its file, so the hint needs no page LSN.
 */
#define WEIR_HINT_XIDS			40

typedef struct WeirStableHint
{
	int64		offset;			/* of the message */
	Oid			database;		/* InvalidOid: there is no hint */
	Oid			segment;
	Oid			file_number;
	TransactionId xmax;			/* of the snapshot */
	uint32		nxids;
	TransactionId xids[WEIR_HINT_XIDS]; /* in progress as of it, below xmax */
} WeirStableHint;

typedef struct WeirAppendSlot
{
	LWLock		lock;			/* the append lock; see append/append.c */
	pg_atomic_uint64 rolls;		/* written under lock, read without */
	slock_t		mutex;			/* guards hint */
	WeirStableHint hint;
	pg_atomic_uint64 longest_hold_us;	/* only with weir.track_append_hold */
	pg_atomic_uint64 last_read; /* of streams that are not paused while read */
} WeirAppendSlot;

/* Padded, so that two partitions never share a cache line. */
typedef union WeirAppendSlotPadded
{
	WeirAppendSlot slot;
	char		pad[2 * PG_CACHE_LINE_SIZE];
} WeirAppendSlotPadded;

/*
 * "Every tuple on a page whose LSN is at most lsn was inserted by a
 * transaction whose xid is below next_xid": see read/stable.c.
 */
typedef struct WeirHorizon
{
	XLogRecPtr	lsn;
	uint64		next_xid;		/* a full xid */
	int64		taken_at;		/* TimestampTz, to space samples */
} WeirHorizon;

extern void weir_shmem_init(void);
extern WeirAppendSlot *weir_append_slot(Oid partition);
extern int	weir_append_slot_number(Oid partition);
extern uint64 weir_longest_hold(bool reset);

extern void weir_horizon_sample(int64 now);
extern XLogRecPtr weir_horizon_before(TransactionId xmin);

#endif							/* WEIR_BASE_SHMEM_H */
