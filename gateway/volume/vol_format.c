/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/aead.h"
#include "gateway/base/be.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define MAGIC "CWVOLLOG"
#define VERSION 1u
#define CRC_AT 124u

static uint32_t
header_crc(const uint8_t *p, size_t len)
{
	uint32_t crc = digest_crc32c(0, p, CRC_AT);

	return digest_crc32c(crc, p + VOL_LOG_FIXED, len - VOL_LOG_FIXED);
}

size_t
vol_log_header_bytes(size_t nextents, size_t norigins, size_t nranges)
{
	return VOL_LOG_FIXED + VOL_LOG_RECORD * nextents + VOL_LOG_SIDE * (norigins + nranges);
}

/* ---- writing ---- */

static void
put_extent(struct be_writer *w, const struct vol_extent *e)
{
	be_put_u64(w, (uint64_t)e->kind << 56 | (uint64_t)e->comp << 48 | e->block);
	be_put_u32(w, e->nblocks);
	be_put_u32(w, e->stored_off);
	be_put_u32(w, e->stored_len);
	be_put_u32(w, e->crc);
	be_put_u32(w, e->from);
	be_put_u32(w, e->from_off);
}

void
vol_log_encode(const struct vol_log *l, void *out)
{
	static const uint8_t zeros[24];
	uint8_t *p = out;
	struct be_writer w;

	CW_ASSERT(l->header_bytes == vol_log_header_bytes(l->nextents, l->norigins, l->nranges));
	be_writer_init(&w, out, l->header_bytes);
	be_put_bytes(&w, MAGIC, 8);
	be_put_u32(&w, VERSION);
	be_put_u32(&w, l->header_bytes);
	be_put_bytes(&w, l->uuid, VOL_UUID_LEN);
	be_put_u32(&w, l->term);
	be_put_u32(&w, l->flags);
	be_put_u64(&w, l->seq);
	be_put_u64(&w, l->epoch);
	be_put_u64(&w, l->object_bytes);
	be_put_u64(&w, l->size_bytes);
	be_put_u64(&w, (uint64_t)l->time_ns);
	be_put_u64(&w, l->prev_seq);
	be_put_u32(&w, l->prev_term);
	be_put_u32(&w, l->nextents);
	be_put_u32(&w, l->norigins);
	be_put_u32(&w, l->nranges);
	be_put_bytes(&w, zeros, sizeof(zeros));
	for (uint32_t i = 0; i < l->nextents; i++)
		put_extent(&w, &l->extents[i]);
	for (uint32_t i = 0; i < l->norigins; i++) {
		be_put_u32(&w, l->origins[i].source);
		be_put_u32(&w, l->origins[i].term);
		be_put_u64(&w, l->origins[i].seq);
	}
	for (uint32_t i = 0; i < l->nranges; i++) {
		be_put_u64(&w, l->ranges[i].seq);
		be_put_u64(&w, l->ranges[i].count);
	}
	CW_ASSERT(!w.bad && be_room(&w) == 0);
	be_store_u32(p + CRC_AT, header_crc(p, l->header_bytes));
}

/* ---- reading ---- */

int
vol_log_peek(const void *data, size_t len, uint32_t *header_bytes)
{
	struct be_reader r;
	const uint8_t *magic;

	*header_bytes = 0;
	be_reader_init(&r, data, len);
	magic = be_bytes(&r, 8);
	if (len < VOL_LOG_FIXED || magic == NULL || memcmp(magic, MAGIC, 8) != 0 ||
	    be_u32(&r) != VERSION)
		return -ERR_CHECKSUM;
	*header_bytes = be_u32(&r);
	if (*header_bytes < VOL_LOG_FIXED || *header_bytes > VOL_HEADER_MAX)
		return -ERR_CHECKSUM;
	return 0;
}

static void
get_fixed(struct be_reader *r, struct vol_log *l)
{
	const uint8_t *uuid;

	(void)be_bytes(r, 12);
	l->header_bytes = be_u32(r);
	uuid = be_bytes(r, VOL_UUID_LEN);
	if (uuid != NULL)
		memcpy(l->uuid, uuid, VOL_UUID_LEN);
	l->term = be_u32(r);
	l->flags = be_u32(r);
	l->seq = be_u64(r);
	l->epoch = be_u64(r);
	l->object_bytes = be_u64(r);
	l->size_bytes = be_u64(r);
	l->time_ns = (int64_t)be_u64(r);
	l->prev_seq = be_u64(r);
	l->prev_term = be_u32(r);
	l->nextents = be_u32(r);
	l->norigins = be_u32(r);
	l->nranges = be_u32(r);
	(void)be_bytes(r, 24);
}

