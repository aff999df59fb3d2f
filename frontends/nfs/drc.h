/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc.h - duplicate-request cache: the reply of a call that must not run twice is kept for a while,
 * so that a client which lost it with its connection gets the same answer again.
 *
 * A call is known by the peer's address (not its port: a client reconnects from another one), xid,
 * procedure, length and a checksum of its arguments.  Bounded in bytes and age; what is in progress
 * is never forgotten.
 */
#ifndef NFS_DRC_H
#define NFS_DRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/loop.h"

struct drc;
struct drc_entry;

struct drc_key {
	uint8_t addr[16];
	uint32_t xid, proc, len, checksum;
};

/* A repeated call on another connection, which waits for the answer of the first. */
struct drc_waiter {
	struct loop *loop;     /* where task runs */
	struct loop_task task; /* posted when reply is there */
	void *reply;	       /* malloc'd, the waiter's; NULL: a later repetition took its place */
	uint32_t reply_len;
	uint64_t origin; /* names the connection */
};

enum drc_verdict {
	DRC_NEW,    /* run it and call drc_end */
	DRC_REPLAY, /* *reply, *reply_len: malloc'd copy, the caller's */
	DRC_WAIT,   /* w was taken and will be posted */
	DRC_DROP,   /* repeated on the same connection while in progress */
};

/* drc_new - args: most bytes and seconds to keep. never NULL. Everything below: any thread. */
struct drc *drc_new(size_t max_bytes, unsigned int max_age_s);
void drc_free(struct drc *d);
enum drc_verdict drc_begin(struct drc *d, const struct drc_key *key, struct drc_waiter *w,
    struct drc_entry **entry, void **reply, uint32_t *reply_len);
/* drc_end - the call was answered. keep: remember a copy of the reply (not for "ask again later").
 * A waiter gets its copy either way. */
void drc_end(struct drc *d, struct drc_entry *e, const void *reply, uint32_t reply_len, bool keep);
/* drc_bytes - in use; for tests and metrics. */
size_t drc_bytes(struct drc *d);

#endif
