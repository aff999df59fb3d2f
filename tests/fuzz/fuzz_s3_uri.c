/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes percent-decoded, and as an endpoint: decoding and encoding undo each other. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_req.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *plain = s3_uri_decode((const char *)data, size);
	char *text = xstrndup((const char *)data, size);
	struct s3_endpoint e;
	const char *why = NULL;

	if (plain != NULL) {
		char *encoded = s3_uri_encode(plain, true);
		char *again = s3_uri_decode(encoded, strlen(encoded));

		if (again == NULL || strcmp(again, plain) != 0)
			abort();
		free(encoded);
		free(again);
	}
	free(plain);
	if (s3_endpoint_parse(text, "us-east-1", "bucket", false, &e, &why) == 0) {
		if (strpbrk(e.authority, " \t\r\n/?#@%") != NULL)
			abort();
		s3_endpoint_free(&e);
	} else if (why == NULL) {
		abort();
	}
	free(text);
	return 0;
}
