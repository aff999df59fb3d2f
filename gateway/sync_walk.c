/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_walk.c - after the rename of a directory: find every node below whose object lies elsewhere.
 *
 * The rename was one row.  The walk goes through the subtree in slices, lists what was never listed
 * (at the old place), and gives each displaced node a duty of its own.  NODE_SUBTREE_MOVED is cleared
 * when all have theirs: the commit that has the flag cleared has their rows too, or came after it.
 * Until then a crash repeats the walk, which does no harm.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define SLICE 512

struct frame {
	uint64_t ino, cookie;
};

struct walk {
	struct work work;
	struct sync *y;
	struct moved *what; /* taken off y->moved when done */
	struct frame *stack;
	size_t depth, cap;
};

void
moved_add(struct sync *y, struct node *dir, const char *old_prefix)
{
	struct moved *m;
	struct list *l;

	list_for_each(l, &y->moved)
	{
		m = container_of(l, struct moved, link);
		if (m->ino == dir->ino &&
		    (m->old_prefix == NULL ||
			(old_prefix != NULL && strcmp(m->old_prefix, old_prefix) == 0)))
			return;
	}
	m = xcalloc(1, sizeof(*m));
	m->ino = dir->ino;
	if (old_prefix !=
	    NULL) /* chains of renames collapse; an unknown place blocks others: at once */
		m->due_ms = clock_mono_ms() + sync_settle_ms(y->s);
	m->old_prefix = old_prefix != NULL ? xstrdup(old_prefix) : NULL;
	list_add_tail(&y->moved, &m->link);
	sync_kick(y);
}

static void
moved_del(struct moved *m)
{
	list_del(&m->link);
	free(m->old_prefix);
	free(m);
}

void
moved_free(struct sync *y)
{
	while (!list_empty(&y->moved))
		moved_del(container_of(y->moved.next, struct moved, link));
}

static void
push(struct walk *w, uint64_t ino)
{
	if (w->depth == w->cap) {
		w->cap = w->cap == 0 ? 32 : w->cap * 2;
		w->stack = xrealloc(w->stack, w->cap * sizeof(*w->stack));
	}
	w->stack[w->depth].ino = ino;
	w->stack[w->depth++].cookie = 0;
}

/* visit - one node below the renamed directory. locked */
static void
visit(struct walk *w, struct node *n)
{
	struct sync *y = w->y;
	char key[CW_KEY_MAX + 2];

	if (n->remote.key != NULL && node_key(y->s, n, key) >= 0 &&
	    strcmp(key, n->remote.key) != 0) {
		displaced_add(y, n);
		if (n->dirty_since_ns == 0)
			sync_queue_ready(y, n);
	}
	if (S_ISDIR(n->mode))
		push(w, n->ino);
}

/* slice - result: 1 go on; 0 done; or -EAGAIN with *unlisted to be listed (referenced) */
static int
slice(struct walk *w, struct node **unlisted)
{
	struct cw_share *s = w->y->s;
	unsigned int looked = 0;

	while (w->depth > 0 && looked < SLICE) {
		struct frame *f = &w->stack[w->depth - 1];
		struct node *dir = node_by_ino(s, f->ino), *child;
		uint32_t i;

		if (dir == NULL || !S_ISDIR(dir->mode) || dir->flags & NODE_REMOVED) {
			w->depth--;
			continue;
		}
		if (!(dir->flags & NODE_LISTED) && dir->remote.key != NULL) {
			node_ref(dir);
			*unlisted = dir;
			return -EAGAIN;
		}
		i = dir_first_after(dir->u.dir, f->cookie);
		if (i == dir->u.dir->n) {
			w->depth--;
			continue;
		}
		child = dir->u.dir->entries[i];
		f->cookie = dir->u.dir->cookies[i];
		looked++;
		visit(w, child); /* may move the stack: f is not used after this */
	}
	return w->depth > 0;
}

static int
walk_through(struct walk *w)
{
	struct sync *y = w->y;
	struct node *unlisted = NULL;
	int r, err;

	push(w, w->what->ino);
	do {
		share_lock(y->s);
		r = y->closing ? -ECANCELED : slice(w, &unlisted);
		share_unlock(y->s);
		if (r == -EAGAIN) {
			err = list_dir(y, unlisted, NULL);
			share_lock(y->s);
			node_unref(y->s, unlisted);
			share_unlock(y->s);
			if (err < 0)
				return err;
			r = 1;
		}
	} while (r == 1);
	return r;
}

/* finish - locked */
static void
finish(struct walk *w, int err)
{
	struct sync *y = w->y;
	struct node *dir = node_by_ino(y->s, w->what->ino);
	struct list *l;
	bool more = false;

	y->walking = false;
	if (err < 0) {
		y->walk_not_before_ms = clock_mono_ms() + sync_jitter_ms(y->walk_tries++);
		return;
	}
	y->walk_tries = 0;
	list_for_each(l, &y->moved) if (container_of(l, struct moved, link) != w->what &&
					container_of(l, struct moved, link)->ino == w->what->ino)
	    more = true; /* renamed again meanwhile: that walk is still to come */
	if (dir != NULL && !more) {
		dir->flags &= ~(uint32_t)NODE_SUBTREE_MOVED;
		node_changed(y->s, dir);
		/* one that settles goes on doing so: the next rename of a chain may be near */
		if (!(dir->flags & NODE_REMOVED) && dir->dirty_since_ns != 0 &&
		    list_empty(&dir->sync_link))
			sync_queue_ready(y, dir);
	}
	moved_del(w->what);
	list_splice_tail(&y->ready, &y->after_walk);
}

static void
walk_run(struct work *work)
{
	struct walk *w = container_of(work, struct walk, work);
	struct sync *y = w->y;
	int err = walk_through(w);

	(void)sync_trouble(y, err);
	share_lock(y->s);
	finish(w, err);
	barriers_check(y);
	sync_kick(y);
	share_unlock(y->s);
	free(w->stack);
	free(w);
	sync_user_put(y);
}

uint64_t
walk_due_ms(const struct sync *y)
{
	uint64_t due;

	if (y->walking || list_empty(&y->moved))
		return UINT64_MAX;
	due = container_of(y->moved.next, struct moved, link)->due_ms;
	return due > y->walk_not_before_ms ? due : y->walk_not_before_ms;
}

void
walk_start(struct sync *y)
{
	struct walk *w;

	if (!sync_user_get(y))
		return;
	w = xcalloc(1, sizeof(*w));
	w->y = y;
	w->what = container_of(y->moved.next, struct moved, link);
	w->work.fn = walk_run;
	y->walking = true;
	workq_submit(y->core->lists, &w->work);
}
