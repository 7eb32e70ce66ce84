/*
 * columns.h
 *		The columns that every table of a stream has.
 */
#ifndef WEIR_CATALOG_COLUMNS_H
#define WEIR_CATALOG_COLUMNS_H

#include "utils/relcache.h"

#define WEIR_COL_PARTITION	1
#define WEIR_COL_OFFSET		2
#define WEIR_COL_TS			3
#define WEIR_COL_KEY		4
#define WEIR_COL_VALUE		5
#define WEIR_COL_HEADERS	6
#define WEIR_NCOLS			6

extern bool weir_columns_fit(Relation rel);
extern void weir_require_columns(Relation rel);

#endif							/* WEIR_CATALOG_COLUMNS_H */
