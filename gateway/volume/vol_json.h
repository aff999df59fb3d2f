/* SPDX-License-Identifier: Apache-2.0 */
/* vol_json.h - the JSON objects of a volume's image: volume.json, owner, snapshots, clones (FORMAT.md). */
#ifndef VOLUME_VOL_JSON_H
#define VOLUME_VOL_JSON_H

#include "gateway/volume/vol_format.h"
#include "gateway/volume/vol_frame.h"

#define VOL_JSON_MAX (64u << 10)
#define VOL_PREFIX_MAX 400
#define VOL_APPLIANCE_MAX 64

struct vol_info { /* volume.json */
	char id[VOL_ID_MAX];
	uint8_t uuid[VOL_UUID_LEN];
	uint64_t size_bytes;
	uint32_t block_bytes;
	int64_t created_ns;
	bool is_compressed, has_key, is_deleted;
	uint8_t key_check[VOL_KEY_CHECK_LEN];
	char origin_volume[VOL_ID_MAX]; /* "" = not a clone */
	char origin_prefix[VOL_PREFIX_MAX];
	char origin_snapshot[VOL_ID_MAX];
	uint64_t origin_epoch;
};

struct vol_owner {
	char appliance[VOL_APPLIANCE_MAX]; /* "" = nobody */
	uint32_t term;
	int64_t time_ns;
	char nonce[33];
};

struct vol_pin {	     /* a snapshot, or a clone's need */
	char id[VOL_ID_MAX]; /* of the snapshot, or of the clone */
	bool is_clone;
	char volume[VOL_ID_MAX];
	uint64_t epoch, size_bytes;
	int64_t time_ns;
	uint32_t map_term; /* snapshot: its checkpoint is map/<map_term>-<map_epoch> */
	uint64_t map_epoch;
	char *description; /* malloced; NULL = none */
};

/* *_encode - malloced text. *_decode - result: 0, -ERR_CHECKSUM. Any thread. */
char *vol_info_encode(const struct vol_info *v);
int vol_info_decode(const char *text, size_t len, struct vol_info *out) CW_MUST_CHECK;
char *vol_owner_encode(const struct vol_owner *o);
int vol_owner_decode(const char *text, size_t len, struct vol_owner *out) CW_MUST_CHECK;
char *vol_pin_encode(const struct vol_pin *p);
/* vol_pin_decode - a snapshot or a clone: its members say. out->description is to be freed after 0 */
int vol_pin_decode(const char *text, size_t len, struct vol_pin *out) CW_MUST_CHECK;

#endif
