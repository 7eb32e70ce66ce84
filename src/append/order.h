/*
 * order.h
 *		Verifying that the physical order of a heap is offset order.
 */
#ifndef WEIR_APPEND_ORDER_H
#define WEIR_APPEND_ORDER_H

#include "utils/relcache.h"

/* Told of each violation; returns false to stop looking. */
typedef bool (*WeirOrderProblem) (void *arg, const char *problem,
								  const char *detail);

extern bool weir_order_check(Relation segment, int partition, int64 lower,
							 int64 upper, WeirOrderProblem report, void *arg);

#endif							/* WEIR_APPEND_ORDER_H */
