/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_volume.h - volumes, their credentials, snapshots and schedules, as the control plane has them.
 *
 * A volume's row holds what its create operation said, in the AWS API's own member names, and what the
 * volume became: ids, space, phase, CHAP credentials, schedule.  A snapshot's row outlives its volume.
 * All functions are called with the control plane locked, unless they say otherwise; none waits for the
 * bucket with the lock held.
 */
#ifndef GATEWAY_CONTROL_VOLUME_H
#define GATEWAY_CONTROL_VOLUME_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/control.h"
#include "gateway/volume.h"

#define CONTROL_VOLUMES_MAX 32 /* per gateway, as the AWS quota */

enum volume_phase {
	VOLUME_CREATING,  /* row durable, not made yet */
	VOLUME_SERVING,	  /* made: open, or about to be */
	VOLUME_DETACHING, /* uploads what is left, then gives up ownership */
	VOLUME_DETACHED,  /* nothing of it is here but its row */
	VOLUME_DELETING,  /* invisible; being destroyed */
};

struct volume_names;

struct control_volume { /* locked */
	struct list link;
	const char *id, *arn, *gateway_arn, *target_arn; /* in row */
	json_t *row;
	uint32_t space_id;
	enum volume_phase phase;
	struct volume_names *names;
	struct cw_volume *volume; /* NULL: not open */
	bool is_busy;		  /* a job of the work queue has it */
	bool is_discarding;	  /* DETACHING: without what is not uploaded */
	char reason[256];	  /* why the last step did not work; "" */
	uint64_t tried_ms;	  /* when it was tried */
	uint64_t pause_ms;	  /* until it is tried again; 0 = as usual */
	bool is_local_gone;	  /* DELETING: its name is free again */
};

/* --- volumes (control_volume.c, control_volume_step.c) -------------------------------------------- */
struct list *control_volumes(struct control *c);
/* control_volume_by_arn - result: borrowed, or NULL with e filled in (VolumeNotFound) */
struct control_volume *control_volume_by_arn(
    struct control *c, const char *arn, struct control_error *e);
/* control_volume_by_target - the attached volume of a TargetARN. NULL: TargetNotFound */
struct control_volume *control_volume_by_target(
    struct control *c, const char *arn, struct control_error *e);
/* control_volume_by_id - whatever its phase; NULL if there is none */
struct control_volume *control_volume_by_id(struct control *c, const char *id);
/* control_volume_by_name - the visible volume with this id, ARN or target name; NULL if there is none */
struct control_volume *control_volume_by_name(struct control *c, const char *name);
/* control_volume_new_id - "vol-" and 17 upper-case hex digits. */
void control_volume_new_id(char out[CW_VOLUME_ID_MAX]);
/* control_volume_add - make row durable; the volume is made in the background.
 * args: row taken. result: 0 or -EINVAL with e */
int control_volume_add(struct control *c, json_t *row, struct control_error *e) CW_MUST_CHECK;
/* control_volume_put - replace the row of v (tags, schedule, credentials); row taken. Settings that may change while
 * the volume is open are in force at once. is_public: what the bucket's copy of the settings says has changed.
 * result: 0 or negative with e */
int control_volume_put(struct control *c, struct control_volume *v, json_t *row, bool is_public,
    struct control_error *e) CW_MUST_CHECK;
/* control_volume_delete - local state, objects that no snapshot needs. Those of a volume that is detached, or that
 * another appliance took over, stay. VolumeInUse with initiators. */
int control_volume_delete(
    struct control *c, struct control_volume *v, struct control_error *e) CW_MUST_CHECK;
/* control_volume_detach - in the background. force: log initiators out; discard: do not wait for what is
 * not uploaded yet, it is lost. result: 0 or -EINVAL with e */
int control_volume_detach(struct control *c, struct control_volume *v, bool force, bool discard,
    struct control_error *e) CW_MUST_CHECK;
/* control_volume_attach - a volume of the bucket, under row (taken); v: its DETACHED volume here, or NULL. */
int control_volume_attach(struct control *c, struct control_volume *v, json_t *row,
    struct control_error *e) CW_MUST_CHECK;
/* control_volume_resize - grow. result: 0 or negative with e */
int control_volume_resize(struct control *c, struct control_volume *v, uint64_t size_bytes,
    struct control_error *e) CW_MUST_CHECK;
