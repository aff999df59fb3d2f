/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conflict.c - the bucket is not as we left it (P9).
 *
 * First question: was it us?  A write whose reply was lost, or that a crash kept us from recording,
 * shows our mark (appliance, inode, index incarnation).  Only what is not ours is a conflict.  Then
 * the bucket's object keeps its name and becomes a node; ours becomes "<name>.conflict-...": nothing
 * is lost, and an event says so.  SYNC.md has the table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

struct resolving {
	struct sync_job *j;
	bool wrote_sealed;
	uint64_t size; /* of what was written */
	bool is_moved; /* the node's object lies at old_key, not at j->key */
	char old_key[CW_KEY_MAX + 2], old_etag[OBJSTORE_ETAG_MAX];
	bool old_gone, old_changed;
	uint64_t old_size; /* what lies there now */
	int64_t old_mtime_ns;
	char path[CW_KEY_MAX + 2], copy_path[CW_KEY_MAX + 2];
};

static void
expect(struct sync_job *j, const char *etag)
{
	j->has_expect = true;
	snprintf(j->expect, sizeof(j->expect), "%s", etag);
}

static bool
has_content_duty(const struct node *n)
{
	return S_ISREG(n->mode) &&
	       (n->remote.key == NULL || n->remote.data_seq != n->data_seq ||
		   (n->u.file != NULL && (n->u.file->has_sealed || n->u.file->dirty_bytes > 0)));
}

static void
tell(struct resolving *r, const char *kind, const char *kept)
{
	struct cw_share *s = r->j->s;

	log_warn("gateway.sync", "conflict", "share=%s path=\"%s\" key=\"%s\" kind=%s kept=%s%s%s",
	    s->conf.name, r->path, r->j->key, kind, kept, r->copy_path[0] != '\0' ? " copy=" : "",
	    r->copy_path);
	sync_event(s, "conflict", "share", s->conf.name, "path", r->path, "object-key", r->j->key,
	    "kind", kind, "kept", kept, "conflict-path", r->copy_path, (char *)NULL);
}

static void
count(struct sync *y)
{
	y->conflicts++;
	metric_add(y->m_conflicts, 1);
}

/* --- ours after all ----------------------------------------------------------------------------- */

/* same_attrs - does the object say what the node says? Then they need not be sent again. locked */
static bool
same_attrs(const struct node *n, const struct meta_facts *m)
{
	return m->has_perm && m->perm == (n->mode & 07777) && m->has_uid && m->uid == n->uid &&
	       m->has_gid && m->gid == n->gid && m->has_mtime && m->mtime_ns == n->mtime_ns;
}

/* is_same_write - is the object that carries our mark exactly what we tried to write? locked */
static bool
is_same_write(
    const struct resolving *r, const struct objstore_req *head, const struct meta_facts *m)
{
	const struct sync_job *j = r->j;

	if (r->wrote_sealed)
		return j->has_seal && head->size == r->size &&
		       m->origin_seq == (j->has_early_mark ? j->early_mark : j->seal_seq) &&
		       (m->origin_boot == j->y->core->boot || j->seal_is_durable);
	if (S_ISREG(j->n->mode)) /* a copy keeps the data_seq of what it copied */
		return !has_content_duty(j->n) && m->origin_seq == j->n->remote.data_seq &&
		       head->size == j->n->remote.size && r->is_moved;
	return m->origin_boot == j->y->core->boot && m->origin_seq == j->n->data_seq;
}

static int
found_ours(struct resolving *r, const struct objstore_req *head, const struct meta_facts *m)
{
	struct sync_job *j = r->j;
	struct written w = {.key = j->key, .etag = head->etag, .size = head->size};
	bool same;

	share_lock(j->s);
	if (j->n->flags & NODE_REMOVED) {
		share_unlock(j->s);
		sync_record(j, &w);
		return 1;
	}
	same = m->origin_ino == j->n->ino && is_same_write(r, head, m);
	w.is_sealed = same && r->wrote_sealed;
	w.data_seq = w.is_sealed ? j->seal_seq : m->origin_seq;
	w.attr_seq = same_attrs(j->n, m) ? j->n->attr_seq : UINT64_MAX;
	if (!same) {
		expect(j, head->etag);
		if (!r->is_moved && j->n->remote.key != NULL && m->origin_ino == j->n->ino) {
			/* An earlier write of this node, unrecorded: the base is that object now. */
			remote_set(j->s, j->n, j->key, head->etag);
			j->n->remote.size = head->size;
			j->no_part_copy = true;
			node_changed(j->s, j->n);
		}
	}
	share_unlock(j->s);
	if (!same)
		return 0;
	sync_record(j, &w);
	return 1;
}

