/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a checkpoint, as they are and with good checksums; what is understood is the same
 * image after a round trip. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/be.h"
#include "gateway/base/digest.h"
#include "gateway/volume/vol_ckpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
decode(const uint8_t *data, size_t size)
{
	struct strbuf first = STRBUF_INIT, second = STRBUF_INIT;
	struct vol_image im, again;
	struct vol_ckpt head;
	const char *why;

	if (vol_ckpt_decode(data, size, &im, &head, &why) < 0) {
		if (why == NULL)
			abort();
		return;
	}
	vol_ckpt_encode(&im, &head, &first);
	if (vol_ckpt_decode(first.s, first.len, &again, &head, NULL) < 0)
		abort();
	vol_ckpt_encode(&again, &head, &second);
	if (first.len != second.len || memcmp(first.s, second.s, first.len) != 0)
		abort();
	vol_image_free(&im);
	vol_image_free(&again);
	strbuf_free(&first);
	strbuf_free(&second);
}

/* put_right - lengths and checksums, so that what lies behind them is reached. */
static void
put_right(uint8_t *p, size_t size)
{
	size_t at = 128;

	be_store_u32(p + 112, 0);
	be_store_u32(p + 116, (uint32_t)size);
	be_store_u32(p + 124, digest_crc32c(0, p, 124));
	while (size - at >= 16) {
		uint32_t len;

		memcpy(&len, p + at + 4, 4);
		len = be32toh(len);
		if (len > size - at - 16) {
			len = (uint32_t)(size - at - 16);
			be_store_u32(p + at + 4, len);
		}
		be_store_u32(
		    p + at + 12, digest_crc32c(digest_crc32c(0, p + at, 12), p + at + 16, len));
		at += 16 + len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	decode(data, size);
	if (size < 128)
		return 0;
	copy = malloc(size);
	memcpy(copy, data, size);
	put_right(copy, size);
	decode(copy, size);
	free(copy);
	return 0;
}
