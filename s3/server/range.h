/* SPDX-License-Identifier: Apache-2.0 */
/* range.h - the HTTP Range header and S3's copy-source range. Pure functions. */
#ifndef S3D_RANGE_H
#define S3D_RANGE_H

#include <stdint.h>

#include "gateway/base/err.h"

/* range_parse - one byte range of an entity of size bytes.
 * args:   text such as "bytes=0-99", "bytes=100-", "bytes=-5"; off, len set on success
 * result: 1 a range; 0 none (absent, malformed or several: the whole is served, as RFC 9110 has it);
 *         -ERR_INVALID_RANGE when it cannot be satisfied
 * ctx:    any thread
 * source: RFC 9110 14.1.2, 14.2 */
int range_parse(const char *text, uint64_t size, uint64_t *off, uint64_t *len) CW_MUST_CHECK;

/* range_parse_copy - "bytes=first-last", both given and inside size.
 * result: 0, -EINVAL malformed, -ERR_INVALID_RANGE outside the source
 * ctx:    any thread
 * source: S3 API Reference, UploadPartCopy, x-amz-copy-source-range */
int range_parse_copy(const char *text, uint64_t size, uint64_t *off, uint64_t *len) CW_MUST_CHECK;

#endif
