/*
 * guc.c
 *		Settings of weir, all named weir.*, in alphabetical order.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"

bool		weir_track_append_hold = false;

void
weir_guc_init(void)
{
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
