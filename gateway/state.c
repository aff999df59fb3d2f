/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c - rows and events of the control plane, offered to the committer as a space's owner.
 *
 * A write waits on `writes` until collect() took it, then on `taken` until collected() tells the
 * outcome.  A write that failed is forgotten (its caller was told); events are offered again.
 */
#include "gateway/state.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache/index.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define EVENTS_WAITING_MAX 4096

struct row {
	char *ns, *key, *value;
};

struct write {
	struct list link;
	struct row *rows;
	size_t n;
	bool is_done;
	int result;
};

struct event {
	struct list link;
	int64_t time_ns;
	char *type, *json;
};

/* The lock is a leaf: events come from callers that hold a share's lock, so the space's own lock,
 * which the committer takes beside the shares', would not do. */
struct state {
	pthread_mutex_t lock;
	struct cache *cache;
	struct cache_space *space;
	struct list writes, taken;
	struct list events, events_taken;
	unsigned int nevents;
};

static void
event_free(struct event *e)
{
	list_del(&e->link);
	free(e->type);
	free(e->json);
	free(e);
}

/* Committer, locked. */
static void
collect(void *owner, struct index_txn *txn)
{
	struct state *s = owner;
	struct list *l;

	pthread_mutex_lock(&s->lock);
	list_for_each(l, &s->writes)
	{
		struct write *w = container_of(l, struct write, link);

		for (size_t i = 0; i < w->n; i++)
			index_txn_put_kv(txn, w->rows[i].ns, w->rows[i].key, w->rows[i].value);
	}
	list_splice_tail(&s->taken, &s->writes);
	list_for_each(l, &s->events)
	{
		struct event *e = container_of(l, struct event, link);

		index_txn_add_event(txn, e->time_ns, e->type, e->json);
	}
	list_splice_tail(&s->events_taken, &s->events);
	pthread_mutex_unlock(&s->lock);
}

/* Committer, unlocked. */
static void
collected(void *owner, int err)
{
	struct state *s = owner;
	struct list *l, *tmp;

	pthread_mutex_lock(&s->lock);
	list_for_each_safe(l, tmp, &s->taken)
	{
		struct write *w = container_of(l, struct write, link);

		list_del(&w->link);
		w->is_done = true;
		w->result = err;
	}
	if (err < 0) {
		list_splice_tail(&s->events_taken, &s->events);
		list_splice_tail(&s->events, &s->events_taken);
	}
	list_for_each_safe(l, tmp, &s->events_taken)
	{
		event_free(container_of(l, struct event, link));
		s->nevents--;
	}
	pthread_mutex_unlock(&s->lock);
}

/* The space has no files: nothing is ever fetched. */
static void
fetch(void *owner, void *file_owner, uint64_t off, uint32_t len, void *buf, struct cache_fetch *f)
{
	(void)owner;
	(void)file_owner;
	(void)off;
	(void)len;
	(void)buf;
	cache_fetch_done(f, -ENOENT);
}

static void
verifier_changed(void *owner)
{
	(void)owner;
}

static struct cache_file *
resolve_none(void *owner, uint64_t file_id)
{
	(void)owner;
	(void)file_id;
	return NULL;
}

static const struct cache_owner_ops owner_ops = {
    .collect = collect,
    .collected = collected,
    .fetch = fetch,
    .verifier_changed = verifier_changed,
};

int
state_open(struct cache *c, struct state **out)
{
	struct state *s = xcalloc(1, sizeof(*s));
	int r;

	*out = NULL;
	s->cache = c;
	pthread_mutex_init(&s->lock, NULL);
	list_init(&s->writes);
	list_init(&s->taken);
	list_init(&s->events);
	list_init(&s->events_taken);
	r = cache_space_open(c, STATE_SPACE_ID, &owner_ops, s, &s->space);
	if (r < 0) {
		free(s);
		return r;
	}
	r = cache_space_load(s->space, resolve_none);
	if (r < 0) {
		cache_space_close(s->space);
		free(s);
		return r;
	}
	*out = s;
	return 0;
}

void
state_close(struct state *s)
{
	struct list *l, *tmp;

	if (s == NULL)
		return;
	cache_space_close(s->space); /* commits what waits */
	list_for_each_safe(l, tmp, &s->events) event_free(container_of(l, struct event, link));
	free(s);
}

static void
rows_free(struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(rows[i].ns);
		free(rows[i].key);
		free(rows[i].value);
	}
	free(rows);
}

