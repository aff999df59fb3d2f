/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_node.c - one node made equal in the bucket: compare, act, record; again after what was learnt.
 *
 * Each round plans from the tree as it is at that moment, so a round may find that there is nothing
 * left to do, or something else.  What a round achieved is recorded under the lock in one go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/mime.h"
#include "gateway/sync_int.h"

#define ROUNDS 6 /* of plan, act, look again; then the node backs off */

enum act {
	ACT_NONE,
	ACT_HEAD,    /* attributes are not known: a copy would replace them */
	ACT_LIST,    /* a moved directory that was never listed: its names are at the old place */
	ACT_CONTENT, /* seal, PUT or multipart */
	ACT_SMALL,   /* directory marker, symlink */
	ACT_COPY,    /* same content, new key or new attributes */
	ACT_PARK,    /* to the temporary key, so that another node may have this one's */
};

/* --- headers ------------------------------------------------------------------------------------ */

static void
put_string(char *to, size_t cap, const char **field, const char *from, const char *leave_out)
{
	*field = NULL;
	if (from == NULL || from[0] == '\0' || strcmp(from, leave_out) == 0)
		return;
	snprintf(to, cap, "%s", from);
	*field = to;
}

void
put_attrs_fill(struct sync_job *j, uint64_t data_seq, struct put_attrs *a)
{
	const struct cw_share_conf *c = &j->s->conf;
	const struct node *n = j->n;
	struct meta_mark mark = {.id = j->s->env.appliance_id,
	    .ino = n->ino,
	    .seq = data_seq,
	    .boot = j->y->core->boot,
	    .gen = index_incarnation(cache_index(j->s->env.cache)),
	    .key_crc = digest_crc32c(0, j->key, strlen(j->key))};
	const char *type = "application/octet-stream";

	memset(&a->attrs, 0, sizeof(a->attrs));
	meta_build(
	    &a->meta, n->mode, c->meta_4digit, n->uid, n->gid, n->mtime_ns, n->atime_ns, &mark);
	if (S_ISDIR(n->mode))
		type = "application/x-directory";
	else if (c->guess_mime_type && S_ISREG(n->mode) && n->name != NULL)
		type = mime_guess(n->name, n->name_len);
	snprintf(a->content_type, sizeof(a->content_type), "%s", type);
	a->attrs.content_type = a->content_type;
	if (!S_ISDIR(n->mode)) /* markers are too small for classes with a minimum size */
		put_string(a->storage_class, sizeof(a->storage_class), &a->attrs.storage_class,
		    c->default_storage_class, "STANDARD");
	put_string(a->acl, sizeof(a->acl), &a->attrs.acl, c->object_acl, "private");
	put_string(a->sse, sizeof(a->sse), &a->attrs.sse, c->sse, "");
	a->kms = c->sse_kms_key != NULL ? xstrdup(c->sse_kms_key) : NULL;
	a->attrs.sse_kms_key = a->kms;
	a->attrs.meta = a->meta.items;
	a->attrs.nmeta = a->meta.n;
	a->attr_seq = n->attr_seq;
}

void
put_attrs_free(struct put_attrs *a)
{
	free(a->kms);
	a->kms = NULL;
}

/* --- what a write expects to find ---------------------------------------------------------------- */

void
job_expect(struct sync_job *j, struct objstore_req *req, char buf[OBJSTORE_ETAG_MAX])
{
	const struct remote *r = &j->n->remote;
	const struct tomb *t;

	buf[0] = '\0';
	if (j->has_expect) {
		snprintf(buf, OBJSTORE_ETAG_MAX, "%s", j->expect);
	} else if (r->key != NULL && strcmp(r->key, j->key) == 0) {
		if (r->etag != NULL)
			snprintf(buf, OBJSTORE_ETAG_MAX, "%s", r->etag);
	} else {
		t = tomb_find(j->y, j->key);
		if (t != NULL && t->etag != NULL)
			snprintf(buf, OBJSTORE_ETAG_MAX, "%s", t->etag);
	}
	req->if_match = buf[0] != '\0' ? buf : NULL;
	req->if_none_match = buf[0] == '\0';
}

