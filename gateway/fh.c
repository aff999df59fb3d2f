/* SPDX-License-Identifier: Apache-2.0 */
/* fh.c - file handles as network clients keep them. */
#include "gateway/fh.h"

#include "gateway/base/be.h"

#define FH_MAGIC 0x4357u /* "CW" */
#define FH_VERSION 1u

void
fh_encode(uint8_t out[FH_LEN], uint32_t share_id, uint64_t ino, uint32_t gen)
{
	be_store_u32(out, FH_MAGIC << 16 | FH_VERSION << 8);
	be_store_u32(out + 4, share_id);
	be_store_u32(out + 8, (uint32_t)(ino >> 32));
	be_store_u32(out + 12, (uint32_t)ino);
	be_store_u32(out + 16, gen);
	be_store_u32(out + 20, 0);
}

int
fh_decode(const void *data, size_t len, uint32_t *share_id, uint64_t *ino, uint32_t *gen)
{
	struct be_reader r;
	uint32_t head, share, g, zero;
	uint64_t i;

	be_reader_init(&r, data, len);
	head = be_u32(&r);
	if (r.bad || head >> 16 != FH_MAGIC)
		return -EINVAL;
	if ((head >> 8 & 0xff) != FH_VERSION)
		return -ESTALE;
	share = be_u32(&r);
	i = be_u64(&r);
	g = be_u32(&r);
	zero = be_u32(&r);
	/* gen 0 would mean "do not check" further in */
	if (r.bad || be_left(&r) != 0 || zero != 0 || (head & 0xff) != 0 || i == 0 || g == 0)
		return -EINVAL;
	*share_id = share;
	*ino = i;
	*gen = g;
	return 0;
}
