/*
 * follow.c
 *		What the parts of a stream take over from it.
 *
 * PostgreSQL hands neither owner nor schema on to partitions, and nothing at
 * all to a table that is detached.  Parts are found by the rows of the
 * catalog, so that those of paused partitions are among them.
 *	- owner and schema: all parts, at once;
 *	- grants: the table of a detached partition, for who reads it directly;
 *	- a new index: also on detached partitions, in the same statement, as it
 *	  would be on attached ones;
 *	- a publication: rows that are written to a detached table would never
 *	  reach its subscribers, so the partition is attached again.
 * The dead-letter stream follows owner, schema and grants (dead.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/slots.h"
#include "base/sql.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/tables.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "stream/dead.h"
#include "stream/follow.h"
#include "stream/parts.h"
#include "stream/state.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* All parts of a stream, by the rows. */
static List *
parts_of(Oid stream)
{
	List	   *parts = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, weir_partition_list(stream, NULL))
	{
		Oid			partition = ((WeirPartitionRow *) lfirst(lc))->partition;

		parts = lappend_oid(parts, partition);
		foreach(lc2, weir_segment_list(partition))
			parts = lappend_oid(parts, ((WeirSegmentRow *) lfirst(lc2))->segment);
	}
	return parts;
}

/* ---- owner and schema ---- */

void
weir_follow_stream(Oid stream)
{
	Oid			owner = weir_owner_of(stream);
	Oid			schema = get_rel_namespace(stream);
	Oid			old_owner = InvalidOid;
	Oid			old_schema = InvalidOid;
	ListCell   *lc;

	foreach(lc, parts_of(stream))
	{
		Oid			part = lfirst_oid(lc);

		if (get_rel_name(part) == NULL)
			continue;
		if (!OidIsValid(old_owner))
		{
			old_owner = weir_owner_of(part);
			old_schema = get_rel_namespace(part);
		}
		if (weir_owner_of(part) != owner)
			weir_run_ddl("ALTER TABLE %s OWNER TO %s", weir_qualified_name(part),
						 quote_identifier(GetUserNameFromId(owner, false)));
		if (get_rel_namespace(part) != schema)
			weir_run_ddl("ALTER TABLE %s SET SCHEMA %s", weir_qualified_name(part),
						 quote_identifier(get_namespace_name(schema)));
	}
	if (OidIsValid(old_owner))
		weir_dead_letters_follow(stream, old_owner, old_schema);
	/* A new owner, or row security. */
	weir_follow_all_grants(stream);
}

/* ---- grants ---- */

/* What a table has in pg_class.relacl, a copy; NULL: nothing but defaults. */
static Acl *
acl_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Acl		   *acl = NULL;
	Datum		value;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	value = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	if (!isnull)
		acl = DatumGetAclPCopy(value);
	ReleaseSysCache(tuple);
	return acl;
}

static const char *
grantee_name(const AclItem *item)
{
	return item->ai_grantee == ACL_ID_PUBLIC ? "PUBLIC" :
		quote_identifier(GetUserNameFromId(item->ai_grantee, false));
}

/*
 * With row security on the stream, reading its parts would get round it: the
 * stream's privileges are worth nothing there.
 */
static bool
has_row_security(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		has = HeapTupleIsValid(tuple) &&
		((Form_pg_class) GETSTRUCT(tuple))->relrowsecurity;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return has;
}

/* Only reading: nobody else may do anything with a part. */
static bool
may_select(const AclItem *item, Oid owner)
{
	return item->ai_grantee != owner &&
		(ACLITEM_GET_PRIVS(*item) & ACL_SELECT) != 0;
}

/* The tables of detached partitions can be read by those who read the stream. */
void
weir_follow_all_grants(Oid stream)
{
	ListCell   *lc;

	weir_follow_lock();
	foreach(lc, weir_partition_list(stream, NULL))
	{
		Oid			partition = ((WeirPartitionRow *) lfirst(lc))->partition;

		if (get_rel_name(partition) == NULL ||
			weir_actual_state(partition) != WEIR_DETACHED)
			continue;
		/* Not beside the keeper, which changes them when it attaches. */
		LockRelationOid(partition, ShareUpdateExclusiveLock);
		if (weir_actual_state(partition) == WEIR_DETACHED)
			weir_follow_grants(stream, partition);
	}
	weir_dead_letters_follow_grants(stream);
}

/*
 * An attached table needs none: who reads the stream is asked there, and a
 * REVOKE on the stream must be enough.
 */
void
weir_revoke_grants(Oid stream, Oid partition)
{
	Oid			owner = weir_owner_of(stream);
	Acl		   *there = acl_of(partition);
	Oid			user;
	int			context;

	/* Whoever grants or revokes by a grant option: the owner does this. */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);

	for (int i = 0; there && i < ACL_NUM(there); i++)
		if (may_select(&ACL_DAT(there)[i], owner))
			weir_run_ddl("REVOKE SELECT ON TABLE %s FROM %s CASCADE",
						 weir_qualified_name(partition),
						 grantee_name(&ACL_DAT(there)[i]));
	SetUserIdAndSecContext(user, context);
}

