/*
 * settle.h
 *		Making the tables follow the desired state of partitions.
 */
#ifndef WEIR_LIFE_SETTLE_H
#define WEIR_LIFE_SETTLE_H

#include "life/duty.h"

extern void weir_settle_inline(Oid partition);
extern void weir_attach_now(Oid partition);
extern TimestampTz weir_settle_duty(const WeirWake *wake);

#endif							/* WEIR_LIFE_SETTLE_H */
