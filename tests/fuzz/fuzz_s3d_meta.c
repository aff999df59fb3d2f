/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_s3d_meta.c - the text form of metadata, and the XML of requests, from a hostile disk or peer. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "s3/server/meta.h"
#include "s3/server/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
meta(const char *text, size_t size)
{
	struct objmeta m, again;
	char *key, *out;
	size_t len;

	if (meta_decode(text, size, &m, &key) != 0)
		return;
	out = meta_encode(&m, key, &len);
	CW_ASSERT(meta_decode(out, len, &again, NULL) == 0);
	CW_ASSERT(strcmp(m.etag, again.etag) == 0 && m.size == again.size);
	CW_ASSERT(m.nheaders == again.nheaders);
	meta_free(&again);
	meta_free(&m);
	free(out);
	free(key);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct xml_delete_item *items;
	struct upload_part *parts;
	bool is_quiet;
	int n;

	meta((const char *)data, size);
	n = xml_parse_delete((const char *)data, size, &items, &is_quiet);
	if (n >= 0) {
		CW_ASSERT(n >= 1 && n <= 1000);
		xml_delete_free(items, n);
	}
	n = xml_parse_complete((const char *)data, size, &parts);
	if (n >= 0) {
		CW_ASSERT(n >= 1 && n <= UPLOAD_PART_MAX && parts[0].number >= 1);
		free(parts);
	}
	return 0;
}
