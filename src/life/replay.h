/*
 * replay.h
 *		What the activity log says of the states of partitions.
 */
#ifndef WEIR_LIFE_REPLAY_H
#define WEIR_LIFE_REPLAY_H

#include "life/duty.h"
#include "catalog/tables.h"
#include "utils/snapshot.h"

typedef struct WeirReplay WeirReplay;

/* What the log says of a partition. */
typedef struct WeirReplayed
{
	bool		knows_paused;
	bool		paused;
	bool		knows_read_only;
	bool		read_only;
} WeirReplayed;

extern WeirReplay *weir_replay(int64 from, Oid only, Snapshot snapshot);
extern bool weir_replay_complete(const WeirReplay *replay);
extern WeirReplayed weir_replayed(WeirReplay *replay, Oid stream,
								  int partition);
extern TimestampTz weir_replay_duty(const WeirWake *wake);

#endif							/* WEIR_LIFE_REPLAY_H */
