/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_format.h - bytes of log objects, and the names of everything: FORMAT.md in code.  Pure: bytes in,
 * structs out; every decoder is bounded and believes nothing.
 */
#ifndef VOLUME_VOL_FORMAT_H
#define VOLUME_VOL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

#define VOL_BLOCK_SHIFT 12
#define VOL_FRAME_BLOCKS 16u /* blocks of one frame, at most */
#define VOL_FRAME_BYTES (VOL_FRAME_BLOCKS << VOL_BLOCK_SHIFT)
#define VOL_UUID_LEN 16
#define VOL_ID_MAX 24 /* with its NUL */
#define VOL_SIZE_MAX (1ull << 46)
#define VOL_LOG_FIXED 128u
#define VOL_LOG_RECORD 32u /* an extent */
#define VOL_LOG_SIDE 16u   /* an origin, a range */
#define VOL_HEADER_MAX (64u << 20)
#define VOL_KEY_MAX 512 /* a key with its prefix and NUL */

enum vol_kind { VOL_DATA = 1, VOL_ZERO = 2, VOL_MOVED = 3 };
enum vol_comp { VOL_PLAIN = 0, VOL_ZSTD = 1 };
enum vol_log_flag { VOL_LOG_COMMIT = 1, VOL_LOG_SEALED = 2 };

struct vol_extent {
	uint64_t block;
	uint32_t nblocks;
	uint8_t kind, comp;
	uint32_t stored_off, stored_len;
	uint32_t crc;
	uint32_t from, from_off; /* MOVED: origins[from], stored_off there */
};

struct vol_origin_ref {	 /* a log object that extents were moved from */
	uint32_t source; /* 0 = the volume itself */
	uint32_t term;
	uint64_t seq;
};

struct vol_range {
	uint64_t seq, count;
};

struct vol_log { /* a header in memory; the arrays belong to it: vol_log_free */
	uint8_t uuid[VOL_UUID_LEN];
	uint32_t term, flags;
	uint64_t seq, epoch, object_bytes, size_bytes;
	int64_t time_ns;
	uint64_t prev_seq;
	uint32_t prev_term;
	uint32_t header_bytes;
	struct vol_extent *extents;
	uint32_t nextents;
	struct vol_origin_ref *origins;
	uint32_t norigins;
	struct vol_range *ranges;
	uint32_t nranges;
};

static inline bool
vol_log_is_commit(const struct vol_log *l)
{
	return (l->flags & VOL_LOG_COMMIT) != 0;
}

/* vol_log_header_bytes - how long a header with so many records is. */
size_t vol_log_header_bytes(size_t nextents, size_t norigins, size_t nranges);
/* vol_log_encode - the header of l to out, which has l->header_bytes bytes (as vol_log_header_bytes). */
void vol_log_encode(const struct vol_log *l, void *out);

/* vol_log_peek - how long is the header of which these are the first bytes (at least VOL_LOG_FIXED)?
 * result: 0 with *header_bytes set, -ERR_CHECKSUM */
int vol_log_peek(const void *data, size_t len, uint32_t *header_bytes) CW_MUST_CHECK;
/* vol_log_decode - args: data at least the whole header; out is to be freed after 0 only.
 * result: 0, -ERR_CHECKSUM with the reason in *why (static, may be NULL) */
int vol_log_decode(
    const void *data, size_t len, struct vol_log *out, const char **why) CW_MUST_CHECK;
void vol_log_free(struct vol_log *l);

/* --- names --------------------------------------------------------------------------------------- */
/* vol_id_is_valid - may this be the id of a volume or snapshot, in a key? */
bool vol_id_is_valid(const char *id);
/* vol_key_* - write a key to out[VOL_KEY_MAX]; prefix and id as checked by the opener. */
void vol_key(char *out, const char *prefix, const char *id, const char *rest);
void vol_key_log(char *out, const char *prefix, const char *id, uint32_t term, uint64_t seq);
void vol_key_map(char *out, const char *prefix, const char *id, uint32_t term, uint64_t epoch);
void vol_key_snap(char *out, const char *prefix, const char *id, const char *snapshot);
void vol_key_clone(char *out, const char *prefix, const char *id, const char *clone);
/* vol_name_parse - "<8 hex>-<16 hex>", the last part of the keys of log/ and map/. */
bool vol_name_parse(const char *name, uint32_t *a, uint64_t *b);

#endif
