/* SPDX-License-Identifier: Apache-2.0 */
/* s3_time.h - the three ways S3 writes a time. Pure; UTC only; years 1970 to 9999. */
#ifndef S3_TIME_H
#define S3_TIME_H

#include <stddef.h>
#include <stdint.h>

#include <stdbool.h>

#include "gateway/base/err.h"

/* s3_time_iso - "2009-10-12T17:50:30.000Z" (any count of decimals, none too) to nanoseconds.
 * result: 0, -EINVAL. source: S3 API Reference, LastModified in listings */
int s3_time_iso(const char *text, int64_t *ns_out) CW_MUST_CHECK;
/* s3_time_http - "Mon, 12 Oct 2009 17:50:30 GMT" to seconds. source: RFC 9110 5.6.7 */
int s3_time_http(const char *text, int64_t *s_out) CW_MUST_CHECK;
/* s3_time_amz - seconds to "YYYYMMDDTHHMMSSZ". */
void s3_time_amz(int64_t s, char out[17]);

#endif
