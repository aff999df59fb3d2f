/* SPDX-License-Identifier: Apache-2.0 */
/* keyset.c - skip list in byte order; p = 1/4, at most 16 levels. */
#include "s3/server/keyset.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"

#define LEVELS 16

struct keyset {
	struct kent *head[LEVELS];
	unsigned int levels;
	size_t n;
	uint64_t rng;
};

struct keyset *
keyset_new(void)
{
	struct keyset *k = xcalloc(1, sizeof *k);

	k->levels = 1;
	k->rng = 0x9e3779b97f4a7c15u;
	return k;
}

void
keyset_free(struct keyset *k)
{
	struct kent *e, *next;

	if (k == NULL)
		return;
	for (e = k->head[0]; e != NULL; e = next) {
		next = e->next[0];
		free(e);
	}
	free(k);
}

size_t
keyset_count(const struct keyset *k)
{
	return k->n;
}

static int
compare(const struct kent *e, const char *key, size_t len)
{
	size_t n = e->key_len < len ? e->key_len : len;
	int c = n > 0 ? memcmp(e->key, key, n) : 0;

	if (c != 0)
		return c;
	return e->key_len < len ? -1 : e->key_len > len ? 1 : 0;
}

static int
compare_prefix(const struct kent *e, const char *prefix, size_t len)
{
	if (e->key_len >= len && memcmp(e->key, prefix, len) == 0)
		return 0;
	return compare(e, prefix, len);
}

/* Walk to the first entry that cmp() does not order before key; before[] = the links to it. */
static struct kent *
walk(struct keyset *k, const char *key, size_t len, bool equal_is_before,
    int (*cmp)(const struct kent *, const char *, size_t), struct kent **before[LEVELS])
{
	struct kent **links = k->head;
	int lvl, c;

	for (lvl = (int)k->levels - 1; lvl >= 0; lvl--) {
		while (links[lvl] != NULL) {
			c = cmp(links[lvl], key, len);
			if (c > 0 || (c == 0 && !equal_is_before))
				break;
			links = links[lvl]->next;
		}
		if (before != NULL)
			before[lvl] = &links[lvl];
	}
	return links[0];
}

struct kent *
keyset_seek(struct keyset *k, const char *key, size_t len, bool is_after)
{
	return walk(k, key, len, is_after, compare, NULL);
}

struct kent *
keyset_seek_past_prefix(struct keyset *k, const char *prefix, size_t len)
{
	return walk(k, prefix, len, true, compare_prefix, NULL);
}

struct kent *
keyset_find(struct keyset *k, const char *key, size_t len)
{
	struct kent *e = walk(k, key, len, false, compare, NULL);

	return e != NULL && compare(e, key, len) == 0 ? e : NULL;
}

static unsigned int
random_level(struct keyset *k)
{
	unsigned int lvl = 1;
	uint64_t r;

	k->rng ^= k->rng << 13;
	k->rng ^= k->rng >> 7;
	k->rng ^= k->rng << 17;
	for (r = k->rng; (r & 3) == 0 && lvl < LEVELS; r >>= 2)
		lvl++;
	return lvl;
}

struct kent *
keyset_put(struct keyset *k, const char *key, size_t len)
{
	struct kent **before[LEVELS];
	struct kent *e = walk(k, key, len, false, compare, before);
	unsigned int lvl, i;

	if (e != NULL && compare(e, key, len) == 0)
		return e;
	lvl = random_level(k);
	while (k->levels < lvl) {
		before[k->levels] = &k->head[k->levels];
		k->levels++;
	}
	e = xcalloc(1, sizeof *e + lvl * sizeof e->next[0] + len + 1);
	e->level = (uint8_t)lvl;
	e->key_len = (uint16_t)len;
	e->key = (char *)&e->next[lvl];
	memcpy(e->key, key, len);
	for (i = 0; i < lvl; i++) {
		e->next[i] = *before[i];
		*before[i] = e;
	}
	k->n++;
	return e;
}

bool
keyset_remove(struct keyset *k, const char *key, size_t len)
{
	struct kent **before[LEVELS];
	struct kent *e = walk(k, key, len, false, compare, before);
	unsigned int i;

	if (e == NULL || compare(e, key, len) != 0)
		return false;
	for (i = 0; i < e->level; i++)
		*before[i] = e->next[i];
	k->n--;
	free(e);
	return true;
}
