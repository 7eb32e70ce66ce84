/*
 * adopt.h
 *		A stream from its tables alone.
 */
#ifndef WEIR_LIFE_ADOPT_H
#define WEIR_LIFE_ADOPT_H

extern void weir_adopt(Oid relid);

#endif							/* WEIR_LIFE_ADOPT_H */
