/*
 * sql.h
 *		Running SQL from C.
 */
#ifndef WEIR_BASE_SQL_H
#define WEIR_BASE_SQL_H

/* True while weir itself runs DDL; its event triggers then look away. */
extern bool weir_in_own_ddl(void);

extern void weir_run_ddl(const char *format,...) pg_attribute_printf(1, 2);
extern void weir_run_utility(const char *format,...) pg_attribute_printf(1, 2);


/*
 * Run one statement as if a client had sent it, so that it may commit on its
 * way: for background workers, in a transaction with nothing before it.
 */
extern void weir_run_toplevel(const char *format,...) pg_attribute_printf(1, 2);

#endif							/* WEIR_BASE_SQL_H */
