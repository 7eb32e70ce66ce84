/*
 * channel.c
 *		The channel on which subscribers of a stream are notified.
 *
 * LISTEN needs no privilege, so the name is one that only those learn who ask
 * stream_channel(), which does: the stream's OID and a keyed hash of it.  The
 * key is the only row of weir.secret, made with the extension, readable by
 * nobody else, and not dumped: a restored database has channels of its own.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/listeners.h"
#include "catalog/access.h"
#include "catalog/channel.h"
#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "utils/builtins.h"

/* So much of the hash is in the name. */
#define HASH_BYTES		16

static void
hash_of(Oid stream, const uint8 *key, size_t length, uint8 *hash)
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);

	if (hmac == NULL ||
		pg_hmac_init(hmac, key, length) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) &stream, sizeof(Oid)) < 0 ||
		pg_hmac_final(hmac, hash, PG_SHA256_DIGEST_LENGTH) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the channel of stream with OID %u", stream)));
	pg_hmac_free(hmac);
}

void
weir_channel(Oid stream, char *channel)
{
	uint8		hash[PG_SHA256_DIGEST_LENGTH];
	char		hex[2 * HASH_BYTES + 1];
	WeirLookup	at;
	bytea	   *key;

	at.rel = weir_table_open(T_SECRET, AccessShareLock);
	at.scan = systable_beginscan(at.rel, InvalidOid, false, NULL, 0, NULL);
	at.tuple = systable_getnext(at.scan);
	if (!HeapTupleIsValid(at.tuple))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("table \"%s\" has no row", "weir.secret"),
				 errhint("Insert a random key of 16 bytes or more.")));
	key = DatumGetByteaPP(weir_column(&at, 1));
	hash_of(stream, (const uint8 *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), hash);
	weir_finish(&at, AccessShareLock);

	hex[hex_encode((const char *) hash, HASH_BYTES, hex)] = '\0';
	snprintf(channel, NAMEDATALEN, WEIR_CHANNEL_PREFIX "%u_%s", stream, hex);
}

char *
weir_payload(int partition, int64 end)
{
	if (end < 0)
		return psprintf("{\"partition\": %d}", partition);
	return psprintf("{\"partition\": %d, \"end\": " INT64_FORMAT "}", partition, end);
}
