/*
 * guc.c
 *		Settings of weir, all named weir.*, in alphabetical order.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"

int			weir_pause_max_stall = 1000;
bool		weir_track_append_hold = false;

void
weir_guc_init(void)
{
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
