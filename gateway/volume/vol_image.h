/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_image.h - a volume's image at one epoch, in memory: its map, the log objects that it and the
 * epochs kept behind it need, the volumes it was cloned from, the epochs that can be restored.
 *
 * Threads: as vol_map.h. vol_update builds the next epoch beside the image; vol_update_apply is short.
 */
#ifndef VOLUME_VOL_IMAGE_H
#define VOLUME_VOL_IMAGE_H

#include "gateway/volume/vol_format.h"
#include "gateway/volume/vol_map.h"

#define VOL_SOURCES_MAX 256u
#define VOL_NO_OBJECT UINT32_MAX

struct vol_source {
	char id[VOL_ID_MAX];
	char *prefix;
	uint8_t uuid[VOL_UUID_LEN];
	uint64_t epoch; /* pinned there */
};

struct vol_object {
	uint32_t source, term;
	uint64_t seq;
	uint64_t bytes;	 /* 0 = a free place in the table */
	uint32_t blocks; /* of data, when it was new */
	uint32_t live;	 /* of these, what the image refers to */
	uint64_t birth,
	    death; /* needed by epochs e with birth <= e < death; death 0 = by now's, too */
	bool is_sealed;
};

struct vol_point { /* an epoch with its commit */
	uint64_t epoch, size_bytes, seq;
	int64_t time_ns;
	uint32_t term;
};

struct vol_image {
	uint8_t uuid[VOL_UUID_LEN];
	struct vol_point at; /* the epoch it is at */
	struct vol_map map;
	struct vol_object *objects;
	uint32_t nobjects, cap_objects; /* places, free ones too */
	uint32_t *index;		/* hash: ordinal + 1 by (source, term, seq) */
	uint32_t nindex;
	uint32_t *spare; /* free places */
	uint32_t nspare, cap_spare;
	struct vol_source *sources; /* number i + 1 */
	uint32_t nsources;
	struct vol_point *points; /* ascending; the last is `at` */
	size_t npoints, cap_points;
	uint64_t object_bytes; /* sum over own objects */
	uint64_t live_bytes;   /* of them, in proportion to live blocks */
	uint32_t own_objects;
};

void vol_image_init(struct vol_image *im, const uint8_t uuid[VOL_UUID_LEN]);
void vol_image_free(struct vol_image *im);

/* vol_image_find - ordinal of a log object, VOL_NO_OBJECT */
uint32_t vol_image_find(const struct vol_image *im, uint32_t source, uint32_t term, uint64_t seq);
/* vol_image_add - a log object (live 0). result: its ordinal. It must not be known yet */
uint32_t vol_image_add(struct vol_image *im, const struct vol_object *o);
/* vol_image_drop - forget one that has nothing live. */
void vol_image_drop(struct vol_image *im, uint32_t ordinal);
/* vol_image_add_source - result: its number (from 1), that of one that is known with the same id and
 * prefix; 0: too many */
uint32_t vol_image_add_source(struct vol_image *im, const struct vol_source *s);
void vol_image_add_point(struct vol_image *im, const struct vol_point *p);
/* vol_image_drop_points - those below epoch. */
void vol_image_drop_points(struct vol_image *im, uint64_t epoch);
/* vol_image_point - NULL if the epoch is not among the points. */
const struct vol_point *vol_image_point(const struct vol_image *im, uint64_t epoch);
/* vol_object_live_bytes - its share of the live bytes. */
uint64_t vol_object_live_bytes(const struct vol_object *o);
/* vol_image_count - the sums anew, after live counts were set from outside. */
void vol_image_count(struct vol_image *im);

/* --- one epoch more ------------------------------------------------------------------------------- */
struct vol_update;
/* vol_update_new - build the epoch made of these log objects, the commit among them, in order of seq.
 * Objects take their places in the table when it is applied.
 * result: 0, -ERR_CHECKSUM with the reason in *why (not the next epoch, unknown origin, ...) */
int vol_update_new(struct vol_image *im, const struct vol_log *const *logs, size_t n,
    struct vol_update **out, const char **why) CW_MUST_CHECK;
/* vol_update_apply - the image is at that epoch. Short; under the lock of the image's readers. */
void vol_update_apply(struct vol_update *u);
void vol_update_free(struct vol_update *u); /* applied or not; without the lock */

#endif
