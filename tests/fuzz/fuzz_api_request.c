/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz: an operation's name, a line feed and a body through JSON and the table of the operation. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = memchr(data, '\n', size);
	struct control_error e = {0};
	char target[96];
	const struct api_op *op;
	const char *body;
	json_t *in;
	size_t len;

	if (nl == NULL)
		return 0;
	snprintf(target, sizeof(target), "StorageGateway_20130630.%.*s",
	    nl - data < 60 ? (int)(nl - data) : 60, (const char *)data);
	body = (const char *)nl + 1;
	len = size - (size_t)(nl + 1 - data);
	if (api_op_check(target, body, len, &op, &in, &e) == 0) {
		struct cw_config conf = {0};
		struct cw_share_conf sc;
		char text[256];

		if (strcmp(op->name, "CreateNFSFileShare") == 0) {
			if (control_share_conf(in, &conf, &sc, text, sizeof(text)) < 0 &&
			    text[0] == '\0')
				abort(); /* a refusal without a reason */
			cw_share_conf_free(&sc);
		}
		json_decref(in);
	} else {
		struct api_reply reply = {0};

		if (e.type == NULL || e.message[0] == '\0')
			abort();
		api_reply_error(&reply, &e);
		strbuf_free(&reply.body);
	}
	return 0;
}
