/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_key.c - who may touch which key of the bucket.
 *
 * At most one request that changes a key is in flight (a keylock).  A node that cannot start waits on
 * the keylock of the key it needs; whoever lets the key go wakes all that wait.
 *
 * `displaced` knows every node whose object lies at a key that is no longer the node's own, so that
 * nobody overwrites the only copy of it.  Nodes below a renamed directory come into it when the walk
 * reaches them; until then key_may_be_unwalked() speaks for them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

static struct keylock *
lock_make(struct sync *y, const char *key)
{
	struct keylock *k = keymap_get(&y->locks, key);

	if (k == NULL) {
		k = xcalloc(1, sizeof(*k));
		k->key = xstrdup(key);
		list_init(&k->waiters);
		keymap_put(&y->locks, k->key, k);
	}
	return k;
}

static void
lock_unmake(struct sync *y, struct keylock *k)
{
	if (k->is_held || !list_empty(&k->waiters))
		return;
	keymap_del(&y->locks, k->key);
	free(k->key);
	free(k);
}

bool
key_is_held(struct sync *y, const char *key)
{
	const struct keylock *k = keymap_get(&y->locks, key);

	return k != NULL && k->is_held;
}

void
key_hold(struct sync *y, const char *key)
{
	lock_make(y, key)->is_held = true;
}

void
key_wake(struct sync *y, const char *key)
{
	struct keylock *k = keymap_get(&y->locks, key);

	if (k == NULL)
		return;
	if (!list_empty(&k->waiters)) {
		list_splice_tail(&y->ready, &k->waiters);
		sync_kick(y);
	}
	lock_unmake(y, k);
}

void
key_release(struct sync *y, const char *key)
{
	struct keylock *k = keymap_get(&y->locks, key);

	if (k != NULL) {
		k->is_held = false;
		key_wake(y, key);
	}
}

void
key_wait(struct sync *y, const char *key, struct node *n)
{
	struct keylock *k = lock_make(y, key);

	list_del(&n->sync_link);
	list_add_tail(&k->waiters, &n->sync_link);
}

void
key_touched(struct sync *y, const char *key)
{
	char *copy;

	if (y->nlisting == 0 || keymap_get(&y->recent, key) != NULL)
		return;
	copy = xstrdup(key);
	keymap_put(&y->recent, copy, copy);
}

void
displaced_add(struct sync *y, struct node *n)
{
	if (n->remote.key != NULL && keymap_get(&y->displaced, n->remote.key) == NULL)
		keymap_put(&y->displaced, n->remote.key, n);
}

void
displaced_del(struct sync *y, struct node *n)
{
	if (n->remote.key == NULL || keymap_get(&y->displaced, n->remote.key) != n)
		return;
	keymap_del(&y->displaced, n->remote.key);
	key_wake(y, n->remote.key);
}

void
remote_set(struct cw_share *s, struct node *n, const char *key, const char *etag)
{
	char own[CW_KEY_MAX + 2], *old_key = n->remote.key, *old_etag = n->remote.etag;

	displaced_del(s->sync, n);
	n->remote.key = key != NULL ? xstrdup(key) : NULL;
	n->remote.etag = etag != NULL ? xstrdup(etag) : NULL;
	free(old_key);
	free(old_etag);
	/* key may have been old_key */
	if (n->remote.key != NULL && !(n->flags & NODE_REMOVED) && node_key(s, n, own) >= 0 &&
	    strcmp(own, n->remote.key) != 0)
		displaced_add(s->sync, n);
}

struct node *
node_at_key(struct cw_share *s, const char *key)
{
	size_t plen = strlen(s->conf.prefix);
	struct node *n = s->root;

	if (strncmp(key, s->conf.prefix, plen) != 0)
		return NULL;
	for (key += plen; *key != '\0';) {
		size_t len = strcspn(key, "/");

		if (len == 0 || len > CW_NAME_MAX || !S_ISDIR(n->mode))
			return NULL;
		n = node_child(s, n, key, len);
		if (n == NULL)
			return NULL;
		key += len;
		if (*key == '/') {
			if (!S_ISDIR(n->mode))
				return NULL;
			key++;
		} else if (S_ISDIR(n->mode)) {
			return NULL; /* a directory's key ends in a slash */
		}
	}
	return n;
}

bool
key_may_be_unwalked(const struct sync *y, const char *key)
{
	struct list *l;

	list_for_each(l, &y->moved)
	{
		const struct moved *m = container_of(l, struct moved, link);

		if (m->old_prefix == NULL ||
		    strncmp(key, m->old_prefix, strlen(m->old_prefix)) == 0)
			return true;
	}
	return false;
}

struct below {
	const char *prefix;
	size_t len;
	bool found;
};

static void
displaced_below(void *arg, void *value)
{
	struct below *b = arg;
	const struct node *n = value;

	b->found = b->found || strncmp(n->remote.key, b->prefix, b->len) == 0;
}

static void
tomb_below(void *arg, void *value)
{
	struct below *b = arg;
	const struct tomb *t = value;

	b->found = b->found || strncmp(t->key, b->prefix, b->len) == 0;
}

static void
recent_below(void *arg, void *value)
{
	struct below *b = arg;

	b->found = b->found || strncmp(value, b->prefix, b->len) == 0;
}

bool
key_in_flux_below(struct sync *y, const char *prefix)
{
	struct below b = {.prefix = prefix, .len = strlen(prefix)};

	if (key_may_be_unwalked(y, prefix))
		return true;
	keymap_each(&y->displaced, displaced_below, &b);
	if (!b.found)
		keymap_each(&y->tombs, tomb_below, &b);
	if (!b.found)
		keymap_each(&y->recent, recent_below, &b);
	return b.found;
}

void
key_calm(struct sync *y)
{
	size_t i;

	if (y->relist.n == 0 || y->displaced.n > 0 || y->tombs.n > 0 || y->nlisting > 0 ||
	    !list_empty(&y->moved))
		return;
	for (i = 0; i < y->relist.cap; i++) {
		struct node *dir =
		    y->relist.slots[i] != 0 ? node_by_ino(y->s, y->relist.slots[i]) : NULL;

		if (dir != NULL && S_ISDIR(dir->mode) && dir->flags & NODE_LISTED) {
			dir->flags &= ~(uint32_t)NODE_LISTED;
			node_changed(y->s, dir);
		}
	}
	inoset_free(&y->relist);
}
