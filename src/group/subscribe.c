/*
 * subscribe.c
 *		stream_channel, stream_subscribe, stream_unsubscribe.
 *
 * To subscribe is to LISTEN on the stream's channel; both can be done.  Whoever
 * may read the stream learns the channel.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/listeners.h"
#include "catalog/cache.h"
#include "catalog/channel.h"
#include "commands/async.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "read/args.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(weir_stream_channel);
PG_FUNCTION_INFO_V1(weir_stream_subscribe);
PG_FUNCTION_INFO_V1(weir_stream_unsubscribe);

static void
channel_arg(FunctionCallInfo fcinfo, char *channel)
{
	WeirStream *stream = weir_open_for_read(weir_stream_arg(fcinfo, 0));

	weir_channel(stream->oid, channel);
}

/* As LISTEN does. */
static void
require_session(FunctionCallInfo fcinfo, const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", function),
				 errhint("A standby can wait: stream_read(..., wait => ...).")));
	if (MyBackendType != B_BACKEND)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot execute %s within a background process", function)));
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot execute %s within security-restricted operation",
						function)));
}

/* stream_channel(stream) */
Datum
weir_stream_channel(PG_FUNCTION_ARGS)
{
	char		channel[NAMEDATALEN];

	channel_arg(fcinfo, channel);
	PG_RETURN_TEXT_P(cstring_to_text(channel));
}

/* stream_subscribe(stream) */
Datum
weir_stream_subscribe(PG_FUNCTION_ARGS)
{
	char		channel[NAMEDATALEN];

	require_session(fcinfo, "stream_subscribe()");
	channel_arg(fcinfo, channel);
	Async_Listen(channel);
	weir_note_listen(channel);
	PG_RETURN_TEXT_P(cstring_to_text(channel));
}

/* stream_unsubscribe(stream) */
Datum
weir_stream_unsubscribe(PG_FUNCTION_ARGS)
{
	char		channel[NAMEDATALEN];

	require_session(fcinfo, "stream_unsubscribe()");
	channel_arg(fcinfo, channel);
	Async_Unlisten(channel);
	weir_note_unlisten(channel);
	PG_RETURN_VOID();
}