int
job_check_expect(struct sync_job *j, const struct objstore_req *req, bool has_condition)
{
	struct objstore_req head = {.op = OBJ_HEAD, .key = j->key};
	int err;

	if (has_condition)
		return 0;
	err = sync_call(j->y, &head);
	if (err == -ENOENT)
		err = req->if_match != NULL ? -ERR_PRECONDITION : 0;
	else if (err == 0 && (req->if_match == NULL || strcmp(req->if_match, head.etag) != 0))
		err = -ERR_PRECONDITION;
	objstore_req_clear(&head);
	return err;
}

int
sync_probe_once(struct sync *y)
{
	struct objstore *store = share_store(y->s);
	int err = 0;

	pthread_mutex_lock(&y->probe_mutex);
	if (y->probed_store != store) {
		err = objstore_probe(store, y->s->conf.prefix);
		if (err == 0 && y->probed_store == NULL)
			sync_litter_sweep(y);
		if (err == 0)
			y->probed_store = store;
	}
	pthread_mutex_unlock(&y->probe_mutex);
	return err;
}

/* --- recording ---------------------------------------------------------------------------------- */

/* record_removed - the node went while its object was written: what was written goes too. locked */
static void
record_removed(struct sync_job *j, const struct written *w)
{
	struct tomb *t = tomb_find(j->y, w->key);

	if (t != NULL && t->etag == NULL)
		tomb_drop(j->y, t); /* now we know better */
	tomb_add(j->y, w->key, w->etag);
	if (j->n->nopen == 0)
		return;
	if (j->n->remote.key != NULL && strcmp(j->n->remote.key, w->key) == 0) {
		remote_set(j->s, j->n, w->key, w->etag); /* what was not sealed is equal in both */
		j->n->remote.size = w->size;
	}
	tomb_hold(j->y, j->n);
}

static void
record_live(struct sync_job *j, const struct written *w)
{
	struct sync *y = j->y;
	struct node *n = j->n;
	struct upload_row *u;
	struct tomb *t;

	if (n->remote.key != NULL && strcmp(n->remote.key, w->key) != 0 && n->remote.etag != NULL) {
		tomb_add(y, n->remote.key, n->remote.etag);
		tomb_find(y, n->remote.key)->not_before_ms = 0; /* settled already */
	}
	t = tomb_find(y, w->key);
	if (t != NULL)
		tomb_drop(y, t);
	remote_set(j->s, n, w->key, w->etag);
	n->remote.size = w->size;
	n->remote.mtime_ns = 0; /* the next LIST tells */
	n->remote.data_seq = w->data_seq;
	n->remote.attr_seq = w->attr_seq;
	n->flags &= ~(uint32_t)NODE_NO_MARKER;
	if (w->is_sealed) {
		cache_seal_done(n->u.file);
		j->has_seal = j->seal_is_durable = j->no_part_copy = j->has_early_mark = false;
		u = upload_find(y, n->ino);
		if (u != NULL)
			upload_del(y, u);
	}
	if (j->unsure_key != NULL && strcmp(j->unsure_key, w->key) != 0)
		tomb_add(y, j->unsure_key, NULL);
	sync_job_sure(j);
	node_changed(j->s, n);
	cache_mark(j->s->space);
}

void
sync_record(struct sync_job *j, const struct written *w)
{
	struct sync *y = j->y;
	bool live;

	share_lock(j->s);
	live = !(j->n->flags & NODE_REMOVED);
	key_touched(y, w->key);
	if (live)
		record_live(j, w);
	else
		record_removed(j, w);
	j->has_expect = false;
	if (w->is_sealed || !S_ISREG(j->n->mode)) {
		y->uploaded_objects++;
		metric_add(y->m_up_objects, 1);
	} else {
		metric_add(y->m_copies, 1);
	}
	if (live && w->is_sealed)
		notice_add(y, j->n);
	share_unlock(j->s);
}

/* --- plan and act ------------------------------------------------------------------------------- */

static enum act
plan_dir(struct sync_job *j, bool is_moved)
{
	struct node *n = j->n;

	if (is_moved && !(n->flags & NODE_LISTED))
		return ACT_LIST;
	if (!(n->flags & NODE_NO_MARKER))
		return ACT_SMALL;
	if (n->remote.attr_seq != n->attr_seq) {
		n->flags &= ~(uint32_t)NODE_NO_MARKER;
		return ACT_SMALL;
	}
	remote_set(j->s, n, j->key, NULL); /* an implicit directory moves with what is in it */
	node_changed(j->s, n);
	return ACT_NONE;
}

