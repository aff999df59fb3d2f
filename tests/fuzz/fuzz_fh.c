/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a file handle: what is taken encodes back to the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/fh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[FH_LEN];
	uint32_t share, gen;
	uint64_t ino;

	if (fh_decode(data, size, &share, &ino, &gen) < 0)
		return 0;
	fh_encode(again, share, ino, gen);
	if (size != FH_LEN || memcmp(again, data, FH_LEN) != 0)
		abort();
	return 0;
}
