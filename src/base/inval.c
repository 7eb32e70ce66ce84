/*
 * inval.c
 *		One relcache callback for all caches of weir.
 */
#include "postgres.h"

#include "base/inval.h"
#include "utils/inval.h"

#define MAX_SUBSCRIBERS 8

static WeirInvalidate subscribers[MAX_SUBSCRIBERS];
static int	nsubscribers = 0;

static void
relation_changed(Datum arg, Oid relid)
{
	for (int i = 0; i < nsubscribers; i++)
		subscribers[i] (relid);
}

void
weir_inval_subscribe(WeirInvalidate callback)
{
	if (nsubscribers >= MAX_SUBSCRIBERS)
		elog(ERROR, "too many subscribers to relation changes");
	subscribers[nsubscribers++] = callback;
}

void
weir_inval_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}
