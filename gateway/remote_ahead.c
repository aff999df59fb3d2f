/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote_ahead.c - listings that clients are about to want, and attributes that can wait.
 *
 * A LIST carries no user metadata, so the attributes of what others put into the bucket cost a HEAD
 * each.  A bulk listing (READDIRPLUS) does not wait for ten thousand of them when there is evidence
 * that they would say nothing: samples, some at the start and more in passing, that all turned out to be
 * without attributes.  What is shown then is what LIST says and the share's defaults; the HEADs follow
 * in the background, when no listing is under way, and a difference moves the ctime.  A single object
 * with attributes ends this for the life of the share: from there on listings wait for their HEADs.
 *
 * Nothing but such a listing sees unconfirmed attributes.  LOOKUP, GETATTR, and whatever checks a
 * permission, wait for the HEAD of that one object.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/strbuf.h"
#include "gateway/dir.h"
#include "gateway/sync_int.h"

#define EVIDENCE 16u	     /* bare objects seen before anything unconfirmed is shown */
#define STRIDE_MAX 16u	     /* then, with more evidence, one directory in so many is sampled */
#define REFINE_WIDTH 8u	     /* HEADs in the background */
#define REFINE_QUIET_MS 300u /* after the last listing */
#define AHEAD_DIRS 32u	     /* listings under way or waiting that nobody asked for */
#define AHEAD_LOOK 512u	     /* entries looked at for directories */
#define AHEAD_FIRST 4u	     /* directories listed below one that is new */

/* --- evidence ----------------------------------------------------------------------------------- */

static bool
is_unknown(const struct node *n)
{
	return n->flags & NODE_META_UNKNOWN && n->remote.key != NULL;
}

void
evidence_add(struct sync *y, bool has_attrs)
{
	if (has_attrs)
		y->nattrs++;
	else
		y->nbare++;
}

/* is_sampled - is dir one of those that must be sampled? A power of two, so that more evidence only
 * takes directories out. */
static bool
is_sampled(const struct sync *y, const struct node *dir)
{
	uint64_t stride = 1;

	while (stride < STRIDE_MAX && stride * 2 <= y->nbare / EVIDENCE)
		stride *= 2;
	return y->nbare < EVIDENCE || dir->ino % stride == 0;
}

/* sample - have some children HEADed. result: one that is not known yet, or NULL */
static struct node *
sample(struct sync *y, const struct node *dir, bool at_front)
{
	const struct dir *d = dir->u.dir;
	uint32_t want = y->nbare < EVIDENCE ? EVIDENCE : 1;
	uint32_t step = d->n > want ? d->n / want : 1, i;
	struct node *last = NULL, *n;

	for (i = step / 2; i < d->n; i += step) {
		n = d->entries[i];
		if (n == NULL || !is_unknown(n)) {
			if (n != NULL && want == 1)
				return NULL; /* this one has spoken */
			continue;
		}
		head_ask(y, n, at_front);
		last = n;
	}
	return last;
}

bool
remote_need_sample(struct cw_share *s, struct node *dir, struct cw_op *op)
{
	struct sync *y = s->sync;
	struct node *n;

	if (y == NULL || y->closing || y->nattrs > 0 || dir->flags & NODE_REMOVED ||
	    op->cookie != 0 || !is_sampled(y, dir))
		return false;
	n = sample(y, dir, true);
	return n != NULL && remote_need_meta(s, n, op);
}

bool
remote_may_show(const struct cw_share *s)
{
	const struct sync *y = s->sync;

	return y != NULL && y->nattrs == 0 && y->nbare >= EVIDENCE;
}

/* --- the HEADs that follow ---------------------------------------------------------------------- */

