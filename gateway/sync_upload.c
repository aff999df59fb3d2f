/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_upload.c - rows of multipart uploads: which of them are ours, to be resumed or aborted.
 *
 * Only uploads that a row names are ever aborted.  One that is in the bucket without a row is
 * somebody else's (or ours of the instant before a crash): the bucket's lifecycle rule takes it.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

static void
row_free(struct upload_row *u)
{
	list_del(&u->link);
	free(u->key);
	free(u->upload_id);
	free(u);
}

static struct upload_row *
row_copy(const struct upload_row *u, bool is_del)
{
	struct upload_row *c = xmalloc(sizeof(*c));

	*c = *u;
	list_init(&c->link);
	c->is_del = is_del;
	c->key = xstrdup(u->key);
	c->upload_id = xstrdup(u->upload_id);
	return c;
}

static void
change(struct sync *y, const struct upload_row *u, bool is_del)
{
	list_add_tail(&y->upload_rows, &row_copy(u, is_del)->link);
	cache_mark(y->s->space);
}

struct upload_row *
upload_find(struct sync *y, uint64_t ino)
{
	struct list *l;

	list_for_each(l, &y->uploads)
	{
		struct upload_row *u = container_of(l, struct upload_row, link);

		if (u->ino == ino)
			return u;
	}
	return NULL;
}

static struct upload_row *
insert(struct sync *y, uint64_t ino, const char *key, const char *upload_id, uint64_t data_seq,
    uint64_t part_size)
{
	struct upload_row *u = xcalloc(1, sizeof(*u));

	u->ino = ino;
	u->data_seq = data_seq;
	u->part_size = part_size;
	u->key = xstrdup(key);
	u->upload_id = xstrdup(upload_id);
	list_add_tail(&y->uploads, &u->link);
	return u;
}

void
upload_add(struct sync *y, uint64_t ino, const char *key, const char *upload_id, uint64_t data_seq,
    uint64_t part_size)
{
	change(y, insert(y, ino, key, upload_id, data_seq, part_size), false);
}

void
upload_del(struct sync *y, struct upload_row *u)
{
	change(y, u, true);
	row_free(u);
}

void
upload_abort(struct sync *y, const char *key, const char *upload_id)
{
	struct objstore_req req = {.op = OBJ_MPU_ABORT, .key = key, .upload_id_in = upload_id};

	if (upload_id[0] == '\0')
		return;
	if (sync_call(y, &req) < 0 && req.result != -ERR_NO_UPLOAD && req.result != -ENOENT)
		log_warn("gateway.sync", "abort-failed", "share=%s key=\"%s\" err=\"%s\"",
		    y->s->conf.name, key, err_str(req.result));
	objstore_req_clear(&req);
}

void
upload_forget(struct sync_job *j)
{
	struct upload_row *u;
	char *key = NULL, *id = NULL;

	share_lock(j->s);
	u = upload_find(j->y, j->n->ino);
	if (u != NULL) {
		key = xstrdup(u->key);
		id = xstrdup(u->upload_id);
		upload_del(j->y, u);
	}
	share_unlock(j->s);
	if (u != NULL)
		upload_abort(j->y, key, id);
	free(key);
	free(id);
}

void
uploads_collect(struct sync *y, struct index_txn *txn)
{
	struct list *l;

	list_for_each(l, &y->upload_rows)
	{
		const struct upload_row *u = container_of(l, struct upload_row, link);
		struct index_upload row = {.ino = u->ino,
		    .space = y->s->id,
		    .key = u->key,
		    .upload_id = u->upload_id,
		    .data_seq = u->data_seq,
		    .part_size = u->part_size};

		if (u->is_del)
			index_txn_del_upload(txn, u->ino);
		else
			index_txn_put_upload(txn, &row);
	}
	list_splice_tail(&y->upload_rows_out, &y->upload_rows);
}

void
uploads_collected(struct sync *y, int err)
{
	if (err < 0) { /* once more, before what came since */
		list_splice_tail(&y->upload_rows_out, &y->upload_rows);
		list_splice_tail(&y->upload_rows, &y->upload_rows_out);
		return;
	}
	while (!list_empty(&y->upload_rows_out))
		row_free(container_of(y->upload_rows_out.next, struct upload_row, link));
}

static int
load_one(void *arg, const struct index_upload *u)
{
	if (u->key != NULL && u->upload_id != NULL && upload_find(arg, u->ino) == NULL)
		(void)insert(arg, u->ino, u->key, u->upload_id, u->data_seq, u->part_size);
	return 0;
}

int
uploads_load(struct sync *y)
{
	return index_each_upload(cache_index(y->s->env.cache), y->s->id, load_one, y);
}

void
uploads_free(struct sync *y)
{
	while (!list_empty(&y->uploads))
		row_free(container_of(y->uploads.next, struct upload_row, link));
	while (!list_empty(&y->upload_rows))
		row_free(container_of(y->upload_rows.next, struct upload_row, link));
	while (!list_empty(&y->upload_rows_out))
		row_free(container_of(y->upload_rows_out.next, struct upload_row, link));
}

/* abandoned - the node is gone, or has nothing to send any more. locked */
static struct upload_row *
abandoned(const struct sync *y)
{
	struct list *l;

	list_for_each(l, &y->uploads)
	{
		struct upload_row *u = container_of(l, struct upload_row, link);
		const struct node *n = node_by_ino(y->s, u->ino);

		if ((n != NULL && n->job != NULL && n->job->is_running) || early_has(y, u->ino))
			continue;
		if (u->data_seq == SYNC_EARLY_SEQ)
			return u; /* an earlier life's: nobody knows what is in its parts */
		if (n == NULL || n->flags & NODE_REMOVED || n->dirty_since_ns == 0)
			return u;
	}
	return NULL;
}

bool
uploads_abandoned(const struct sync *y)
{
	return !list_empty(&y->uploads) && abandoned(y) != NULL;
}

void
uploads_sweep(struct sync *y)
{
	struct upload_row *u, *copy;

	for (;;) {
		share_lock(y->s);
		u = y->closing || y->unavailable ? NULL : abandoned(y);
		copy = u != NULL ? row_copy(u, true) : NULL;
		if (u != NULL)
			upload_del(y, u);
		share_unlock(y->s);
		if (copy == NULL)
			return;
		upload_abort(y, copy->key, copy->upload_id);
		row_free(copy);
	}
}
