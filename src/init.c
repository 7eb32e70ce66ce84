/*
 * init.c
 *		Loading the library: the only place that knows all modules.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/debug.h"
#include "base/guc.h"
#include "base/inval.h"
#include "base/shmem.h"
#include "catalog/cache.h"
#include "catalog/tables.h"
#include "fmgr.h"

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
}
