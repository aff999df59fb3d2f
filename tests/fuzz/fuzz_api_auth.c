/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz: lines of an HTTP request (query, Authorization, X-Amz-Date, body) through the signature check
 * and the activation query; the credentials file's parser with the rest. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char access_key[] = "AKIDEXAMPLE", secret[] = "secret";
	struct api_key key = {access_key, secret, NULL}, *keys;
	char *text = xstrndup((const char *)data, size), *line[4], *next = text;
	struct control_error e = {0};
	struct api_activation a;
	struct api_request r = {.method = "POST", .path = "/"};
	int n;

	for (int i = 0; i < 4; i++) {
		line[i] = next;
		next += strcspn(next, "\n");
		if (*next != '\0')
			*next++ = '\0';
	}
	r.query = line[0];
	r.headers[0] = (struct s3_header){"Host", "h"};
	r.headers[1] = (struct s3_header){"Authorization", line[1]};
	r.headers[2] = (struct s3_header){"X-Amz-Date", line[2]};
	r.nheaders = 3;
	r.body = line[3];
	r.body_len = strlen(line[3]);
	if (api_auth_verify(&key, 1, &r, "storagegateway", 1795424400, &e) < 0 && e.type == NULL)
		abort();
	e.type = NULL;
	if (api_activation_parse(line[0], &a, &e) < 0 && e.type == NULL)
		abort();
	n = api_keys_parse(next, &keys);
	if (n >= 0)
		api_keys_free(keys, (size_t)n);
	free(text);
	return 0;
}
