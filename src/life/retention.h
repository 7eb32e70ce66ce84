/*
 * retention.h
 *		Dropping what a stream's options do not retain.
 */
#ifndef WEIR_LIFE_RETENTION_H
#define WEIR_LIFE_RETENTION_H

#include "life/duty.h"

extern TimestampTz weir_retention_duty(const WeirWake *wake);

#endif							/* WEIR_LIFE_RETENTION_H */
