/*
 * notify.h
 *		Notifying subscribers from the publishing transaction.
 */
#ifndef WEIR_APPEND_NOTIFY_H
#define WEIR_APPEND_NOTIFY_H

extern void weir_notify_at_commit(Oid stream, int partition);

#endif							/* WEIR_APPEND_NOTIFY_H */
