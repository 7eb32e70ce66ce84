/*
 * guc.c
 *		Settings of weir, all named weir.*, in alphabetical order.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"

int			weir_max_wait = 60000;
bool		weir_notify_from_publisher = true;
int			weir_notify_interval = 1;
int			weir_pause_max_stall = 1000;
bool		weir_track_append_hold = false;

void
weir_guc_init(void)
{
	DefineCustomIntVariable("weir.max_wait",
							"Longest time for which a read or fetch waits for messages.",
							"It holds its snapshot meanwhile; CALL stream_wait() holds nothing and has no limit.",
							&weir_max_wait,
							60000, 0, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("weir.notify_from_publisher",
							 "Without preloading: has publishing transactions notify subscribers themselves.",
							 "It makes their commits wait for each other. Where the library is preloaded a worker notifies, and this means nothing.",
							 &weir_notify_from_publisher,
							 true,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("weir.notify_interval",
							"Least time between two notifications of a database's subscribers.",
							"The first after a quiet time is sent at once. It is widened with the number of sessions that listen.",
							&weir_notify_interval,
							1, 0, 60000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("weir.pause_max_stall",
							"Longest time for which one try of a pause lets publishers wait.",
							"A pause that never fits between the transactions of publishers needs one as long as they are.",
							&weir_pause_max_stall,
							1000, 1, 60000,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("weir.track_append_hold",
							 "Records how long append locks are held.",
							 "The longest hold is shown by weir.longest_append_hold().",
							 &weir_track_append_hold,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	MarkGUCPrefixReserved("weir");
}
