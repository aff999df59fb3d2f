/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - the control plane's rows (gateways, shares, disks, notifications) and the event log, in
 * the index.  A row is a JSON object under a namespace and a key.
 *
 * Only the committer writes the index, so the state is the owner of a cache space of its own, one
 * without files: what is to be written is offered to the next commit by collect().
 */
#ifndef GATEWAY_STATE_H
#define GATEWAY_STATE_H

#include <jansson.h>
#include <stdint.h>

#include "cache/cache.h"
#include "gateway/base/err.h"

/* Space numbers: shares count up from 1, the control plane has the last but one. */
#define STATE_SPACE_ID 0xfffffffeu

struct state;

struct state_change {
	const char *ns, *key;
	const json_t *value; /* NULL deletes the row */
};

/* state_open - attach to the cache. result: 0, -EIO, -ENOSPC; ctx: start-up thread */
int state_open(struct cache *c, struct state **out) CW_MUST_CHECK;
/* state_close - write the events that wait, detach. ctx: start-up thread */
void state_close(struct state *s);

/* state_write - make n changes durable, all of them or none.
 * args:   changes borrowed
 * result: 0; -EIO, -ENOSPC: none of them is in the index, nor will be
 * ctx:    any thread that may wait for the disk; cache_start() was called */
int state_write(struct state *s, const struct state_change *changes, size_t n) CW_MUST_CHECK;
/* state_put - state_write() of one row. */
int state_put(struct state *s, const char *ns, const char *key, const json_t *value) CW_MUST_CHECK;

/* state_event - append to the event log with one of the next commits; the newest 10,000 are kept.
 * args: type such as "refresh-complete"; detail is taken. ctx: any thread, never waits */
void state_event(struct state *s, const char *type, json_t *detail);

/* state_get - a row. result: new reference, NULL if there is none or it is damaged. ctx: as write */
json_t *state_get(struct state *s, const char *ns, const char *key);
/* state_each - fn for every row of a namespace; row is borrowed. fn < 0 ends it.
 * result: 0, fn's, -EIO; a row that is no JSON object is logged and left out */
int state_each(struct state *s, const char *ns,
    int (*fn)(void *arg, const char *key, const json_t *row), void *arg) CW_MUST_CHECK;
/* state_each_event - newest first, at most max; type NULL = all; detail is borrowed. Waits for a commit
 * when there are events that no commit has yet: not on a loop. */
int state_each_event(struct state *s, const char *type, unsigned int max,
    int (*fn)(void *arg, uint64_t id, int64_t time_ns, const char *type, const json_t *detail),
    void *arg) CW_MUST_CHECK;

#endif
