/*
 * dead.c
 *		The dead-letter stream of a stream: where rejected messages go.
 *
 * It is found by its name, <stream>_dead_letters in the schema of the stream
 * (shortened as the server shortens names), and believed only if it has the
 * same owner and the same type of value: whoever else may make tables in the
 * schema must not get the messages of others by being there first.
 *
 * It is made at the first need, in the transaction that has it: with one
 * partition, as the owner of the stream would.  A lock to the end of the
 * transaction keeps others from doing the same.  From then on it is a stream
 * like any other, but that owner, schema and SELECT grants follow those of its
 * stream: it holds copies of the messages.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/slots.h"
#include "base/sql.h"
#include "catalog/columns.h"
#include "catalog/pg_authid.h"
#include "catalog/tables.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lock.h"
#include "stream/create.h"
#include "stream/dead.h"
#include "stream/event.h"
#include "stream/follow.h"
#include "stream/parts.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#define DEAD_SUBID 9

static Oid
find_in(Oid schema, Oid stream)
{
	char	   *name = makeObjectName(get_rel_name(stream), NULL, "dead_letters");

	return get_relname_relid(name, schema);
}

/* ---- is it the one? ---- */

static void
refuse_name(Oid relid, Oid stream, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("relation \"%s\" is in the place of the dead-letter stream of \"%s\"",
					get_rel_name(relid), get_rel_name(stream)),
			 errdetail("It is %s.", why),
			 errhint("Nothing was rejected. Rename it, or drop it.")));
}

static void
require_fitting(Oid relid, Oid stream)
{
	WeirStreamRow row;
	Oid			type;
	Oid			wanted;
	Oid			collation;
	int32		typmod;
	int32		wanted_typmod;

	if (relid == stream)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("stream \"%s\" cannot have a dead-letter stream of its own",
						get_rel_name(stream)),
				 errdetail("Its name leaves no room for another \"_dead_letters\"."),
				 errhint("Give it a shorter name.")));
	if (!weir_stream_get(relid, &row))
		refuse_name(relid, stream, "not a stream");
	if (weir_owner_of(relid) != weir_owner_of(stream))
		refuse_name(relid, stream, "a stream of another owner");
	get_atttypetypmodcoll(relid, WEIR_COL_VALUE, &type, &typmod, &collation);
	get_atttypetypmodcoll(stream, WEIR_COL_VALUE, &wanted, &wanted_typmod,
						  &collation);
	if (type != wanted || typmod != wanted_typmod)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("stream \"%s\" cannot take the dead letters of \"%s\"",
						get_rel_name(relid), get_rel_name(stream)),
				 errdetail("Its values have type %s, not %s.",
						   format_type_with_typemod(type, typmod),
						   format_type_with_typemod(wanted, wanted_typmod)),
				 errhint("Nothing was rejected. Rename it, or drop it.")));
}

/* ---- making it ---- */

static void
tell(Oid relid, Jsonb *options)
{
	WeirEvent	event = {0};

	event.event = "created";
	event.stream = relid;
	event.cause = "reject";
	event.offset = -1;
	event.options = options;
	weir_event(&event);
}

/* As its owner, or for one who may not make tables there (stream/parts.c). */
static Oid
make_as_owner(Oid stream, const char *name, Jsonb *options)
{
	Oid			owner = weir_owner_of(stream);
	Oid			schema = get_rel_namespace(stream);
	bool		may = object_aclcheck(NamespaceRelationId, schema, owner,
									  ACL_CREATE) == ACLCHECK_OK;
	int			nestlevel = NewGUCNestLevel();
	Oid			relid;
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(may ? owner : BOOTSTRAP_SUPERUSERID, context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	/* Not where the session of whoever rejects puts its tables. */
	(void) set_config_option("default_tablespace", "", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	relid = weir_create_stream(makeRangeVar(get_namespace_name(schema),
											pstrdup(name), -1),
							   get_atttype(stream, WEIR_COL_VALUE), 1, options);
	AtEOXact_GUC(false, nestlevel);
	weir_run_utility("COMMENT ON TABLE %s IS %s", weir_qualified_name(relid),
					 quote_literal_cstr(psprintf("messages that were rejected from stream %s",
												 weir_qualified_name(stream))));
	if (!may)
	{
		weir_run_ddl("ALTER TABLE %s OWNER TO %s", weir_qualified_name(relid),
					 quote_identifier(GetUserNameFromId(owner, false)));
		weir_follow_stream(relid);
	}
	SetUserIdAndSecContext(user, context);
	return relid;
}

/*
 * The dead-letter stream of a stream; made if there is none.  An error if
 * something else is in its place.
 */
Oid
weir_dead_letters(Oid stream)
{
	Oid			schema = get_rel_namespace(stream);
	Oid			relid = find_in(schema, stream);
	LOCKTAG		tag;

	if (!OidIsValid(relid))
	{
		SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, stream,
						   DEAD_SUBID);
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		AcceptInvalidationMessages();
		relid = find_in(schema, stream);
	}
	if (!OidIsValid(relid))
	{
		Jsonb	   *options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																 CStringGetDatum("{}")));

		relid = make_as_owner(stream,
							  makeObjectName(get_rel_name(stream), NULL,
											 "dead_letters"),
							  options);
		weir_dead_letters_follow_grants(stream);
		tell(relid, options);
		weir_wake_for_options();
	}
	require_fitting(relid, stream);
	return relid;
}

/* ---- following its stream ---- */

static Oid
find_owned(Oid schema, Oid stream, Oid owner)
{
	Oid			relid = find_in(schema, stream);
	WeirStreamRow row;

	return OidIsValid(relid) && relid != stream &&
		weir_stream_get(relid, &row) && weir_owner_of(relid) == owner ?
		relid : InvalidOid;
}

/* The stream has another owner or schema than before. */
void
weir_dead_letters_follow(Oid stream, Oid old_owner, Oid old_schema)
{
	Oid			owner = weir_owner_of(stream);
	Oid			schema = get_rel_namespace(stream);
	Oid			relid = find_owned(old_schema, stream, old_owner);

	if (!OidIsValid(relid) || (owner == old_owner && schema == old_schema))
		return;
	if (owner != old_owner)
		weir_run_ddl("ALTER TABLE %s OWNER TO %s", weir_qualified_name(relid),
					 quote_identifier(GetUserNameFromId(owner, false)));
	if (schema != old_schema)
		weir_run_ddl("ALTER TABLE %s SET SCHEMA %s", weir_qualified_name(relid),
					 quote_identifier(get_namespace_name(schema)));
	weir_follow_stream(relid);
}

/* Those who may read the stream, and nobody else, may read what it rejected. */
void
weir_dead_letters_follow_grants(Oid stream)
{
	Oid			relid = find_owned(get_rel_namespace(stream), stream,
								   weir_owner_of(stream));

	if (!OidIsValid(relid))
		return;
	weir_follow_grants(stream, relid);
	weir_follow_all_grants(relid);
}
