/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem_bucket.c - S3's semantics over a sorted array of objects.
 *
 * What is deliberately like S3: times have a resolution of one second in HEAD and one millisecond
 * in LIST; an ETag is the MD5 of the bytes, or of the parts' MD5s with "-N"; a copy of an object
 * onto itself keeps the bytes and takes the new attributes; deleting nothing succeeds.
 * What is not: no minimum size of parts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "s3/mem_bucket_int.h"
#include "s3/objstore_int.h"

#define NS_PER_S 1000000000
#define NS_PER_MS 1000000

int
mem_fail(struct objstore_req *req, int err, int status, const char *code)
{
	req->http_status = status;
	objstorei_copy(req->error_code, sizeof(req->error_code), code);
	return err;
}

/* ---- objects ---- */

static size_t
lower_bound(const struct mem_bucket *b, const char *key)
{
	size_t lo = 0, hi = b->nobjects;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(b->objects[mid]->key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct mem_object *
mem_bucket_find(const struct mem_bucket *b, const char *key)
{
	size_t i = lower_bound(b, key);

	return i < b->nobjects && strcmp(b->objects[i]->key, key) == 0 ? b->objects[i] : NULL;
}

void
mem_object_free(struct mem_object *o)
{
	for (size_t i = 0; i < o->nmeta; i++) {
		free((char *)(uintptr_t)o->meta[i].name);
		free((char *)(uintptr_t)o->meta[i].value);
	}
	free(o->meta);
	free(o->content_type);
	free(o->storage_class);
	free(o->data);
	free(o->key);
	free(o);
}

static char *
dup_or_null(const char *s)
{
	return s != NULL ? xstrdup(s) : NULL;
}

/* object_new - takes data. */
struct mem_object *
mem_object_new(const char *key, char *data, size_t len, const struct objstore_attrs *attrs)
{
	struct mem_object *o = xcalloc(1, sizeof(*o));

	o->key = xstrdup(key);
	o->data = data;
	o->len = len;
	o->mtime_ns = clock_real_ns();
	if (attrs == NULL)
		return o;
	o->content_type = dup_or_null(attrs->content_type);
	o->storage_class = dup_or_null(attrs->storage_class);
	o->meta = xcalloc(attrs->nmeta + 1, sizeof(*o->meta));
	for (size_t i = 0; i < attrs->nmeta; i++) {
		o->meta[i].name = xstrdup(attrs->meta[i].name);
		o->meta[i].value = xstrdup(attrs->meta[i].value);
	}
	o->nmeta = attrs->nmeta;
	return o;
}

/* insert - takes o, in place of what has its key. */
void
mem_insert(struct mem_bucket *b, struct mem_object *o)
{
	size_t i = lower_bound(b, o->key);

	if (i < b->nobjects && strcmp(b->objects[i]->key, o->key) == 0) {
		mem_object_free(b->objects[i]);
		b->objects[i] = o;
		return;
	}
	if (b->nobjects == b->cap) {
		b->cap = b->cap > 0 ? 2 * b->cap : 64;
		b->objects = xrealloc(b->objects, b->cap * sizeof(struct mem_object *));
	}
	memmove(
	    &b->objects[i + 1], &b->objects[i], (b->nobjects - i) * sizeof(struct mem_object *));
	b->objects[i] = o;
	b->nobjects++;
}

char *
mem_copy_bytes(const void *data, size_t len)
{
	char *copy = xmalloc(len + 1);

	if (len > 0)
		memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}

struct mem_object *
mem_bucket_put(struct mem_bucket *b, const char *key, const void *data, size_t len,
    const struct objstore_attrs *attrs)
{
	struct mem_object *o = mem_object_new(key, mem_copy_bytes(data, len), len, attrs);
	uint8_t md5[MD5_LEN];

	digest_md5(o->data, len, md5);
	digest_hex(md5, sizeof(md5), o->etag);
	mem_insert(b, o);
	return o;
}

bool
mem_bucket_delete(struct mem_bucket *b, const char *key)
{
	size_t i = lower_bound(b, key);

	if (i == b->nobjects || strcmp(b->objects[i]->key, key) != 0)
		return false;
	mem_object_free(b->objects[i]);
	memmove(&b->objects[i], &b->objects[i + 1],
	    (b->nobjects - i - 1) * sizeof(struct mem_object *));
	b->nobjects--;
	return true;
}

/* check_target - the conditions of a write. */
int
mem_check_target(const struct mem_bucket *b, struct objstore_req *req)
{
	const struct mem_object *o = mem_bucket_find(b, req->key);

	if (b->ignores_conditions)
		return 0;
	if (req->if_none_match && o != NULL)
		return mem_fail(req, -ERR_PRECONDITION, 412, "PreconditionFailed");
	if (req->if_match == NULL)
		return 0;
	if (o == NULL)
		return mem_fail(req, -ERR_PRECONDITION, 404, "NoSuchKey");
	if (strcmp(o->etag, req->if_match) != 0)
		return mem_fail(req, -ERR_PRECONDITION, 412, "PreconditionFailed");
	return 0;
}

static void
describe(const struct mem_object *o, struct objstore_req *req)
{
	req->size = o->len;
	req->mtime_ns = o->mtime_ns / NS_PER_S * NS_PER_S;
	objstorei_copy(req->etag, sizeof(req->etag), o->etag);
	objstorei_copy(req->content_type, sizeof(req->content_type),
	    o->content_type != NULL ? o->content_type : "binary/octet-stream");
	objstorei_copy(req->storage_class, sizeof(req->storage_class),
	    o->storage_class != NULL ? o->storage_class : "STANDARD");
	if (!req->want_meta)
		return;
	req->meta = xcalloc(1, sizeof(*req->meta));
	for (size_t i = 0; i < o->nmeta; i++)
		objstorei_meta_add(req->meta, o->meta[i].name, strlen(o->meta[i].name),
		    o->meta[i].value, strlen(o->meta[i].value));
}

/* range_of - the bytes of o that req asks for. */
int
mem_range_of(const struct mem_object *o, struct objstore_req *req, size_t *off, size_t *len)
{
	*off = 0;
	*len = o->len;
	if (req->range_off == 0 && req->range_len == 0)
		return 0;
	if (req->range_off >= o->len)
		return mem_fail(req, -ERR_INVALID_RANGE, 416, "InvalidRange");
	*off = req->range_off;
	*len = o->len - *off;
	if (req->range_len > 0 && req->range_len < *len)
		*len = req->range_len;
	return 0;
}

static int
run_get(struct mem_bucket *b, struct objstore_req *req)
{
	const struct mem_object *o = mem_bucket_find(b, req->key);
	size_t off, len;
	int err;

	if (o == NULL)
		return mem_fail(req, -ENOENT, 404, "NoSuchKey");
	if (req->if_match != NULL && strcmp(req->if_match, o->etag) != 0)
		return mem_fail(req, -ERR_PRECONDITION, 412, "PreconditionFailed");
	err = mem_range_of(o, req, &off, &len);
	if (err < 0)
		return err;
	describe(o, req);
	if (len > req->buf_cap)
		return -EFBIG;
	if (len > 0)
		memcpy(req->buf, o->data + off, len);
	req->got = len;
	return 0;
}

static int
run_head(struct mem_bucket *b, struct objstore_req *req)
{
	const struct mem_object *o = mem_bucket_find(b, req->key);

	if (o == NULL)
		return mem_fail(req, -ENOENT, 404, "");
	if (req->if_match != NULL && strcmp(req->if_match, o->etag) != 0)
		return mem_fail(req, -ERR_PRECONDITION, 412, "");
	describe(o, req);
	return 0;
}

static int
run_put(struct mem_bucket *b, struct objstore_req *req)
{
	int err = mem_check_target(b, req);

	if (err < 0)
		return err;
	objstorei_copy(req->etag, sizeof(req->etag),
	    mem_bucket_put(b, req->key, req->body, req->body_len, req->attrs)->etag);
	return 0;
}

static int
run_delete_many(struct mem_bucket *b, struct objstore_req *req)
{
	for (size_t i = 0; i < req->nkeys; i++) {
		mem_bucket_delete(b, req->keys[i]);
		if (req->key_errs != NULL)
			req->key_errs[i] = 0;
	}
	return 0;
}

/* source_of - the source of a copy, if it is what src_if_match wants. */
int
mem_source_of(struct mem_bucket *b, struct objstore_req *req, const struct mem_object **out)
{
	const struct mem_object *src = mem_bucket_find(b, req->src_key);

	*out = src;
	if (src == NULL)
		return mem_fail(req, -ENOENT, 404, "NoSuchKey");
	if (req->op == OBJ_MPU_PART_COPY && b->ignores_conditions)
		return 0; /* as Ceph RGW does, which knows the others */
	if (req->src_if_match != NULL && strcmp(src->etag, req->src_if_match) != 0)
		return mem_fail(req, -ERR_PRECONDITION, 412, "PreconditionFailed");
	return 0;
}

static int
run_copy(struct mem_bucket *b, struct objstore_req *req)
{
	const struct mem_object *src;
	struct mem_object *copy;
	int err = mem_source_of(b, req, &src);

	if (err == 0)
		err = mem_check_target(b, req);
	if (err < 0)
		return err;
	/* as S3 does, a copy of a multipart object by one request gets a plain ETag */
	copy = mem_object_new(req->key, mem_copy_bytes(src->data, src->len), src->len,
	    req->attrs != NULL ? req->attrs
			       : &(struct objstore_attrs){.content_type = src->content_type,
				     .storage_class = src->storage_class,
				     .meta = src->meta,
				     .nmeta = src->nmeta});
	if (strchr(src->etag, '-') == NULL) {
		memcpy(copy->etag, src->etag, sizeof(copy->etag));
	} else {
		uint8_t md5[MD5_LEN];

		digest_md5(copy->data, copy->len, md5);
		digest_hex(md5, sizeof(md5), copy->etag);
	}
	objstorei_copy(req->etag, sizeof(req->etag), copy->etag);
	req->mtime_ns = copy->mtime_ns / NS_PER_MS * NS_PER_MS;
	mem_insert(b, copy);
	return 0;
}

/* ---- list ---- */

/* list_start - index of the first object behind start_after or the token. A token that ends in
 * the delimiter names a common prefix, all of which has been listed. */
static size_t
list_start(const struct mem_bucket *b, const struct objstore_req *req)
{
	const char *after = req->token != NULL ? req->token : req->start_after;
	size_t i = lower_bound(b, req->prefix != NULL ? req->prefix : ""), at;
	bool is_prefix = req->token != NULL && req->token[0] == 'P';

	if (req->token != NULL)
		after = req->token[0] != '\0' ? req->token + 1 : "";
	if (after == NULL)
		return i;
	at = lower_bound(b, after);
	while (
	    at < b->nobjects && (is_prefix ? strncmp(b->objects[at]->key, after, strlen(after)) == 0
					   : strcmp(b->objects[at]->key, after) == 0))
		at++;
	return at > i ? at : i;
}

static void
list_add(struct objstore_list *list, const struct mem_object *o, size_t prefix_len)
{
	struct objstore_entry *e =
	    objstorei_list_add(list, o->key, prefix_len > 0 ? prefix_len : strlen(o->key));

	e->is_prefix = prefix_len > 0;
	if (e->is_prefix)
		return;
	e->size = o->len;
	e->mtime_ns = o->mtime_ns / NS_PER_MS * NS_PER_MS;
	memcpy(e->etag, o->etag, sizeof(e->etag));
	objstorei_copy(e->storage_class, sizeof(e->storage_class),
	    o->storage_class != NULL ? o->storage_class : "STANDARD");
}

static int
run_list(struct mem_bucket *b, struct objstore_req *req)
{
	const char *prefix = req->prefix != NULL ? req->prefix : "";
	const char *delimiter = req->delimiter != NULL ? req->delimiter : "";
	size_t prefix_len = strlen(prefix), max = req->max_keys > 0 ? req->max_keys : 1000;
	size_t i = list_start(b, req);

	while (i < b->nobjects && strncmp(b->objects[i]->key, prefix, prefix_len) == 0) {
		const struct mem_object *o = b->objects[i];
		const char *cut =
		    delimiter[0] != '\0' ? strstr(o->key + prefix_len, delimiter) : NULL;
		size_t common = cut != NULL ? (size_t)(cut - o->key) + strlen(delimiter) : 0;

		if (req->list.n == max) {
			const struct objstore_entry *last = &req->list.entries[max - 1];

			req->list.truncated = true;
			req->list.next_token =
			    xasprintf("%c%s", last->is_prefix ? 'P' : 'K', last->key);
			return 0;
		}
		list_add(&req->list, o, common);
		i++;
		while (common > 0 && i < b->nobjects &&
		       strncmp(b->objects[i]->key, o->key, common) == 0)
			i++;
	}
	return 0;
}

/* ---- dispatch ---- */

static int
run(struct mem_bucket *b, struct objstore_req *req)
{
	switch (req->op) {
	case OBJ_GET:
		return run_get(b, req);
	case OBJ_HEAD:
		return run_head(b, req);
	case OBJ_PUT:
		return run_put(b, req);
	case OBJ_DELETE:
		mem_bucket_delete(b, req->key);
		return 0;
	case OBJ_DELETE_MANY:
		return run_delete_many(b, req);
	case OBJ_COPY:
		return run_copy(b, req);
	case OBJ_LIST:
		return run_list(b, req);
	case OBJ_MPU_CREATE:
		return mem_upload_create(b, req);
	case OBJ_MPU_PART:
		return mem_upload_part(
		    b, req, mem_copy_bytes(req->body, req->body_len), req->body_len);
	case OBJ_MPU_PART_COPY:
		return mem_upload_part_copy(b, req);
	case OBJ_MPU_COMPLETE:
		return mem_upload_complete(b, req);
	case OBJ_MPU_ABORT:
		return mem_upload_abort(b, req);
	case OBJ_MPU_LIST:
		return mem_upload_list(b, req);
	case OBJ_MPU_PARTS:
		return mem_upload_parts(b, req);
	case OBJ_BUCKET_HEAD:
	case OBJ_BUCKET_CREATE:
		return 0;
	case OBJ_OP_MAX:
		break;
	}
	return -EINVAL;
}

void
mem_bucket_run(struct mem_bucket *b, struct objstore_req *req)
{
	req->http_status = 200;
	req->result = run(b, req);
}

void
mem_bucket_free(struct mem_bucket *b)
{
	mem_upload_free_all(b);
	for (size_t i = 0; i < b->nobjects; i++)
		mem_object_free(b->objects[i]);
	free(b->objects);
	memset(b, 0, sizeof(*b));
}
