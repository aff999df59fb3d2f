/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a stored frame: compressed, encrypted or neither; the checksum decides. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volume/vol_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[VOL_FRAME_BYTES], stored[VOL_FRAME_STORED_MAX];
	static const uint8_t key[32] = {5};
	struct vol_extent e = {.kind = VOL_DATA, .stored_off = 128};
	struct vol_coder *c;
	const uint8_t *k;

	if (size < 6)
		return 0;
	e.nblocks = data[0] % VOL_FRAME_BLOCKS + 1;
	e.comp = data[1] & 1;
	k = data[1] & 2 ? key : NULL;
	memcpy(&e.crc, data + 2, 4);
	e.stored_len = (uint32_t)(size - 6 < sizeof(stored) ? size - 6 : sizeof(stored));
	memcpy(stored, data + 6, e.stored_len);
	c = vol_coder_new();
	(void)vol_frame_decode(c, k, &e, stored, out, NULL);
	memset(out, data[0], sizeof(out));
	if (size - 6 <= sizeof(out))
		memcpy(out, data + 6, size - 6);
	vol_frame_encode(c, k, data[1] & 4, &e, out, stored);
	if (vol_frame_decode(c, k, &e, stored, out, NULL) < 0)
		abort();
	vol_coder_free(c);
	return 0;
}
