/*
 * message.h
 *		Messages as users give them, and as tuples.
 */
#ifndef WEIR_APPEND_MESSAGE_H
#define WEIR_APPEND_MESSAGE_H

#include "access/htup.h"
#include "catalog/cache.h"

/* How the value was given. */
typedef enum WeirValueForm
{
	WEIR_FORM_TEXT,
	WEIR_FORM_BYTEA,
	WEIR_FORM_JSONB,
	WEIR_FORM_COLUMN			/* a message of another stream of this type */
} WeirValueForm;

typedef struct WeirMessage
{
	Datum		key;			/* text */
	Datum		value;			/* as given */
	Datum		headers;		/* jsonb */
	bool		no_key;
	bool		no_value;
	bool		no_headers;
} WeirMessage;

extern WeirValueForm weir_form_of_type(Oid type);
extern HeapTuple weir_form_message(WeirStream *stream, int partition,
								   WeirValueForm form,
								   const WeirMessage *message);

#endif							/* WEIR_APPEND_MESSAGE_H */
