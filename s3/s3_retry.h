/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_retry.h - what an answer of the store means and what to do about it.  The only place where
 * HTTP statuses, S3 error codes and transport failures become errors of ours.  Pure.
 */
#ifndef S3_RETRY_H
#define S3_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/objstore.h"

enum s3_net { /* how the transport of one try ended */
	S3_NET_OK,
	S3_NET_UNREACHABLE, /* no name, no connection: nothing was sent */
	S3_NET_TLS,	    /* the peer is not who it should be */
	S3_NET_LOST,	    /* the connection broke, or brought too little */
	S3_NET_TIMEOUT,	    /* no byte for too long */
	S3_NET_MALFORMED,   /* not HTTP, or not what was asked for */
	S3_NET_TOO_BIG,	    /* we stopped it: more bytes than there is room for */
	S3_NET_MAX
};

struct s3_outcome {
	enum objstore_opcode op;
	bool is_conditional; /* the request carried If-Match or If-None-Match */
	enum s3_net net;
	bool was_sent;	  /* at least a part of the request left us */
	int status;	  /* HTTP, 0 = none came */
	const char *code; /* S3's error code, "" if the answer has none */
};

enum s3_action {
	S3_DONE,	    /* final */
	S3_RETRY,	    /* after a delay */
	S3_RETRY_FRESH,	    /* after a delay, on a new connection */
	S3_FIX_CLOCK,	    /* take over the server's time, once, and sign again */
	S3_FIX_CREDENTIALS, /* fetch them anew, once, and sign again */
	S3_FIX_REGION	    /* take over the region that the answer names, once, and sign again */
};

struct s3_verdict {
	int err; /* 0 or what is reported if the action does not help or may not be taken */
	enum s3_action action;
	bool maybe_applied; /* a write that may have happened all the same */
	bool is_throttled;  /* the store is overloaded or away: fewer requests at a time */
};

/* s3_retry_judge - result: as above. ctx: any. source: S3 API Reference, "Error responses" */
struct s3_verdict s3_retry_judge(const struct s3_outcome *o);

/* s3_retry_is_write - may requests of op change the bucket? */
bool s3_retry_is_write(enum objstore_opcode op);

/* s3_retry_key_error - the error of one key in an answer to DeleteObjects. */
int s3_retry_key_error(const char *code);

/* s3_retry_delay_ms - full jitter: anything from 0 to 100 ms * 2^tries, at most 20 s.
 * args:   tries made so far, from 1; random any 32 bits */
unsigned int s3_retry_delay_ms(unsigned int tries, uint32_t random);

#endif