/* plan - locked. */
static enum act
plan(struct sync_job *j)
{
	struct node *n = j->n;
	char key[CW_KEY_MAX + 2];
	bool is_moved;

	if (n->flags & NODE_REMOVED)
		return ACT_NONE;
	if (j->park_in_tmp)
		return n->remote.key != NULL && n->remote.etag != NULL ? ACT_PARK : ACT_NONE;
	if (sync_in_sync(j->s, n) || node_key(j->s, n, key) < 0 || strcmp(key, j->key) != 0) {
		j->replan = true; /* renamed since the key was taken: another job, other keys */
		return ACT_NONE;
	}
	is_moved = n->remote.key != NULL && strcmp(n->remote.key, j->key) != 0;
	if (n->remote.key != NULL && n->flags & NODE_META_UNKNOWN)
		return ACT_HEAD;
	if (S_ISDIR(n->mode))
		return plan_dir(j, is_moved);
	if (S_ISLNK(n->mode))
		return n->u.target != NULL ? ACT_SMALL : ACT_HEAD;
	if (n->remote.key == NULL || n->remote.data_seq != n->data_seq ||
	    (n->u.file != NULL && n->u.file->has_sealed))
		return ACT_CONTENT;
	return ACT_COPY;
}

/* act_copy - a store that cannot copy gets the bytes once more, read through the cache. */
static int
act_copy(struct sync_job *j)
{
	int err = copy_object(j, j->key);

	if (err == -ENOSYS) {
		share_lock(j->s);
		j->y->has_no_copy = true;
		share_unlock(j->s);
	}
	return err == -ENOSYS && S_ISREG(j->n->mode) ? put_content(j) : err;
}

static int
act_park(struct sync_job *j)
{
	int err = act_copy(j);

	return err == -ERR_PRECONDITION ? -EAGAIN : err;
}

static int
act(struct sync_job *j, enum act what)
{
	switch (what) {
	case ACT_HEAD:
		j->what = "attributes";
		return head_now(j->y, j->n);
	case ACT_LIST:
		j->what = "list";
		return list_dir(j->y, j->n, NULL);
	case ACT_CONTENT:
		return put_content(j);
	case ACT_SMALL:
		j->what = "put";
		return put_small_object(j);
	case ACT_COPY:
		return act_copy(j);
	case ACT_PARK:
		return act_park(j);
	case ACT_NONE:
		break;
	}
	return 0;
}

/* node_run - result: 0 when what was planned is done (the caller looks whether more is due). */
static int
node_run(struct sync_job *j)
{
	enum act what;
	uint64_t size;
	int err, round;

	for (round = 0; round < ROUNDS; round++) {
		share_lock(j->s);
		what = plan(j);
		share_unlock(j->s);
		if (what == ACT_NONE)
			return 0;
		if (what != ACT_HEAD && what != ACT_LIST) {
			err = sync_probe_once(j->y);
			if (err < 0)
				return err;
		}
		err = act(j, what);
		if (err == 0 && what != ACT_HEAD && what != ACT_LIST)
			return 0;
		if (err == 0 || err == -EAGAIN)
			continue;
		if (err != -ERR_PRECONDITION && err != -ENOENT && err != -ERR_INVALID_RANGE)
			return err;
		share_lock(j->s);
		size = j->n->flags & NODE_REMOVED ? 0
		       : j->has_seal		  ? j->n->u.file->sealed_size
						  : j->n->remote.size;
		share_unlock(j->s);
		err = sync_resolve(j, what == ACT_CONTENT, size);
		if (err != 0)
			return err > 0 ? 0 : err;
	}
	return -EAGAIN;
}

void
sync_node_run(struct work *w)
{
	struct sync_job *j = container_of(w, struct sync_job, work);
	int err;

	j->done_bytes = 0;
	j->total_bytes = 0;
	err = node_run(j);
	if (err < 0 && err != -ECANCELED)
		log_debug("gateway.sync", "job-failed", "share=%s ino=%llu what=%s err=\"%s\"",
		    j->s->conf.name, (unsigned long long)j->n->ino, j->what, err_str(err));
	sync_job_finish(j, err);
}
