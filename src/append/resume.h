/*
 * resume.h
 *		What publishing does about paused and read-only partitions.
 */
#ifndef WEIR_APPEND_RESUME_H
#define WEIR_APPEND_RESUME_H

#include "catalog/cache.h"

extern WeirPartition *weir_partition_for_publish(WeirStream **stream, int number);
extern void weir_request_resume(WeirStream *stream, WeirPartition *partition,
								const char *cause);

#endif							/* WEIR_APPEND_RESUME_H */
