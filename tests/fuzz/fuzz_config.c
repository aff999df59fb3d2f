/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz: configuration text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "gateway/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size), err[256];
	struct cw_config c;

	if (config_parse(text, "/base", &c, err, sizeof(err)) < 0 && err[0] == '\0')
		abort(); /* a refusal without a reason */
	config_free(&c);
	free(text);
	return 0;
}
