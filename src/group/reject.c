/*
 * reject.c
 *		stream_reject: taking a message that cannot be processed out of the way.
 *
 * The message is published into the dead-letter stream of the stream
 * (stream/dead.c), with what is known of it and why, and the position of the
 * group goes behind it: both in the caller's transaction.
 *
 * First the position is locked, as for a seek, so a fetch of somebody else is
 * waited for; a member of the group who gives his generation must still own the
 * partition.  Then, with a snapshot later than the lock:
 *	- position behind the message (the caller has fetched it, or somebody long
 *	  ago): it stays, only the record is made;
 *	- position at the message, or with nothing readable before it: it moves;
 *	- unread messages before it: an error, they would be lost.
 *
 * The caller needs SELECT on the stream only: what is written to the
 * dead-letter stream is written with the rights of its owner, who is that of
 * the stream.
 *
 * Order of locks: stream, partition, row of weir.position, dead-letter stream.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "append/append.h"
#include "append/honour.h"
#include "append/message.h"
#include "append/partitioner.h"
#include "append/resume.h"
#include "append/tail.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/members.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "group/group.h"
#include "group/member.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "read/args.h"
#include "read/stable.h"
#include "read/walk.h"
#include "stream/dead.h"
#include "stream/event.h"
#include "stream/parts.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(weir_stream_reject);

/* A reason is cut here: a long one must not keep a message from going. */
#define MAX_REASON	8192

enum
{
	ARG_STREAM,
	ARG_GROUP,
	ARG_PARTITION,
	ARG_OFFSET,
	ARG_REASON,
	ARG_GENERATION
};

typedef struct Rejection
{
	WeirStream *stream;
	WeirPartition *partition;
	WeirGroupRow group;
	int64		offset;
	text	   *reason;			/* NULL: none was given */
	bool		by_member;		/* with this generation */
	int64		generation;
	HeapTuple	message;		/* a copy */
} Rejection;

/* ---- the message ---- */

static void
no_such_message(Rejection *r)
{
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_NO_SUCH_MESSAGE),
			 errmsg("partition %d of stream \"%s\" has no message with offset " INT64_FORMAT,
					r->partition->number, get_rel_name(r->stream->oid),
					r->offset),
			 errdetail("It was rolled back, or the offset was never given.")));
}

/* It must be there, where everything before it is decided. */
static void
find_message(Rejection *r, Snapshot snapshot)
{
	int64		start = weir_start_offset(r->partition);
	int64		end = weir_stable_end(r->partition, snapshot);
	WeirWalk	walk;

	if (r->offset < start)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_NOT_RETAINED),
				 errmsg("offset " INT64_FORMAT " of partition %d of stream \"%s\" is no longer retained",
						r->offset, r->partition->number,
						get_rel_name(r->stream->oid)),
				 errdetail("The partition now starts at offset " INT64_FORMAT ".",
						   start)));
	if (r->offset >= end)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_AFTER_END),
				 errmsg("offset " INT64_FORMAT " is after the end of partition %d of stream \"%s\"",
						r->offset, r->partition->number,
						get_rel_name(r->stream->oid)),
				 errdetail("The stable end is " INT64_FORMAT ".", end)));
	weir_walk_begin(&walk, r->partition->oid, snapshot, r->offset, false);
	if (weir_walk_next(&walk) && walk.offset == r->offset)
		r->message = heap_copytuple(&walk.tuple);
	weir_walk_end(&walk);
	if (r->message == NULL)
		no_such_message(r);
}

