/* SPDX-License-Identifier: Apache-2.0 */
/* Any lines as the headers of an answer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "s3/s3_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct objstore_meta_buf meta = {.n = 0};
	struct s3_resp r = {0};

	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end != NULL ? (size_t)(end - data) : size;

		s3_resp_header(&r, (const char *)data, len, &meta);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	if (r.has_range && (r.range_first > r.range_last || r.range_last >= r.range_total))
		abort();
	for (size_t i = 0; i < meta.n; i++)
		if (strlen(meta.items[i].name) + strlen(meta.items[i].value) > sizeof(meta.text))
			abort();
	return 0;
}
