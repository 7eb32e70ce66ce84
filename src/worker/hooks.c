/*
 * hooks.c
 *		Hooks into PostgreSQL's commands, for the sake of workers.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME and SET TABLESPACE, and CREATE
 * DATABASE for its template need the database for themselves: PostgreSQL waits
 * 5 s for others and gives up.  So the command first holds the database
 * (base/slots.c), which makes the launcher end its workers, and waits until
 * they have ended; then it runs; when its transaction has ended, whatever the
 * outcome, it lets go, and the launcher looks at the database again.  Whoever may not run the command
 * does not get as far.
 *
 * And the workers hear of what they cannot see: an extension made or dropped, a
 * new database, the end of a transaction that was prepared, sessions that
 * LISTEN.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/listeners.h"
#include "base/slots.h"
#include "base/watch.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/syscache.h"
#include "worker/hooks.h"

/* PostgreSQL gives others 5 s; a worker that takes longer hangs. */
#define LONGEST_WAIT_MS 10000

static ProcessUtility_hook_type previous_utility = NULL;
static object_access_hook_type previous_access = NULL;

/* ---- commands that need a database for themselves ---- */

static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		result = superuser();

	if (!result)
	{
		tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
		if (HeapTupleIsValid(tuple))
		{
			result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
			ReleaseSysCache(tuple);
		}
	}
	return result;
}

static bool
owns(Oid database)
{
	return object_ownercheck(DatabaseRelationId, database, GetUserId());
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

static Oid
template_of(CreatedbStmt *stmt)
{
	DefElem    *option = find_option(stmt->options, "template");
	const char *name = option && option->arg ? defGetString(option) : "template1";
	Oid			database = get_database_oid(name, true);

	if (OidIsValid(database) && may_create_databases() &&
		(is_template(database) || owns(database)))
		return database;
	return InvalidOid;
}

/* Which database does this command need for itself, and may it? */
static Oid
needed_database(Node *stmt)
{
	const char *name = NULL;
	Oid			database;

	switch (nodeTag(stmt))
	{
		case T_CreatedbStmt:
			return template_of((CreatedbStmt *) stmt);
		case T_DropdbStmt:
			name = ((DropdbStmt *) stmt)->dbname;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType == OBJECT_DATABASE &&
				may_create_databases())
				name = ((RenameStmt *) stmt)->subname;
			break;
		case T_AlterDatabaseStmt:
			if (find_option(((AlterDatabaseStmt *) stmt)->options, "tablespace"))
				name = ((AlterDatabaseStmt *) stmt)->dbname;
			break;
		default:
			break;
	}
	if (name == NULL)
		return InvalidOid;
	database = get_database_oid(name, true);
	return OidIsValid(database) && owns(database) ? database : InvalidOid;
}

static void
release(int code, Datum database)
{
	weir_slots_release(DatumGetObjectId(database));
}

/* ---- the hook ---- */

typedef struct Command
{
	PlannedStmt *pstmt;
	const char *text;
	bool		read_only_tree;
	ProcessUtilityContext context;
	ParamListInfo params;
	QueryEnvironment *environment;
	DestReceiver *dest;
	QueryCompletion *completion;
} Command;

static void
pass_on(Command *c)
{
	(previous_utility ? previous_utility : standard_ProcessUtility)
		(c->pstmt, c->text, c->read_only_tree, c->context, c->params,
		 c->environment, c->dest, c->completion);
}

static void
run_with_database(Command *c, Oid database)
{
	if (!weir_slots_hold(database))
	{
		pass_on(c);
		return;
	}
	PG_ENSURE_ERROR_CLEANUP(release, ObjectIdGetDatum(database));
	{
		if (!weir_slots_wait_stopped(database, LONGEST_WAIT_MS))
			ereport(WARNING,
					(errmsg("a background worker of weir in database %u does not end",
							database)));
		pass_on(c);
	}
	PG_END_ENSURE_ERROR_CLEANUP(release, ObjectIdGetDatum(database));
	/* Before the commit the launcher would still see what was. */
	weir_release_at_end(database);
}

