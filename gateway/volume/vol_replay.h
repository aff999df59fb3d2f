/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_replay.h - the image from the bucket alone: newest checkpoint, then the chain of commits behind it
 * (FORMAT.md, Reading).  Used by recovery, by clones and by causeway-export.  Workers.
 *
 * All: result 0 with *im to be freed; -ENOENT (no such thing), -ERR_CHECKSUM (damage, named in *e and
 * in the log), the store's errors.
 */
#ifndef VOLUME_VOL_REPLAY_H
#define VOLUME_VOL_REPLAY_H

#include "gateway/volume/vol_ckpt.h"
#include "gateway/volume/vol_image.h"
#include "gateway/volume/vol_json.h"
#include "gateway/volume/vol_store.h"

struct vol_found {
	uint32_t term;	    /* highest term that was seen in a checkpoint's name */
	uint64_t map_epoch; /* the checkpoint that was used: map/<map_term>-<map_epoch> */
	uint32_t map_term;
	uint64_t log_bytes; /* of the epochs behind it */
	uint64_t map_bytes;
	bool is_map_damaged; /* a newer checkpoint was there, and damaged */
};

/* vol_read_info - volume.json. */
int vol_read_info(struct objstore *s, const char *prefix, const char *id, struct vol_info *out,
    struct vol_err *e) CW_MUST_CHECK;
/* vol_read_map - one checkpoint. bytes may be NULL */
int vol_read_map(const struct vol_place *pl, uint32_t term, uint64_t epoch, struct vol_image *im,
    struct vol_ckpt *head, uint64_t *bytes, struct vol_err *e) CW_MUST_CHECK;

/* vol_replay_now - the newest committed epoch. */
int vol_replay_now(const struct vol_place *pl, struct vol_image *im, struct vol_found *found,
    struct vol_err *e) CW_MUST_CHECK;
/* vol_replay_at - an earlier epoch that `now` has among its points. */
int vol_replay_at(const struct vol_place *pl, const struct vol_image *now, uint64_t epoch,
    struct vol_image *im, struct vol_err *e) CW_MUST_CHECK;
/* vol_replay_snapshot - what a snapshot's manifest names; *pin (may be NULL) is to be freed of its
 * description after 0. */
int vol_replay_snapshot(const struct vol_place *pl, const char *snapshot, struct vol_image *im,
    struct vol_pin *pin, struct vol_err *e) CW_MUST_CHECK;

/* vol_apply_logs - the epoch made of logs[0..n), in order of seq. result: 0, -ERR_CHECKSUM with *e */
int vol_apply_logs(
    struct vol_image *im, struct vol_log *logs, size_t n, struct vol_err *e) CW_MUST_CHECK;
/* vol_commit_covers - is seq one of those that the commit names? */
bool vol_commit_covers(const struct vol_log *commit, uint64_t seq);
/* vol_commit_count - how many it names. */
uint64_t vol_commit_count(const struct vol_log *commit);

#endif
