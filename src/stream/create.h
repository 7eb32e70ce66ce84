/*
 * create.h
 *		Making a stream.
 */
#ifndef WEIR_STREAM_CREATE_H
#define WEIR_STREAM_CREATE_H

#include "nodes/primnodes.h"
#include "utils/jsonb.h"

extern Oid	weir_create_stream(RangeVar *name, Oid value_type, int partitions,
							   Jsonb *options);

#endif							/* WEIR_STREAM_CREATE_H */
