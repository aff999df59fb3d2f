/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_s3d_range.c - whatever the header says, the range lies inside the object. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "s3/server/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t total, off, len;
	char *text;
	int r;

	if (size < sizeof total)
		return 0;
	memcpy(&total, data, sizeof total);
	text = strndup((const char *)data + sizeof total, size - sizeof total);
	r = range_parse(text, total, &off, &len);
	CW_ASSERT(r == 0 || r == 1 || r == -ERR_INVALID_RANGE);
	if (r == 0)
		CW_ASSERT(off == 0 && len == total);
	if (r == 1)
		CW_ASSERT(len > 0 && off < total && len <= total - off);
	if (range_parse_copy(text, total, &off, &len) == 0)
		CW_ASSERT(len > 0 && off < total && len <= total - off);
	free(text);
	return 0;
}
