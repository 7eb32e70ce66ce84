/*
 * ahead.h
 *		Making segments before they are needed.
 */
#ifndef WEIR_LIFE_AHEAD_H
#define WEIR_LIFE_AHEAD_H

#include "life/duty.h"

extern TimestampTz weir_ahead_duty(const WeirWake *wake);

#endif							/* WEIR_LIFE_AHEAD_H */
