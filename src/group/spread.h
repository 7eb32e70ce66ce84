/*
 * spread.h
 *		Who gets which partitions: evenly, and moving as few as can be.
 */
#ifndef WEIR_GROUP_SPREAD_H
#define WEIR_GROUP_SPREAD_H

typedef struct WeirSpread
{
	int			npartitions;
	const int64 *owners;		/* by partition; no member's id: nobody */
	int			nmembers;
	const int64 *members;		/* ids, ascending */
} WeirSpread;

extern int	weir_spread(const WeirSpread *spread, int self, bool *wanted);

#endif							/* WEIR_GROUP_SPREAD_H */