void
remote_shown(struct cw_share *s, struct node *n)
{
	struct sync *y = s->sync;

	if (y == NULL || n->flags & NODE_SHOWN)
		return;
	n->flags |= NODE_SHOWN;
	if (y->refine_n == y->refine_cap) {
		y->refine_cap = y->refine_cap == 0 ? 256 : y->refine_cap * 2;
		y->refine = xrealloc(y->refine, y->refine_cap * sizeof(*y->refine));
	}
	y->refine[y->refine_n++] = n->ino;
	if (y->refine_n - y->refine_at == 1)
		sync_kick(y);
}

uint64_t
refine_next_ms(const struct sync *y)
{
	if (y->refine_at == y->refine_n || y->unavailable || y->nheads > 0 || y->nlisting > 0)
		return UINT64_MAX; /* or whoever is under way looks again */
	return y->listed_ms + REFINE_QUIET_MS;
}

void
refine_pump(struct sync *y)
{
	struct node *n;

	if (y->refine_at == y->refine_n || y->closing || y->unavailable || y->nlisting > 0 ||
	    clock_mono_ms() < y->listed_ms + REFINE_QUIET_MS)
		return;
	while (y->refine_at < y->refine_n && y->nheads < REFINE_WIDTH) {
		n = node_by_ino(y->s, y->refine[y->refine_at++]);
		if (n != NULL && is_unknown(n) && !(n->flags & (NODE_REMOVED | NODE_HEADING)))
			head_ask(y, n, false);
	}
	if (y->refine_at == y->refine_n) {
		free(y->refine);
		y->refine = NULL;
		y->refine_at = y->refine_n = y->refine_cap = 0;
	}
}

/* --- listings ahead ----------------------------------------------------------------------------- */

/* start_ahead - result: was a listing started? */
static bool
start_ahead(struct sync *y, struct node *dir)
{
	if (!S_ISDIR(dir->mode) || dir->flags & (NODE_LISTED | NODE_LISTING | NODE_SUBTREE_MOVED) ||
	    dir->dirty_since_ns != 0 || dir->remote.key == NULL)
		return false;
	return list_start(y, dir, true);
}

/* entry_index - where n is among its parent's entries. */
static uint32_t
entry_index(const struct node *n)
{
	return dir_first_after(n->parent->u.dir, n->cookie - 1);
}

/* follows - was the directory before dir, among its siblings, listed too (or is it the first)? Then
 * somebody walks the tree. */
static bool
follows(const struct node *dir)
{
	const struct dir *d = dir->parent->u.dir;
	uint32_t at = entry_index(dir), looked = 0;

	while (at-- > 0 && looked++ < AHEAD_LOOK) {
		const struct node *n = d->entries[at];

		if (n != NULL && S_ISDIR(n->mode))
			return n->flags & NODE_LISTED;
	}
	return looked <= AHEAD_LOOK;
}

static void
list_entries_ahead(struct sync *y, const struct dir *d, uint32_t at, uint32_t max)
{
	uint32_t looked = 0, started = 0;

	for (; at < d->n && looked++ < AHEAD_LOOK && started < max && y->nahead < AHEAD_DIRS;
	     at++) {
		if (d->entries[at] != NULL && start_ahead(y, d->entries[at]))
			started++;
	}
}

void
remote_look_ahead(struct cw_share *s, struct node *dir)
{
	struct sync *y = s->sync;

	if (y == NULL || y->closing || y->unavailable || dir->flags & NODE_REMOVED)
		return;
	if (dir->u.dir->nsubdirs > 0)
		list_entries_ahead(y, dir->u.dir, 0, AHEAD_FIRST);
	if (dir->parent != NULL && dir->parent->flags & NODE_LISTED && follows(dir))
		list_entries_ahead(y, dir->parent->u.dir, entry_index(dir) + 1, AHEAD_DIRS);
}

void
ahead_listed(struct sync *y, struct node *dir)
{
	if (y->nattrs == 0 && !(dir->flags & NODE_REMOVED) && is_sampled(y, dir))
		(void)sample(y, dir, false);
}