/* Nothing that the group could read lies between its position and the message. */
static void
require_next(Rejection *r, const WeirPositionRow *position, Snapshot snapshot)
{
	int64		start = weir_start_offset(r->partition);
	int64		first;
	WeirWalk	walk;

	if (position->next < start)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_NOT_RETAINED),
				 errmsg("offsets " INT64_FORMAT " to " INT64_FORMAT
						" of partition %d of stream \"%s\" are no longer retained",
						position->next, start - 1, r->partition->number,
						get_rel_name(r->stream->oid)),
				 errdetail("Group \"%s\" has not read them.", r->group.name),
				 errhint("To go on behind the gap: stream_fetch(..., skip_gap => true), or stream_seek().")));
	weir_walk_begin(&walk, r->partition->oid, snapshot, position->next, false);
	first = weir_walk_next(&walk) ? walk.offset : r->offset;
	weir_walk_end(&walk);
	if (first < r->offset)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_REJECT_ORDER),
				 errmsg("group \"%s\" has not read what comes before offset " INT64_FORMAT
						" of partition %d of stream \"%s\"",
						r->group.name, r->offset, r->partition->number,
						get_rel_name(r->stream->oid)),
				 errdetail("Its position is " INT64_FORMAT
						   ", the next message has offset " INT64_FORMAT ".",
						   position->next, first),
				 errhint("Reject messages in order, or fetch those before it.")));
}

/* ---- the position ---- */

static void
lock_position(Rejection *r, WeirPositionRow *position)
{
	WeirMemberRow owner;

	weir_position_lock_newest(r->stream, &r->group, r->partition->number,
							  position);
	if (r->by_member)
		weir_require_owner(r->stream, &r->group, position, r->generation,
						   &owner);
}

static void
pass_message(Rejection *r)
{
	WeirPositionRow position;
	Snapshot	snapshot;
	int64		before;

	lock_position(r, &position);
	before = position.next;
	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ?
								GetTransactionSnapshot() : GetLatestSnapshot());
	PushActiveSnapshot(snapshot);
	find_message(r, snapshot);
	if (before <= r->offset)
		require_next(r, &position, snapshot);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	if (before > r->offset)
		return;
	position.next = r->offset + 1;
	weir_position_move(&position);
	weir_group_moved(r->stream, r->partition->number, before, position.next);
}

/* ---- the dead letter ---- */

static void
put(JsonbParseState **state, const char *name, JsonbValue *value)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, value);
}

static void
put_text(JsonbParseState **state, const char *name, const char *data, int len)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, data);
	value.val.string.len = len;
	put(state, name, &value);
}

static void
put_number(JsonbParseState **state, const char *name, int64 number)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	put(state, name, &value);
}

static void
put_time(JsonbParseState **state, const char *name, TimestampTz ts)
{
	char		buffer[MAXDATELEN + 1];
	char	   *string;

	JsonEncodeDateTime(buffer, TimestampTzGetDatum(ts), TIMESTAMPTZOID, NULL);
	string = pstrdup(buffer);
	put_text(state, name, string, strlen(string));
}

static void
put_reason(JsonbParseState **state, text *reason)
{
	JsonbValue	value;

	if (reason != NULL)
	{
		put_text(state, "reason", VARDATA_ANY(reason),
				 pg_mbcliplen(VARDATA_ANY(reason), VARSIZE_ANY_EXHDR(reason),
							  MAX_REASON));
		return;
	}
	value.type = jbvNull;
	put(state, "reason", &value);
}

