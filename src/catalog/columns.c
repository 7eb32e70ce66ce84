/*
 * columns.c
 *		The columns that every table of a stream has.
 *
 * Code all over weir reads tuples by fixed places and types, so nothing is
 * taken for a stream or a segment before it has passed here: once for each
 * entry of the caches, whatever the catalog rows say and whoever wrote them.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/columns.h"
#include "catalog/pg_type.h"
#include "utils/rel.h"

static const struct
{
	const char *name;
	Oid			type;			/* InvalidOid: the value's, any */
	bool		notnull;
}			columns[WEIR_NCOLS] =
{
	{"partition", INT4OID, true},
	{"offset", INT8OID, true},
	{"ts", TIMESTAMPTZOID, true},
	{"key", TEXTOID, false},
	{"value", InvalidOid, false},
	{"headers", JSONBOID, false}
};

bool
weir_columns_fit(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (desc->natts != WEIR_NCOLS)
		return false;
	for (int i = 0; i < WEIR_NCOLS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attgenerated || att->attidentity ||
			att->atthasdef || att->atthasmissing ||
			strcmp(NameStr(att->attname), columns[i].name) != 0 ||
			(OidIsValid(columns[i].type) && att->atttypid != columns[i].type) ||
			att->attnotnull != columns[i].notnull)
			return false;
	}
	return true;
}

void
weir_require_columns(Relation rel)
{
	if (!weir_columns_fit(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" does not have the columns of a stream",
						RelationGetRelationName(rel)),
				 errdetail("They are: partition integer, \"offset\" bigint and ts timestamptz, not null; key text, value of any type and headers jsonb, nullable; in this order, without defaults.")));
}