/* --- gone, or changed at the old place ------------------------------------------------------------ */

/* vanished - somebody deleted the object. Changed content is worth more than a deletion. */
static int
vanished(struct resolving *r)
{
	struct sync_job *j = r->j;
	struct node *n = j->n;
	bool keep;

	share_lock(j->s);
	keep = has_content_duty(n) || !S_ISREG(n->mode);
	count(j->y);
	if (keep) {
		remote_set(j->s, n, NULL, NULL);
		if (r->is_moved)
			j->has_expect = false;
		else
			expect(j, "");
		node_changed(j->s, n);
	} else {
		(void)fold_remove(j->s, n);
	}
	share_unlock(j->s);
	tell(r, "deleted-there", keep ? "gateway" : "bucket");
	return keep ? 0 : 1;
}

/* moved_from_changed - the object that we are to rename or to build on was replaced at its old key. */
static int
moved_from_changed(struct resolving *r)
{
	struct sync_job *j = r->j;
	struct node *n = j->n;
	bool ours;

	share_lock(j->s);
	ours = has_content_duty(n);
	count(j->y);
	if (ours) { /* theirs stays under the old name, ours goes to the new one */
		remote_set(j->s, n, NULL, NULL);
		parent_relist(j->s, r->old_key);
	} else { /* theirs is what gets the new name */
		remote_set(j->s, n, r->old_key, r->old_etag);
		n->remote.size = n->size = r->old_size;
		if (S_ISREG(n->mode) && n->u.file != NULL)
			cache_file_drop_clean(n->u.file, r->old_size);
		n->mtime_ns = n->ctime_ns = r->old_mtime_ns;
		n->flags |= NODE_META_UNKNOWN;
	}
	node_changed(j->s, n);
	share_unlock(j->s);
	tell(r, "changed-there", ours ? "both" : "bucket");
	return 0;
}

/* --- two versions of one name --------------------------------------------------------------------- */

/* conflict_name - "<name>.conflict-<appliance>-<time>", free in dir and short enough. locked
 * result: 0 or -ENAMETOOLONG */
static int
conflict_name(const struct cw_share *s, struct node *n, char out[CW_NAME_MAX + 1])
{
	time_t now = (time_t)(clock_real_ns() / 1000000000);
	char tail[64], stamp[24], serial[12] = "";
	size_t keep, i;
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	for (i = 0; i < 10000; i++) {
		if (i > 0)
			snprintf(serial, sizeof(serial), "-%zu", i);
		snprintf(
		    tail, sizeof(tail), ".conflict-%.8s-%s%s", s->env.appliance_id, stamp, serial);
		keep = n->name_len;
		if (keep + strlen(tail) > CW_NAME_MAX)
			keep = CW_NAME_MAX - strlen(tail);
		while (
		    keep > 0 && !node_key_fits(s, n->parent, keep + strlen(tail), S_ISDIR(n->mode)))
			keep--;
		if (keep == 0)
			return -ENAMETOOLONG;
		snprintf(out, CW_NAME_MAX + 1, "%.*s%s", (int)keep, n->name, tail);
		if (node_child((struct cw_share *)s, n->parent, out, strlen(out)) == NULL)
			return 0;
	}
	return -ENAMETOOLONG;
}

