/*
 * watch.h
 *		Being woken when a transaction that wrote to a partition has ended.
 *
 * Only where the library is preloaded; elsewhere, and on a standby, nobody is
 * woken and whoever waits polls.  A wake-up is a hint: partitions share slots
 * of the append table, and whoever is woken looks for himself.
 */
#ifndef WEIR_BASE_WATCH_H
#define WEIR_BASE_WATCH_H

#include "base/shmem.h"

/* A set of slots of the append table. */
#define WEIR_SLOT_WORDS		(WEIR_APPEND_SLOTS / 64)

typedef struct WeirSlotSet
{
	uint64		words[WEIR_SLOT_WORDS];
} WeirSlotSet;

static inline void
weir_slot_set_add(WeirSlotSet *set, int slot)
{
	set->words[slot / 64] |= UINT64CONST(1) << (slot % 64);
}

static inline bool
weir_slot_set_has(const WeirSlotSet *set, int slot)
{
	return (set->words[slot / 64] >> (slot % 64)) & 1;
}

/* ---- for whoever writes ---- */

/*
 * This transaction has put messages into a partition (the number of its slot);
 * this transaction holds the position of a group there.  Whoever watches is
 * woken when it ends, and for messages also when a part of it is rolled back:
 * either may make messages of others readable.
 */
extern void weir_note_messages(int slot);
extern void weir_note_position(int slot);

/* Wake everybody, whatever he waits for, at the end of this transaction. */
extern void weir_note_everything(void);

/* ---- for whoever waits ---- */

typedef enum WeirWatchKind
{
	WEIR_WATCH_MESSAGES = 1,	/* transactions that wrote messages */
	WEIR_WATCH_POSITIONS = 2	/* and such that held positions */
} WeirWatchKind;

/*
 * Watch these slots from now on; false: nobody can wake us.  Then, over and
 * over: arm; look (with a snapshot taken after that); if there is nothing,
 * rest.  To rest returns when there may be something, at the latest after
 * timeout_ms; *woken (NULL: not wanted) gets the slots in which something has
 * ended since the last time.
 */
extern bool weir_watch_begin(WeirWatchKind kinds, const WeirSlotSet *slots);
extern void weir_watch_arm(void);
extern void weir_watch_rest(long timeout_ms, uint32 wait_event);
extern void weir_watch_take(WeirSlotSet *woken);
extern void weir_watch_end(void);

extern void weir_watch_init(void);
extern Size weir_watch_size(void);
extern void weir_watch_startup(void);

#endif							/* WEIR_BASE_WATCH_H */
