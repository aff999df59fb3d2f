/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_cred.h - where keys come from and how they stay fresh: given ones, a shared credentials file
 * (read again when it changes), the environment, the instance metadata service (fetched again five
 * minutes before they end).
 */
#ifndef S3_CRED_H
#define S3_CRED_H

#include <stdint.h>

#include "gateway/base/loop.h"
#include "gateway/base/workq.h"
#include "s3/objstore_s3.h"
#include "s3/s3_http.h"

struct s3_creds {
	char *access_key, *secret_key;
	char *session_token; /* NULL = none */
	int64_t expires_s;   /* 0 = never */
	uint64_t generation; /* another number for other keys */
};

void s3_creds_clear(struct s3_creds *c);

/* s3_creds_parse_file - keys of one profile of a shared credentials file.
 * result: 0, -ENOENT (no such profile, or it has no keys), -EINVAL (malformed)
 * ctx: any; pure. source: AWS SDKs and Tools Reference Guide, "shared config and credentials" */
int s3_creds_parse_file(const char *text, const char *profile, struct s3_creds *out) CW_MUST_CHECK;

/* s3_creds_parse_imds - keys of an answer of the metadata service. result: 0, -ERR_PROTOCOL */
int s3_creds_parse_imds(const char *json, size_t len, struct s3_creds *out) CW_MUST_CHECK;

struct s3_cred;

struct s3_cred_env { /* what it works with, all borrowed for its life */
	struct loop *loop;
	struct workq *workq;
	struct s3_http *http;
	void (*changed)(void *ctx); /* on the loop: a fetch has ended, well or not */
	void *ctx;
};

/* s3_cred_new - conf is copied; nothing is fetched yet. result: 0, -EINVAL (*why is static text) */
int s3_cred_new(const struct s3_cred_conf *conf, const struct s3_cred_env *env,
    struct s3_cred **out, const char **why) CW_MUST_CHECK;

/* s3_cred_get - keys to use now; NULL when they are being fetched or s3_cred_error() says why not.
 * Borrowed until the loop does something else. ctx: the loop */
const struct s3_creds *s3_cred_get(struct s3_cred *c, int64_t now_s);
/* s3_cred_error - 0 while there are keys or a fetch is under way. ctx: the loop */
int s3_cred_error(const struct s3_cred *c);
/* s3_cred_refused - the store did not take the keys of this generation: fetch others.
 * result: false if there cannot be others. ctx: the loop */
bool s3_cred_refused(struct s3_cred *c, uint64_t generation);

/* s3_cred_stop - ctx: the loop; end a fetch over the network. Then drain the workq and let the loop
 * turn once before s3_cred_free(). */
void s3_cred_stop(struct s3_cred *c);
void s3_cred_free(struct s3_cred *c);

#endif
