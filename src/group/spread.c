/*
 * spread.c
 *		Who gets which partitions: evenly, and moving as few as can be.
 *
 * With n partitions and m members each should have n / m, and n % m of them
 * one more: those who have most already, among equals the older ones.  So a
 * member that leaves or comes moves no partition but those that must move, and
 * nothing moves once all have their shares.  Each member works out its own
 * share; it keeps the lowest partitions of what it has, and takes the lowest of
 * what is free.  Nothing is taken from another: he gives it up himself.
 */
#include "postgres.h"

#include "group/spread.h"

/* The index of a member, or -1. */
static int
member_index(const WeirSpread *spread, int64 id)
{
	int			low = 0;
	int			high = spread->nmembers - 1;

	while (low <= high)
	{
		int			middle = low + (high - low) / 2;

		if (spread->members[middle] == id)
			return middle;
		if (spread->members[middle] < id)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return -1;
}

/* How many partitions a member should have, by how many each has. */
static int
fair_share(const WeirSpread *spread, const int *held, int self)
{
	int			before = 0;		/* who get a larger share first */

	for (int i = 0; i < spread->nmembers; i++)
		if (held[i] > held[self] || (held[i] == held[self] && i < self))
			before++;
	return spread->npartitions / spread->nmembers +
		(before < spread->npartitions % spread->nmembers ? 1 : 0);
}

/*
 * Mark the partitions that the member with index self should have, of those
 * that it has and those that are free.  Returns how many it has.
 */
int
weir_spread(const WeirSpread *spread, int self, bool *wanted)
{
	int		   *held = palloc0_array(int, spread->nmembers);
	int		   *owner = palloc_array(int, spread->npartitions);
	int			share;

	Assert(self >= 0 && self < spread->nmembers);
	for (int i = 0; i < spread->npartitions; i++)
	{
		owner[i] = member_index(spread, spread->owners[i]);
		if (owner[i] >= 0)
			held[owner[i]]++;
	}
	share = fair_share(spread, held, self);
	for (int i = 0; i < spread->npartitions; i++)
	{
		wanted[i] = owner[i] == self && share > 0;
		if (wanted[i])
			share--;
	}
	for (int i = 0; i < spread->npartitions && share > 0; i++)
		if (owner[i] < 0)
		{
			wanted[i] = true;
			share--;
		}
	share = held[self];
	pfree(held);
	pfree(owner);
	return share;
}
