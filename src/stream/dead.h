/*
 * dead.h
 *		The dead-letter stream of a stream.
 */
#ifndef WEIR_STREAM_DEAD_H
#define WEIR_STREAM_DEAD_H

extern Oid	weir_dead_letters(Oid stream);
extern void weir_dead_letters_follow(Oid stream, Oid old_owner, Oid old_schema);
extern void weir_dead_letters_follow_grants(Oid stream);

#endif							/* WEIR_STREAM_DEAD_H */
