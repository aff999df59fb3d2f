/* SPDX-License-Identifier: Apache-2.0 */
/* sync_status.c - what the control plane asks: how it stands, what is pending, hurry up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

struct each {
	bool (*fn)(void *arg, struct node *n);
	void *arg;
	bool is_enough;
};

static void
each_in(struct each *e, struct list *head)
{
	struct list *l;

	list_for_each(l, head)
	{
		if (e->is_enough)
			return;
		e->is_enough = !e->fn(e->arg, container_of(l, struct node, sync_link));
	}
}

static void
each_lock(void *arg, void *value)
{
	struct keylock *k = value;

	each_in(arg, &k->waiters);
}

void
sync_each_duty(struct sync *y, bool (*fn)(void *arg, struct node *n), void *arg)
{
	struct each e = {.fn = fn, .arg = arg};
	struct list *l;
	unsigned int i;

	list_for_each(l, &y->running) e.is_enough |=
	    !fn(arg, container_of(l, struct sync_job, running_link)->n);
	each_in(&e, &y->ready);
	each_in(&e, &y->soon);
	each_in(&e, &y->sooner);
	each_in(&e, &y->settling);
	each_in(&e, &y->after_walk);
	for (i = 0; i < SYNC_WHEEL; i++)
		each_in(&e, &y->wheel[i]);
	if (!e.is_enough)
		keymap_each(&y->locks, each_lock, &e);
}

static bool
has_content_duty(const struct node *n)
{
	return S_ISREG(n->mode) && (n->remote.key == NULL || n->remote.data_seq != n->data_seq);
}

void
cw_share_get_status(struct cw_share *s, struct cw_share_status *out)
{
	struct sync *y;
	uint64_t used;

	memset(out, 0, sizeof(*out));
	cache_space_get_stats(s->space, &used, &out->pending_bytes);
	share_lock(s);
	y = s->sync;
	out->nodes = s->nnodes;
	out->files = s->nfiles;
	if (y == NULL) {
		snprintf(out->reason, sizeof(out->reason), "share is closing");
		share_unlock(s);
		return;
	}
	out->available = !y->unavailable;
	snprintf(out->reason, sizeof(out->reason), "%s", y->reason);
	out->pending_files = y->ages.total + y->tombs.n - y->held.n;
	out->oldest_dirty_ns = duty_oldest_ns(y);
	out->failing_files = y->nfailing;
	out->uploaded_bytes = __atomic_load_n(&y->uploaded_bytes, __ATOMIC_RELAXED);
	out->uploaded_objects = y->uploaded_objects;
	out->conflicts = y->conflicts;
	share_unlock(s);
}

/* --- the list ------------------------------------------------------------------------------------- */

struct snap {
	char *path;
	struct cw_upload_info info;
};

struct snaps {
	struct cw_share *s;
	struct snap *v;
	size_t n, cap, max;
};

static const char *
what_of(const struct node *n)
{
	if (n->job != NULL && n->job->is_running)
		return n->job->what;
	if (!S_ISREG(n->mode))
		return "put";
	if (has_content_duty(n))
		return n->size > SYNC_SMALL_MAX ? "multipart" : "put";
	return n->remote.attr_seq != n->attr_seq ? "attributes" : "copy";
}

static struct snap *
snap_add(struct snaps *z)
{
	if (z->n == z->cap) {
		z->cap = z->cap == 0 ? 64 : z->cap * 2;
		z->v = xrealloc(z->v, z->cap * sizeof(*z->v));
	}
	memset(&z->v[z->n], 0, sizeof(*z->v));
	return &z->v[z->n++];
}

static bool
snap_node(void *arg, struct node *n)
{
	struct snaps *z = arg;
	char path[CW_KEY_MAX + 2] = "";
	struct snap *p;

	if (z->n >= z->max * 8) /* enough to find the oldest among */
		return false;
	if (n->dirty_since_ns == 0)
		return true;
	p = snap_add(z);
	if (node_path(n, path, sizeof(path)) < 0)
		path[0] = '\0';
	p->path = xstrdup(path);
	p->info.what = what_of(n);
	p->info.size = n->size;
	p->info.since_ns = n->dirty_since_ns;
	if (n->job != NULL) {
		p->info.done_bytes = __atomic_load_n(&n->job->done_bytes, __ATOMIC_RELAXED);
		p->info.last_error = n->job->last_error;
		p->info.tries = n->job->tries;
	}
	return true;
}

static void
snap_tomb(void *arg, void *value)
{
	struct snaps *z = arg;
	const struct tomb *t = value;
	size_t plen = strlen(z->s->conf.prefix);
	struct snap *p;

	if (z->n >= z->max * 8)
		return;
	p = snap_add(z);
	p->path = xasprintf("/%s", strlen(t->key) >= plen ? t->key + plen : t->key);
	p->info.what = "delete";
	p->info.tries = t->tries;
	p->info.since_ns = clock_real_ns();
}

static int
by_age(const void *a, const void *b)
{
	const struct snap *x = a, *y = b;

	return x->info.since_ns < y->info.since_ns ? -1 : x->info.since_ns > y->info.since_ns;
}

void
cw_share_each_upload(struct cw_share *s, unsigned int max,
    void (*fn)(void *arg, const struct cw_upload_info *u), void *arg)
{
	struct snaps z = {.s = s, .max = max};
	size_t i;

	share_lock(s);
	if (s->sync != NULL) {
		sync_each_duty(s->sync, snap_node, &z);
		keymap_each(&s->sync->tombs, snap_tomb, &z);
	}
	share_unlock(s);
	if (z.n > 1)
		qsort(z.v, z.n, sizeof(*z.v), by_age);
	for (i = 0; i < z.n; i++) {
		z.v[i].info.path = z.v[i].path;
		if (i < max)
			fn(arg, &z.v[i].info);
		free(z.v[i].path);
	}
	free(z.v);
}

/* --- hurry ---------------------------------------------------------------------------------------- */

static void
hurry_tomb(void *arg, void *value)
{
	(void)arg;
	((struct tomb *)value)->not_before_ms = 0;
}

void
cw_share_drain(struct cw_share *s)
{
	struct sync *y;
	struct list *l;
	unsigned int i;

	share_lock(s);
	y = s->sync;
	if (y != NULL && !y->closing) {
		list_splice_tail(&y->ready, &y->soon);
		list_splice_tail(&y->ready, &y->sooner);
		list_splice_tail(&y->ready, &y->settling);
		for (i = 0; i < SYNC_WHEEL; i++)
			list_splice_tail(&y->ready, &y->wheel[i]);
		keymap_each(&y->tombs, hurry_tomb, NULL);
		list_for_each(l, &y->moved) container_of(l, struct moved, link)->due_ms = 0;
		y->walk_not_before_ms = 0;
		if (y->unavailable)
			y->probe_at_ms = 0;
		sync_kick(y);
	}
	share_unlock(s);
}
