/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a credentials file and as an answer of the metadata service. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_cred.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size);
	struct s3_creds c;

	if (s3_creds_parse_file(text, "default", &c) == 0 &&
	    (c.access_key == NULL || c.secret_key == NULL))
		abort();
	s3_creds_clear(&c);
	if (s3_creds_parse_imds((const char *)data, size, &c) == 0 &&
	    (c.access_key == NULL || c.secret_key == NULL))
		abort();
	s3_creds_clear(&c);
	free(text);
	return 0;
}
