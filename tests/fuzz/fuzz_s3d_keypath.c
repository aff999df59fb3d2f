/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_s3d_keypath.c - keys to paths and back is one to one, and no path leaves its directory. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "s3/server/keypath.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_path(const char *path)
{
	const char *p = path;
	size_t len;

	for (;;) {
		len = strcspn(p, "/");
		CW_ASSERT(len > 0 && len <= 255);
		CW_ASSERT(!(len == 1 && p[0] == '.'));
		CW_ASSERT(!(len == 2 && p[0] == '.' && p[1] == '.'));
		if (p[len] == '\0')
			return;
		p += len + 1;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[KEYPATH_MAX], again[KEYPATH_MAX], key[KEYPATH_KEY_MAX + 1], *text;
	bool is_alt;
	int n, alt;

	for (alt = 0; alt < 2; alt++) {
		n = keypath_encode((const char *)data, size, alt == 1, path);
		if (n < 0)
			continue;
		CW_ASSERT((size_t)n == strlen(path) && n < KEYPATH_MAX);
		check_path(path);
		n = keypath_decode(path, key, &is_alt);
		CW_ASSERT(n == (int)size && is_alt == (alt == 1));
		CW_ASSERT(memcmp(key, data, size) == 0);
	}
	text = strndup((const char *)data, size);
	n = keypath_decode(text, key, &is_alt);
	if (n >= 0) {
		CW_ASSERT(keypath_encode(key, (size_t)n, is_alt, again) >= 0);
		CW_ASSERT(strcmp(text, again) == 0);
	}
	free(text);
	return 0;
}
