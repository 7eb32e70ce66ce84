/*
 * slots.h
 *		The long-lived workers of a cluster, as shared memory knows them:
 *		who runs where, what it does, and what it is to look at.
 *
 * Only where the library is preloaded.  Everything here is a hint or a
 * wake-up: a worker that starts finds its work in tables.
 */
#ifndef WEIR_BASE_SLOTS_H
#define WEIR_BASE_SLOTS_H

#include "datatype/timestamp.h"
#include "storage/proc.h"

/* What a worker was woken for; collected since it last asked. */
#define WEIR_WAKE_PARTITIONS	64

typedef struct WeirWake
{
	bool		start;			/* the first turn: look at everything */
	bool		rows;			/* states or requests have changed */
	bool		options;		/* streams have come, or their options changed */
	bool		overflow;		/* more partitions than fit: look at all */
	int			npartitions;
	Oid			partitions[WEIR_WAKE_PARTITIONS];	/* began a segment, or
													 * half filled one */
} WeirWake;

/* ---- for everybody (wake.c) ---- */

extern void weir_wake_init(void);

/* Is there a launcher, so that there is a keeper or will be one? */
extern bool weir_has_workers(void);

/*
 * Wake the keeper of this database when this transaction commits (and when a
 * prepared one does).  The first for changed rows, the second for a partition
 * whose segments want a look, the third for both and all partitions.  Where
 * there is no keeper the launcher finds out whether there should be one.  Free
 * of errors, cheap to repeat.
 */
extern void weir_wake_for_rows(void);
extern void weir_wake_for_options(void);
extern void weir_wake_for_partition(Oid partition);
extern void weir_wake_for_all(void);

/* The same, but nothing happens where there is no keeper. */
extern void weir_wake_if_there(void);

/* Have the launcher look at another database when this transaction commits. */
extern void weir_hint_database(Oid database);

/* Let go of a held database (see below) when this transaction has ended. */
extern void weir_release_at_end(Oid database);

/* ---- the table (slots.c) ---- */

#define WEIR_WORKER_SLOTS		64
#define WEIR_LAUNCHER_SLOT		0
#define WEIR_STATUS_SIZE		64
#define WEIR_ERROR_SIZE			256

typedef enum WeirWorkerKind
{
	WEIR_FREE_SLOT,				/* the slot is free */
	WEIR_LAUNCHER,
	WEIR_KEEPER,
	WEIR_NOTIFIER
} WeirWorkerKind;

typedef enum WeirWorkerState
{
	WEIR_WORKER_STOPPED,		/* no process; set by the launcher */
	WEIR_WORKER_STARTING,		/* registered; set by the launcher */
	WEIR_WORKER_RUNNING			/* its extension is there; set by the worker */
} WeirWorkerState;

/*
 * A slot belongs to a worker of one kind for one database.  All of it is
 * guarded by the lock of the table.  Who sets what: kind, database,
 * generation, holds, wanted: whoever makes the slot; after that see above and
 * below.  While there is a launcher, only it makes a slot free.
 */
typedef struct WeirWorkerSlot
{
	WeirWorkerKind kind;
	WeirWorkerState state;
	Oid			database;
	uint32		generation;		/* raised by each start */
	PGPROC	   *proc;			/* of the attached worker, else NULL */
	int			pid;			/* its pid; for display only */
	bool		wanted;			/* something came since the worker last asked:
								 * a stopped one is to be started */
	bool		unwanted;		/* set by the worker as its last deed: the
								 * extension is not there */
	int			holds;			/* commands that need the database for
								 * themselves: start nothing, end what runs */
	WeirWake	wake;
	char		status[WEIR_STATUS_SIZE];
	TimestampTz status_since;
	char		error[WEIR_ERROR_SIZE]; /* empty: none */
	TimestampTz error_at;
	uint64		blocked;		/* steps put off because of somebody's lock */
} WeirWorkerSlot;

/* Which start a worker belongs to; travels in bgw_extra. */
typedef struct WeirWorkerStart
{
	uint32		generation;
} WeirWorkerStart;

extern Size weir_slots_size(void);
extern void weir_slots_startup(void);
extern bool weir_slots_exist(void);
extern int	weir_slots_copy(WeirWorkerSlot *copy);

/* ---- for the worker itself ---- */

extern bool weir_worker_attach(int slot, uint32 generation);
extern Oid	weir_worker_database(void);
extern void weir_worker_take_wake(WeirWake *wake);
extern bool weir_worker_has_wake(void);
extern void weir_worker_is_wanted(void);
extern bool weir_worker_is_unwanted(void);

/* What it does now, and its last failure: shown by weir.workers. */
extern void weir_worker_says(const char *what);
extern void weir_worker_blocked(void);
extern void weir_worker_failed(const char *error);

/* ---- for the launcher ---- */

#define WEIR_HINTS				32

extern void weir_launcher_attach(void);
extern int	weir_launcher_take_hints(Oid *databases, bool *overflow);
extern int	weir_slot_want(WeirWorkerKind kind, Oid database);
extern void weir_slot_look(int slot, WeirWorkerSlot *copy);
extern bool weir_slot_starting(int slot, uint32 *generation);
extern void weir_slot_stopped(int slot, const char *status, const char *error);
extern bool weir_slot_ended(int slot);
extern void weir_slot_unwant(int slot);
extern void weir_slot_free(int slot);

/* ---- for commands that need a database for themselves ---- */

extern bool weir_slots_hold(Oid database);
extern bool weir_slots_wait_stopped(Oid database, int timeout_ms);
extern void weir_slots_release(Oid database);

/* ---- for wake.c and listeners.c ---- */

extern void weir_slots_want_notifier(bool start);

extern void weir_slots_wake(const WeirWake *wake, bool or_hint);
extern void weir_slots_hint(Oid database);

#endif							/* WEIR_BASE_SLOTS_H */