/* The same as weir_follow_all_grants for one of them. */
void
weir_follow_grants(Oid stream, Oid partition)
{
	Oid			owner = weir_owner_of(stream);
	Acl		   *wanted = has_row_security(stream) ? NULL : acl_of(stream);
	char	   *name = weir_qualified_name(partition);
	Oid			user;
	int			context;

	weir_revoke_grants(stream, partition);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	for (int i = 0; wanted && i < ACL_NUM(wanted); i++)
		if (may_select(&ACL_DAT(wanted)[i], owner))
			weir_run_ddl("GRANT SELECT ON TABLE %s TO %s", name,
						 grantee_name(&ACL_DAT(wanted)[i]));
	SetUserIdAndSecContext(user, context);
}

/* ---- indexes ---- */

/* Past one name, quoted or not, and what is qualified by it. */
static const char *
skip_name(const char *at)
{
	for (;;)
	{
		bool		quoted = *at == '"';

		at += quoted;
		while (*at != '\0' &&
			   (quoted ? *at != '"' || at[1] == '"' : *at != ' ' && *at != '.'))
			at += quoted && *at == '"' ? 2 : 1;
		at += quoted && *at == '"';
		if (*at != '.')
			return at;
		at++;
	}
}

static const char *
skip_word(const char *at, const char *word)
{
	return strncmp(at, word, strlen(word)) == 0 ? at + strlen(word) : at;
}

/* The definition of an index from " USING" on, all names in it qualified. */
static const char *
definition_of(Oid index)
{
	int			nestlevel = NewGUCNestLevel();
	const char *at;

	RestrictSearchPath();
	at = TextDatumGetCString(DirectFunctionCall1(pg_get_indexdef,
												 ObjectIdGetDatum(index)));
	AtEOXact_GUC(false, nestlevel);
	at = skip_word(at, "CREATE ");
	at = skip_word(at, "UNIQUE ");
	at = skip_word(at, "INDEX ");
	at = skip_word(skip_name(at), " ON ");
	at = skip_word(at, "ONLY ");
	return skip_name(at);
}

static bool
is_unique(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool		unique = HeapTupleIsValid(tuple) &&
		((Form_pg_index) GETSTRUCT(tuple))->indisunique;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return unique;
}

static List *
indexes_of(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	List	   *indexes = RelationGetIndexList(rel);

	table_close(rel, NoLock);
	return indexes;
}

/* DROP INDEX on the stream takes it along, as if it was attached. */
static void
tie_index(Oid index, Oid parent)
{
	ObjectAddress object;
	ObjectAddress on;

	ObjectAddressSet(object, RelationRelationId, index);
	ObjectAddressSet(on, RelationRelationId, parent);
	recordDependencyOn(&object, &on, DEPENDENCY_AUTO);
}

/* An index was made on the stream: make it on detached partitions too. */
void
weir_follow_index(Oid stream, Oid index)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, weir_partition_list(stream, NULL))
	{
		Oid			partition = ((WeirPartitionRow *) lfirst(lc))->partition;
		List	   *before;

		if (get_rel_name(partition) == NULL ||
			weir_actual_state(partition) == WEIR_ATTACHED)
			continue;
		before = indexes_of(partition);
		weir_run_utility("CREATE %sINDEX ON %s%s", is_unique(index) ? "UNIQUE " : "",
					 weir_qualified_name(partition), definition_of(index));
		CommandCounterIncrement();
		foreach(lc2, list_difference_oid(indexes_of(partition), before))
			tie_index(lfirst_oid(lc2), index);
		CommandCounterIncrement();
	}
}

/* ---- publications, foreign keys ---- */

/*
 * What keeps a paused partition attached may have come or gone: have the
 * keeper look at it.  The state lock keeps it from finding all well before we
 * commit.
 */
void
weir_follow_reasons(Oid stream)
{
	ListCell   *lc;

	foreach(lc, weir_partition_list(stream, NULL))
	{
		WeirPartitionRow row = *(WeirPartitionRow *) lfirst(lc);
		bool		attached;

		if (!row.paused || !row.detach || get_rel_name(row.partition) == NULL)
			continue;
		attached = weir_actual_state(row.partition) == WEIR_ATTACHED;
		if (row.settled &&
			attached == (weir_why_attached(row.stream, row.partition) != NULL))
			continue;
		weir_state_lock(row.partition);
		if (weir_partition_get(row.partition, &row) && row.settled)
		{
			row.settled = false;
			weir_partition_update(&row);
		}
		weir_wake_for_rows();
	}
}

/* A publication has changed. */
void
weir_follow_publication(void)
{
	ListCell   *lc;

	weir_follow_lock();
	foreach(lc, weir_stream_list())
		if (get_rel_name(lfirst_oid(lc)) != NULL)
			weir_follow_reasons(lfirst_oid(lc));
}

/* A table has changed: the streams that its foreign keys refer to. */
void
weir_follow_keys(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	List	   *streams = NIL;
	ListCell   *lc;
	WeirStreamRow row;

	foreach(lc, RelationGetFKeyList(rel))
		streams = list_append_unique_oid(streams,
										 ((ForeignKeyCacheInfo *) lfirst(lc))->confrelid);
	table_close(rel, NoLock);
	foreach(lc, streams)
		if (weir_stream_get(lfirst_oid(lc), &row))
			weir_follow_reasons(row.stream);
}
