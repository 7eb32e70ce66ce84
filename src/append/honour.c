/*
 * honour.c
 *		What publishing would bypass, and so refuses.
 *
 * Messages go into the heap without the executor, so a constraint or trigger
 * that a user has put on a stream would be ignored.  Nothing is ignored
 * silently: publishing is refused with an error that names the object, until
 * it is gone.  Users' indexes, unique and exclusion ones too, are maintained
 * and need no refusal.
 *
 * Row triggers, constraints and foreign keys of the stream are cloned to the
 * segments and are found there; statement triggers fire only for the table
 * that is named and are found on the stream.  A look is good until the
 * relation changes.
 */
#include "postgres.h"

#include "access/table.h"
#include "append/honour.h"
#include "base/error.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "rewrite/prs2lock.h"
#include "stream/parts.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static void
refuse(Relation rel, const char *kind, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_NOT_HONOURED),
			 errmsg("cannot publish: %s \"%s\" on \"%s\" would not be honoured",
					kind, name, RelationGetRelationName(rel)),
			 errdetail("Messages do not pass through constraints and triggers of users."),
			 errhint("Drop it, or check before publishing; a domain as the value type is honoured.")));
}

static void
check_triggers(Relation rel)
{
	Oid			guard = weir_guard_function();
	TriggerDesc *desc = rel->trigdesc;	/* no catalog access while we look */

	for (int i = 0; desc && i < desc->numtriggers; i++)
	{
		Trigger    *trigger = &desc->triggers[i];
		Oid			constraint = trigger->tgconstraint;
		char	   *name;

		if (!TRIGGER_FOR_INSERT(trigger->tgtype) ||
			trigger->tgenabled == TRIGGER_DISABLED ||
			trigger->tgfoid == guard)
			continue;
		name = pstrdup(trigger->tgname);
		if (OidIsValid(constraint))
			refuse(rel, "constraint", get_constraint_name(constraint));
		refuse(rel, "trigger", name);
	}
	if (rel->rd_rules)
		for (int i = 0; i < rel->rd_rules->numLocks; i++)
			if (rel->rd_rules->rules[i]->event == CMD_INSERT)
				refuse(rel, "a rule", "ON INSERT");
}

static void
check_constraints(Relation rel)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;

	for (int i = 0; constr && i < constr->num_check; i++)
		if (strcmp(constr->check[i].ccname, WEIR_PARTITION_CHECK) != 0 &&
			strcmp(constr->check[i].ccname, WEIR_BOUNDS_CHECK) != 0)
			refuse(rel, "constraint", pstrdup(constr->check[i].ccname));
}

/* Statement triggers of the stream.  The caller holds a lock on it. */
void
weir_honour_stream(WeirStream *stream)
{
	Relation	rel;

	if (likely(stream->may_append))
		return;
	rel = table_open(stream->oid, NoLock);
	if (rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_NOT_HONOURED),
				 errmsg("cannot publish: stream \"%s\" is a partition of another table",
						RelationGetRelationName(rel)),
				 errhint("Detach it: rows that come through the other table would not be messages.")));
	check_triggers(rel);
	/* A detached partition would not have got it. */
	check_constraints(rel);
	table_close(rel, NoLock);
	stream->may_append = stream->valid;
}

/* Everything that hangs on the rows.  The caller holds a lock. */
void
weir_honour_segment(WeirHeap *heap, Relation segment)
{
	if (likely(heap->may_append))
		return;
	check_triggers(segment);
	check_constraints(segment);
	heap->may_append = heap->valid;
}
