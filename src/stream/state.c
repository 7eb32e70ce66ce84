/*
 * state.c
 *		The lock behind the row of a partition, and its actual state.
 *
 * Whoever updates a row of weir.partition holds the partition's state lock to
 * the end of the transaction: a heavyweight lock of (partition, sub-object 2).
 * So the row is never updated by two at a time, nobody waits for a row, and
 * the deadlock detector sees all.  Order: stream, state locks by number,
 * partitions (drain), segments.  The keeper only ever tries.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "stream/state.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define STATE_SUBID 2
#define FOLLOW_SUBID 5		/* of the schema weir */

static void
state_tag(LOCKTAG *tag, Oid partition)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, partition,
					   STATE_SUBID);
}

void
weir_state_lock(Oid partition)
{
	LOCKTAG		tag;

	state_tag(&tag, partition);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

bool
weir_state_lock_conditional(Oid partition)
{
	LOCKTAG		tag;

	state_tag(&tag, partition);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Commands that detached partitions follow (GRANT, CREATE PUBLICATION) see to
 * those that are there; the keeper, who makes one, sees what was committed.
 * So that they do not overlook each other it calls a partition settled only
 * while no such command is uncommitted.  To the end of the transaction.
 */
static void
follow_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, NamespaceRelationId,
					   get_namespace_oid("weir", false), FOLLOW_SUBID);
}

void
weir_follow_lock(void)
{
	LOCKTAG		tag;

	follow_tag(&tag);
	(void) LockAcquire(&tag, ShareLock, false, false);
	AcceptInvalidationMessages();
}

bool
weir_nobody_to_follow(void)
{
	LOCKTAG		tag;

	follow_tag(&tag);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

/* Of a partition to its stream, of a segment to its partition. */
WeirActual
weir_actual_state(Oid part)
{
	if (!get_rel_relispartition(part))
		return WEIR_DETACHED;
	return PartitionHasPendingDetach(part) ? WEIR_DETACHING : WEIR_ATTACHED;
}

const char *
weir_actual_name(WeirActual actual)
{
	switch (actual)
	{
		case WEIR_ATTACHED:
			return "attached";
		case WEIR_DETACHING:
			return "detaching";
		case WEIR_DETACHED:
			break;
	}
	return "detached";
}

/* A foreign key that refers to a table, by name; NULL: none. */
static char *
referring_key(Oid relid)
{
	Relation	constraints = table_open(ConstraintRelationId, AccessShareLock);
	char	   *name = NULL;
	ScanKeyData skey[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&skey[0], Anum_pg_constraint_confrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&skey[1], Anum_pg_constraint_contype, BTEqualStrategyNumber,
				F_CHAREQ, CharGetDatum(CONSTRAINT_FOREIGN));
	scan = systable_beginscan(constraints, InvalidOid, false, NULL, 2, skey);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		name = pstrdup(NameStr(((Form_pg_constraint) GETSTRUCT(tuple))->conname));
	systable_endscan(scan);
	table_close(constraints, AccessShareLock);
	return name;
}

/*
 * A quick look before the long one: pg_constraint has no index on the table
 * that is referred to, but such a table has triggers.
 */
static bool
has_referring_key(Oid relid)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	TriggerDesc *triggers = rel ? rel->trigdesc : NULL;
	bool		has = false;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
		has |= RI_FKey_trigger_type(triggers->triggers[i].tgfoid) == RI_TRIGGER_PK;
	if (rel)
		table_close(rel, NoLock);
	return has;
}

/*
 * A publication that names a table; InvalidOid: none.  Not by the syscache: it
 * keeps a list for each table that was asked for, and walks all of them.
 */
static Oid
publication_of(Oid relid)
{
	Relation	members = table_open(PublicationRelRelationId, AccessShareLock);
	Oid			publication = InvalidOid;
	ScanKeyData skey;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&skey, Anum_pg_publication_rel_prrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(members, PublicationRelPrrelidPrpubidIndexId,
							  true, NULL, 1, &skey);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		publication = ((Form_pg_publication_rel) GETSTRUCT(tuple))->prpubid;
	systable_endscan(scan);
	table_close(members, AccessShareLock);
	return publication;
}

/*
 * Why a paused partition cannot be detached; NULL if it can.  What a
 * subscriber of a publication gets is decided when a row is written: rows
 * written to a detached table would never reach him.
 */
char *
weir_why_attached(Oid stream, Oid partition)
{
	Oid			publication = publication_of(stream);
	List	   *wide;
	char	   *key;

	if (!OidIsValid(publication))
		publication = publication_of(partition);
	wide = list_concat(GetSchemaPublications(get_rel_namespace(stream)),
					   GetAllTablesPublications());
	if (!OidIsValid(publication) && wide != NIL)
		publication = linitial_oid(wide);
	if (OidIsValid(publication))
		return psprintf("publication \"%s\"",
						get_publication_name(publication, false));
	if (has_referring_key(stream) && (key = referring_key(stream)) != NULL)
		return psprintf("foreign key \"%s\"", key);
	return NULL;
}
