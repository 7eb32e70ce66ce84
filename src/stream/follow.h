/*
 * follow.h
 *		What the parts of a stream take over from it.
 */
#ifndef WEIR_STREAM_FOLLOW_H
#define WEIR_STREAM_FOLLOW_H

extern void weir_follow_stream(Oid stream);
extern void weir_follow_all_grants(Oid stream);
extern void weir_follow_grants(Oid stream, Oid partition);
extern void weir_revoke_grants(Oid stream, Oid partition);
extern void weir_follow_index(Oid stream, Oid index);
extern void weir_follow_reasons(Oid stream);
extern void weir_follow_publication(void);
extern void weir_follow_keys(Oid relid);

#endif							/* WEIR_STREAM_FOLLOW_H */
