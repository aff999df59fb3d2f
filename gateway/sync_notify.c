/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_notify.c - who wants to know when it is in the bucket: barriers (NotifyWhenUploaded) and the
 * "upload" events of the notification policy.
 *
 * A barrier is the list of duties that stood when it was asked for.  It is looked at from its end
 * whenever a job ends: what is done is dropped, the first that is not ends the look, so each item is
 * paid for once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

struct barrier_item {
	uint64_t id; /* ino, or a tombstone's number */
	char *key;   /* tombstone: its key. Node: where it lay (NULL: in place, or nowhere) */
	bool is_tomb;
	uint64_t data_seq, attr_seq;
};

struct barrier {
	struct list link;
	struct work work;
	struct sync *y;
	struct barrier_item *items;
	size_t n, cap;
	void (*done)(void *arg);
	void *arg;
};

static void
barrier_free(struct barrier *b)
{
	list_del(&b->link);
	while (b->n > 0)
		free(b->items[--b->n].key);
	free(b->items);
	free(b);
}

static struct barrier_item *
item_add(struct barrier *b)
{
	if (b->n == b->cap) {
		b->cap = b->cap == 0 ? 64 : b->cap * 2;
		b->items = xrealloc(b->items, b->cap * sizeof(*b->items));
	}
	memset(&b->items[b->n], 0, sizeof(*b->items));
	return &b->items[b->n++];
}

static void
add_tomb(void *arg, void *value)
{
	struct barrier *b = arg;
	const struct tomb *t = value;
	struct barrier_item *it;

	if (tomb_is_held(b->y, t)) /* for as long as somebody likes */
		return;
	it = item_add(b);
	it->is_tomb = true;
	it->id = t->id;
	it->key = xstrdup(t->key);
}

static bool
add_node(void *arg, struct node *n)
{
	struct barrier *b = arg;
	struct barrier_item *it;

	if (n->dirty_since_ns == 0 || n->flags & NODE_REMOVED)
		return true;
	it = item_add(b);
	it->id = n->ino;
	it->data_seq = n->data_seq;
	it->attr_seq = n->attr_seq;
	if (n->remote.key != NULL && keymap_get(&b->y->displaced, n->remote.key) == n)
		it->key = xstrdup(n->remote.key);
	return true;
}

static void
snapshot(struct barrier *b)
{
	sync_each_duty(b->y, add_node, b);
	keymap_each(&b->y->tombs, add_tomb, b);
}

static bool
item_is_done(struct sync *y, const struct barrier_item *it)
{
	const struct node *n;
	const struct tomb *t;

	if (it->is_tomb) {
		t = tomb_find(y, it->key);
		return t == NULL || t->id != it->id;
	}
	n = node_by_ino(y->s, it->id);
	if (n == NULL || n->flags & NODE_REMOVED || n->dirty_since_ns == 0)
		return true;
	if (n->remote.key == NULL || (it->key != NULL && strcmp(n->remote.key, it->key) == 0))
		return false;
	/* UINT64_MAX stands for "unknown" */
	return n->remote.attr_seq != UINT64_MAX && n->remote.attr_seq >= it->attr_seq &&
	       (S_ISDIR(n->mode) || n->remote.data_seq >= it->data_seq);
}

/* barrier_run - the promise is durable on both sides before it is told. */
static void
barrier_run(struct work *w)
{
	struct barrier *b = container_of(w, struct barrier, work);
	struct sync *y = b->y;
	int err = cache_commit_sync(y->s->space);

	if (err < 0)
		log_err("gateway.sync", "commit-failed", "share=%s err=\"%s\"", y->s->conf.name,
		    err_str(err));
	b->done(b->arg);
	barrier_free(b);
	sync_user_put(y);
}

