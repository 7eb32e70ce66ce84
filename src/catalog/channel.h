/*
 * channel.h
 *		The channel on which subscribers of a stream are notified.
 */
#ifndef WEIR_CATALOG_CHANNEL_H
#define WEIR_CATALOG_CHANNEL_H

/* Into a buffer of NAMEDATALEN bytes. */
extern void weir_channel(Oid stream, char *channel);

/* What is sent: end is the stable end, -1 if the sender does not know it. */
extern char *weir_payload(int partition, int64 end);

#endif							/* WEIR_CATALOG_CHANNEL_H */