static const char *
check_fixed(const struct vol_log *l)
{
	if (l->flags & ~(uint32_t)(VOL_LOG_COMMIT | VOL_LOG_SEALED))
		return "unknown flags";
	if (l->size_bytes % (1u << VOL_BLOCK_SHIFT) != 0 || l->size_bytes > VOL_SIZE_MAX)
		return "bad volume size";
	if (l->object_bytes < l->header_bytes || l->object_bytes > UINT32_MAX)
		return "bad object size";
	if (l->term == 0 || l->epoch == 0)
		return "no term or epoch";
	if ((vol_log_is_commit(l) ? 1 : 0) != (l->nranges > 0 ? 1 : 0))
		return "ranges without commit";
	return NULL;
}

/* check_frame - data and moved: the frame is where it must be, and as long as it can be. */
static const char *
check_frame(const struct vol_log *l, const struct vol_extent *e, uint64_t frames_end)
{
	uint32_t plain = e->nblocks << VOL_BLOCK_SHIFT;
	uint32_t tag = l->flags & VOL_LOG_SEALED ? AEAD_TAG_LEN : 0;

	if (e->nblocks > VOL_FRAME_BLOCKS)
		return "extent too long for a frame";
	if (e->stored_off != frames_end || e->stored_len > l->object_bytes - frames_end)
		return "frame out of place";
	if (e->comp == VOL_PLAIN ? e->stored_len != plain + tag
				 : e->stored_len <= tag || e->stored_len >= plain + tag)
		return "bad frame length";
	if (e->kind == VOL_MOVED ? e->from >= l->norigins : e->from != 0 || e->from_off != 0)
		return "bad origin";
	return NULL;
}

static const char *
check_extent(
    const struct vol_log *l, const struct vol_extent *e, uint64_t *block_end, uint64_t *frames_end)
{
	const char *why;

	if (e->nblocks == 0 || e->block < *block_end ||
	    e->block + e->nblocks > l->size_bytes >> VOL_BLOCK_SHIFT)
		return "extent out of order or range";
	*block_end = e->block + e->nblocks;
	if (e->comp > VOL_ZSTD)
		return "unknown compression";
	if (e->kind == VOL_ZERO) {
		if (e->comp != 0 || e->stored_off != 0 || e->stored_len != 0 || e->crc != 0 ||
		    e->from != 0 || e->from_off != 0)
			return "zeros with a frame";
		return NULL;
	}
	if (e->kind != VOL_DATA && e->kind != VOL_MOVED)
		return "unknown kind of extent";
	why = check_frame(l, e, *frames_end);
	*frames_end += why == NULL ? e->stored_len : 0;
	return why;
}

static const char *
get_extents(struct be_reader *r, struct vol_log *l)
{
	uint64_t block_end = 0, frames_end = l->header_bytes;

	for (uint32_t i = 0; i < l->nextents; i++) {
		struct vol_extent *e = &l->extents[i];
		uint64_t head = be_u64(r);
		const char *why;

		e->kind = (uint8_t)(head >> 56);
		e->comp = (uint8_t)(head >> 48);
		e->block = head & ((1ull << 48) - 1);
		e->nblocks = be_u32(r);
		e->stored_off = be_u32(r);
		e->stored_len = be_u32(r);
		e->crc = be_u32(r);
		e->from = be_u32(r);
		e->from_off = be_u32(r);
		why = check_extent(l, e, &block_end, &frames_end);
		if (why != NULL)
			return why;
	}
	return frames_end == l->object_bytes ? NULL : "frames do not fill the object";
}

static const char *
get_sides(struct be_reader *r, struct vol_log *l)
{
	uint64_t end = 0;
	bool has_self = false;

	for (uint32_t i = 0; i < l->norigins; i++) {
		l->origins[i].source = be_u32(r);
		l->origins[i].term = be_u32(r);
		l->origins[i].seq = be_u64(r);
	}
	for (uint32_t i = 0; i < l->nranges; i++) {
		struct vol_range *g = &l->ranges[i];

		g->seq = be_u64(r);
		g->count = be_u64(r);
		if (g->count == 0 || g->seq < end || g->seq + g->count < g->seq)
			return "ranges out of order";
		end = g->seq + g->count;
		has_self = has_self || (l->seq >= g->seq && l->seq < end);
	}
	return l->nranges == 0 || has_self ? NULL : "commit does not name itself";
}