void
barriers_check(struct sync *y)
{
	struct list *l, *next;

	list_for_each_safe(l, next, &y->barriers)
	{
		struct barrier *b = container_of(l, struct barrier, link);

		if (!list_empty(
			&y->moved)) /* below a renamed directory duties are yet to be found */
			return;
		if (b->cap == 0) {
			(void)item_add(b);
			b->n = 0;
			snapshot(b);
		}
		while (b->n > 0 && item_is_done(y, &b->items[b->n - 1]))
			free(b->items[--b->n].key);
		if (b->n > 0 || !sync_user_get(y))
			continue;
		list_del(&b->link);
		b->work.fn = barrier_run;
		workq_submit(y->core->lists, &b->work);
	}
}

int
cw_share_notify_uploaded(struct cw_share *s, void (*done)(void *arg), void *arg)
{
	struct barrier *b = xcalloc(1, sizeof(*b));
	int r = 0;

	list_init(&b->link);
	b->done = done;
	b->arg = arg;
	share_lock(s);
	if (s->sync == NULL || s->sync->closing) {
		r = -ESHUTDOWN;
		free(b);
	} else {
		b->y = s->sync;
		list_add_tail(&s->sync->barriers, &b->link);
		sync_kick(s->sync);
	}
	share_unlock(s);
	return r;
}

/* --- "upload" events ---------------------------------------------------------------------------- */

void
notice_add(struct sync *y, struct node *n)
{
	struct notice *c;
	uint64_t now = clock_mono_ms(), due = n->changed_ms + y->s->conf.notify_settle_s * 1000ull;

	if (y->s->conf.notify_settle_s == 0 || y->s->env.event == NULL)
		return;
	c = xcalloc(1, sizeof(*c));
	c->ino = n->ino;
	c->data_seq = n->remote.data_seq;
	c->due_ms = due > now ? due : now;
	list_add_tail(&y->notices, &c->link);
	if (c->due_ms < y->wake_at_ms)
		sync_kick(y);
}

uint64_t
notices_next_ms(const struct sync *y)
{
	if (list_empty(&y->notices))
		return UINT64_MAX;
	return container_of(y->notices.next, struct notice, link)->due_ms;
}

struct upload_event {
	char key[CW_KEY_MAX + 2], size[24], mtime[32];
};

/* event_fill - false when the file changed again: the upload that follows will tell. locked */
static bool
event_fill(struct sync *y, const struct notice *c, struct upload_event *e)
{
	const struct node *n = node_by_ino(y->s, c->ino);

	if (n == NULL || n->remote.key == NULL || n->data_seq != c->data_seq)
		return false;
	snprintf(e->key, sizeof(e->key), "%s", n->remote.key);
	snprintf(e->size, sizeof(e->size), "%llu", (unsigned long long)n->remote.size);
	snprintf(e->mtime, sizeof(e->mtime), "%lld", (long long)(n->mtime_ns / 1000000000));
	return true;
}

void
notices_run(struct sync *y, uint64_t now_ms)
{
	struct upload_event *e = NULL;
	struct list due = LIST_INIT(due), *l, *next;

	share_lock(y->s);
	list_for_each_safe(l, next, &y->notices)
	{
		if (container_of(l, struct notice, link)->due_ms > now_ms)
			break; /* they come in nearly this order; a little late is no harm */
		list_del(l);
		list_add_tail(&due, l);
	}
	share_unlock(y->s);
	while (!list_empty(&due)) {
		struct notice *c = container_of(due.next, struct notice, link);
		bool tell;

		if (e == NULL)
			e = xmalloc(sizeof(*e));
		share_lock(y->s);
		tell = event_fill(y, c, e);
		share_unlock(y->s);
		if (tell)
			sync_event(y->s, "upload", "object-key", e->key, "#object-size", e->size,
			    "modification-time", e->mtime, "bucket-name", y->s->conf.bucket,
			    "prefix", y->s->conf.prefix, "event-type", "object-upload-complete",
			    (char *)NULL);
		list_del(&c->link);
		free(c);
	}
	free(e);
}

void
notify_free(struct sync *y)
{
	while (!list_empty(&y->barriers))
		barrier_free(container_of(y->barriers.next, struct barrier, link));
	while (!list_empty(&y->notices)) {
		struct notice *c = container_of(y->notices.next, struct notice, link);

		list_del(&c->link);
		free(c);
	}
}
