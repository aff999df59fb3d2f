/* SPDX-License-Identifier: Apache-2.0 */
/* objstore.c - what every object store has in common: waiting, results, the probe. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "s3/objstore_int.h"

const char *
objstore_op_name(enum objstore_opcode op)
{
	static const char *const names[] = {
	    [OBJ_GET] = "get",
	    [OBJ_HEAD] = "head",
	    [OBJ_PUT] = "put",
	    [OBJ_DELETE] = "delete",
	    [OBJ_DELETE_MANY] = "delete_many",
	    [OBJ_COPY] = "copy",
	    [OBJ_LIST] = "list",
	    [OBJ_MPU_CREATE] = "mpu_create",
	    [OBJ_MPU_PART] = "mpu_part",
	    [OBJ_MPU_PART_COPY] = "mpu_part_copy",
	    [OBJ_MPU_COMPLETE] = "mpu_complete",
	    [OBJ_MPU_ABORT] = "mpu_abort",
	    [OBJ_MPU_LIST] = "mpu_list",
	    [OBJ_MPU_PARTS] = "mpu_parts",
	    [OBJ_BUCKET_HEAD] = "bucket_head",
	    [OBJ_BUCKET_CREATE] = "bucket_create",
	};

	return (unsigned int)op < OBJ_OP_MAX ? names[op] : "unknown";
}

/* ---- results ---- */

void
objstorei_copy(char *to, size_t cap, const char *from)
{
	size_t len = from != NULL ? strlen(from) : 0;

	if (len >= cap)
		len = cap - 1;
	if (len > 0)
		memcpy(to, from, len);
	to[len] = '\0';
}

bool
objstorei_is_conditional(const struct objstore_req *req)
{
	return req->if_match != NULL || req->if_none_match;
}

void
objstorei_begin(struct objstore_req *req)
{
	req->result = 0;
	req->http_status = 0;
	req->error_code[0] = '\0';
	req->got = 0;
	req->size = 0;
	req->mtime_ns = 0;
	req->etag[0] = '\0';
	req->content_type[0] = '\0';
	req->storage_class[0] = '\0';
	req->upload_id[0] = '\0';
	req->meta = NULL;
	memset(&req->list, 0, sizeof(req->list));
	if (req->op == OBJ_MPU_PARTS) {
		req->parts = NULL;
		req->nparts = 0;
	}
	req->maybe_applied = false;
	req->impl = NULL;
}

void
objstorei_forget(struct objstore_req *req)
{
	bool maybe_applied = req->maybe_applied;

	for (size_t i = 0; i < req->list.n; i++) {
		free(req->list.entries[i].key);
		free(req->list.entries[i].upload_id);
	}
	free(req->list.entries);
	free(req->list.next_token);
	free(req->list.next_upload_marker);
	free(req->meta);
	if (req->op == OBJ_MPU_PARTS)
		free(req->parts);
	objstorei_begin(req);
	req->maybe_applied = maybe_applied;
}

void
objstore_req_clear(struct objstore_req *req)
{
	objstorei_forget(req);
	memset(req, 0, sizeof(*req));
}

struct objstore_entry *
objstorei_list_add(struct objstore_list *list, const char *key, size_t len)
{
	struct objstore_entry *e;

	if (list->n == list->cap) {
		list->cap = list->cap > 0 ? 2 * list->cap : 64;
		list->entries = xrealloc(list->entries, list->cap * sizeof(*list->entries));
	}
	e = &list->entries[list->n++];
	memset(e, 0, sizeof(*e));
	e->key = xstrndup(key, len);
	return e;
}

static int
entry_compare(const void *a, const void *b)
{
	const struct objstore_entry *x = a, *y = b;

	return strcmp(x->key, y->key);
}

void
objstorei_list_sort(struct objstore_list *list)
{
	if (list->n > 1)
		qsort(list->entries, list->n, sizeof(*list->entries), entry_compare);
}

bool
objstorei_meta_add(struct objstore_meta_buf *meta, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
	size_t max = sizeof(meta->items) / sizeof(meta->items[0]);
	size_t room = sizeof(meta->text) - meta->text_len;
	char *at = meta->text + meta->text_len;

	if (meta->n == max || name_len >= room || value_len + 2 > room - name_len)
		return false;
	meta->items[meta->n].name = at;
	for (size_t i = 0; i < name_len; i++)
		*at++ = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
	*at++ = '\0';
	meta->items[meta->n++].value = at;
	memcpy(at, value, value_len);
	at[value_len] = '\0';
	meta->text_len += name_len + value_len + 2;
	return true;
}

/* ---- waiting ---- */

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int pending;
};

static void
waiter_init(struct waiter *w)
{
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
	w->pending = 0;
}

static void
waiter_done(struct objstore_req *req)
{
	struct waiter *w = req->ctx;

	/* signalled under the lock: the waiter's stack frame is gone once it sees pending == 0 */
	pthread_mutex_lock(&w->lock);
	if (--w->pending == 0)
		pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void
waiter_submit(struct waiter *w, struct objstore *s, struct objstore_req *req)
{
	pthread_mutex_lock(&w->lock);
	w->pending++;
	pthread_mutex_unlock(&w->lock);
	req->done = waiter_done;
	req->ctx = w;
	objstore_submit(s, req);
}

static void
waiter_wait(struct waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->pending > 0)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->lock);
}

int
objstore_call(struct objstore *s, struct objstore_req *req)
{
	void (*done)(struct objstore_req *) = req->done;
	void *ctx = req->ctx;
	struct waiter w;

	waiter_init(&w);
	waiter_submit(&w, s, req);
	waiter_wait(&w);
	req->done = done;
	req->ctx = ctx;
	return req->result;
}

