/*
 * guc.h
 *		Settings of weir, all named weir.*.
 */
#ifndef WEIR_BASE_GUC_H
#define WEIR_BASE_GUC_H

extern int	weir_max_wait;
extern bool weir_notify_from_publisher;
extern int	weir_notify_interval;
extern int	weir_pause_max_stall;
extern bool weir_track_append_hold;

extern void weir_guc_init(void);

#endif							/* WEIR_BASE_GUC_H */