int
state_write(struct state *s, const struct state_change *changes, size_t n)
{
	struct write w = {.n = n, .rows = xcalloc(n, sizeof(*w.rows))};
	int r;

	for (size_t i = 0; i < n; i++) {
		w.rows[i].ns = xstrdup(changes[i].ns);
		w.rows[i].key = xstrdup(changes[i].key);
		if (changes[i].value != NULL)
			w.rows[i].value =
			    json_dumps(changes[i].value, JSON_COMPACT | JSON_SORT_KEYS);
	}
	pthread_mutex_lock(&s->lock);
	list_add_tail(&s->writes, &w.link);
	pthread_mutex_unlock(&s->lock);
	r = cache_commit_sync(s->space);
	pthread_mutex_lock(&s->lock);
	if (w.is_done)
		r = w.result;
	else
		list_del(&w.link); /* the commit failed before it came to us */
	CW_ASSERT(w.is_done || r < 0);
	pthread_mutex_unlock(&s->lock);
	rows_free(w.rows, n);
	if (r < 0)
		log_err("gateway.state", "write-failed", "ns=%s key=%s err=\"%s\"", changes[0].ns,
		    changes[0].key, err_str(r));
	return r;
}

int
state_put(struct state *s, const char *ns, const char *key, const json_t *value)
{
	struct state_change change = {.ns = ns, .key = key, .value = value};

	return state_write(s, &change, 1);
}

void
state_event(struct state *s, const char *type, json_t *detail)
{
	struct event *e = xcalloc(1, sizeof(*e));

	e->time_ns = clock_real_ns();
	e->type = xstrdup(type);
	e->json = json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS);
	if (e->json == NULL)
		e->json = xstrdup("{}");
	json_decref(detail);
	pthread_mutex_lock(&s->lock);
	list_add_tail(&s->events, &e->link);
	if (++s->nevents > EVENTS_WAITING_MAX && !list_empty(&s->events)) {
		event_free(container_of(s->events.next, struct event, link));
		s->nevents--;
		log_warn("gateway.state", "event-dropped", "why=\"the index takes no commits\"");
	}
	pthread_mutex_unlock(&s->lock);
	cache_mark(s->space);
}

json_t *
state_get(struct state *s, const char *ns, const char *key)
{
	char *text = index_get_kv(cache_index(s->cache), ns, key);
	json_t *row;

	if (text == NULL)
		return NULL;
	row = json_loads(text, JSON_DECODE_ANY, NULL);
	if (row == NULL)
		log_err("gateway.state", "row-damaged", "ns=%s key=%s", ns, key);
	free(text);
	return row;
}

struct each {
	const char *ns;
	json_t *rows; /* key -> row */
	int (*event_fn)(
	    void *arg, uint64_t id, int64_t time_ns, const char *type, const json_t *detail);
	void *arg;
};

static int
keep_row(void *arg, const char *key, const char *value)
{
	struct each *e = arg;
	json_t *row = json_loads(value, 0, NULL);

	if (json_is_object(row)) {
		json_object_set_new(e->rows, key, row);
		return 0;
	}
	log_err("gateway.state", "row-damaged", "ns=%s key=%s next=\"left out\"", e->ns, key);
	json_decref(row);
	return 0;
}

/* All rows are read before fn sees the first: fn may use the index itself. */
int
state_each(
    struct state *s, const char *ns, int (*fn)(void *, const char *, const json_t *), void *arg)
{
	struct each e = {.ns = ns, .rows = json_object()};
	int r = index_each_kv(cache_index(s->cache), ns, keep_row, &e);
	const char *key;
	json_t *row;

	json_object_foreach(e.rows, key, row)
	{
		if (r == 0)
			r = fn(arg, key, row);
	}
	json_decref(e.rows);
	return r;
}

static int
each_event(void *arg, uint64_t id, int64_t time_ns, const char *type, const char *json)
{
	struct each *e = arg;
	json_t *detail = json_loads(json, 0, NULL);
	int r;

	if (!json_is_object(detail)) {
		json_decref(detail);
		detail = json_object();
	}
	r = e->event_fn(e->arg, id, time_ns, type, detail);
	json_decref(detail);
	return r;
}

int
state_each_event(struct state *s, const char *type, unsigned int max,
    int (*fn)(void *, uint64_t, int64_t, const char *, const json_t *), void *arg)
{
	struct each e = {.event_fn = fn, .arg = arg};
	bool is_behind;

	pthread_mutex_lock(&s->lock);
	is_behind = s->nevents > 0;
	pthread_mutex_unlock(&s->lock);
	/* who asks wants to see what just happened */
	if (is_behind && cache_commit_sync(s->space) < 0)
		log_warn("gateway.state", "events-behind", "why=\"the index takes no commits\"");
	return index_each_event(cache_index(s->cache), type, max, each_event, &e);
}