/*
 * What others are to hear of a command when it has been run; found out before,
 * for it may free its own tree.
 */
typedef struct News
{
	bool		extension;		/* one was made */
	bool		prepared;		/* a prepared transaction was committed */
	bool		prepared_end;	/* or rolled back */
	bool		listen;			/* to the channel below */
	bool		unlisten;		/* the channel below, empty: all */
	char		channel[NAMEDATALEN];
	char		database[NAMEDATALEN];	/* created or altered; empty: none */
} News;

static void
expect_channel(News *news, const char *channel)
{
	if (channel != NULL)
		strlcpy(news->channel, channel, NAMEDATALEN);
}

static void
expect_news(News *news, Node *stmt)
{
	memset(news, 0, sizeof(News));
	switch (nodeTag(stmt))
	{
		case T_CreatedbStmt:
			strlcpy(news->database, ((CreatedbStmt *) stmt)->dbname, NAMEDATALEN);
			break;
		case T_AlterDatabaseStmt:
			/* It may have become one that takes workers. */
			strlcpy(news->database, ((AlterDatabaseStmt *) stmt)->dbname, NAMEDATALEN);
			break;
		case T_CreateExtensionStmt:
			news->extension = true;
			break;
		case T_TransactionStmt:
			news->prepared = ((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED;
			news->prepared_end = news->prepared ||
				((TransactionStmt *) stmt)->kind == TRANS_STMT_ROLLBACK_PREPARED;
			break;
		case T_ListenStmt:
			news->listen = true;
			expect_channel(news, ((ListenStmt *) stmt)->conditionname);
			break;
		case T_UnlistenStmt:
			news->unlisten = true;
			expect_channel(news, ((UnlistenStmt *) stmt)->conditionname);
			break;
		case T_DiscardStmt:
			news->unlisten = ((DiscardStmt *) stmt)->target == DISCARD_ALL;
			break;
		default:
			break;
	}
}

static void
pass_news(const News *news)
{
	if (news->database[0] != '\0')
	{
		Oid			database = get_database_oid(news->database, true);

		if (OidIsValid(database))
			weir_hint_database(database);
	}
	if (news->listen)
		weir_note_listen(news->channel);
	if (news->unlisten)
		weir_note_unlisten(news->channel[0] != '\0' ? news->channel : NULL);
	if (news->prepared_end)
		weir_note_everything();
	if (!news->extension && !news->prepared)
		return;
	if (OidIsValid(get_extension_oid("weir", true)))
		weir_wake_for_all();
	else if (news->prepared)
		weir_wake_if_there();	/* it may have dropped the extension */
}

static void
process_utility(PlannedStmt *pstmt, const char *text, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *dest,
				QueryCompletion *completion)
{
	Command		command = {pstmt, text, read_only_tree, context, params,
	environment, dest, completion};
	Node	   *stmt = pstmt->utilityStmt;
	Oid			database = InvalidOid;
	News		news;

	if (!weir_has_workers() || RecoveryInProgress())
	{
		pass_on(&command);
		return;
	}
	expect_news(&news, stmt);
	if (context == PROCESS_UTILITY_TOPLEVEL)
		database = needed_database(stmt);
	if (OidIsValid(database) && database != MyDatabaseId)
		run_with_database(&command, database);
	else
		pass_on(&command);
	pass_news(&news);
}

/* However the extension is dropped, its keeper looks when that commits. */
static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
			  void *arg)
{
	if (previous_access)
		previous_access(access, class_id, object_id, sub_id, arg);
	if (access == OAT_DROP && class_id == ExtensionRelationId &&
		weir_has_workers() && object_id == get_extension_oid("weir", true))
		weir_wake_if_there();
}

void
weir_hooks_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	previous_access = object_access_hook;
	object_access_hook = object_access;
}
