/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote_refresh.c - RefreshCache: list folders anew and fold the differences in.
 *
 * Recursive: one flat LIST of the whole prefix, which costs a request per thousand objects whatever
 * the shape of the tree; directories appear as the paths of what is in them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define SLICE 100
#define REFRESHES_MAX 2

struct refresh {
	struct work work;
	struct sync *y;
	char **folders;
	size_t n;
	bool recursive;
	void (*done)(void *arg, int err, uint64_t changed);
	void *arg;
	uint64_t changed;
	/* of the folder under way */
	struct node *base;
	struct fold fold;
	struct inoset markers, dirs;
	char key[CW_KEY_MAX + 2];
};

/* fold_path - an object somewhere below base: its directories, then itself. locked */
static void
fold_path(struct refresh *f, const struct objstore_entry *e)
{
	size_t plen = strlen(f->key), at = plen, len;
	char key[CW_KEY_MAX + 2];
	struct node *dir = f->base;

	len = strlen(e->key);
	if (len > CW_KEY_MAX || strncmp(e->key, f->key, plen) != 0)
		return;
	for (;;) {
		size_t part = strcspn(e->key + at, "/");

		inoset_add(&f->dirs, dir->ino);
		if (at + part == len)
			break;
		memcpy(key, e->key, at + part + 1);
		key[at + part + 1] = '\0';
		dir = fold_entry(&f->fold, dir, e->key + at, part, key, NULL);
		if (dir == NULL)
			return;
		at += part + 1;
	}
	if (at == len) {
		fold_marker(&f->fold, dir, e->key, e);
		inoset_add(&f->markers, dir->ino);
	} else {
		(void)fold_entry(&f->fold, dir, e->key + at, len - at, e->key, e);
	}
}

static int
list_flat(struct refresh *f)
{
	struct cw_share *s = f->y->s;
	char *token = NULL;
	int err;

	for (;;) {
		struct objstore_req req = {
		    .op = OBJ_LIST, .prefix = f->key, .token = token, .max_keys = 1000};
		size_t i, end;

		err = sync_call(f->y, &req);
		for (i = 0; err == 0 && i < req.list.n; i = end) {
			end = i + SLICE < req.list.n ? i + SLICE : req.list.n;
			share_lock(s);
			if (f->base->flags & NODE_REMOVED)
				err = -ENOENT;
			for (; err == 0 && i < end; i++)
				fold_path(f, &req.list.entries[i]);
			share_unlock(s);
		}
		metric_add(f->y->m_down_bytes, (int64_t)req.list.n);
		free(token);
		token = err == 0 && req.list.truncated && req.list.next_token != NULL
			    ? xstrdup(req.list.next_token)
			    : NULL;
		objstore_req_clear(&req);
		if (token == NULL)
			return err;
	}
}

/* finish_dir - everything in dir was seen. locked */
static void
finish_dir(struct refresh *f, struct node *dir)
{
	char key[CW_KEY_MAX + 2], own[CW_KEY_MAX + 2];

	list_dir_key(f->y->s, dir, key);
	if (node_key(f->y->s, dir, own) < 0 || strcmp(own, key) != 0 ||
	    (dir->changed_ms >= f->fold.started_ms && !(dir->flags & NODE_LISTED) &&
		dir != f->base))
		return; /* elsewhere in the bucket, or of another time */
	fold_missing(&f->fold, dir, key);
	if (!inoset_has(&f->markers, dir->ino))
		fold_marker(&f->fold, dir, key, NULL);
	dir->flags |= NODE_LISTED;
	dir->u.dir->listed_at_ms = clock_mono_ms();
	node_changed(f->y->s, dir);
}

/* next_dirs - push the directories in dir. locked */
static void
push_subdirs(struct inoset *seen, struct node *dir, uint64_t **stack, size_t *n, size_t *cap)
{
	struct dir *d = dir->u.dir;
	uint32_t i;

	for (i = 0; d->nsubdirs > 0 && i < d->n; i++) {
		const struct node *c = d->entries[i];

		if (c == NULL || !S_ISDIR(c->mode) || inoset_has(seen, c->ino))
			continue;
		inoset_add(seen, c->ino);
		if (*n == *cap) {
			*cap = *cap == 0 ? 64 : *cap * 2;
			*stack = xrealloc(*stack, *cap * sizeof(**stack));
		}
		(*stack)[(*n)++] = c->ino;
	}
}

