/*
 * parts.h
 *		The tables that a stream is made of: the DDL behind its life.
 */
#ifndef WEIR_STREAM_PARTS_H
#define WEIR_STREAM_PARTS_H

#include "catalog/tables.h"
#include "utils/relcache.h"

#define WEIR_GUARD_TRIGGER		"weir_guard"
#define WEIR_GUARD_APPLY		"weir_guard_apply"
#define WEIR_PARTITION_CHECK	"weir_partition"
#define WEIR_BOUNDS_CHECK		"weir_bounds"

typedef enum WeirPart
{
	WEIR_PART_NONE,
	WEIR_PART_STREAM,
	WEIR_PART_PARTITION,
	WEIR_PART_SEGMENT
} WeirPart;

extern Oid	weir_owner_of(Oid relid);
extern char *weir_qualified_name(Oid relid);
extern const char *weir_tablespace_clause(Oid tablespace);
extern Oid	weir_guard_function(void);
extern WeirPart weir_part_of(Oid relid, Oid *stream);

extern void weir_put_guard(Oid relid, WeirPart kind, Jsonb *options,
						   bool replace);
extern bool weir_guard_is_on(Relation segment);
extern Oid	weir_make_partition(Oid stream, int number);
extern void weir_tie(Oid relid, Oid to);
extern Oid	weir_make_segment(Oid partition, int64 lower, int64 upper);

#endif							/* WEIR_STREAM_PARTS_H */