/* step_aside - our node takes another name, the bucket's object gets ours. locked */
static int
step_aside(struct resolving *r, const struct objstore_req *head)
{
	struct sync_job *j = r->j;
	struct cw_share *s = j->s;
	struct node *n = j->n, *dir = n->parent;
	char name[CW_NAME_MAX + 1], old_name[CW_NAME_MAX + 1];
	struct objstore_entry e = {.size = head->size, .mtime_ns = head->mtime_ns};
	struct tomb *t;
	struct fold f;
	int err = conflict_name(s, n, name);

	if (err < 0)
		return err;
	snprintf(old_name, sizeof(old_name), "%s", n->name);
	displaced_del(j->y, n);
	node_detach(s, n);
	node_attach(s, dir, n, name, strlen(name));
	n->flags |= NODE_CONFLICT;
	if (!r->is_moved)
		remote_set(s, n, NULL, NULL);
	else
		displaced_add(j->y, n);
	node_touch(n, false);
	node_touch(dir, true);
	node_changed(s, n);
	node_changed(s, dir);
	t = tomb_find(j->y, j->key);
	if (t != NULL)
		tomb_drop(j->y, t); /* it spoke of an object that is not there any more */
	snprintf(e.etag, sizeof(e.etag), "%s", head->etag);
	fold_init(&f, s);
	f.is_sure = true;
	(void)fold_entry(&f, dir, old_name, strlen(old_name), j->key, &e);
	fold_free(&f);
	(void)node_path(n, r->copy_path, sizeof(r->copy_path));
	j->has_expect = false;
	j->replan = true;
	count(j->y);
	return 0;
}

static bool
can_win(const struct sync_job *j)
{
	const struct cache_file *f = S_ISREG(j->n->mode) ? j->n->u.file : NULL;

	return j->s->conf.conflict_policy == CW_CONFLICT_LOCAL_WINS &&
	       (f == NULL || !f->has_sealed || cache_sealed_local(f, 0, f->sealed_size));
}

/* found_foreign - result: as sync_resolve() */
static int
found_foreign(struct resolving *r, const struct objstore_req *head)
{
	struct sync_job *j = r->j;
	struct node *n = j->n;
	const char *kind = "changed-there", *kept = "both";
	int err = 0;

	share_lock(j->s);
	if (n->flags & NODE_REMOVED || n->parent == NULL) {
		expect(j, head->etag);
		share_unlock(j->s);
		return 0;
	}
	if (S_ISDIR(n->mode)) { /* two made the same directory: that is no conflict */
		expect(j, head->etag);
		share_unlock(j->s);
		return 0;
	}
	if (can_win(j)) {
		expect(j, head->etag);
		j->no_part_copy = true; /* what lies there is not our base */
		count(j->y);
		kept = "gateway";
	} else if (S_ISREG(n->mode) && !r->is_moved && !has_content_duty(n)) {
		/* Only attributes are ours: their content, our attributes. */
		remote_set(j->s, n, j->key, head->etag);
		n->remote.size = n->size = head->size;
		if (n->u.file != NULL)
			cache_file_drop_clean(n->u.file, head->size);
		node_touch(n, false);
		node_changed(j->s, n);
		count(j->y);
		kept = "bucket, our attributes";
	} else {
		err = step_aside(r, head);
	}
	share_unlock(j->s);
	if (err < 0)
		return err;
	err = cache_commit_sync(j->s->space);
	tell(r, kind, kept);
	return err;
}

/* --- looking -------------------------------------------------------------------------------------- */

/* old_is_ours - what lies at the old key is our own write of before the rename, unrecorded because of
 * a crash or a lost reply.  Its seal was durable first (sync_put.c), so it is either the very moment
 * that is sealed now, or at least the base with later content of ours.
 * result: 1 recorded, the job is done (the move comes next); 0 it is the base now */
static int
old_is_ours(struct resolving *r, const struct objstore_req *head, const struct meta_facts *m)
{
	struct sync_job *j = r->j;
	struct written w = {.key = r->old_key,
	    .etag = head->etag,
	    .size = head->size,
	    .data_seq = j->seal_seq,
	    .attr_seq = UINT64_MAX,
	    .is_sealed = true};

	if (r->wrote_sealed && is_same_write(r, head, m)) {
		sync_record(j, &w);
		share_lock(j->s);
		j->replan = true;
		share_unlock(j->s);
		return 1;
	}
	share_lock(j->s);
	if (!(j->n->flags & NODE_REMOVED)) {
		remote_set(j->s, j->n, r->old_key, head->etag);
		j->n->remote.size = head->size;
		j->no_part_copy = true;
		node_changed(j->s, j->n);
	}
	share_unlock(j->s);
	return 0;
}

