/*
 * subxact.h
 *		Doing something in a subtransaction that may be taken back.
 */
#ifndef WEIR_BASE_SUBXACT_H
#define WEIR_BASE_SUBXACT_H

#include "utils/elog.h"

/*
 * Run step(arg) in a subtransaction.  If it returns true what it did stays,
 * locks included; if it returns false it is all taken back.  An error takes
 * it back too: it goes on from outside of the subtransaction, or, if the
 * caller wants it, is left in *error (NULL: none) and the result is false.
 */
extern bool weir_in_subtransaction(bool (*step) (void *arg), void *arg,
								   ErrorData **error);

#endif							/* WEIR_BASE_SUBXACT_H */
