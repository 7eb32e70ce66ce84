/*
 * options.c
 *		The options of a stream: names, bounds, defaults, in one table.
 *
 * Options are stored as a jsonb object that holds only what the user has
 * set, in the row of the stream and, for dumps that carry no rows, in an
 * argument of its guard trigger.  An option that nobody knows is an error
 * that lists the known ones; a null takes an option back to its default.
 */
#include "postgres.h"

#include "catalog/options.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

typedef enum OptionKind
{
	OPTION_COUNT,				/* a number */
	OPTION_SIZE,				/* bytes, also as text with a unit */
	OPTION_AGE,					/* interval, stored in microseconds */
	OPTION_BOOL,
	OPTION_PARTITIONER
} OptionKind;

typedef struct OptionDef
{
	const char *name;
	OptionKind	kind;
	int64		minimum;
	int64		maximum;
	const char *initial;		/* the default, as the user would write it */
	size_t		at;				/* where in WeirOptions */
	const char *description;
} OptionDef;

#define AT(field) offsetof(WeirOptions, field)

/* In alphabetical order. */
static const OptionDef defs[] = {
	{"auto_pause_after", OPTION_AGE, 1000000, PG_INT64_MAX, NULL,
		AT(auto_pause_after),
	"a partition without a publish for this long is paused, an interval"},
	{"auto_pause_detach", OPTION_BOOL, 0, 0, "false", AT(auto_pause_detach),
	"such a pause also detaches the partition's table"},
	{"auto_pause_with_subscribers", OPTION_BOOL, 0, 0, "true",
		AT(auto_pause_with_subscribers),
	"pause also while somebody reads"},
	{"max_message_bytes", OPTION_SIZE, 1, 256 * INT64CONST(1048576), "16MB",
		AT(max_message_bytes),
	"longest message: key, value and headers together, before compression"},
	{"partitioner", OPTION_PARTITIONER, 0, 0, "key", AT(partitioner),
	"\"key\": a key belongs to one partition; \"explicit\": a partition named at publish wins over the key"},
	{"retention_age", OPTION_AGE, 1000000, PG_INT64_MAX, NULL,
		AT(retention_age),
	"segments go when their last message is older than this, an interval"},
	{"retention_bytes", OPTION_SIZE, 1, PG_INT64_MAX, NULL,
		AT(retention_bytes),
	"old segments of a partition go as long as this much is left"},
	{"retention_hold", OPTION_BOOL, 0, 0, "false", AT(retention_hold),
	"retention spares what a consumer group has not read"},
	{"retention_hold_bytes", OPTION_SIZE, 1, PG_INT64_MAX, NULL,
		AT(retention_hold_bytes),
	"retention_hold spares at most this much of a partition"},
	{"retention_messages", OPTION_COUNT, 1, PG_INT64_MAX, NULL,
		AT(retention_messages),
	"old segments of a partition go as long as this many messages are left"},
	{"segment_age", OPTION_AGE, 1000000, INT64CONST(0x7FFFFFFFFFFFFFF), NULL,
		AT(segment_age),
	"a segment whose first message is older than this is left, an interval"},
	{"segment_bytes", OPTION_SIZE, 65536, INT64CONST(1) << 44, "1GB",
		AT(segment_bytes),
	"a segment that has reached this size is left"},
	{"segment_messages", OPTION_COUNT, 1, INT64CONST(1) << 40, "1048576",
		AT(segment_messages),
	"offsets that one segment holds"},
};

PG_FUNCTION_INFO_V1(weir_default_options);

static const OptionDef *
find_option(const char *name, int len)
{
	StringInfoData known;

	for (int i = 0; i < lengthof(defs); i++)
		if (strlen(defs[i].name) == len && strncmp(defs[i].name, name, len) == 0)
			return &defs[i];

	initStringInfo(&known);
	for (int i = 0; i < lengthof(defs); i++)
		appendStringInfo(&known, "%s%s", i > 0 ? ", " : "", defs[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_PARAMETER),
			 errmsg("unknown stream option \"%.*s\"", len, name),
			 errhint("Known options are: %s.", known.data)));
	return NULL;
}