/* look_at_old - for a node whose object lies elsewhere: is it still the one we know?
 * result: 0, 1 (ours, recorded), negative errno; *is_base: ours, taken as the base: try again */
static int
look_at_old(struct resolving *r, bool *is_base)
{
	struct objstore_req head = {.op = OBJ_HEAD, .key = r->old_key, .want_meta = true};
	int err = sync_call(r->j->y, &head);
	struct meta_facts m;

	*is_base = false;
	if (err == -ENOENT) {
		r->old_gone = true;
		err = 0;
	} else if (err == 0 && strcmp(head.etag, r->old_etag) != 0) {
		meta_parse(head.meta != NULL ? head.meta->items : NULL,
		    head.meta != NULL ? head.meta->n : 0, &m);
		if (S_ISREG(r->j->n->mode) && sync_is_ours(r->j->y, &m, r->old_key) &&
		    m.origin_ino == r->j->n->ino) {
			err = old_is_ours(r, &head, &m);
			*is_base = err == 0;
		} else {
			r->old_changed = true;
			r->old_size = head.size;
			r->old_mtime_ns = head.mtime_ns;
			snprintf(r->old_etag, sizeof(r->old_etag), "%s", head.etag);
		}
	}
	objstore_req_clear(&head);
	return err;
}

/* nothing_there - result: as sync_resolve() */
static int
nothing_there(struct resolving *r)
{
	struct sync_job *j = r->j;
	struct tomb *t;
	bool had;

	if (r->is_moved && r->old_gone)
		return vanished(r);
	if (r->is_moved && r->old_changed)
		return moved_from_changed(r);
	share_lock(j->s);
	had = j->n->remote.key != NULL && !r->is_moved && j->n->remote.etag != NULL;
	t = tomb_find(j->y, j->key);
	if (t != NULL)
		tomb_drop(j->y, t); /* somebody did it for us */
	expect(j, "");
	share_unlock(j->s);
	return had ? vanished(r) : 0;
}

int
sync_resolve(struct sync_job *j, bool wrote_sealed, uint64_t size)
{
	struct resolving *r = xcalloc(1, sizeof(*r));
	struct objstore_req head = {.op = OBJ_HEAD, .key = j->key, .want_meta = true};
	struct meta_facts m;
	bool is_base = false;
	int err = 0;

	r->j = j;
	r->wrote_sealed = wrote_sealed;
	r->size = size;
	share_lock(j->s);
	(void)node_path(j->n, r->path, sizeof(r->path));
	if (j->n->remote.key != NULL && strcmp(j->n->remote.key, j->key) != 0) {
		r->is_moved = j->n->remote.etag != NULL;
		snprintf(r->old_key, sizeof(r->old_key), "%s", j->n->remote.key);
		snprintf(r->old_etag, sizeof(r->old_etag), "%s",
		    j->n->remote.etag != NULL ? j->n->remote.etag : "");
	}
	share_unlock(j->s);
	if (r->is_moved)
		err = look_at_old(r, &is_base);
	if (err != 0 || is_base) {
		free(r);
		return err;
	}
	err = sync_call(j->y, &head);
	if (err == -ENOENT) {
		err = nothing_there(r);
	} else if (err == 0) {
		meta_parse(head.meta != NULL ? head.meta->items : NULL,
		    head.meta != NULL ? head.meta->n : 0, &m);
		if (sync_is_ours(j->y, &m, j->key))
			err = found_ours(r, &head, &m);
		else if (r->is_moved && r->old_changed)
			err = moved_from_changed(r);
		else
			err = found_foreign(r, &head);
	}
	objstore_req_clear(&head);
	free(r);
	return err;
}
