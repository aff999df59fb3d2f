/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chap.h - CHAP in a login (RFC 7143 12.1.3, RFC 1994): the target's side. Pure but for the random
 * challenge; any thread.
 *
 *   initiator                     target
 *   AuthMethod=CHAP               AuthMethod=CHAP
 *   CHAP_A=5,7,8                  CHAP_A=7 CHAP_I= CHAP_C=
 *   CHAP_N= CHAP_R= [CHAP_I= CHAP_C=]    [CHAP_N= CHAP_R=]
 */
#ifndef ISCSI_CHAP_H
#define ISCSI_CHAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frontends/iscsi/iscsi_format.h"
#include "gateway/base/strbuf.h"

#define CHAP_HASH_MAX 32u
#define CHAP_CHALLENGE_MAX 1024u /* 12.1.3 */

/* IANA "PPP Authentication Algorithms" */
enum chap_algorithm { CHAP_NONE = 0, CHAP_MD5 = 5, CHAP_SHA256 = 7, CHAP_SHA3_256 = 8 };

enum chap_step { CHAP_START, CHAP_CHALLENGED, CHAP_DONE };

struct chap {
	enum chap_step step;
	enum chap_algorithm algorithm;
	uint8_t id, challenge[CHAP_HASH_MAX];
	uint32_t challenge_len;
};

/* The CHAP keys of one login request, as they came; NULL = absent. */
struct chap_keys {
	const char *a, *n, *r, *i, *c;
};

struct chap_secrets {
	const char *initiator_name; /* what CHAP_N has to be */
	const char *target_name;    /* what we call ourselves */
	const char
	    *to_initiator;     /* secret that authenticates the initiator; NULL: nobody gets in */
	const char *to_target; /* secret that authenticates us; "" or NULL: one-way */
};

/* chap_pick - the strongest of the initiator's list that we know, CHAP_NONE if none */
enum chap_algorithm chap_pick(const char *list);
/* chap_hash - response to a challenge. result: bytes in out */
size_t chap_hash(enum chap_algorithm a, uint8_t id, const char *secret, const uint8_t *challenge,
    size_t len, uint8_t out[CHAP_HASH_MAX]);
/* chap_take - one step of the exchange.
 * args:   answer gets our keys
 * result: ISCSI_LOGIN_OK (c->step tells how far), or why the login fails */
enum iscsi_login_status chap_take(
    struct chap *c, const struct chap_keys *k, const struct chap_secrets *s, struct strbuf *answer);

#endif
