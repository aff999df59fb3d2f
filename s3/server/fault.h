/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h - rules that make the store misbehave on purpose; the JSON is described in
 * causeway-s3d(8).  A rule decides by its own sequence of numbers, drawn from the seed, so that the
 * n-th request that matches it always fares the same.
 */
#ifndef S3D_FAULT_H
#define S3D_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

enum fault_action {
	FAULT_NONE,
	FAULT_STATUS,	  /* answer status and code, nothing done */
	FAULT_DROP,	  /* close the connection, nothing done */
	FAULT_LOST_REPLY, /* do it, then close the connection */
	FAULT_TORN,	  /* do it, send a part of the reply's body, close */
	FAULT_REFUSE,	  /* close the listening socket for seconds, and this connection */
	FAULT_ACTION_MAX
};

struct fault_verdict {
	enum fault_action action;
	int status;
	char code[48];
	double at; /* FAULT_TORN: fraction of the body that is sent */
	unsigned int refuse_ms;
	unsigned int latency_ms;
	uint64_t bytes_per_s; /* 0 = no limit */
};

struct faults;

struct faults *faults_new(void);
void faults_free(struct faults *f);

/* faults_set - replace all rules.
 * args:   json NUL-terminated {"seed": N, "rules": [...]}; err_text receives what is wrong
 * result: 0 or -EINVAL, and then the old rules stay
 * ctx:    any thread */
int faults_set(struct faults *f, const char *json, char *err_text, size_t cap) CW_MUST_CHECK;
/* faults_watch - also take rules from path, now and whenever it changes. */
int faults_watch(struct faults *f, const char *path, char *err_text, size_t cap) CW_MUST_CHECK;
/* faults_get - rules with how often each matched and fired, as JSON; malloced. */
char *faults_get(struct faults *f);

/* faults_decide - what is to happen to a request; out is zeroed first.
 * args:   op "PutObject"; op_class "read", "write" or "list"; bucket and key may be NULL
 * ctx:    any thread */
void faults_decide(struct faults *f, const char *op, const char *op_class, const char *bucket,
    const char *key, struct fault_verdict *out);

#endif
