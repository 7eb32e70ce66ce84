/*
 * process.c
 *		What the long-lived workers of a database have in common.
 *
 * A worker attaches to its slot (base/slots.c), connects to the database as
 * the superuser, and sees whether the extension is there: what others have not
 * committed, and may roll back, does not count.  If it is not there the worker
 * ends with 0 and says that it is not wanted.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/slots.h"
#include "catalog/tables.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "worker/process.h"

/* What a database may have as its default and no worker can use. */
static const WeirSetting common[] =
{
	{"default_transaction_read_only", "off"},
	{"default_transaction_isolation", "read committed"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},	/* since 17 */
	{"max_parallel_workers_per_gather", "0"},
};

static void
apply(const WeirSetting *settings, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (GetConfigOption(settings[i].name, true, false) != NULL)
			SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET,
							PGC_S_OVERRIDE);
	}
}

void
weir_worker_begin(Datum arg, const WeirSetting *settings, int n)
{
	WeirWorkerStart start;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!weir_worker_attach(DatumGetInt32(arg), start.generation))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(weir_worker_database(), InvalidOid, 0);
	apply(common, lengthof(common));
	apply(settings, n);
	pgstat_report_appname(MyBgworkerEntry->bgw_name);
}

bool
weir_worker_belongs(void)
{
	bool		installed;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	installed = weir_is_installed();
	CommitTransactionCommand();
	if (installed)
		weir_worker_is_wanted();
	else if (weir_worker_is_unwanted())
		proc_exit(0);
	return installed;
}
