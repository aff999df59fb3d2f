/* SPDX-License-Identifier: Apache-2.0 */
/*
 * objstore_mem.h - hooks of the store in memory: failures, delays, counts, a second writer.
 * All may be called from any thread while requests are under way.
 */
#ifndef S3_OBJSTORE_MEM_H
#define S3_OBJSTORE_MEM_H

#include "s3/objstore.h"

/* objstore_mem_fail_next - let the next count requests of op fail with err (negative).
 * args:   op OBJ_OP_MAX stands for every op; apply_first: carry the request out and lose the reply
 *         (maybe_applied is set, as the S3 store does); count 0 clears */
void objstore_mem_fail_next(
    struct objstore *s, enum objstore_opcode op, int err, bool apply_first, unsigned int count);

/* objstore_mem_latency - answer no request before so many milliseconds have passed. */
void objstore_mem_latency(struct objstore *s, unsigned int ms);

/* objstore_mem_hold - true: requests wait; objstore_mem_release lets the oldest n of them run
 * (n may be more than wait now; the rest is remembered). false: all run. */
void objstore_mem_hold(struct objstore *s, bool hold);
void objstore_mem_release(struct objstore *s, unsigned int n);

/* objstore_mem_before - call fn on the store's thread before each request is carried out, without
 * the store's lock, so that fn may change the bucket as a second writer would. NULL ends it. */
void objstore_mem_before(
    struct objstore *s, void (*fn)(struct objstore_req *req, void *ctx), void *ctx);

/* objstore_mem_conditional - false: conditions on writes and on the source of
 * a part's copy are ignored, as by old stores. */
void objstore_mem_conditional(struct objstore *s, bool honoured);

/* objstore_mem_count - requests of op carried out so far (OBJ_OP_MAX: all). */
uint64_t objstore_mem_count(struct objstore *s, enum objstore_opcode op);
/* objstore_mem_waiting - requests submitted and not yet carried out. */
size_t objstore_mem_waiting(struct objstore *s);
/* objstore_mem_objects, _uploads - how many there are. */
size_t objstore_mem_objects(struct objstore *s);
size_t objstore_mem_uploads(struct objstore *s);

/* objstore_mem_put - write an object behind the gateway's back.
 * args:   meta may be NULL; etag may be NULL, else receives the new ETag */
void objstore_mem_put(struct objstore *s, const char *key, const void *data, size_t len,
    const struct objstore_meta *meta, size_t nmeta, char etag[OBJSTORE_ETAG_MAX]);

/* objstore_mem_get - a copy of an object's bytes, with a NUL behind them; caller frees.
 * args:   len_out, etag may be NULL
 * result: NULL if there is none */
char *objstore_mem_get(
    struct objstore *s, const char *key, size_t *len_out, char etag[OBJSTORE_ETAG_MAX]);

/* objstore_mem_get_meta - a copy of one metadata value (name "content-type" and "storage-class"
 * give those), NULL if there is none; caller frees. */
char *objstore_mem_get_meta(struct objstore *s, const char *key, const char *name);

/* objstore_mem_delete - result: was it there? */
bool objstore_mem_delete(struct objstore *s, const char *key);

/* objstore_mem_key_at - a copy of the i-th key in order, NULL behind the last; caller frees. */
char *objstore_mem_key_at(struct objstore *s, size_t i);

#endif
