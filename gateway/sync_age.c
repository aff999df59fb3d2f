/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_age.c - how many nodes have a duty, and how old the oldest is, without looking at a node: a count
 * for each second in which a duty began that still stands.  All locked.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define NS_PER_S 1000000000

/* age_find - index of the first second that is not before s; ages->n if there is none */
static size_t
age_find(const struct duty_ages *a, int64_t s)
{
	size_t lo = 0, hi = a->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (a->v[mid].second < s)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* squeeze - throw out the seconds of which no duty is left. */
static void
squeeze(struct duty_ages *a)
{
	size_t i, to = 0;

	for (i = 0; i < a->n; i++)
		if (a->v[i].count > 0)
			a->v[to++] = a->v[i];
	a->n = to;
	a->nempty = 0;
}

void
duty_count(struct sync *y, const struct node *n)
{
	struct duty_ages *a = &y->ages;
	int64_t s = n->dirty_since_ns / NS_PER_S;
	size_t i = age_find(a, s);

	a->total++;
	if (i < a->n && a->v[i].second == s) {
		a->nempty -= a->v[i].count == 0;
		a->v[i].count++;
		return;
	}
	if (a->n == a->cap) {
		a->cap = a->cap == 0 ? 64 : a->cap * 2;
		a->v = xrealloc(a->v, a->cap * sizeof(*a->v));
	}
	memmove(&a->v[i + 1], &a->v[i], (a->n - i) * sizeof(*a->v));
	a->v[i].second = s;
	a->v[i].count = 1;
	a->n++;
}

void
duty_begin(struct cw_share *s, struct node *n, int64_t since_ns)
{
	n->dirty_since_ns = since_ns;
	if (s->sync != NULL)
		duty_count(s->sync, n);
}

void
duty_end(struct cw_share *s, struct node *n)
{
	int64_t second = n->dirty_since_ns / NS_PER_S;
	struct duty_ages *a;
	size_t i;

	if (n->dirty_since_ns == 0)
		return;
	n->dirty_since_ns = 0;
	if (s->sync == NULL)
		return;
	a = &s->sync->ages;
	i = age_find(a, second);
	if (i == a->n || a->v[i].second != second || a->v[i].count == 0)
		return; /* it began while the share closed: nobody counted it */
	a->total--;
	if (--a->v[i].count > 0 || ++a->nempty < 64 + a->n / 2)
		return;
	squeeze(a);
}

int64_t
duty_oldest_ns(const struct sync *y)
{
	size_t i;

	for (i = 0; i < y->ages.n; i++)
		if (y->ages.v[i].count > 0)
			return y->ages.v[i].second * NS_PER_S;
	return 0;
}
