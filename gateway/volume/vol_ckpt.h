/* SPDX-License-Identifier: Apache-2.0 */
/* vol_ckpt.h - bytes of checkpoints: a whole image's map at one epoch (FORMAT.md, Checkpoint). */
#ifndef VOLUME_VOL_CKPT_H
#define VOLUME_VOL_CKPT_H

#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_image.h"

struct vol_ckpt {
	uint32_t term;	/* whose it is */
	uint64_t floor; /* objects of later epochs, in that term, have seqs from here on */
};

/* vol_ckpt_encode - add the checkpoint of im to out. Nobody may apply a change meanwhile. */
void vol_ckpt_encode(const struct vol_image *im, const struct vol_ckpt *head, struct strbuf *out);

/* vol_ckpt_decode - args: out is initialized here, to be freed after 0 only; head may be NULL
 * result: 0, -ERR_CHECKSUM with the reason in *why (static, may be NULL) */
int vol_ckpt_decode(const void *data, size_t len, struct vol_image *out, struct vol_ckpt *head,
    const char **why) CW_MUST_CHECK;

#endif
