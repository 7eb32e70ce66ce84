/*
 * attempt.h
 *		Doing one step of a worker's work in a transaction of its own.
 */
#ifndef WEIR_BASE_ATTEMPT_H
#define WEIR_BASE_ATTEMPT_H

typedef enum WeirAttempt
{
	WEIR_ATTEMPT_DONE,
	WEIR_ATTEMPT_BUSY,			/* somebody holds a lock that it needs */
	WEIR_ATTEMPT_FAILED			/* any other error, reported in the log */
} WeirAttempt;

/*
 * Run step(arg) in a transaction with an active snapshot and commit.  An
 * error ends the transaction and is swallowed: the log has it (but for a lock
 * that was not to be had), and weir_attempt_error() its text.
 */
extern WeirAttempt weir_attempt(void (*step) (void *arg), void *arg,
								const char *what);
extern const char *weir_attempt_error(void);

#endif							/* WEIR_BASE_ATTEMPT_H */
