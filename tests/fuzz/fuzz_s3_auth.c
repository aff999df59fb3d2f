/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as an Authorization header; what is taken is used to verify a request. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char empty[] =
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	struct s3_header h[] = {{"host", "h"}, {"x-amz-date", "20130524T000000Z"}};
	struct s3_sign_request r = {.method = "GET",
	    .path = "/",
	    .headers = h,
	    .nheaders = 2,
	    .payload_hash = empty,
	    .amz_date = "20130524T000000Z",
	    .service = "s3"};
	char *text = xstrndup((const char *)data, size), sig[65];
	struct s3_auth auth;

	if (s3_auth_parse(text, &auth) == 0) {
		r.signed_headers = auth.signed_headers;
		r.region = auth.region;
		r.query = auth.access_key; /* any text will do */
		if (strlen(auth.signature) != 64 || strlen(auth.date) != 8)
			abort();
		if (s3_sign(&r, "secret", sig, NULL) == 0 && strlen(sig) != 64)
			abort();
	}
	free(text);
	return 0;
}