static void
bad_value(const OptionDef *def, const char *value)
{
	switch (def->kind)
	{
		case OPTION_COUNT:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for stream option \"%s\": %s",
							def->name, value),
					 errdetail("It is a whole number from " INT64_FORMAT
							   " to " INT64_FORMAT ".",
							   def->minimum, def->maximum)));
			break;
		case OPTION_SIZE:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for stream option \"%s\": %s",
							def->name, value),
					 errdetail("It is a number of bytes from " INT64_FORMAT
							   " to " INT64_FORMAT
							   ", or text with a unit such as \"512MB\".",
							   def->minimum, def->maximum)));
			break;
		case OPTION_AGE:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for stream option \"%s\": %s",
							def->name, value),
					 errdetail("It is an interval of at least one second.")));
			break;
		case OPTION_BOOL:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for stream option \"%s\": %s",
							def->name, value),
					 errdetail("It is true or false.")));
			break;
		case OPTION_PARTITIONER:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for stream option \"%s\": %s",
							def->name, value),
					 errdetail("It is \"key\" or \"explicit\".")));
			break;
	}
}

static int64
parse_age(const OptionDef *def, const char *text)
{
	Interval   *age;
	double		us;

	age = DatumGetIntervalP(DirectFunctionCall3(interval_in,
												CStringGetDatum(text),
												ObjectIdGetDatum(InvalidOid),
												Int32GetDatum(-1)));
	us = (double) age->time +
		((double) age->day + (double) age->month * DAYS_PER_MONTH) * USECS_PER_DAY;
	if (us < (double) def->minimum || us > (double) def->maximum)
		bad_value(def, text);
	return (int64) us;
}

static int64
parse_number(const OptionDef *def, const char *text)
{
	Datum		number;
	int64		result;
	char	   *end;

	errno = 0;
	result = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0')
	{
		if (def->kind != OPTION_SIZE)
			bad_value(def, text);
		/* Let the server's own reader of sizes refuse what is no size. */
		number = DirectFunctionCall1(pg_size_bytes,
									 PointerGetDatum(cstring_to_text(text)));
		result = DatumGetInt64(number);
	}
	if (result < def->minimum || result > def->maximum)
		bad_value(def, text);
	return result;
}

static void
set_option(const OptionDef *def, const char *text, WeirOptions *options)
{
	char	   *at = (char *) options + def->at;

	switch (def->kind)
	{
		case OPTION_COUNT:
		case OPTION_SIZE:
			*(int64 *) at = text ? parse_number(def, text) : 0;
			break;
		case OPTION_AGE:
			*(int64 *) at = text ? parse_age(def, text) : 0;
			break;
		case OPTION_BOOL:
			if (!parse_bool(text, (bool *) at))
				bad_value(def, text);
			break;
		case OPTION_PARTITIONER:
			if (strcmp(text, "key") == 0)
				*(WeirPartitioner *) at = WEIR_PARTITIONER_KEY;
			else if (strcmp(text, "explicit") == 0)
				*(WeirPartitioner *) at = WEIR_PARTITIONER_EXPLICIT;
			else
				bad_value(def, text);
			break;
	}
}

static char *
scalar_text(const OptionDef *def, JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			if (def->kind == OPTION_BOOL)
				return pstrdup(value->val.boolean ? "true" : "false");
			bad_value(def, value->val.boolean ? "true" : "false");
			break;
		default:
			bad_value(def, "an object or an array");
			break;
	}
	return NULL;
}

static void
require_object(Jsonb *json)
{
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stream options must be a JSON object"),
				 errhint("For instance '{\"segment_bytes\": \"256MB\"}'.")));
}

/* Check options and put them over the defaults.  json may be NULL. */
void
weir_options_parse(Jsonb *json, WeirOptions *options)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	const OptionDef *def = NULL;

	memset(options, 0, sizeof(WeirOptions));
	for (int i = 0; i < lengthof(defs); i++)
		set_option(&defs[i], defs[i].initial, options);
	if (json == NULL)
		return;

	require_object(json);
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			def = find_option(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE && value.type != jbvNull)
			set_option(def, scalar_text(def, &value), options);
	}
}

/* The options that are set after a change; nulls take options away. */
Jsonb *
weir_options_merge(Jsonb *old, Jsonb *change)
{
	Datum		merged;

	require_object(change);
	merged = DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(old),
								 JsonbPGetDatum(change));
	merged = DirectFunctionCall1(jsonb_strip_nulls, merged);
	return DatumGetJsonbP(merged);
}

/* weir.default_options() */
Datum
weir_default_options(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < lengthof(defs); i++)
	{
		Datum		values[3] = {0};
		bool		nulls[3] = {false};

		values[0] = CStringGetTextDatum(defs[i].name);
		nulls[1] = defs[i].initial == NULL;
		if (!nulls[1])
			values[1] = CStringGetTextDatum(defs[i].initial);
		values[2] = CStringGetTextDatum(defs[i].description);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Is an option set to something?  Cheaper than to parse them all. */
bool
weir_options_has(Jsonb *json, const char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	return findJsonbValueFromContainer(&json->root, JB_FOBJECT, &key) != NULL;
}
