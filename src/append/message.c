/*
 * message.c
 *		Messages as users give them, and as tuples.
 *
 * A value comes as text, bytea or jsonb.  If the stream's values have that
 * very type it is taken as it is; else its text goes through the input
 * function of the stream's type (a bytea is then text in the encoding of the
 * database).  What comes from another stream of the same type was looked at
 * when it was published there, its size too: it is not refused here.
 * All this may run user code (domains) and may fail, so it
 * happens before the append lock is taken, and so does the compression of
 * long values, which storing them would otherwise do under the lock.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/toast_internals.h"
#include "append/message.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

WeirValueForm
weir_form_of_type(Oid type)
{
	switch (type)
	{
		case BYTEAOID:
		case BYTEAARRAYOID:
			return WEIR_FORM_BYTEA;
		case JSONBOID:
		case JSONBARRAYOID:
			return WEIR_FORM_JSONB;
		default:
			return WEIR_FORM_TEXT;
	}
}

static char *
text_of_bytea(bytea *value)
{
	int			len = VARSIZE_ANY_EXHDR(value);
	char	   *data = VARDATA_ANY(value);

	pg_verify_mbstr(GetDatabaseEncoding(), data, len, false);
	return pnstrdup(data, len);
}

/* The value as the stream's type.  Also lets a domain object to a null. */
static Datum
convert_value(WeirStream *stream, WeirValueForm form,
			  const WeirMessage *message)
{
	static const Oid types[] = {TEXTOID, BYTEAOID, JSONBOID};
	char	   *string = NULL;

	if (form == WEIR_FORM_COLUMN)
		return message->value;
	if (message->no_value)
	{
		if (!stream->value_input.fn_strict)
			(void) InputFunctionCall(&stream->value_input, NULL,
									 stream->value_ioparam,
									 stream->value_typmod);
		return (Datum) 0;
	}
	if (stream->value_type == types[form])
		return message->value;

	switch (form)
	{
		case WEIR_FORM_TEXT:
			string = TextDatumGetCString(message->value);
			break;
		case WEIR_FORM_BYTEA:
			{
				bytea	   *value = DatumGetByteaPP(message->value);

				if (stream->value_type == TEXTOID)
				{
					/* The same bytes, once they are known to be text. */
					pg_verify_mbstr(GetDatabaseEncoding(), VARDATA_ANY(value),
									VARSIZE_ANY_EXHDR(value), false);
					return PointerGetDatum(value);
				}
				string = text_of_bytea(value);
				break;
			}
		case WEIR_FORM_JSONB:
			{
				Jsonb	   *value = DatumGetJsonbP(message->value);

				string = JsonbToCString(NULL, &value->root, VARSIZE(value));
				break;
			}
		case WEIR_FORM_COLUMN:
			break;				/* above */
	}
	return InputFunctionCall(&stream->value_input, string,
							 stream->value_ioparam, stream->value_typmod);
}

/*
 * Fetch what lies out of line in another table.  Storing the tuple would do
 * it too, but under the append lock, where nothing may wait for the locks that
 * this takes.
 */
static void
fetch_columns(WeirStream *stream, Datum *values, bool *nulls)
{
	for (int i = WEIR_COL_KEY - 1; i < WEIR_NCOLS; i++)
		if (!nulls[i] && TupleDescAttr(stream->tupdesc, i)->attlen == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			values[i] = PointerGetDatum(detoast_external_attr((struct varlena *)
															  DatumGetPointer(values[i])));
}

static int64
raw_size(WeirStream *stream, Datum *values, bool *nulls)
{
	int64		size = 0;

	for (int i = WEIR_COL_KEY - 1; i < WEIR_NCOLS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(stream->tupdesc, i);

		if (nulls[i])
			continue;
		size += att->attlen > 0 ? att->attlen :
			att->attlen == -1 ? toast_raw_datum_size(values[i]) - VARHDRSZ :
			strlen(DatumGetCString(values[i]));
	}
	return size;
}

static void
check_size(WeirStream *stream, WeirValueForm form, int64 size)
{
	if (size > stream->options.max_message_bytes && form != WEIR_FORM_COLUMN)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_MESSAGE_TOO_LARGE),
				 errmsg("message of " INT64_FORMAT " bytes is too large for stream \"%s\"",
						size, get_rel_name(stream->oid)),
				 errdetail("Key, value and headers together may have "
						   INT64_FORMAT " bytes.",
						   stream->options.max_message_bytes),
				 errhint("Raise option max_message_bytes, or publish a reference to where the data is.")));
}

/* Compress what storing the tuple would compress. */
static void
compress_columns(WeirStream *stream, Datum *values, bool *nulls)
{
	for (int i = WEIR_COL_KEY - 1; i < WEIR_NCOLS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(stream->tupdesc, i);
		Datum		compressed;

		if (nulls[i] || att->attlen != -1 ||
			(att->attstorage != TYPSTORAGE_EXTENDED &&
			 att->attstorage != TYPSTORAGE_MAIN))
			continue;
		values[i] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(values[i]));
		if (VARSIZE_ANY_EXHDR(DatumGetPointer(values[i])) < TOAST_TUPLE_THRESHOLD / 4)
			continue;
		compressed = toast_compress_datum(values[i], att->attcompression);
		if (DatumGetPointer(compressed) != NULL)
			values[i] = compressed;
	}
}

/*
 * Form the tuple of a message in the current memory context.  Its offset and
 * ts are filled in when it is appended.
 */
HeapTuple
weir_form_message(WeirStream *stream, int partition, WeirValueForm form,
				  const WeirMessage *message)
{
	Datum		values[WEIR_NCOLS] = {0};
	bool		nulls[WEIR_NCOLS] = {false};
	int64		size;

	values[WEIR_COL_PARTITION - 1] = Int32GetDatum(partition);
	values[WEIR_COL_OFFSET - 1] = Int64GetDatum(0);
	values[WEIR_COL_TS - 1] = Int64GetDatum(0);
	values[WEIR_COL_KEY - 1] = message->key;
	nulls[WEIR_COL_KEY - 1] = message->no_key;
	values[WEIR_COL_VALUE - 1] = convert_value(stream, form, message);
	nulls[WEIR_COL_VALUE - 1] = message->no_value;
	values[WEIR_COL_HEADERS - 1] = message->headers;
	nulls[WEIR_COL_HEADERS - 1] = message->no_headers;

	fetch_columns(stream, values, nulls);
	size = raw_size(stream, values, nulls);
	if (unlikely(size > TOAST_TUPLE_THRESHOLD / 2))
	{
		check_size(stream, form, size);
		compress_columns(stream, values, nulls);
	}
	else if (unlikely(size > stream->options.max_message_bytes))
		check_size(stream, form, size);
	return heap_form_tuple(stream->tupdesc, values, nulls);
}
