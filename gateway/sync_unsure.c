/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_unsure.c - writes of an earlier life whose result was not recorded.
 *
 * Results reach the index with the next commit, up to a second after the bucket has the object.  A
 * crash in between forgets them, hundreds at a time.  As long as such a node keeps its name, its next
 * write finds its own mark and adopts the object; when it takes another name or goes, the object
 * would be left behind and show up as a new file.  So what had a duty at the start is NODE_UNSURE
 * until it is in sync, and leaves a tombstone for the key that it gives up: delete if it is ours.
 */
#include <string.h>
#include <sys/stat.h>

#include "gateway/sync_int.h"

/* may_have_written - could an unrecorded object lie at n's own key? locked */
static bool
may_have_written(const struct cw_share *s, const struct node *n)
{
	char key[CW_KEY_MAX + 2];

	if (n->parent == NULL)
		return false;
	if (n->remote.key == NULL || n->remote.etag == NULL)
		return n->dirty_since_ns != 0;
	return node_key(s, n, key) >= 0 && strcmp(key, n->remote.key) != 0;
}

void
unsure_load(struct sync *y)
{
	struct cw_share *s = y->s;
	uint32_t i;

	for (i = 0; i < s->nbuckets_ino; i++) {
		for (struct node *n = s->by_ino[i]; n != NULL; n = n->ino_next) {
			/* below a renamed directory a node may have been written before its duty was durable */
			if ((n->dirty_since_ns == 0 && list_empty(&y->moved)) ||
			    !may_have_written(s, n))
				continue;
			n->flags |= NODE_UNSURE;
			y->nunsure++;
		}
	}
}

void
unsure_clear(struct sync *y, struct node *n)
{
	if (n->flags & NODE_UNSURE) {
		n->flags &= ~(uint32_t)NODE_UNSURE;
		y->nunsure--;
	}
}

static void
leave_one(struct sync *y, struct node *n)
{
	char key[CW_KEY_MAX + 2];

	if (n->flags & NODE_UNSURE && node_key(y->s, n, key) >= 0)
		tomb_add(y, key, NULL);
	unsure_clear(y, n);
}

/* leave_below - no deeper than a key has slashes. */
static void
leave_below(struct sync *y, struct node *dir) /* NOLINT(misc-no-recursion) */
{
	uint32_t i;

	for (i = 0; i < dir->u.dir->n && y->nunsure > 0; i++) {
		struct node *n = dir->u.dir->entries[i];

		if (n == NULL)
			continue;
		leave_one(y, n);
		if (S_ISDIR(n->mode))
			leave_below(y, n);
	}
}

void
sync_leaving(struct cw_share *s, struct node *n)
{
	struct sync *y = s->sync;

	if (y == NULL || y->nunsure == 0)
		return;
	leave_one(y, n);
	if (S_ISDIR(n->mode))
		leave_below(y, n);
}
