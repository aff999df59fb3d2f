/* SPDX-License-Identifier: Apache-2.0 */
/* copy.h - bytes from file to file. */
#ifndef S3D_COPY_H
#define S3D_COPY_H

#include <stdint.h>

#include "gateway/base/digest.h"

/* copy_bytes - append len bytes (or up to the end of file) of from, at off, to to's position.
 * args:   md5 NULL, or updated with the bytes (then they pass through memory)
 * result: 0, -ENODATA if from is shorter than a given len, or negative errno
 * ctx:    any request thread */
int copy_bytes(int from, uint64_t off, uint64_t len, int to, struct digest *md5) CW_MUST_CHECK;

#endif
