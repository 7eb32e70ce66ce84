/*
 * duty.h
 *		What a keeper does: duties, run in turn.
 *
 * A duty does what is due, in transactions of its own, and returns when it
 * wants to be called again; DT_NOEND: not before the keeper is woken.  It is
 * called outside a transaction, in a memory context that lives until the end
 * of the turn.  It is called for every wake-up, also for one that is none of
 * its business, and when its time has come: then there may be nothing in wake.
 *
 * An error that it lets escape ends its transaction and goes into the log; the
 * other duties go on.  It is called again after a while, once, with start set:
 * whatever it was to look at before may have been lost.
 */
#ifndef WEIR_LIFE_DUTY_H
#define WEIR_LIFE_DUTY_H

#include "base/slots.h"
#include "datatype/timestamp.h"

typedef TimestampTz (*WeirDuty) (const WeirWake *wake);

#endif							/* WEIR_LIFE_DUTY_H */
