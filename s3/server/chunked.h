/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunked.h - incremental decoder of the aws-chunked content coding, with or without signatures
 * and trailers.  Bytes in, callbacks out; no I/O; bounded memory.
 */
#ifndef S3D_CHUNKED_H
#define S3D_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

#define CHUNKED_LINE_MAX 1024
#define CHUNKED_TRAILERS_MAX 8

struct chunked_ops {
	/* data - payload bytes in order. result: 0 or negative errno, which ends decoding */
	int (*data)(void *ctx, const void *p, size_t n);
	/* chunk_end - a chunk (the last has size 0) is complete; sig is its chunk-signature or "".
	 * result: 0 or negative errno */
	int (*chunk_end)(void *ctx, const char *sig);
	/* trailer - one name and value; the signature of trailers comes as x-amz-trailer-signature.
	 * result: 0 or negative errno */
	int (*trailer)(void *ctx, const char *name, const char *value);
};

struct chunked {
	const struct chunked_ops *ops;
	void *ctx;
	int state;
	uint64_t left;
	unsigned int trailers;
	size_t line_len;
	char sig[65];
	char line[CHUNKED_LINE_MAX];
};

void chunked_init(struct chunked *c, const struct chunked_ops *ops, void *ctx);

/* chunked_feed - decode the next n bytes of the body.
 * args:   c initialised; data any bytes, cut anywhere
 * result: 0, -EINVAL malformed, or what a callback returned; an error is final
 * ctx:    any thread, one at a time
 * source: S3 API Reference, "Signature calculations for the Authorization header: transferring
 *         payload in multiple chunks" */
int chunked_feed(struct chunked *c, const void *data, size_t n) CW_MUST_CHECK;

/* chunked_is_done - did the body end where the coding says it ends? */
bool chunked_is_done(const struct chunked *c);

#endif
