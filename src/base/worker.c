/*
 * worker.c
 *		Short-lived background workers that a backend waits for.
 *
 * A task that must be committed before its asker goes on cannot run in the
 * asker's transaction, so it runs in a worker.  The wait is by latch and so
 * invisible to the deadlock detector: a task may never wait long for a lock
 * (worker/segment_worker.c limits it), and the asker holds no append lock.
 * Whether the task was done is to be seen in the catalog, not here.
 */
#include "postgres.h"

#include "base/worker.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"

StaticAssertDecl(sizeof(WeirTask) <= BGW_EXTRALEN, "a task fits bgw_extra");

/* Run a task to its end.  False if no worker could be had. */
bool
weir_run_task(const WeirTask *task)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	if (!IsUnderPostmaster)
		return false;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "weir", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "weir_segment_worker_main",
			sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "weir segment worker for database %u", task->database);
	strlcpy(worker.bgw_type, "weir segment worker", sizeof(worker.bgw_type));
	memcpy(worker.bgw_extra, task, sizeof(WeirTask));

	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return false;
	if (WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("terminating because the postmaster is gone")));
	return true;
}
