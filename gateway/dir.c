/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir.c - the entries of a directory, in the order of their cookies.
 *
 * A cookie belongs to one entry of one directory for good: entries are appended with rising cookies, a
 * removal leaves a hole, so a client that stopped at any cookie goes on with what lies behind it,
 * whatever came and went meanwhile.  Cookies 1 and 2 are "." and "..".
 */
#include "gateway/dir.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define HOLES_MIN 32u

struct dir *
dir_new(void)
{
	struct dir *d = xcalloc(1, sizeof(*d));

	d->next_cookie = DIR_COOKIE_FIRST;
	list_init(&d->waiters);
	return d;
}

void
dir_free(struct dir *d)
{
	free(d->entries);
	free(d->cookies);
	free(d);
}

/* lower_bound - index of the first slot whose cookie is >= cookie, d->n if none is. */
static uint32_t
lower_bound(const struct dir *d, uint64_t cookie)
{
	uint32_t lo = 0, hi = d->n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (d->cookies[mid] < cookie)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t
dir_first_after(const struct dir *d, uint64_t cookie)
{
	uint32_t i = cookie == UINT64_MAX ? d->n : lower_bound(d, cookie + 1);

	while (i < d->n && d->entries[i] == NULL)
		i++;
	return i;
}

static void
dir_squeeze(struct dir *d)
{
	uint32_t from, to = 0;

	for (from = 0; from < d->n; from++) {
		if (d->entries[from] == NULL)
			continue;
		d->entries[to] = d->entries[from];
		d->cookies[to++] = d->cookies[from];
	}
	d->n = to;
	d->nholes = 0;
}

static void
dir_reserve(struct dir *d)
{
	if (d->n < d->cap)
		return;
	d->cap = d->cap == 0 ? 4 : d->cap + d->cap / 2;
	d->entries = xrealloc(d->entries, d->cap * sizeof(*d->entries));
	d->cookies = xrealloc(d->cookies, d->cap * sizeof(*d->cookies));
}

void
dir_insert(struct dir *d, struct node *n, uint64_t cookie)
{
	uint32_t i;

	CW_ASSERT(cookie >= DIR_COOKIE_FIRST);
	dir_reserve(d);
	i = d->n == 0 || d->cookies[d->n - 1] < cookie ? d->n : lower_bound(d, cookie);
	CW_ASSERT(i == d->n || d->cookies[i] != cookie || d->entries[i] == NULL);
	memmove(d->entries + i + 1, d->entries + i, (d->n - i) * sizeof(*d->entries));
	memmove(d->cookies + i + 1, d->cookies + i, (d->n - i) * sizeof(*d->cookies));
	d->entries[i] = n;
	d->cookies[i] = cookie;
	d->n++;
	n->cookie = cookie;
	if (cookie >= d->next_cookie)
		d->next_cookie = cookie + 1;
}

void
dir_delete(struct dir *d, struct node *n)
{
	uint32_t i = lower_bound(d, n->cookie);

	CW_ASSERT(i < d->n && d->entries[i] == n);
	d->entries[i] = NULL;
	d->nholes++;
	if (d->nholes > HOLES_MIN && d->nholes > d->n / 2)
		dir_squeeze(d);
	else if (d->nholes == d->n)
		d->n = d->nholes = 0;
}

void
dir_raise_max_below(const struct node *n)
{
	uint32_t len = S_ISDIR(n->mode) ? n->name_len + 1u + n->u.dir->max_below : n->name_len;
	struct node *dir;

	for (dir = n->parent; dir != NULL && dir->u.dir->max_below < len; dir = dir->parent) {
		dir->u.dir->max_below = len;
		len += dir->name_len + 1u;
	}
}

uint32_t
dir_recount_max_below(struct node *n)
{
	struct dir *d = n->u.dir;
	uint32_t i, len, max = 0;
	struct node *c;

	for (i = 0; i < d->n; i++) {
		c = d->entries[i];
		if (c == NULL)
			continue;
		len = c->name_len;
		if (S_ISDIR(c->mode))
			len += 1 + dir_recount_max_below(c);
		if (len > max)
			max = len;
	}
	d->max_below = max;
	return max;
}
