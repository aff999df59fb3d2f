/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_http.h - HTTP/1.1 transfers on one loop.  Knows nothing of S3; hides libcurl.
 *
 * Everything here runs on the loop's thread, except s3_http_new() and s3_http_free(), which want it
 * not to run.
 */
#ifndef S3_HTTP_H
#define S3_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"
#include "gateway/base/loop.h"
#include "s3/s3_retry.h"
#include "s3/s3_sign.h"

struct s3_http;	     /* the engine of one loop */
struct s3_http_pool; /* handles with the same settings, kept for reuse */

struct s3_http_conf {
	const char *ca_file; /* NULL = the system's */
	const char *proxy;   /* NULL = environment, "" = none */
	bool insecure_tls;
	unsigned int timeout_s; /* no byte for so long ends a transfer */
	unsigned int connect_timeout_ms;
};

struct s3_http_xfer {
	/* request: borrowed until done */
	const char *method, *url;
	const struct s3_header *headers;
	size_t nheaders;
	const void *body;
	size_t body_len;
	bool has_body;
	bool is_fresh;	     /* do not use a connection that stands already */
	size_t expect_bytes; /* of the answer's body, a hint for buffers; 0 = little */
	/* header - one header line "Name: value" without its end, or a status line. */
	void (*header)(struct s3_http_xfer *x, const char *line, size_t len);
	/* data - a piece of the answer's body. result: false ends the transfer, S3_NET_TOO_BIG */
	bool (*data)(struct s3_http_xfer *x, const void *data, size_t len);
	/* done - once, unless cancelled; x may be used again or freed in it. */
	void (*done)(struct s3_http_xfer *x);

	/* result */
	enum s3_net net;
	int status;
	bool was_sent;	   /* a connection stood and the request began to leave */
	bool was_repeated; /* the transport sent it again by itself on another connection */
	uint64_t bytes_up, bytes_down;
	uint64_t ns;	 /* from start to end */
	char error[160]; /* for the log */

	void *impl;
};

int s3_http_new(struct loop *loop, struct s3_http **out) CW_MUST_CHECK;
void s3_http_free(struct s3_http *h);

/* s3_http_pool_new - conf is copied. Any thread. */
struct s3_http_pool *s3_http_pool_new(struct s3_http *h, const struct s3_http_conf *conf);
/* s3_http_pool_free - no transfer of it may be under way. */
void s3_http_pool_free(struct s3_http_pool *p);

/* s3_http_start - begin x; done() is called later, never from here. */
void s3_http_start(struct s3_http_pool *p, struct s3_http_xfer *x);
/* s3_http_cancel - end x without done(); was_sent is set. */
void s3_http_cancel(struct s3_http_xfer *x);

#endif
