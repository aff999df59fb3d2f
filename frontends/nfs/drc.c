/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/drc.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/list.h"
#include "gateway/base/strbuf.h"

#define NBUCKETS 16384u

struct drc_entry {
	struct drc_entry *next; /* in its bucket */
	struct list age;	/* oldest first; self-linked while in progress */
	struct drc_key key;
	uint64_t ended_ms; /* 0 = in progress */
	uint64_t origin;
	struct drc_waiter *waiter;
	uint8_t *reply;
	uint32_t reply_len;
};

struct drc {
	pthread_mutex_t mutex;
	struct drc_entry *buckets[NBUCKETS];
	struct list by_age;
	size_t bytes, max_bytes;
	uint64_t max_age_ms;
};

struct drc *
drc_new(size_t max_bytes, unsigned int max_age_s)
{
	struct drc *d = xcalloc(1, sizeof(*d));

	pthread_mutex_init(&d->mutex, NULL);
	list_init(&d->by_age);
	d->max_bytes = max_bytes;
	d->max_age_ms = (uint64_t)max_age_s * 1000;
	return d;
}

static struct drc_entry **
bucket_of(struct drc *d, const struct drc_key *key)
{
	uint64_t h = ((uint64_t)key->checksum << 32 | key->xid) * 0x9e3779b97f4a7c15ull;

	return &d->buckets[(h >> 40) % NBUCKETS];
}

static void
forget(struct drc *d, struct drc_entry *e)
{
	struct drc_entry **at = bucket_of(d, &e->key);

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	list_del(&e->age);
	d->bytes -= sizeof(*e) + e->reply_len;
	free(e->reply);
	free(e);
}

static void
trim(struct drc *d, uint64_t now_ms)
{
	while (!list_empty(&d->by_age)) {
		struct drc_entry *e = container_of(d->by_age.next, struct drc_entry, age);

		if (d->bytes <= d->max_bytes && now_ms - e->ended_ms <= d->max_age_ms)
			return;
		forget(d, e);
	}
}

void
drc_free(struct drc *d)
{
	if (d == NULL)
		return;
	for (unsigned int i = 0; i < NBUCKETS; i++) {
		while (d->buckets[i] != NULL)
			forget(d, d->buckets[i]);
	}
	pthread_mutex_destroy(&d->mutex);
	free(d);
}

static void *
copy_of(const void *data, uint32_t len)
{
	void *p = xmalloc(len > 0 ? len : 1);

	memcpy(p, data, len);
	return p;
}

enum drc_verdict
drc_begin(struct drc *d, const struct drc_key *key, struct drc_waiter *w, struct drc_entry **entry,
    void **reply, uint32_t *reply_len)
{
	enum drc_verdict verdict = DRC_NEW;
	struct drc_entry *e;

	*entry = NULL;
	*reply = NULL;
	*reply_len = 0;
	pthread_mutex_lock(&d->mutex);
	trim(d, clock_mono_ms());
	for (e = *bucket_of(d, key); e != NULL; e = e->next) {
		if (memcmp(&e->key, key, sizeof(*key)) == 0)
			break;
	}
	if (e == NULL) {
		struct drc_entry **at = bucket_of(d, key);

		e = xcalloc(1, sizeof(*e));
		e->key = *key;
		e->origin = w->origin;
		list_init(&e->age);
		e->next = *at;
		*at = e;
		d->bytes += sizeof(*e);
		*entry = e;
	} else if (e->ended_ms != 0) {
		*reply = copy_of(e->reply, e->reply_len);
		*reply_len = e->reply_len;
		verdict = DRC_REPLAY;
	} else if (e->origin == w->origin) {
		verdict = DRC_DROP;
	} else {
		if (e->waiter != NULL) /* reply NULL: the newest connection gets the answer */
			loop_post(e->waiter->loop, &e->waiter->task);
		w->reply = NULL;
		e->waiter = w;
		e->origin = w->origin;
		verdict = DRC_WAIT;
	}
	pthread_mutex_unlock(&d->mutex);
	return verdict;
}

void
drc_end(struct drc *d, struct drc_entry *e, const void *reply, uint32_t reply_len, bool keep)
{
	pthread_mutex_lock(&d->mutex);
	e->reply = copy_of(reply, reply_len);
	e->reply_len = reply_len;
	e->ended_ms = clock_mono_ms();
	if (e->ended_ms == 0)
		e->ended_ms = 1;
	d->bytes += reply_len;
	list_add_tail(&d->by_age, &e->age);
	if (e->waiter != NULL) {
		e->waiter->reply = copy_of(reply, reply_len);
		e->waiter->reply_len = reply_len;
		loop_post(e->waiter->loop, &e->waiter->task);
		e->waiter = NULL;
	}
	if (keep)
		trim(d, e->ended_ms);
	else
		forget(d, e);
	pthread_mutex_unlock(&d->mutex);
}

size_t
drc_bytes(struct drc *d)
{
	size_t n;

	pthread_mutex_lock(&d->mutex);
	n = d->bytes;
	pthread_mutex_unlock(&d->mutex);
	return n;
}
