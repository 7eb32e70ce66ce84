/*
 * activity.c
 *		The activity log, weir.activity: what happened to streams.
 *
 * It is a stream with one partition, whose values are jsonb objects and whose
 * keys are names of streams.  An event is published in the transaction that
 * makes the change, so it is there exactly if the change is.
 *
 * It is made at the first need, by a worker that commits at once: two
 * transactions that made it themselves would wait for each other's end.  Only
 * if the extension itself is from this transaction, or no worker is to be
 * had, is it made here; a lock to the end of the transaction then keeps
 * others from doing the same.  It is no member of the extension, or it would
 * not be dumped, but it depends on it, so DROP EXTENSION takes it along.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "append/append.h"
#include "append/honour.h"
#include "append/message.h"
#include "append/resume.h"
#include "base/compat.h"
#include "base/sql.h"
#include "base/worker.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "catalog/tables.h"
#include "fmgr.h"
#include "life/activity.h"
#include "life/adopt.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lock.h"
#include "stream/create.h"
#include "stream/follow.h"
#include "stream/parts.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define MAKE_SUBID 4

/* What bounds the log; nobody alters it. */
#define ACTIVITY_OPTIONS \
	"{\"segment_messages\": 100000, \"segment_bytes\": \"16MB\"," \
	" \"retention_age\": \"90 days\", \"retention_bytes\": \"64MB\"," \
	" \"segment_age\": \"30 days\"}"

/* ---- making it ---- */

static Oid
schema_of_weir(void)
{
	return get_namespace_oid("weir", false);
}

static bool
exists(void)
{
	Oid			log = weir_activity_oid();
	WeirStreamRow row;

	return OidIsValid(log) && weir_stream_get(log, &row);
}

/* The extension's tables are from this transaction: no worker can see them. */
static bool
extension_is_ours_alone(void)
{
	Oid			relid = get_relname_relid("stream", schema_of_weir());
	Relation	rel = table_open(relid, AccessShareLock);
	bool		ours = rel->rd_createSubid != InvalidSubTransactionId;

	table_close(rel, AccessShareLock);
	return ours;
}

static void
make_tables(void)
{
	Jsonb	   *options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
															 CStringGetDatum(ACTIVITY_OPTIONS)));
	Oid			owner = weir_owner_of(get_relname_relid("stream", schema_of_weir()));

	(void) weir_create_stream(makeRangeVar("weir", "activity", -1), JSONBOID, 1,
							  options);
	weir_run_utility("COMMENT ON TABLE weir.activity IS 'what happened to streams, in order: see README, \"The activity log\"'");
	weir_run_ddl("ALTER TABLE weir.activity OWNER TO %s",
				 quote_identifier(GetUserNameFromId(owner, false)));
	weir_follow_stream(weir_activity_oid());
	weir_grant_activity(weir_activity_oid());
}

/*
 * Make the log, unless there is one; of its tables, if a dump brought those
 * without the rows of the catalog.  The caller has the rights of a superuser.
 */
void
weir_make_activity(void)
{
	if (exists())
		return;
	if (OidIsValid(weir_activity_oid()))
		weir_adopt(weir_activity_oid());
	else
		make_tables();
	weir_tie_activity();
}

static void
make_inline(void)
{
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	weir_make_activity();
	SetUserIdAndSecContext(user, context);
}

/*
 * See to it that there is a log.  To be called before locks are taken that
 * others wait for, if it matters how long this takes.
 */
void
weir_activity_ready(void)
{
	LOCKTAG		tag;
	WeirTask	task = {0};

	AcceptInvalidationMessages();
	if (likely(exists()))
		return;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, NamespaceRelationId, schema_of_weir(),
					   MAKE_SUBID);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages();
	if (!exists() && !extension_is_ours_alone())
	{
		task.database = MyDatabaseId;
		task.kind = WEIR_TASK_MAKE_ACTIVITY;
		(void) weir_run_task(&task);
		AcceptInvalidationMessages();
	}
	if (exists())
		LockRelease(&tag, ExclusiveLock, false);
	else
		make_inline();
}

/* ---- an event as a message ---- */

static void
push_text(JsonbParseState **state, const char *name, const char *text)
{
	JsonbValue	value;

	if (text == NULL)
		return;
	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_key(JsonbParseState **state, const char *name)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
}

static void
number_value(JsonbValue *value, int64 number)
{
	value->type = jbvNumeric;
	value->val.numeric = int64_to_numeric(number);
}

static void
push_bool(JsonbParseState **state, const char *name, bool flag)
{
	JsonbValue	value;

	push_key(state, name);
	value.type = jbvBool;
	value.val.boolean = flag;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_partitions(JsonbParseState **state, List *partitions)
{
	JsonbValue	value;
	ListCell   *lc;

	if (partitions == NIL)
		return;
	push_key(state, "partitions");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, partitions)
	{
		number_value(&value, lfirst_int(lc));
		pushJsonbValue(state, WJB_ELEM, &value);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* Who: nobody, if a worker does it on its own. */
static const char *
by_whom(void)
{
	return (MyBackendType == B_BG_WORKER) ? NULL :
		GetUserNameFromId(GetSessionUserId(), true);
}

static Jsonb *
event_as_json(const WeirEvent *event, const char *name)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, "event", event->event);
	push_text(&state, "stream", name);
	push_key(&state, "oid");
	number_value(&value, event->stream);
	pushJsonbValue(&state, WJB_VALUE, &value);
	push_partitions(&state, event->partitions);
	push_text(&state, "by", by_whom());
	push_text(&state, "cause", event->cause);
	push_text(&state, "from", event->from);
	push_text(&state, "to", event->to);
	push_text(&state, "segment", event->segment);
	push_text(&state, "group", event->group);
	push_text(&state, "member", event->member);
	if (event->offset >= 0)
	{
		push_key(&state, "offset");
		number_value(&value, event->offset);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	if (event->options)
	{
		push_key(&state, "options");
		JsonbToJsonbValue(event->options, &value);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	if (event->to && strcmp(event->to, "paused") == 0)
	{
		push_bool(&state, "resume_all", event->resume_all);
		push_bool(&state, "detach", event->detach);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
publish_event(const WeirEvent *event)
{
	const char *name = event->name ? event->name :
		weir_qualified_name(event->stream);
	bool		push = !ActiveSnapshotSet();
	WeirStream *stream;
	WeirPartition *partition;
	WeirMessage message = {0};
	WeirRuns	runs = {0, 1, palloc(sizeof(WeirRun))};
	HeapTuple	tuple;

	weir_activity_ready();
	if (push)
		PushActiveSnapshot(GetTransactionSnapshot());
	stream = weir_stream_open(weir_activity_oid(), RowExclusiveLock);
	weir_honour_stream(stream);
	partition = weir_partition_for_publish(&stream, 0);
	message.key = CStringGetTextDatum(name);
	message.value = JsonbPGetDatum(event_as_json(event, name));
	message.no_headers = true;
	tuple = weir_form_message(stream, 0, WEIR_FORM_JSONB, &message);
	weir_append(stream, partition, &tuple, 1, WEIR_ANY_OFFSET, &runs);
	if (push)
		PopActiveSnapshot();
}

void
weir_activity_init(void)
{
	weir_event_hook = publish_event;
}
