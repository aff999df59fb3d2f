/* SPDX-License-Identifier: Apache-2.0 */
/* objstore_s3.h - object store over HTTP: S3 and everything that speaks it. */
#ifndef S3_OBJSTORE_S3_H
#define S3_OBJSTORE_S3_H

#include "s3/objstore.h"

struct s3_client; /* one curl_multi thread, shared by all stores of the process */

/* Where keys come from, tried as configured. */
struct s3_cred_conf {
	char *source; /* "static", "profile", "env", "imds", "auto" (env, profile, imds) */
	char *access_key, *secret_key, *session_token; /* static */
	char *
	    file; /* shared credentials file; NULL = $AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials */
	char *profile;	     /* NULL = $AWS_PROFILE or "default" */
	char *imds_endpoint; /* NULL = http://169.254.169.254 */
};

struct s3_store_conf {
	char *endpoint; /* http[s]://host[:port]; NULL = AWS for the region */
	char *region;
	char *bucket;
	bool path_style;
	char *ca_file;	   /* NULL = system */
	char *proxy;	   /* NULL = environment */
	bool insecure_tls; /* only for tests: do not verify the peer */
	bool requester_pays;
	bool unsigned_payload;	/* plain http: do not sign bodies (https and loopback never do) */
	char *sse_c_key_base64; /* NULL = none; sent with every object request when set */
	struct s3_cred_conf cred;
	unsigned int max_connections; /* 0 = 32 */
	unsigned int max_tries;	      /* 0 = 8 */
	unsigned int timeout_s;	      /* 0 = 60: no byte for so long ends a try */
	char *metrics_label;	      /* such as share="demo"; NULL = none */
};

/* s3_client_new - start the S3 thread. */
int s3_client_new(struct s3_client **out) CW_MUST_CHECK;
/* s3_client_free - after every store of it was closed. */
void s3_client_free(struct s3_client *c);

/* objstore_s3_new - a store for one bucket.
 * args:   c borrowed for the store's life; conf is copied
 * result: 0, -EINVAL (with the reason in err_text), -ENOMEM
 * ctx:    any; does no network I/O
 * source: S3 API Reference */
int objstore_s3_new(struct s3_client *c, const struct s3_store_conf *conf, struct objstore **out,
    char *err_text, size_t err_cap) CW_MUST_CHECK;

#endif
