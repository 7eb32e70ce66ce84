/*
 * due.c
 *		Which partitions a duty of the keeper is to look at again, and when.
 *
 * In the keeper's memory: a keeper that starts looks at everything.  A
 * partition is due at a time of its own, or again after an attempt that found
 * it busy or failed; such attempts are spaced out, from FIRST to LONGEST, so
 * that what holds it for hours (a dump) costs nothing.
 */
#include "postgres.h"

#include "life/due.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* In microseconds. */
#define FIRST			INT64CONST(100000)
#define LONGEST			INT64CONST(10000000)
#define LONGEST_FAILED	INT64CONST(600000000)

typedef struct Due
{
	Oid			partition;		/* hash key */
	TimestampTz at;
	int64		distance;		/* of the last two attempts, 0: none failed */
} Due;

struct WeirDues
{
	HTAB	   *hash;
};

WeirDues *
weir_dues_make(const char *name)
{
	WeirDues   *dues = MemoryContextAlloc(TopMemoryContext, sizeof(WeirDues));
	HASHCTL		ctl;

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Due);
	ctl.hcxt = TopMemoryContext;
	dues->hash = hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return dues;
}

static Due *
due_of(WeirDues *dues, Oid partition)
{
	bool		found;
	Due		   *due = hash_search(dues->hash, &partition, HASH_ENTER, &found);

	if (!found)
		due->distance = 0;
	return due;
}

void
weir_due_at(WeirDues *dues, Oid partition, TimestampTz at)
{
	Due		   *due = due_of(dues, partition);

	due->at = at;
	due->distance = 0;
}

/* After an attempt that came to nothing: later, each time twice as late. */
void
weir_due_again(WeirDues *dues, Oid partition, bool failed)
{
	Due		   *due = due_of(dues, partition);

	due->distance = Max(due->distance * 2, FIRST);
	due->distance = Min(due->distance, failed ? LONGEST_FAILED : LONGEST);
	due->at = GetCurrentTimestamp() + due->distance;
}

/* It got somewhere: if it comes to nothing now, that is the first time. */
void
weir_due_anew(WeirDues *dues, Oid partition)
{
	Due		   *due = hash_search(dues->hash, &partition, HASH_FIND, NULL);

	if (due != NULL)
		due->distance = 0;
}

void
weir_due_never(WeirDues *dues, Oid partition)
{
	(void) hash_search(dues->hash, &partition, HASH_REMOVE, NULL);
}

/* Did the last attempt come to nothing, and is it too early for another? */
bool
weir_due_put_off(WeirDues *dues, Oid partition, TimestampTz now)
{
	Due		   *due = hash_search(dues->hash, &partition, HASH_FIND, NULL);

	return due != NULL && due->distance > 0 && due->at > now;
}

/* The partitions whose time has come. */
List *
weir_dues_come(WeirDues *dues, TimestampTz now)
{
	List	   *list = NIL;
	HASH_SEQ_STATUS seq;
	Due		   *due;

	hash_seq_init(&seq, dues->hash);
	while ((due = hash_seq_search(&seq)) != NULL)
		if (due->at <= now)
			list = lappend_oid(list, due->partition);
	return list;
}

/* When the next one comes; DT_NOEND: none. */
TimestampTz
weir_dues_next(WeirDues *dues)
{
	TimestampTz next = DT_NOEND;
	HASH_SEQ_STATUS seq;
	Due		   *due;

	hash_seq_init(&seq, dues->hash);
	while ((due = hash_seq_search(&seq)) != NULL)
		next = Min(next, due->at);
	return next;
}
