/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/iscsi/chap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "frontends/iscsi/text.h"
#include "gateway/base/digest.h"

static const struct {
	enum chap_algorithm algorithm;
	const char *digest;
	size_t len;
} hashes[] = {
    /* best first */
    {CHAP_SHA3_256, "SHA3-256", 32},
    {CHAP_SHA256, "SHA256", 32},
    {CHAP_MD5, "MD5", 16},
};
#define HASHES (sizeof(hashes) / sizeof(hashes[0]))

enum chap_algorithm
chap_pick(const char *list)
{
	for (size_t i = 0; i < HASHES; i++) {
		char number[8];

		snprintf(number, sizeof(number), "%u", (unsigned int)hashes[i].algorithm);
		if (iscsi_text_in_list(list, number))
			return hashes[i].algorithm;
	}
	return CHAP_NONE;
}

size_t
chap_hash(enum chap_algorithm a, uint8_t id, const char *secret, const uint8_t *challenge,
    size_t len, uint8_t out[CHAP_HASH_MAX])
{
	for (size_t i = 0; i < HASHES; i++) {
		struct digest *d;

		if (hashes[i].algorithm != a)
			continue;
		d = digest_new(hashes[i].digest);
		digest_update(d, &id, 1);
		digest_update(d, secret, strlen(secret));
		digest_update(d, challenge, len);
		digest_final(d, out);
		return hashes[i].len;
	}
	return 0;
}

static void
put_binary(struct strbuf *out, const char *key, const uint8_t *data, size_t len)
{
	char hex[2 + 2 * CHAP_HASH_MAX + 1] = "0x";

	digest_hex(data, len, hex + 2);
	iscsi_text_put(out, key, hex);
}

static enum iscsi_login_status
challenge(struct chap *c, const struct chap_keys *k, struct strbuf *answer)
{
	if (k->n != NULL || k->r != NULL)
		return ISCSI_LOGIN_INITIATOR_ERROR;
	if (k->a == NULL)
		return ISCSI_LOGIN_OK; /* AuthMethod alone: CHAP_A comes next */
	c->algorithm = chap_pick(k->a);
	if (c->algorithm == CHAP_NONE)
		return ISCSI_LOGIN_AUTH_FAILED;
	c->challenge_len = c->algorithm == CHAP_MD5 ? 16 : 32;
	random_bytes(&c->id, 1);
	random_bytes(c->challenge, c->challenge_len);
	iscsi_text_put_number(answer, "CHAP_A", c->algorithm);
	iscsi_text_put_number(answer, "CHAP_I", c->id);
	put_binary(answer, "CHAP_C", c->challenge, c->challenge_len);
	c->step = CHAP_CHALLENGED;
	return ISCSI_LOGIN_OK;
}

/* Does the initiator know its secret? The same work is done when it cannot. */
static bool
is_genuine(const struct chap *c, const struct chap_keys *k, const struct chap_secrets *s)
{
	const char *secret = s->to_initiator != NULL ? s->to_initiator : "";
	uint8_t want[CHAP_HASH_MAX], got[CHAP_HASH_MAX];
	size_t len = chap_hash(c->algorithm, c->id, secret, c->challenge, c->challenge_len, want);

	if (iscsi_text_binary(k->r, got, sizeof(got)) != (int)len)
		return false;
	return digest_equal(got, want, len) && s->to_initiator != NULL && secret[0] != '\0' &&
	       strcasecmp(k->n, s->initiator_name) == 0;
}

/* Prove who we are. 12.1.3: what was sent as a challenge must not come back as one, and the secrets
 * of the two directions must differ: either would let the peer have us answer its own question. */
static enum iscsi_login_status
respond(const struct chap *c, const struct chap_keys *k, const struct chap_secrets *s,
    struct strbuf *answer)
{
	uint8_t theirs[CHAP_CHALLENGE_MAX], hash[CHAP_HASH_MAX];
	uint32_t id;
	int len;

	if (k->i == NULL || k->c == NULL || iscsi_text_number(k->i, &id) < 0 || id > 255)
		return ISCSI_LOGIN_INITIATOR_ERROR;
	len = iscsi_text_binary(k->c, theirs, sizeof(theirs));
	if (len <= 0)
		return ISCSI_LOGIN_INITIATOR_ERROR;
	if ((uint32_t)len == c->challenge_len && memcmp(theirs, c->challenge, (size_t)len) == 0)
		return ISCSI_LOGIN_AUTH_FAILED;
	if (s->to_target == NULL || s->to_target[0] == '\0' ||
	    strcmp(s->to_target, s->to_initiator) == 0)
		return ISCSI_LOGIN_AUTH_FAILED;
	len = (int)chap_hash(c->algorithm, (uint8_t)id, s->to_target, theirs, (size_t)len, hash);
	iscsi_text_put(answer, "CHAP_N", s->target_name);
	put_binary(answer, "CHAP_R", hash, (size_t)len);
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status
verify(
    struct chap *c, const struct chap_keys *k, const struct chap_secrets *s, struct strbuf *answer)
{
	enum iscsi_login_status status = ISCSI_LOGIN_OK;

	if (k->n == NULL || k->r == NULL || k->a != NULL)
		return ISCSI_LOGIN_INITIATOR_ERROR;
	if (!is_genuine(c, k, s))
		return ISCSI_LOGIN_AUTH_FAILED;
	if (k->i != NULL || k->c != NULL)
		status = respond(c, k, s, answer);
	if (status == ISCSI_LOGIN_OK)
		c->step = CHAP_DONE;
	return status;
}

enum iscsi_login_status
chap_take(
    struct chap *c, const struct chap_keys *k, const struct chap_secrets *s, struct strbuf *answer)
{
	switch (c->step) {
	case CHAP_START:
		return challenge(c, k, answer);
	case CHAP_CHALLENGED:
		return verify(c, k, s, answer);
	case CHAP_DONE:
		break;
	}
	return k->a == NULL && k->n == NULL && k->r == NULL ? ISCSI_LOGIN_OK
							    : ISCSI_LOGIN_INITIATOR_ERROR;
}
