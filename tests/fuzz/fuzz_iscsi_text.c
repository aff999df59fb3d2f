/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Login text through the pairs, the operational keys and CHAP, as the login phase does it: requests
 * are parted by 0xff; the secrets are known, so that the fuzzer could guess nothing but the response.
 */
#include <stdlib.h>
#include <string.h>

#include "frontends/iscsi/chap.h"
#include "frontends/iscsi/param.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
	struct iscsi_params params;
	uint32_t seen;
	struct chap chap;
};

static void
take(struct state *s, const uint8_t *data, size_t len)
{
	const struct chap_secrets secrets = {"iqn.i", "iqn.t", "secret-of-initiator", "of-target"};
	struct strbuf answer = STRBUF_INIT;
	struct chap_keys k = {0};
	const char *key, *value;
	struct iscsi_text t;
	char *text = malloc(len + 1);

	memcpy(text, data, len);
	text[len] = '\0';
	iscsi_text_init(&t, text, len);
	while (iscsi_text_next(&t, &key, &value) == 1) {
		if (strlen(key) >= ISCSI_KEY_MAX)
			abort();
		iscsi_param_offer(&s->params, &s->seen, len & 1, key, value, &answer);
		iscsi_param_declare_segment(&s->params, value);
		if (strcmp(key, "CHAP_A") == 0)
			k.a = value;
		else if (strcmp(key, "CHAP_N") == 0)
			k.n = value;
		else if (strcmp(key, "CHAP_R") == 0)
			k.r = value;
		else if (strcmp(key, "CHAP_I") == 0)
			k.i = value;
		else if (strcmp(key, "CHAP_C") == 0)
			k.c = value;
	}
	chap_take(&s->chap, &k, &secrets, &answer);
	if (s->chap.step == CHAP_DONE)
		abort(); /* nobody knows the challenge */
	if (s->params.max_burst < 512 || s->params.max_burst > ISCSI_OUR_MAX_BURST ||
	    s->params.first_burst < 512 || s->params.first_burst > ISCSI_OUR_FIRST_BURST ||
	    s->params.peer_segment < 512 || s->params.max_r2ts < 1 ||
	    s->params.max_r2ts > ISCSI_OUR_R2TS)
		abort();
	strbuf_free(&answer);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state s = {0};

	iscsi_params_init(&s.params);
	while (size > 0) {
		const uint8_t *end = memchr(data, 0xff, size);
		size_t len = end == NULL ? size : (size_t)(end - data);

		take(&s, data, len);
		if (end == NULL)
			break;
		data += len + 1;
		size -= len + 1;
	}
	return 0;
}