/* control_volume_fetch_settings - what the bucket says about a volume that is not here. Unlocks while it
 * waits: nothing that was looked up before may be used after it.
 * result: 0 and *out (new reference), or -EINVAL with e (VolumeNotFound, the store's trouble) */
int control_volume_fetch_settings(
    struct control *c, const char *volume_id, json_t **out, struct control_error *e) CW_MUST_CHECK;
/* control_volume_status - VolumeStatus; st is filled in (zeros when the volume is not open). */
const char *control_volume_status(
    struct control *c, struct control_volume *v, struct cw_volume_status *st);
/* control_volume_attachment - VolumeAttachmentStatus. */
const char *control_volume_attachment(const struct control_volume *v);
uint64_t control_volume_size(const struct control_volume *v);
/* control_volume_each_initiator - logged-in initiators; one call a session. */
void control_volume_each_initiator(
    struct control_volume *v, void (*fn)(void *arg, const struct cw_target_session *s), void *arg);

/* control_volume_conf - row to volume settings; pure.
 * result: 0, -EINVAL with a text; out is to be freed in both cases */
int control_volume_conf(const json_t *row, const struct cw_config *conf, struct cw_volume_conf *out,
    char *err_text, size_t err_cap) CW_MUST_CHECK;
/* control_volume_key - the configured key that a KMSKey names (alias/NAME or ...key/NAME, ...alias/NAME);
 * pure. result: borrowed, NULL if there is none */
const struct config_key *control_volume_key(const struct cw_config *conf, const char *kms_key);

/* --- CHAP (control_chap.c) ------------------------------------------------------------------------- */
/* control_chap_set - secret_target "" = one-way. Sessions of the initiator are logged out. */
int control_chap_set(struct control *c, struct control_volume *v, const char *initiator,
    const char *secret_initiator, const char *secret_target, struct control_error *e) CW_MUST_CHECK;
int control_chap_del(struct control *c, struct control_volume *v, const char *initiator,
    struct control_error *e) CW_MUST_CHECK;
/* control_chap_all - from the row: malloced array, to be cleared and freed by control_chap_free. */
size_t control_chap_all(const json_t *row, struct cw_chap **out);
void control_chap_free(struct cw_chap *chaps, size_t n);

/* --- snapshots (control_snapshot.c) ------------------------------------------------------------------ */
struct control_snapshot { /* locked */
	struct list link;
	const char *id, *volume_id;  /* in row */
	uint64_t tried_ms, pause_ms; /* to delete it; 0 = not yet */
	json_t *
	    row; /* SnapshotId VolumeId VolumeARN VolumeSizeInBytes Description StartNs Tags State ... */
};
/* control_snapshots - all that are known, after a look at the open volumes. */
struct list *control_snapshots(struct control *c);
struct control_snapshot *control_snapshot_by_id(struct control *c, const char *id);
/* control_snapshot_create - is_now: of everything written so far; else of the last recovery point.
 * args: tags (borrowed) an array or NULL. result: 0 and id, or negative with e */
int control_snapshot_create(struct control *c, struct control_volume *v, const char *description,
    const json_t *tags, bool is_now, bool is_scheduled, char id[CW_SNAPSHOT_ID_MAX],
    struct control_error *e) CW_MUST_CHECK;
/* control_snapshot_delete - of a deleted volume's: in the background. result: 0 or negative with e */
int control_snapshot_delete(
    struct control *c, struct control_snapshot *s, struct control_error *e) CW_MUST_CHECK;

/* --- schedules (control_schedule.c) -------------------------------------------------------------------- */
struct snapshot_schedule { /* the row's member "Schedule" */
	int start_hour, every_hours;
	int zone_minutes;  /* east of Greenwich */
	int64_t anchor_ns; /* StartAt of the day on which it was set */
	int64_t last_ns;   /* when it was last kept */
};
/* control_schedule_next - the first time after last_ns that the schedule names; pure. */
int64_t control_schedule_next(const struct snapshot_schedule *s);
/* control_schedule_zone - "GMT", "GMT-4:00" to minutes; pure. result: 0 or -EINVAL */
int control_schedule_zone(const char *text, int *minutes) CW_MUST_CHECK;
/* control_schedule_make - a row's Schedule as from now_ns; pure. result: new reference */
json_t *control_schedule_make(int start_hour, int every_hours, const char *zone,
    const char *description, const json_t *tags, int64_t now_ns);

#endif
