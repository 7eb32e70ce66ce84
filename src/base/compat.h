/*
 * compat.h
 *		The only place that knows that PostgreSQL has more than one version.
 *
 * Supported are 15 to 18, from the minor releases on that carry the helpers
 * we lean on.  The newest spelling is used everywhere; what older releases
 * lack is back-filled here, with the release that brought it.
 */
#ifndef WEIR_BASE_COMPAT_H
#define WEIR_BASE_COMPAT_H

#include "access/heapam.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "parser/parse_relation.h"
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150013 || \
	(PG_VERSION_NUM >= 160000 && PG_VERSION_NUM < 160009) || \
	(PG_VERSION_NUM >= 170000 && PG_VERSION_NUM < 170002) || \
	PG_VERSION_NUM >= 190000
#error "weir supports PostgreSQL 15.13+, 16.9+, 17.2+ and 18"
#endif

/* 16: one function for the ownership and the privileges of every catalog. */
#if PG_VERSION_NUM < 160000
static inline bool
object_ownercheck(Oid classid, Oid objectid, Oid roleid)
{
	Assert(classid == RelationRelationId || classid == DatabaseRelationId);
	return classid == DatabaseRelationId ?
		pg_database_ownercheck(objectid, roleid) :
		pg_class_ownercheck(objectid, roleid);
}

static inline AclResult
object_aclcheck(Oid classid, Oid objectid, Oid roleid, AclMode mode)
{
	Assert(classid == NamespaceRelationId);
	return pg_namespace_aclcheck(objectid, roleid, mode);
}
#endif

/* 16: relfilenode became RelFileNumber, rd_node became rd_locator. */
#if PG_VERSION_NUM < 160000
typedef Oid RelFileNumber;
#define weir_file_number(rel)	((rel)->rd_node.relNode)
#else
#define weir_file_number(rel)	((rel)->rd_locator.relNumber)
#endif

/* 16: extending a relation by hand; before, P_NEW under the extension lock. */
static inline Buffer
weir_extend_by_one_page(Relation rel)
{
#if PG_VERSION_NUM >= 160000
	return ExtendBufferedRel(BMR_REL(rel), MAIN_FORKNUM, NULL, 0);
#else
	Buffer		buffer;

	LockRelationForExtension(rel, ExclusiveLock);
	buffer = ReadBufferExtended(rel, MAIN_FORKNUM, P_NEW, RBM_NORMAL, NULL);
	UnlockRelationForExtension(rel, ExclusiveLock);
	return buffer;
#endif
}

/* 16 added permission infos, 18 the set of relations that stay unpruned. */
static inline void
weir_init_range_table(EState *estate, RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 160000
	List	   *perminfos = NIL;

	addRTEPermissionInfo(&perminfos, rte);
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(rte), perminfos,
					   bms_make_singleton(1));
#else
	ExecInitRangeTable(estate, list_make1(rte), perminfos);
#endif
#else
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/* 16 added onlySummarizing. */
static inline List *
weir_insert_index_tuples(ResultRelInfo *rri, TupleTableSlot *slot,
						 EState *estate)
{
#if PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL,
								 false);
#else
	return ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL);
#endif
}

/* 17: waits of extensions have names.  Keep the result: it is a look-up. */
static inline uint32
weir_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* 17: a search_path that no one but us has a say in. */
#if PG_VERSION_NUM < 170000
static inline void
RestrictSearchPath(void)
{
	set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
					  PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}
#endif

/*
 * The process of a virtual transaction, 0 if it is prepared: its slot may be
 * that of another session by now.  17: slots of processes, not backend ids.
 */
static inline int
weir_pid_of_vxid(VirtualTransactionId vxid)
{
#if PG_VERSION_NUM >= 170000
	PGPROC	   *proc = vxid.procNumber == INVALID_PROC_NUMBER ? NULL :
		ProcNumberGetProc(vxid.procNumber);

	return proc && proc->vxid.lxid == vxid.localTransactionId ? proc->pid : 0;
#else
	PGPROC	   *proc = vxid.backendId == InvalidBackendId ? NULL :
		BackendIdGetProc(vxid.backendId);

	return proc && proc->lxid == vxid.localTransactionId ? proc->pid : 0;
#endif
}

/* 18 took an argument away. */
static inline void
weir_portal_run(Portal portal, DestReceiver *dest, QueryCompletion *completion)
{
#if PG_VERSION_NUM >= 180000
	(void) PortalRun(portal, FETCH_ALL, true, dest, dest, completion);
#else
	(void) PortalRun(portal, FETCH_ALL, true, true, dest, dest, completion);
#endif
}

/* 18: the module says its name and version. */
#if PG_VERSION_NUM < 180000
#define WEIR_MODULE_MAGIC PG_MODULE_MAGIC
#else
#define WEIR_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "weir", .version = WEIR_VERSION)
#endif

#endif							/* WEIR_BASE_COMPAT_H */
