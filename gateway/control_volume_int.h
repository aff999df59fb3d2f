/* SPDX-License-Identifier: Apache-2.0 */
/* control_volume_int.h - private to control*.c: what the files about volumes share. */
#ifndef GATEWAY_CONTROL_VOLUME_INT_H
#define GATEWAY_CONTROL_VOLUME_INT_H

#include "gateway/control_int.h"
#include "gateway/control_volume.h"

/* What an event says about its volume. Never changes, so it is read without a lock. */
struct volume_names {
	struct control *control;
	char *id, *arn, *gateway_arn, *target_name;
};

struct volume_names *controli_volume_names(struct control *c, const json_t *row);
void controli_volume_names_free(struct volume_names *n);
/* controli_volume_event - env.event of every volume; arg is its names. any lock state */
void controli_volume_event(void *arg, struct cw_volume *v, const char *type, const char *json);
/* controli_volume_told - an event of the control plane's own about v; detail is taken. locked */
void controli_volume_told(
    struct control *c, struct control_volume *v, const char *type, json_t *detail);

/* --- rows; locked; row is taken ----------------------------------------------------------------- */
void controli_volume_set_row(struct control_volume *v, json_t *row);
int controli_volume_store_row(
    struct control *c, struct control_volume *v, json_t *row) CW_MUST_CHECK;
int controli_volume_set_phase(
    struct control *c, struct control_volume *v, enum volume_phase phase) CW_MUST_CHECK;
void controli_volume_free(struct control_volume *v);
/* controli_volume_ref - the open volume, counted: put it back; NULL if it is not open. A step may be
 * closing it at the same time. locked */
struct cw_volume *controli_volume_ref(const struct control_volume *v);

/* --- steps (control_volume_step.c); locked -------------------------------------------------------- */
/* controli_volume_kick - do on the work queue whatever v's phase asks for. */
void controli_volume_kick(struct control *c, struct control_volume *v);
/* controli_volume_load - v as it was at the last stop: open it, or go on with what was under way. */
void controli_volume_load(struct control *c, struct control_volume *v);
/* controli_volumes_tick - try again what did not work. */
void controli_volumes_tick(struct control *c);
/* controli_pause - after a deletion that did not work: from this one (0 = none) to the next, 3 s to 5 min. */
uint64_t controli_pause(uint64_t pause_ms);
/* controli_volume_change - the open volume takes over what its row and the configuration say now. */
void controli_volume_change(struct control *c, struct control_volume *v);
/* controli_volume_store - a store for the volume of row. */
int controli_volume_store(struct control *c, const json_t *row, struct objstore **out,
    char *err_text, size_t err_cap) CW_MUST_CHECK;

/* --- snapshots and schedules ------------------------------------------------------------------------ */
/* controli_snapshots_look - take over what the volume says about its snapshots. Work queue, unlocked */
void controli_snapshots_look(struct control *c, const char *volume_id);
int controli_snapshots_load(struct control *c);
void controli_snapshots_free(struct control *c);
/* controli_snapshots_tick - go on deleting snapshots of deleted volumes. locked */
void controli_snapshots_tick(struct control *c);
/* controli_schedules_tick - make the snapshots that are due, delete those that are too many. locked */
void controli_schedules_tick(struct control *c);
/* controli_tick - all of the above, as the clock's thread does it every second. unlocked */
void controli_tick(struct control *c);
int controli_clock_start(struct control *c) CW_MUST_CHECK;
void controli_clock_stop(struct control *c);

#endif