static void
finish_all(struct refresh *f)
{
	struct cw_share *s = f->y->s;
	struct inoset seen = {0};
	size_t n = 0, cap = 64;
	uint64_t *stack = xcalloc(cap, sizeof(*stack));

	stack[n++] = f->base->ino;
	while (n > 0) {
		struct node *dir;

		share_lock(s);
		dir = node_by_ino(s, stack[--n]);
		if (dir != NULL && S_ISDIR(dir->mode) && !(dir->flags & NODE_REMOVED)) {
			finish_dir(f, dir);
			if (!(dir->flags & NODE_REMOVED))
				push_subdirs(&seen, dir, &stack, &n, &cap);
		}
		share_unlock(s);
	}
	inoset_free(&seen);
	free(stack);
}

static int
refresh_deep(struct refresh *f, struct node *base)
{
	struct cw_share *s = f->y->s;
	int err;

	f->base = base;
	fold_init(&f->fold, s);
	share_lock(s);
	listing_begin(f->y);
	list_dir_key(s, base, f->key);
	share_unlock(s);
	err = list_flat(f);
	if (err == 0)
		finish_all(f);
	share_lock(s);
	listing_end(f->y);
	f->changed += f->fold.changed;
	share_unlock(s);
	fold_free(&f->fold);
	inoset_free(&f->markers);
	inoset_free(&f->dirs);
	return err;
}

/* find_folder - the node of a path, listing what must be known on the way. Referenced.
 * result: 0, -ENOENT, -ENOTDIR or the store's error */
static int
find_folder(struct sync *y, const char *path, struct node **out)
{
	struct cw_share *s = y->s;
	struct node *dir = s->root, *child;
	int err = 0;

	share_lock(s);
	node_ref(dir);
	while (err == 0) {
		size_t len;

		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (len == 0)
			break;
		if (!(dir->flags & NODE_LISTED)) {
			share_unlock(s);
			err = list_dir(y, dir, NULL);
			share_lock(s);
		}
		child = err == 0 && len <= CW_NAME_MAX ? node_child(s, dir, path, len) : NULL;
		if (err == 0 && child == NULL)
			err = -ENOENT;
		else if (err == 0 && !S_ISDIR(child->mode))
			err = -ENOTDIR;
		if (err < 0)
			break;
		node_ref(child);
		node_unref(s, dir);
		dir = child;
		path += len;
	}
	if (err < 0) {
		node_unref(s, dir);
		dir = NULL;
	}
	share_unlock(s);
	*out = dir;
	return err;
}

static int
refresh_folder(struct refresh *f, const char *path)
{
	struct node *dir;
	int err = find_folder(f->y, path, &dir);

	if (err < 0)
		return err == -ENOENT || err == -ENOTDIR
			   ? 0
			   : err; /* nothing there: nothing to refresh */
	err = f->recursive ? refresh_deep(f, dir) : list_dir(f->y, dir, &f->changed);
	share_lock(f->y->s);
	node_unref(f->y->s, dir);
	share_unlock(f->y->s);
	return err == -ENOENT ? 0 : err;
}

static void
refresh_run(struct work *w)
{
	struct refresh *f = container_of(w, struct refresh, work);
	struct sync *y = f->y;
	size_t i;
	int err = 0, r;

	for (i = 0; i < f->n; i++) {
		r = refresh_folder(f, f->folders[i]);
		if (r < 0)
			err = r;
	}
	(void)sync_trouble(y, err);
	share_lock(y->s);
	y->nrefresh--;
	share_unlock(y->s);
	f->done(f->arg, err, f->changed);
	for (i = 0; i < f->n; i++)
		free(f->folders[i]);
	free(f->folders);
	free(f);
	sync_user_put(y);
}

int
cw_share_refresh(struct cw_share *s, const char *const *folders, size_t n, bool recursive,
    void (*done)(void *arg, int err, uint64_t changed), void *arg)
{
	struct refresh *f = xcalloc(1, sizeof(*f));
	size_t i;

	share_lock(s);
	if (s->sync == NULL || s->sync->nrefresh >= REFRESHES_MAX || !sync_user_get(s->sync)) {
		share_unlock(s);
		free(f);
		return -EBUSY;
	}
	f->y = s->sync;
	f->y->nrefresh++;
	share_unlock(s);
	f->n = n;
	f->folders = xcalloc(n + 1, sizeof(*f->folders));
	for (i = 0; i < n; i++)
		f->folders[i] = xstrdup(folders[i]);
	f->recursive = recursive;
	f->done = done;
	f->arg = arg;
	f->work.fn = refresh_run;
	workq_submit(f->y->core->lists, &f->work);
	return 0;
}
