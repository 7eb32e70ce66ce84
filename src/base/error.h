/*
 * error.h
 *		The SQLSTATEs of weir's own conditions, class WR.
 *
 * Conditions that PostgreSQL has a code for use that one (undefined_table,
 * wrong_object_type, invalid_parameter_value, insufficient_privilege, ...).
 * README.md lists both kinds; the codes are part of the interface and never
 * change their meaning.
 */
#ifndef WEIR_BASE_ERROR_H
#define WEIR_BASE_ERROR_H

#include "utils/elog.h"

#define WEIR_SQLSTATE(a, b)		MAKE_SQLSTATE('W', 'R', '0', a, b)

/* The next offset is not the expected one. */
#define ERRCODE_WEIR_OFFSET_MISMATCH		WEIR_SQLSTATE('0', '1')
/* An offset that nothing can have yet: a mistake of the caller. */
#define ERRCODE_WEIR_OFFSET_AFTER_END		WEIR_SQLSTATE('0', '2')
/* An offset whose message may have been dropped by retention. */
#define ERRCODE_WEIR_OFFSET_NOT_RETAINED	WEIR_SQLSTATE('0', '3')
/* No message is as old as the wanted time. */
#define ERRCODE_WEIR_NO_OLDER_MESSAGE		WEIR_SQLSTATE('0', '4')
/* The stream has no partition of that number. */
#define ERRCODE_WEIR_UNKNOWN_PARTITION		WEIR_SQLSTATE('0', '5')
/* The wanted partition is not that of the key. */
#define ERRCODE_WEIR_PARTITION_KEY_MISMATCH WEIR_SQLSTATE('0', '6')
/* A message is longer than max_message_bytes. */
#define ERRCODE_WEIR_MESSAGE_TOO_LARGE		WEIR_SQLSTATE('0', '7')
/* INSERT, UPDATE, DELETE, TRUNCATE or COPY on a table of a stream. */
#define ERRCODE_WEIR_DIRECT_WRITE			WEIR_SQLSTATE('0', '8')
/* A constraint or trigger that publishing would not honour. */
#define ERRCODE_WEIR_NOT_HONOURED			WEIR_SQLSTATE('0', '9')
/* A segment whose offsets are not in order or out of bounds. */
#define ERRCODE_WEIR_ORDER_VIOLATED			WEIR_SQLSTATE('1', '0')
/* Two builds of the library that do not share their memory layout. */
#define ERRCODE_WEIR_LIBRARY_MISMATCH		WEIR_SQLSTATE('1', '1')
/* The arrays of a batch do not fit each other. */
#define ERRCODE_WEIR_ARRAY_MISMATCH			WEIR_SQLSTATE('1', '2')
/* The columns of a stream cannot be changed. */
#define ERRCODE_WEIR_COLUMN_CHANGE			WEIR_SQLSTATE('1', '3')
/* A part of a stream cannot be dropped or detached by itself. */
#define ERRCODE_WEIR_PART_OF_STREAM			WEIR_SQLSTATE('1', '4')
/* The partition is read-only. */
#define ERRCODE_WEIR_READ_ONLY_PARTITION	WEIR_SQLSTATE('1', '5')
/* The activity log cannot be paused, altered, dropped ... */
#define ERRCODE_WEIR_ACTIVITY_LOG			WEIR_SQLSTATE('1', '6')
/* The generation is not, or no longer, the member's who owns the partition. */
#define ERRCODE_WEIR_STALE_GENERATION		WEIR_SQLSTATE('1', '7')
/* A commit below the position: only a seek goes back. */
#define ERRCODE_WEIR_COMMIT_BACKWARDS		WEIR_SQLSTATE('1', '8')
/* There is no message at an offset: it was rolled back, or never given. */
#define ERRCODE_WEIR_NO_SUCH_MESSAGE		WEIR_SQLSTATE('1', '9')
/* A message that is rejected has unread ones before it. */
#define ERRCODE_WEIR_REJECT_ORDER			WEIR_SQLSTATE('2', '0')

#endif							/* WEIR_BASE_ERROR_H */
