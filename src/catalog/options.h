/*
 * options.h
 *		The options of a stream: names, bounds, defaults, in one table.
 */
#ifndef WEIR_CATALOG_OPTIONS_H
#define WEIR_CATALOG_OPTIONS_H

#include "utils/jsonb.h"

/* The most partitions that a stream can have; see README, "Limits". */
#define WEIR_MAX_PARTITIONS		4096

typedef enum WeirPartitioner
{
	WEIR_PARTITIONER_KEY,		/* a key belongs to one partition */
	WEIR_PARTITIONER_EXPLICIT	/* a named partition wins over the key */
} WeirPartitioner;

typedef struct WeirOptions
{
	int64		segment_messages;
	int64		segment_bytes;
	int64		segment_age;	/* microseconds, 0: never */
	int64		max_message_bytes;
	WeirPartitioner partitioner;

	/* retention; 0: no limit */
	int64		retention_age;	/* microseconds */
	int64		retention_bytes;
	int64		retention_messages;
	bool		retention_hold; /* not what a group has not read */
	int64		retention_hold_bytes;	/* in a partition that is larger, yes */

	int64		auto_pause_after;	/* microseconds, 0: never */
	bool		auto_pause_detach;
	bool		auto_pause_with_subscribers;
} WeirOptions;

extern void weir_options_parse(Jsonb *json, WeirOptions *options);
extern Jsonb *weir_options_merge(Jsonb *old, Jsonb *change);
extern bool weir_options_has(Jsonb *json, const char *name);

#endif							/* WEIR_CATALOG_OPTIONS_H */
