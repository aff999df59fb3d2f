/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the header of a log object, with a good checksum and without; what is understood
 * survives a round trip, and makes an epoch or is refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/be.h"
#include "gateway/base/digest.h"
#include "gateway/volume/vol_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
make_epoch(struct vol_log *l)
{
	const struct vol_log *logs[1] = {l};
	struct vol_update *u;
	struct vol_image im;

	vol_image_init(&im, l->uuid);
	im.at.epoch = l->epoch - 1;
	im.at.term = l->prev_term;
	im.at.seq = l->prev_seq;
	if (vol_update_new(&im, logs, 1, &u, NULL) == 0) {
		vol_update_apply(u);
		if (im.at.epoch != l->epoch)
			abort();
		vol_update_free(u);
	}
	vol_image_free(&im);
}

static void
decode(const uint8_t *data, size_t size)
{
	struct vol_log l;
	const char *why;
	uint8_t *again;

	if (vol_log_decode(data, size, &l, &why) < 0) {
		if (why == NULL)
			abort();
		return;
	}
	again = malloc(l.header_bytes);
	vol_log_encode(&l, again);
	/* 104..123 are zeros when we write; a reader does not look at them */
	if (memcmp(again, data, 104) != 0 ||
	    memcmp(again + 128, data + 128, l.header_bytes - 128) != 0)
		abort();
	free(again);
	make_epoch(&l);
	vol_log_free(&l);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t n, crc;
	uint8_t *copy;

	decode(data, size);
	if (vol_log_peek(data, size, &n) < 0 || n > size)
		return 0;
	copy = malloc(size);
	memcpy(copy, data, size);
	crc = digest_crc32c(digest_crc32c(0, copy, 124), copy + 128, n - 128);
	be_store_u32(copy + 124, crc);
	decode(copy, size);
	free(copy);
	return 0;
}