/* ---- probe ---- */

/* probe_put - one small PUT; the condition is what is being asked about. */
static int
probe_put(struct objstore *s, const char *key, const char *if_match, char etag[OBJSTORE_ETAG_MAX])
{
	struct objstore_req req = {
	    .op = OBJ_PUT, .key = key, .body = "probe", .body_len = 5, .if_match = if_match};
	int err = objstore_call(s, &req);

	if (err == 0 && etag != NULL)
		objstorei_copy(etag, OBJSTORE_ETAG_MAX, req.etag);
	objstore_req_clear(&req);
	return err;
}

/* probe_race - two If-None-Match PUTs of one new key at once: exactly one may win. */
static int
probe_race(struct objstore *s, const char *key, bool *one_won, char etag[OBJSTORE_ETAG_MAX])
{
	struct objstore_req reqs[2];
	struct waiter w;
	unsigned int won = 0, lost = 0;
	int err = 0;

	waiter_init(&w);
	for (int i = 0; i < 2; i++) {
		reqs[i] = (struct objstore_req){.op = OBJ_PUT,
		    .key = key,
		    .body = i == 0 ? "probe0" : "probe1",
		    .body_len = 6,
		    .if_none_match = true};
		waiter_submit(&w, s, &reqs[i]);
	}
	waiter_wait(&w);
	for (int i = 0; i < 2; i++) {
		won += reqs[i].result == 0;
		lost += reqs[i].result == -ERR_PRECONDITION;
		if (reqs[i].result == 0)
			objstorei_copy(etag, OBJSTORE_ETAG_MAX, reqs[i].etag);
		else if (reqs[i].result != -ERR_PRECONDITION)
			err = reqs[i].result;
		objstore_req_clear(&reqs[i]);
	}
	*one_won = won == 1 && lost == 1;
	return err;
}

/* is_refusal - the store answered, and the answer is that it does not do such a thing. */
static bool
is_refusal(int err)
{
	return err == -ENOSYS || err == -EINVAL || err == -EOPNOTSUPP;
}

/* probe_if_match - a wrong ETag must be refused and the right one taken. */
static int
probe_if_match(struct objstore *s, const char *key, const char *etag, bool *holds)
{
	int err = probe_put(s, key, "00000000000000000000000000000000", NULL);

	*holds = err == -ERR_PRECONDITION;
	if (*holds) {
		err = probe_put(s, key, etag, NULL);
		*holds = err == 0;
	}
	return is_refusal(err) || err == -ERR_PRECONDITION ? 0 : err;
}

/* probe_complete - an If-None-Match complete over an object that exists must be refused. */
static int
probe_complete(struct objstore *s, const char *key, bool *holds)
{
	struct objstore_part part = {.number = 1};
	struct objstore_req create = {.op = OBJ_MPU_CREATE, .key = key};
	struct objstore_req put = {.op = OBJ_MPU_PART,
	    .key = key,
	    .upload_id_in = create.upload_id,
	    .part_number = 1,
	    .body = "probe",
	    .body_len = 5};
	struct objstore_req complete = {.op = OBJ_MPU_COMPLETE,
	    .key = key,
	    .upload_id_in = create.upload_id,
	    .parts = &part,
	    .nparts = 1,
	    .if_none_match = true};
	struct objstore_req abort = {
	    .op = OBJ_MPU_ABORT, .key = key, .upload_id_in = create.upload_id};
	int err = objstore_call(s, &create);

	*holds = false;
	if (err < 0)
		return is_refusal(err) ? 0 : err;
	err = objstore_call(s, &put);
	if (err == 0) {
		objstorei_copy(part.etag, sizeof(part.etag), put.etag);
		err = objstore_call(s, &complete);
		*holds = err == -ERR_PRECONDITION;
	}
	if (err < 0)
		(void)objstore_call(s, &abort); /* what stays is swept with abandoned uploads */
	return *holds || is_refusal(err) ? 0 : err;
}

int
objstore_probe(struct objstore *s, const char *prefix)
{
	char etag[OBJSTORE_ETAG_MAX] = "", hex[33], *key;
	struct objstore_req delete = {.op = OBJ_DELETE};
	bool race = false, match = false, complete = false;
	uint8_t id[16];
	int err;

	s->has_conditional_put = s->has_conditional_complete = false;
	random_bytes(id, sizeof(id));
	digest_hex(id, sizeof(id), hex);
	key = xasprintf("%s.causeway-probe-%s", prefix != NULL ? prefix : "", hex);
	err = probe_race(s, key, &race, etag);
	if (is_refusal(err)) {
		/* the header is not known at all: see whether plain writes work */
		err = probe_put(s, key, NULL, etag);
	} else if (err == 0 && race) {
		err = probe_if_match(s, key, etag, &match);
		if (err == 0)
			err = probe_complete(s, key, &complete);
	}
	delete.key = key;
	if (objstore_call(s, &delete) < 0)
		log_warn("s3.probe", "delete-failed", "store=%s key=%s err=\"%s\"", s->label, key,
		    err_str(delete.result));
	objstore_req_clear(&delete);
	free(key);
	if (err < 0)
		return err;
	s->has_conditional_put = race && match;
	s->has_conditional_complete = race && match && complete;
	log_info("s3.probe", "probed", "store=%s conditional_put=%d conditional_complete=%d",
	    s->label, s->has_conditional_put, s->has_conditional_complete);
	return 0;
}
