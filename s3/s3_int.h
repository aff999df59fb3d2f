/* SPDX-License-Identifier: Apache-2.0 */
/* s3_int.h - the S3 store inside: objstore_s3.c (life of clients and stores), s3_queue.c (which
 * request goes next), s3_call.c (life of one request). */
#ifndef S3_INT_H
#define S3_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "gateway/base/list.h"
#include "gateway/base/loop.h"
#include "gateway/base/metrics.h"
#include "gateway/base/strbuf.h"
#include "gateway/base/workq.h"
#include "s3/objstore_int.h"
#include "s3/objstore_s3.h"
#include "s3/s3_cred.h"
#include "s3/s3_http.h"
#include "s3/s3_req.h"
#include "s3/s3_retry.h"

struct s3_client {
	struct loop *loop;
	struct workq *workq; /* hashes of large bodies, credential files */
	struct s3_http *http;
};

struct s3_metrics { /* of one class of requests; NULL until first used */
	struct metric *requests, *errors, *seconds;
};

struct s3_store {
	struct objstore base;
	struct s3_client *client;
	struct s3_req_conf req_conf; /* borrows from conf */
	struct s3_store_conf conf;   /* own copies */
	char *sse_c_md5;
	char *location; /* for BUCKET_CREATE, NULL = none */
	char *label;
	bool is_wire_safe; /* bodies need no signature: TLS or loopback keeps them whole */
	unsigned int max_tries;
	atomic_uint ncalls; /* submitted and not done */

	/* on the loop */
	struct s3_http_pool *pool;
	struct s3_cred *cred;
	struct s3_endpoint endpoint;
	uint8_t signing_key[32];
	char key_date[9];	 /* what signing_key is for: day, */
	uint64_t key_generation; /* keys, */
	char key_region[64];	 /* region */
	int64_t clock_offset_s;
	struct list reads, writes;    /* calls that wait for a connection, oldest first */
	struct list running, resting; /* calls on the wire; calls that wait before a retry */
	unsigned int nrunning, nwrites_running;
	unsigned int max_connections;
	double limit;	  /* transfers at a time now; see s3_queue.c */
	double threshold; /* where it was too much */
	uint64_t limit_cut_ms;
	bool is_closing;
	struct metric *bytes_up, *bytes_down, *throttled;
	struct s3_metrics metrics[OBJ_OP_MAX];

	/* for close() */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	bool is_idle;
};

struct s3_resp { /* what the headers of an answer said; reset by each status line */
	int status;
	char etag[OBJSTORE_ETAG_MAX];
	char content_type[128];
	char storage_class[24];
	char region[64];
	char error_code[64];	 /* from a header, for answers without a body */
	int64_t mtime_s, date_s; /* 0 = absent */
	uint64_t content_length;
	bool has_length, has_range, has_version;
	uint64_t range_first, range_last, range_total;
	unsigned int retry_after_s;
};

/* s3_resp_header - take one header line; user metadata goes to meta if that is not NULL. Pure. */
void s3_resp_header(
    struct s3_resp *r, const char *line, size_t len, struct objstore_meta_buf *meta);

struct s3_call {	  /* one request from submit() to done() */
	struct list link; /* in one of the store's lists */
	struct s3_store *store;
	struct objstore_req *req;
	struct loop_task arrive;
	struct work hash;
	struct loop_timer rest;
	struct s3_wire wire;
	struct s3_wire_signed signed_;
	struct s3_http_xfer xfer;
	struct s3_resp resp;
	struct strbuf text; /* the body of an answer that is not the object */
	int build_err;
	char payload_hash[65];
	char amz_date[17];
	char *access_token; /* copy of the session token signed with */
	unsigned int tries;
	uint64_t generation; /* of the keys signed with */
	uint64_t submitted_ns;
	bool is_fresh, is_write;
	bool fixed_clock, fixed_credentials, fixed_region;
};

/* s3_call.c */
void s3_call_submit(struct s3_store *s, struct objstore_req *req);
/* s3_call_start - put a call on the wire with these keys. */
void s3_call_start(struct s3_call *c, const struct s3_creds *keys, int64_t now_s);
/* s3_call_finish - report and free. */
void s3_call_finish(struct s3_call *c, int err);
/* s3_call_cancel - -ECANCELED, wherever it is. */
void s3_call_cancel(struct s3_call *c);

/* s3_answer.c */
/* s3_answer_take - results of a 2xx answer into the request.
 * result: 0; -ERR_PROTOCOL, -ERR_CHECKSUM, -ERR_PRECONDITION when it is not what was asked for; code
 * receives S3's error code of a 200 that carries an error */
int s3_answer_take(struct s3_call *c, char code[64]) CW_MUST_CHECK;
/* s3_answer_error - S3's error code of any other answer, "" if it has none. */
void s3_answer_error(struct s3_call *c, char code[64]);

/* s3_queue.c */
void s3_queue_add(struct s3_call *c);
/* s3_queue_pump - start what may start. */
void s3_queue_pump(struct s3_store *s);
/* s3_queue_ended - a transfer of c ended; was it a sign of too much? */
void s3_queue_ended(struct s3_call *c, bool is_throttled);

/* objstore_s3.c */
void s3_store_adopt_region(struct s3_store *s, const char *region);
void s3_store_count(struct s3_store *s, const struct s3_call *c, bool is_error);
void s3_store_call_gone(struct s3_store *s);

#endif
