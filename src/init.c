/*
 * init.c
 *		Loading the library: the only place that knows all modules.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/debug.h"
#include "base/guc.h"
#include "base/inval.h"
#include "base/listeners.h"
#include "base/shmem.h"
#include "base/slots.h"
#include "base/watch.h"
#include "catalog/cache.h"
#include "catalog/tables.h"
#include "fmgr.h"
#include "life/activity.h"
#include "worker/hooks.h"
#include "worker/launcher.h"

WEIR_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	WEIR_DEBUG_INIT();
	weir_guc_init();
	weir_inval_init();
	weir_tables_init();
	weir_cache_init();
	weir_shmem_init();
	weir_activity_init();
	weir_wake_init();
	weir_watch_init();
	weir_listeners_init();
	weir_hooks_init();
	weir_launcher_init();
}
