/*
 * event.c
 *		What happens to streams, told to the activity log.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/error.h"
#include "base/sql.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "stream/event.h"
#include "stream/parts.h"
#include "utils/lsyscache.h"

void		(*weir_event_hook) (const WeirEvent *event) = NULL;

Oid
weir_activity_oid(void)
{
	Oid			schema = get_namespace_oid("weir", true);

	return OidIsValid(schema) ? get_relname_relid("activity", schema) : InvalidOid;
}

/* The log makes no events about itself: it could not tell the last one. */
void
weir_event(const WeirEvent *event)
{
	if (weir_event_hook == NULL || event->stream == weir_activity_oid())
		return;
	weir_event_hook(event);
}

/*
 * The log is no member of the extension, or it would not be dumped; but it
 * goes with it.  Such a dependency is not dumped either: after a restore this
 * is called again.
 */
void
weir_tie_activity(void)
{
	Oid			log = weir_activity_oid();
	Oid			extension = get_extension_oid("weir", true);
	ObjectAddress table;
	ObjectAddress on;

	if (!OidIsValid(log) || !OidIsValid(extension))
		return;
	ObjectAddressSet(table, RelationRelationId, log);
	ObjectAddressSet(on, ExtensionRelationId, extension);
	deleteDependencyRecordsForSpecific(RelationRelationId, log, DEPENDENCY_AUTO,
									   ExtensionRelationId, extension);
	recordDependencyOn(&table, &on, DEPENDENCY_AUTO);
	CommandCounterIncrement();
}

/*
 * Who may read the log: monitors, and the owner of the database, who could
 * not dump it otherwise (pg_dump locks every table, so the parts too).
 */
void
weir_grant_activity(Oid part)
{
	weir_run_ddl("GRANT SELECT ON TABLE %s TO pg_monitor, pg_database_owner",
				 weir_qualified_name(part));
}

/* What would silence the log, or make it tell of itself without end. */
void
weir_refuse_activity(Oid stream, const char *what)
{
	if (stream != weir_activity_oid())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_ACTIVITY_LOG),
			 errmsg("cannot %s the activity log \"weir.activity\"", what),
			 errhint("Events must always find it; it goes with the extension.")));
}
