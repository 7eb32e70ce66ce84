/*
 * info.c
 *		What weir.workers shows.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/slots.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(weir_worker_info);

static const char *
kind_name(WeirWorkerKind kind)
{
	switch (kind)
	{
		case WEIR_FREE_SLOT:
			break;
		case WEIR_LAUNCHER:
			return "launcher";
		case WEIR_KEEPER:
			return "keeper";
		case WEIR_NOTIFIER:
			return "notifier";
	}
	return "unknown";
}

/* A text that may come from a database of another encoding. */
static Datum
foreign_text(char *text)
{
	if (!pg_verifymbstr(text, strlen(text), true))
	{
		for (char *c = text; *c != '\0'; c++)
		{
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
		}
	}
	return CStringGetTextDatum(text);
}

/* weir.worker_info() */
Datum
weir_worker_info(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	WeirWorkerSlot *slots;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	if (!weir_slots_exist())
		return (Datum) 0;
	slots = palloc_array(WeirWorkerSlot, WEIR_WORKER_SLOTS);
	n = weir_slots_copy(slots);
	for (int i = 0; i < n; i++)
	{
		WeirWorkerSlot *slot = &slots[i];
		Datum		values[8];
		bool		nulls[8] = {false};

		values[0] = CStringGetTextDatum(kind_name(slot->kind));
		values[1] = ObjectIdGetDatum(slot->database);
		nulls[1] = !OidIsValid(slot->database);
		values[2] = Int32GetDatum(slot->pid);
		nulls[2] = slot->pid == 0;
		values[3] = CStringGetTextDatum(slot->status);
		values[4] = TimestampTzGetDatum(slot->status_since);
		values[5] = foreign_text(slot->error);
		values[6] = TimestampTzGetDatum(slot->error_at);
		nulls[5] = nulls[6] = slot->error[0] == '\0';
		values[7] = Int64GetDatum((int64) slot->blocked);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
