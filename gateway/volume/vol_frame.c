/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_frame.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "gateway/base/aead.h"
#include "gateway/base/be.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define LEVEL 1

struct vol_coder {
	ZSTD_CCtx *cctx; /* made when first needed */
	ZSTD_DCtx *dctx;
	uint8_t frame[VOL_FRAME_STORED_MAX];
};

struct vol_coder *
vol_coder_new(void)
{
	return xcalloc(1, sizeof(struct vol_coder));
}

void
vol_coder_free(struct vol_coder *c)
{
	if (c == NULL)
		return;
	(void)ZSTD_freeCCtx(c->cctx);
	(void)ZSTD_freeDCtx(c->dctx);
	free(c);
}

/* ---- keys ---- */

void
vol_object_key(const uint8_t volume_key[32], const uint8_t uuid[VOL_UUID_LEN], uint32_t term,
    uint64_t seq, uint8_t out[32])
{
	static const char label[] = "causeway log object";
	uint8_t text[sizeof(label) - 1 + VOL_UUID_LEN + 12];
	struct be_writer w;

	be_writer_init(&w, text, sizeof(text));
	be_put_bytes(&w, label, sizeof(label) - 1);
	be_put_bytes(&w, uuid, VOL_UUID_LEN);
	be_put_u32(&w, term);
	be_put_u64(&w, seq);
	digest_hmac_sha256(volume_key, 32, text, sizeof(text), out);
}

void
vol_key_check(
    const uint8_t volume_key[32], const uint8_t uuid[VOL_UUID_LEN], uint8_t out[VOL_KEY_CHECK_LEN])
{
	static const char label[] = "causeway key check";
	uint8_t text[sizeof(label) - 1 + VOL_UUID_LEN], mac[SHA256_LEN];

	memcpy(text, label, sizeof(label) - 1);
	memcpy(text + sizeof(label) - 1, uuid, VOL_UUID_LEN);
	digest_hmac_sha256(volume_key, 32, text, sizeof(text), mac);
	memcpy(out, mac, VOL_KEY_CHECK_LEN);
}

static void
frame_nonce(const struct vol_extent *e, uint8_t nonce[AEAD_NONCE_LEN], uint8_t aad[12])
{
	struct be_writer w;

	be_writer_init(&w, nonce, AEAD_NONCE_LEN);
	be_put_u64(&w, 0);
	be_put_u32(&w, e->stored_off);
	be_writer_init(&w, aad, 12);
	be_put_u64(&w, e->block);
	be_put_u32(&w, e->nblocks);
}

/* ---- one frame ---- */

void
vol_frame_encode(struct vol_coder *c, const uint8_t *object_key, bool is_compressed,
    struct vol_extent *e, const void *plain, void *out)
{
	size_t len = (size_t)e->nblocks << VOL_BLOCK_SHIFT, n = len;
	const void *bytes = plain;

	e->crc = digest_crc32c(0, plain, len);
	e->comp = VOL_PLAIN;
	if (is_compressed) {
		size_t room = len - len / 8;

		if (c->cctx == NULL)
			c->cctx = ZSTD_createCCtx();
		CW_ASSERT(c->cctx != NULL);
		n = ZSTD_compressCCtx(c->cctx, c->frame, room, plain, len, LEVEL);
		if (ZSTD_isError(n)) { /* does not fit: not worth it */
			n = len;
		} else {
			bytes = c->frame;
			e->comp = VOL_ZSTD;
		}
	}
	e->stored_len = (uint32_t)n;
	if (object_key == NULL) {
		if (bytes != out)
			memcpy(out, bytes, n);
	} else {
		uint8_t nonce[AEAD_NONCE_LEN], aad[12];

		frame_nonce(e, nonce, aad);
		aead_seal(object_key, nonce, aad, sizeof(aad), bytes, n, out);
		e->stored_len += AEAD_TAG_LEN;
	}
}

static int
frame_open(struct vol_coder *c, const uint8_t *object_key, const struct vol_extent *e,
    const void *stored, size_t *n, const void **bytes)
{
	uint8_t nonce[AEAD_NONCE_LEN], aad[12];

	*n = e->stored_len;
	*bytes = stored;
	if (object_key == NULL)
		return 0;
	if (*n < AEAD_TAG_LEN || *n > sizeof(c->frame))
		return -ERR_CHECKSUM;
	*n -= AEAD_TAG_LEN;
	*bytes = c->frame;
	frame_nonce(e, nonce, aad);
	return aead_open(object_key, nonce, aad, sizeof(aad), stored, *n, c->frame);
}

int
vol_frame_decode(struct vol_coder *c, const uint8_t *object_key, const struct vol_extent *e,
    const void *stored, void *out, const char **why)
{
	size_t len = (size_t)e->nblocks << VOL_BLOCK_SHIFT, n;
	const char *problem = NULL;
	const void *bytes;

	if (frame_open(c, object_key, e, stored, &n, &bytes) < 0) {
		problem = "authentication of a frame";
	} else if (e->comp == VOL_ZSTD) {
		if (c->dctx == NULL)
			c->dctx = ZSTD_createDCtx();
		CW_ASSERT(c->dctx != NULL);
		if (ZSTD_decompressDCtx(c->dctx, out, len, bytes, n) != len)
			problem = "compressed frame";
	} else if (e->comp != VOL_PLAIN || n != len) {
		problem = "length of a frame";
	} else {
		memcpy(out, bytes, len);
	}
	if (problem == NULL && digest_crc32c(0, out, len) != e->crc)
		problem = "checksum of a frame";
	if (why != NULL)
		*why = problem;
	return problem == NULL ? 0 : -ERR_CHECKSUM;
}
