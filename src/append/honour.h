/*
 * honour.h
 *		What publishing would bypass, and so refuses.
 */
#ifndef WEIR_APPEND_HONOUR_H
#define WEIR_APPEND_HONOUR_H

#include "catalog/cache.h"

extern void weir_honour_stream(WeirStream *stream);
extern void weir_honour_segment(WeirHeap *heap, Relation segment);

#endif							/* WEIR_APPEND_HONOUR_H */
