/* SPDX-License-Identifier: Apache-2.0 */
/* vol_extract.h - bytes of an image that was read from the bucket, without a gateway. Workers. */
#ifndef VOLUME_VOL_EXTRACT_H
#define VOLUME_VOL_EXTRACT_H

#include "gateway/volume/vol_image.h"
#include "gateway/volume/vol_store.h"

/* vol_extract - [off, off + len) of the image, every byte verified; what lies nowhere is zeros.
 * args:   key NULL = not encrypted; off and len multiples of 4,096
 * result: 0, -ERR_CHECKSUM (damage, named in *e; buf is not to be used), the store's errors */
int vol_extract(const struct vol_place *pl, const uint8_t *key, const struct vol_image *im,
    uint64_t off, size_t len, void *buf, struct vol_err *e) CW_MUST_CHECK;

#endif
