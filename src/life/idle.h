/*
 * idle.h
 *		Pausing partitions that nobody publishes to.
 */
#ifndef WEIR_LIFE_IDLE_H
#define WEIR_LIFE_IDLE_H

#include "life/duty.h"

extern TimestampTz weir_idle_duty(const WeirWake *wake);

#endif							/* WEIR_LIFE_IDLE_H */
