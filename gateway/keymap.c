/* SPDX-License-Identifier: Apache-2.0 */
/* keymap.c - a hash table from keys to things, and a set of inode numbers. */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define MIN_BUCKETS 64

struct keymap_entry {
	struct keymap_entry *next;
	const char *key;
	void *value;
	uint64_t hash;
};

static uint64_t
mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

/* hash_key - other writers choose keys: a seed of our own keeps them from choosing collisions. */
static uint64_t
hash_key(const struct keymap *m, const char *key)
{
	size_t len = strlen(key), n;
	uint64_t h = m->seed ^ len, w;

	for (; len > 0; key += n, len -= n) {
		n = len < sizeof(w) ? len : sizeof(w);
		w = 0;
		memcpy(&w, key, n);
		h = mix(h ^ w) + m->seed;
	}
	return h;
}

static struct keymap_entry **
find(const struct keymap *m, const char *key, uint64_t hash)
{
	struct keymap_entry **p = &m->buckets[hash & (m->nbuckets - 1)];

	while (*p != NULL && ((*p)->hash != hash || strcmp((*p)->key, key) != 0))
		p = &(*p)->next;
	return p;
}

void *
keymap_get(const struct keymap *m, const char *key)
{
	struct keymap_entry *e;

	if (m->n == 0)
		return NULL;
	e = *find(m, key, hash_key(m, key));
	return e != NULL ? e->value : NULL;
}

static void
resize(struct keymap *m, size_t nbuckets)
{
	struct keymap_entry **old = m->buckets, *e, *next;
	size_t i, nold = m->nbuckets;

	m->buckets = xcalloc(nbuckets, sizeof(*m->buckets));
	m->nbuckets = nbuckets;
	for (i = 0; i < nold; i++) {
		for (e = old[i]; e != NULL; e = next) {
			struct keymap_entry **p = &m->buckets[e->hash & (nbuckets - 1)];

			next = e->next;
			e->next = *p;
			*p = e;
		}
	}
	free(old);
}

void
keymap_put(struct keymap *m, const char *key, void *value)
{
	struct keymap_entry *e = xmalloc(sizeof(*e)), **p;

	if (m->nbuckets == 0)
		random_bytes(&m->seed, sizeof(m->seed));
	if (m->n >= m->nbuckets)
		resize(m, m->nbuckets == 0 ? MIN_BUCKETS : m->nbuckets * 2);
	e->hash = hash_key(m, key);
	e->key = key;
	e->value = value;
	p = &m->buckets[e->hash & (m->nbuckets - 1)];
	e->next = *p;
	*p = e;
	m->n++;
}

void *
keymap_del(struct keymap *m, const char *key)
{
	struct keymap_entry **p, *e;
	void *value;

	if (m->n == 0)
		return NULL;
	p = find(m, key, hash_key(m, key));
	e = *p;
	if (e == NULL)
		return NULL;
	value = e->value;
	*p = e->next;
	free(e);
	if (--m->n == 0 && m->nbuckets > 1024) { /* a big rename is over: give the memory back */
		free(m->buckets);
		m->buckets = NULL;
		m->nbuckets = 0;
	}
	return value;
}

void
keymap_each(struct keymap *m, void (*fn)(void *arg, void *value), void *arg)
{
	size_t i;

	for (i = 0; i < m->nbuckets; i++)
		for (struct keymap_entry *e = m->buckets[i]; e != NULL; e = e->next)
			fn(arg, e->value);
}

void
keymap_clear(struct keymap *m, void (*free_value)(void *value))
{
	struct keymap_entry *e, *next;
	size_t i;

	for (i = 0; i < m->nbuckets; i++) {
		for (e = m->buckets[i]; e != NULL; e = next) {
			next = e->next;
			if (free_value != NULL)
				free_value(e->value);
			free(e);
		}
	}
	free(m->buckets);
	memset(m, 0, sizeof(*m));
}

/* --- inode numbers (ours, not others'); 0 is no number ------------------------------------------------------------- */

static size_t
inoset_slot(const struct inoset *set, uint64_t ino)
{
	size_t i = (size_t)(ino * 0x9e3779b97f4a7c15ull >> 20) & (set->cap - 1);

	while (set->slots[i] != 0 && set->slots[i] != ino)
		i = (i + 1) & (set->cap - 1);
	return i;
}

void
inoset_add(struct inoset *set, uint64_t ino)
{
	size_t i;

	if (set->n * 2 >= set->cap) {
		struct inoset bigger = {.cap = set->cap == 0 ? 256 : set->cap * 2};

		bigger.slots = xcalloc(bigger.cap, sizeof(*bigger.slots));
		for (i = 0; i < set->cap; i++)
			if (set->slots[i] != 0)
				bigger.slots[inoset_slot(&bigger, set->slots[i])] = set->slots[i];
		bigger.n = set->n;
		free(set->slots);
		*set = bigger;
	}
	i = inoset_slot(set, ino);
	if (set->slots[i] == 0) {
		set->slots[i] = ino;
		set->n++;
	}
}

bool
inoset_has(const struct inoset *set, uint64_t ino)
{
	return set->cap > 0 && set->slots[inoset_slot(set, ino)] == ino;
}

void
inoset_free(struct inoset *set)
{
	free(set->slots);
	memset(set, 0, sizeof(*set));
}
