/*
 * due.h
 *		Which partitions a duty of the keeper is to look at again, and when.
 */
#ifndef WEIR_LIFE_DUE_H
#define WEIR_LIFE_DUE_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct WeirDues WeirDues;

extern WeirDues *weir_dues_make(const char *name);
extern void weir_due_at(WeirDues *dues, Oid partition, TimestampTz at);
extern void weir_due_again(WeirDues *dues, Oid partition, bool failed);
extern void weir_due_anew(WeirDues *dues, Oid partition);
extern void weir_due_never(WeirDues *dues, Oid partition);
extern bool weir_due_put_off(WeirDues *dues, Oid partition, TimestampTz now);
extern List *weir_dues_come(WeirDues *dues, TimestampTz now);
extern TimestampTz weir_dues_next(WeirDues *dues);

#endif							/* WEIR_LIFE_DUE_H */
