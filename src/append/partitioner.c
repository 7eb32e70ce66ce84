/*
 * partitioner.c
 *		Which partition a message goes to.
 *
 * A key goes to (murmur2(key in UTF-8) & 0x7fffffff) % partitions, which is
 * what Kafka's default partitioner does: a key lies in the partition that it
 * has in a topic of as many partitions.  The rule is part of the interface
 * and never changes; test vectors are in sql/partition.sql.
 */
#include "postgres.h"

#include "append/partitioner.h"
#include "base/error.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(weir_stream_partition_for);

/* MurmurHash2, 32 bits, by Austin Appleby (public domain), with Kafka's seed. */
static uint32
murmur2(const unsigned char *data, int len)
{
	const uint32 m = 0x5bd1e995;
	uint32		h = 0x9747b28c ^ (uint32) len;

	for (; len >= 4; data += 4, len -= 4)
	{
		uint32		k = (uint32) data[0] | (uint32) data[1] << 8 |
			(uint32) data[2] << 16 | (uint32) data[3] << 24;

		k *= m;
		k ^= k >> 24;
		k *= m;
		h *= m;
		h ^= k;
	}
	switch (len)
	{
		case 3:
			h ^= (uint32) data[2] << 16;
			/* FALLTHROUGH */
		case 2:
			h ^= (uint32) data[1] << 8;
			/* FALLTHROUGH */
		case 1:
			h ^= (uint32) data[0];
			h *= m;
	}
	h ^= h >> 13;
	h *= m;
	h ^= h >> 15;
	return h;
}

int
weir_partition_for_key(const char *key, int len, int npartitions)
{
	char	   *utf8 = pg_server_to_any(key, len, PG_UTF8);
	int			utf8_len = utf8 == key ? len : (int) strlen(utf8);
	uint32		hash = murmur2((const unsigned char *) utf8, utf8_len);

	return (int) ((hash & 0x7fffffff) % (uint32) npartitions);
}

/* The next partition in turn that is not read-only, if there is one. */
static int
in_turn(WeirStream *stream)
{
	for (int i = 0; i < stream->npartitions; i++)
	{
		int			number = (int) (stream->round_robin++ %
									(uint32) stream->npartitions);

		if (likely(!stream->partitions[number].read_only))
			return number;
	}
	return 0;
}

/*
 * Choose by the named partition, else by the key, else in turn.  A named one
 * that is not the key's is an error, unless the stream says that it wins.
 */
int
weir_choose_partition(WeirStream *stream, bool has_key, const char *key,
					  int len, int named)
{
	int			by_key;

	if (!has_key)
		return named != WEIR_ANY_PARTITION ? named : in_turn(stream);
	if (named != WEIR_ANY_PARTITION &&
		(stream->options.partitioner == WEIR_PARTITIONER_EXPLICIT ||
		 named >= stream->npartitions))
		return named;
	by_key = weir_partition_for_key(key, len, stream->npartitions);
	if (named != WEIR_ANY_PARTITION && named != by_key)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_PARTITION_KEY_MISMATCH),
				 errmsg("key \"%.*s\" belongs to partition %d of stream \"%s\", not %d",
						pg_mbcliplen(key, len, 64), key, by_key,
						get_rel_name(stream->oid), named),
				 errhint("Leave the partition out, or set option partitioner to \"explicit\".")));
	return by_key;
}

/* stream_partition_for(stream, key) → integer */
Datum
weir_stream_partition_for(PG_FUNCTION_ARGS)
{
	Oid			relid = weir_stream_arg(fcinfo, 0);
	WeirStream *stream;
	text	   *key;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("key must not be null"),
				 errdetail("A message without a key can go to any partition.")));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
		weir_check_privilege(relid, ACL_SELECT);
	key = PG_GETARG_TEXT_PP(1);
	stream = weir_stream_open(relid, AccessShareLock);
	PG_RETURN_INT32(weir_partition_for_key(VARDATA_ANY(key),
										   VARSIZE_ANY_EXHDR(key),
										   stream->npartitions));
}
