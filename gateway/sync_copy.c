/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_copy.c - same content, other key or other attributes: a copy inside the bucket.
 *
 * The copy replaces the metadata, so what other writers put there is carried over by hand: a HEAD
 * first, which also shows in time that the object is not the one we know.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define META_MAX 40

static bool
is_own_name(const struct put_attrs *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->meta.n; i++)
		if (strcmp(a->meta.items[i].name, name) == 0)
			return true;
	return false;
}

/* keep_foreign - our metadata plus whatever else the object carries; and its content type unless we
 * are to guess. items has room for META_MAX. */
static void
keep_foreign(const struct sync_job *j, struct put_attrs *a, const struct objstore_req *head,
    struct objstore_meta *items)
{
	size_t n = a->meta.n, i;

	memcpy(items, a->meta.items, n * sizeof(*items));
	for (i = 0; head->meta != NULL && i < head->meta->n && n < META_MAX; i++)
		if (!is_own_name(a, head->meta->items[i].name))
			items[n++] = head->meta->items[i];
	a->attrs.meta = items;
	a->attrs.nmeta = n;
	if (head->content_type[0] != '\0' && !j->s->conf.guess_mime_type)
		a->attrs.content_type = head->content_type;
}

/* do_copy - one request or many. result: 0 with the new etag */
static int
do_copy(struct sync_job *j, const char *to, const char *from, const char *from_etag, uint64_t size,
    const struct objstore_attrs *attrs, char etag[OBJSTORE_ETAG_MAX])
{
	struct objstore_req req = {
	    .op = OBJ_COPY, .key = to, .src_key = from, .src_if_match = from_etag, .attrs = attrs};
	char expect[OBJSTORE_ETAG_MAX] = "";
	int err;

	if (size > SYNC_COPY_MAX)
		return mpu_copy(j, from, from_etag, size, attrs, etag);
	if (strcmp(to, from) != 0 && !j->park_in_tmp) {
		share_lock(j->s);
		job_expect(j, &req, expect);
		share_unlock(j->s);
		/* Conditions on the target of a copy are young: few stores know them. */
		err = job_check_expect(j, &req, false);
		if (err < 0)
			return err;
		if (!share_store(j->s)->has_conditional_put) {
			req.if_match = NULL;
			req.if_none_match = false;
		}
	}
	err = sync_call(j->y, &req);
	if (err == 0)
		snprintf(etag, OBJSTORE_ETAG_MAX, "%s", req.etag);
	objstore_req_clear(&req);
	return err;
}

int
copy_object(struct sync_job *j, const char *to)
{
	char from[CW_KEY_MAX + 2] = "", from_etag[OBJSTORE_ETAG_MAX] = "",
			       etag[OBJSTORE_ETAG_MAX] = "";
	struct objstore_req head = {.op = OBJ_HEAD, .want_meta = true};
	struct objstore_meta items[META_MAX];
	struct written w = {.key = to, .etag = etag};
	struct put_attrs a;
	uint64_t data_seq;
	int err;

	share_lock(j->s);
	if (j->n->flags & NODE_REMOVED || j->n->remote.key == NULL) {
		share_unlock(j->s);
		return 0;
	}
	snprintf(from, sizeof(from), "%s", j->n->remote.key);
	if (j->n->remote.etag != NULL)
		snprintf(from_etag, sizeof(from_etag), "%s", j->n->remote.etag);
	data_seq = j->n->remote.data_seq;
	put_attrs_fill(j, data_seq, &a);
	share_unlock(j->s);
	j->what = strcmp(from, to) == 0 ? "attributes" : "copy";
	head.key = from;
	err = sync_call(j->y, &head);
	if (err == 0 && strcmp(head.etag, from_etag) != 0)
		err = -ERR_PRECONDITION;
	if (err == 0) {
		j->total_bytes = head.size;
		keep_foreign(j, &a, &head, items);
		err = do_copy(j, to, from, from_etag, head.size, &a.attrs, etag);
	}
	if (err == 0) {
		w.size = head.size;
		w.data_seq = data_seq;
		w.attr_seq = a.attr_seq;
		sync_record(j, &w);
	}
	objstore_req_clear(&head);
	put_attrs_free(&a);
	return err;
}