int
vol_log_decode(const void *data, size_t len, struct vol_log *out, const char **why)
{
	const char *problem = NULL;
	uint32_t header_bytes;
	struct be_reader r;
	uint32_t crc;

	memset(out, 0, sizeof(*out));
	if (vol_log_peek(data, len, &header_bytes) < 0)
		problem = "not a log object of this version";
	else if (header_bytes > len)
		problem = "header cut short";
	if (problem == NULL) {
		memcpy(&crc, (const uint8_t *)data + CRC_AT, 4);
		if (be32toh(crc) != header_crc(data, header_bytes))
			problem = "checksum of the header";
	}
	if (problem == NULL) {
		be_reader_init(&r, data, header_bytes);
		get_fixed(&r, out);
		problem = check_fixed(out);
		if (problem == NULL && vol_log_header_bytes(out->nextents, out->norigins,
					   out->nranges) != header_bytes)
			problem = "counts do not fit the header";
	}
	if (problem == NULL) {
		out->extents = xcalloc(out->nextents + 1u, sizeof(*out->extents));
		out->origins = xcalloc(out->norigins + 1u, sizeof(*out->origins));
		out->ranges = xcalloc(out->nranges + 1u, sizeof(*out->ranges));
		problem = get_extents(&r, out);
		if (problem == NULL)
			problem = get_sides(&r, out);
	}
	if (why != NULL)
		*why = problem;
	if (problem == NULL)
		return 0;
	vol_log_free(out);
	return -ERR_CHECKSUM;
}

void
vol_log_free(struct vol_log *l)
{
	free(l->extents);
	free(l->origins);
	free(l->ranges);
	memset(l, 0, sizeof(*l));
}

/* ---- names ---- */

bool
vol_id_is_valid(const char *id)
{
	size_t n = strlen(id);

	if (n == 0 || n >= VOL_ID_MAX)
		return false;
	return strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			  "0123456789-_") == n;
}

void
vol_key(char *out, const char *prefix, const char *id, const char *rest)
{
	int n = snprintf(out, VOL_KEY_MAX, "%s%s/%s", prefix, id, rest);

	CW_ASSERT(n > 0 && n < VOL_KEY_MAX);
}

static void
vol_key_pair(char *out, const char *prefix, const char *id, const char *dir, uint32_t a, uint64_t b)
{
	char rest[64];

	(void)snprintf(rest, sizeof(rest), "%s/%08" PRIx32 "-%016" PRIx64, dir, a, b);
	vol_key(out, prefix, id, rest);
}

void
vol_key_log(char *out, const char *prefix, const char *id, uint32_t term, uint64_t seq)
{
	vol_key_pair(out, prefix, id, "log", term, seq);
}

void
vol_key_map(char *out, const char *prefix, const char *id, uint32_t term, uint64_t epoch)
{
	vol_key_pair(out, prefix, id, "map", term, epoch);
}

void
vol_key_snap(char *out, const char *prefix, const char *id, const char *snapshot)
{
	char rest[64];

	(void)snprintf(rest, sizeof(rest), "snap/%s.json", snapshot);
	vol_key(out, prefix, id, rest);
}

void
vol_key_clone(char *out, const char *prefix, const char *id, const char *clone)
{
	char rest[64];

	(void)snprintf(rest, sizeof(rest), "snap/%s.clone.json", clone);
	vol_key(out, prefix, id, rest);
}

static bool
hex_parse(const char *s, size_t n, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < n; i++) {
		const char *at = s[i] != '\0' ? strchr("0123456789abcdef", s[i]) : NULL;

		if (at == NULL)
			return false;
		*out = *out << 4 | (uint64_t)(strlen("0123456789abcdef") - strlen(at));
	}
	return true;
}

bool
vol_name_parse(const char *name, uint32_t *a, uint64_t *b)
{
	uint64_t v;

	*a = 0;
	*b = 0;
	if (strlen(name) != 25 || name[8] != '-' || !hex_parse(name, 8, &v))
		return false;
	*a = (uint32_t)v;
	return hex_parse(name + 9, 16, b);
}