/* {"weir": {...}}; what was there under that name is kept in it. */
static Jsonb *
record_of(Rejection *r, JsonbValue *previous)
{
	JsonbParseState *state = NULL;
	char	   *stream = weir_qualified_name(r->stream->oid);
	JsonbValue	key;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	key.type = jbvString;
	key.val.string.val = "weir";
	key.val.string.len = 4;
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	put_text(&state, "stream", stream, strlen(stream));
	put_number(&state, "partition", r->partition->number);
	put_number(&state, "offset", r->offset);
	put_time(&state, "ts", weir_tuple_ts(r->message->t_data));
	put_text(&state, "group", r->group.name, strlen(r->group.name));
	put_reason(&state, r->reason);
	put_time(&state, "rejected_at", GetCurrentTimestamp());
	if (previous != NULL)
		put(&state, "previous", previous);
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Headers that are no object become one. */
static Jsonb *
as_object(Jsonb *headers)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;

	if (JB_ROOT_IS_OBJECT(headers))
		return headers;
	JsonbToJsonbValue(headers, &value);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	put(&state, "headers", &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static Datum
headers_of(Rejection *r, Datum headers, bool none)
{
	Jsonb	   *there;
	JsonbValue	key;

	if (none)
		return JsonbPGetDatum(record_of(r, NULL));
	there = as_object(DatumGetJsonbP(headers));
	key.type = jbvString;
	key.val.string.val = "weir";
	key.val.string.len = 4;
	return DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(there),
							   JsonbPGetDatum(record_of(r, findJsonbValueFromContainer(&there->root,
																					   JB_FOBJECT, &key))));
}

static int
choose_partition(WeirStream *dead, const WeirMessage *message)
{
	text	   *key = message->no_key ? NULL : DatumGetTextPP(message->key);

	return weir_choose_partition(dead, key != NULL,
								 key ? VARDATA_ANY(key) : NULL,
								 key ? VARSIZE_ANY_EXHDR(key) : 0,
								 WEIR_ANY_PARTITION);
}

/* An error on the way puts the identity back with the (sub)transaction. */
static WeirRun
publish(Rejection *r, Oid *dead)
{
	Datum		values[WEIR_NCOLS];
	bool		nulls[WEIR_NCOLS];
	WeirRuns	runs = {0, 1, palloc(sizeof(WeirRun))};
	WeirMessage message;
	WeirPartition *partition;
	WeirStream *stream;
	HeapTuple	tuple;
	int			number;
	Oid			user;
	int			context;

	heap_deform_tuple(r->message, r->stream->tupdesc, values, nulls);
	message.key = values[WEIR_COL_KEY - 1];
	message.no_key = nulls[WEIR_COL_KEY - 1];
	message.value = values[WEIR_COL_VALUE - 1];
	message.no_value = nulls[WEIR_COL_VALUE - 1];
	message.headers = headers_of(r, values[WEIR_COL_HEADERS - 1],
								 nulls[WEIR_COL_HEADERS - 1]);
	message.no_headers = false;

	*dead = weir_dead_letters(r->stream->oid);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(weir_owner_of(*dead), context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	weir_check_privilege(*dead, ACL_INSERT);
	stream = weir_stream_open(*dead, RowExclusiveLock);
	weir_honour_stream(stream);
	number = choose_partition(stream, &message);
	partition = weir_partition_for_publish(&stream, number);
	tuple = weir_form_message(stream, number, WEIR_FORM_COLUMN, &message);
	weir_append(stream, partition, &tuple, 1, WEIR_ANY_OFFSET, &runs);
	SetUserIdAndSecContext(user, context);
	return runs.runs[0];
}

static void
read_arguments(FunctionCallInfo fcinfo, Rejection *r)
{
	Oid			relid = weir_stream_arg(fcinfo, ARG_STREAM);
	char	   *name = weir_group_arg(fcinfo, ARG_GROUP);

	weir_require_writable("stream_reject()");
	if (PG_ARGISNULL(ARG_OFFSET))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("offset must not be null")));
	r->offset = PG_GETARG_INT64(ARG_OFFSET);
	if (r->offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset must not be negative")));
	r->by_member = !PG_ARGISNULL(ARG_GENERATION);
	r->generation = r->by_member ? PG_GETARG_INT64(ARG_GENERATION) : 0;
	r->reason = PG_ARGISNULL(ARG_REASON) ? NULL : PG_GETARG_TEXT_PP(ARG_REASON);
	if (relid == weir_activity_oid())
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_ACTIVITY_LOG),
				 errmsg("cannot reject messages of the activity log \"weir.activity\""),
				 errhint("To go on behind one: stream_seek().")));
	r->stream = weir_open_for_read(relid);
	r->partition = weir_partition_arg(fcinfo, ARG_PARTITION, r->stream);
	weir_group_known(r->stream, name, &r->group);
}

/* stream_reject(stream, group, partition, offset, reason, generation) */
Datum
weir_stream_reject(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Rejection	rejection = {0};
	Datum		values[3];
	bool		nulls[3] = {false};
	WeirRun		run;
	Oid			dead;

	read_arguments(fcinfo, &rejection);
	pass_message(&rejection);
	run = publish(&rejection, &dead);
	InitMaterializedSRF(fcinfo, 0);
	values[0] = ObjectIdGetDatum(dead);
	values[1] = Int32GetDatum(run.partition);
	values[2] = Int64GetDatum(run.first);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}
