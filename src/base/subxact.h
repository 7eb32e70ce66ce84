/*
 * subxact.h
 *		Doing something in a subtransaction that may be taken back.
 */
#ifndef WEIR_BASE_SUBXACT_H
#define WEIR_BASE_SUBXACT_H

/*
 * Run step(arg) in a subtransaction.  If it returns true what it did stays,
 * locks included; if it returns false it is all taken back.  An error takes
 * it back too and goes on, from outside of the subtransaction, unless its
 * SQLSTATE is the one to swallow (0: none); then the result is false.
 */
extern bool weir_in_subtransaction(bool (*step) (void *arg), void *arg,
								   int swallow);

#endif							/* WEIR_BASE_SUBXACT_H */
