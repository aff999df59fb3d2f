/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.c - the nodes of a share: hash tables, birth, removal, keys and paths.
 *
 * A node is in by_ino from node_new() until its memory is freed, so that an open handle finds an
 * unlinked file; it is in by_name and in its directory's entries only while it has a name.
 *
 * A row's way into the index: node_changed() puts the node on share->changed, the commit takes it to
 * share->collecting, and the outcome takes it off (or back).  A removed node goes the same way by
 * share->dead.  share->orphans keeps removed nodes that have nothing to write but are still held.
 */
#include "gateway/node.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/dir.h"

#define HASH_MIN 64u

static uint64_t
mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	h ^= h >> 32;
	return h;
}

static uint32_t
hash_ino(const struct cw_share *s, uint64_t ino)
{
	return (uint32_t)mix(ino ^ s->hash_seed) & (s->nbuckets_ino - 1);
}

static uint32_t
hash_name(const struct cw_share *s, uint64_t parent, const char *name, size_t len)
{
	uint64_t h = mix(parent ^ s->hash_seed), w;

	for (; len >= 8; len -= 8, name += 8) {
		memcpy(&w, name, 8);
		h = mix(h ^ w);
	}
	w = len;
	while (len > 0)
		w = w << 8 | (uint8_t)name[--len];
	return (uint32_t)mix(h ^ w) & (s->nbuckets_name - 1);
}

/* Both tables have the same size and grow together: at most one node a bucket on average. */
static void
tables_grow(struct cw_share *s)
{
	uint32_t old = s->nbuckets_ino, fresh = old == 0 ? HASH_MIN : old * 2;
	struct node **by_ino = s->by_ino, **by_name = s->by_name, *n, *next;
	uint32_t i, h;

	s->by_ino = xcalloc(fresh, sizeof(*s->by_ino));
	s->by_name = xcalloc(fresh, sizeof(*s->by_name));
	s->nbuckets_ino = s->nbuckets_name = fresh;
	for (i = 0; i < old; i++) {
		for (n = by_ino[i]; n != NULL; n = next) {
			next = n->ino_next;
			h = hash_ino(s, n->ino);
			n->ino_next = s->by_ino[h];
			s->by_ino[h] = n;
		}
		for (n = by_name[i]; n != NULL; n = next) {
			next = n->name_next;
			h = hash_name(s, n->parent->ino, n->name, n->name_len);
			n->name_next = s->by_name[h];
			s->by_name[h] = n;
		}
	}
	free(by_ino);
	free(by_name);
}

struct node *
node_by_ino(struct cw_share *s, uint64_t ino)
{
	struct node *n;

	if (s->nbuckets_ino == 0)
		return NULL;
	for (n = s->by_ino[hash_ino(s, ino)]; n != NULL; n = n->ino_next)
		if (n->ino == ino)
			return n;
	return NULL;
}

struct node *
node_child(struct cw_share *s, struct node *dir, const char *name, size_t len)
{
	struct node *n;

	for (n = s->by_name[hash_name(s, dir->ino, name, len)]; n != NULL; n = n->name_next)
		if (n->parent == dir && n->name_len == len && memcmp(n->name, name, len) == 0)
			return n;
	return NULL;
}

static void
ino_insert(struct cw_share *s, struct node *n)
{
	uint32_t h;

	if (s->nnodes >= s->nbuckets_ino)
		tables_grow(s);
	h = hash_ino(s, n->ino);
	n->ino_next = s->by_ino[h];
	s->by_ino[h] = n;
	s->nnodes++;
}

static void
ino_delete(struct cw_share *s, struct node *n)
{
	struct node **p = &s->by_ino[hash_ino(s, n->ino)];

	while (*p != n)
		p = &(*p)->ino_next;
	*p = n->ino_next;
	s->nnodes--;
}

static void
name_delete(struct cw_share *s, struct node *n)
{
	struct node **p = &s->by_name[hash_name(s, n->parent->ino, n->name, n->name_len)];

	while (*p != n)
		p = &(*p)->name_next;
	*p = n->name_next;
	n->name_next = NULL;
}

struct node *
node_alloc(struct cw_share *s, uint64_t ino, uint32_t mode)
{
	struct node *n = xcalloc(1, sizeof(*n));

	n->ino = ino;
	n->mode = mode;
	list_init(&n->changed_link);
	list_init(&n->sync_link);
	if (S_ISDIR(mode))
		n->u.dir = dir_new();
	ino_insert(s, n);
	return n;
}

struct node *
node_new(struct cw_share *s, uint32_t mode)
{
	struct index *ix = cache_index(s->env.cache);
	struct node *n = node_alloc(s, index_next_ino(ix), mode);

	n->gen = index_incarnation(ix);
	n->atime_ns = n->mtime_ns = n->ctime_ns = clock_real_ns();
	n->changed_ms = clock_mono_ms();
	return n;
}

void
node_attach_at(struct cw_share *s, struct node *dir, struct node *n, const char *name, size_t len,
    uint64_t cookie)
{
	uint32_t h = hash_name(s, dir->ino, name, len);

	CW_ASSERT(S_ISDIR(dir->mode) && n->parent == NULL && len > 0 && len <= CW_NAME_MAX);
	if (n->name == NULL || n->name_len != len || memcmp(n->name, name, len) != 0) {
		free(n->name);
		n->name = xstrndup(name, len);
		n->name_len = (uint8_t)len;
	}
	n->parent = dir;
	n->name_next = s->by_name[h];
	s->by_name[h] = n;
	dir_insert(dir->u.dir, n, cookie);
	dir->u.dir->nchildren++;
	if (S_ISDIR(n->mode))
		dir->u.dir->nsubdirs++;
	else if (S_ISREG(n->mode))
		s->nfiles++;
	dir_raise_max_below(n);
}

void
node_attach(struct cw_share *s, struct node *dir, struct node *n, const char *name, size_t len)
{
	node_attach_at(s, dir, n, name, len, dir->u.dir->next_cookie);
}

/* recall - what somebody may have kept of n is about to be wrong. */
static void
recall(struct cw_share *s, struct node *n)
{
	if (n->flags & NODE_LEASED)
		recall_node(s, n);
	s->recall_seq = s->recall_asked;
}

void
node_detach(struct cw_share *s, struct node *n)
{
	struct node *dir = n->parent;

	CW_ASSERT(dir != NULL);
	recall(s, n);
	name_delete(s, n);
	dir_delete(dir->u.dir, n);
	dir->u.dir->nchildren--;
	if (S_ISDIR(n->mode))
		dir->u.dir->nsubdirs--;
	else if (S_ISREG(n->mode))
		s->nfiles--;
	n->parent = NULL;
}

void
node_changed(struct cw_share *s, struct node *n)
{
	recall(s, n);
	if (n->flags & (NODE_CHANGED | NODE_REMOVED))
		return;
	n->flags |= NODE_CHANGED;
	list_del(&n->changed_link);
	list_add_tail(&s->changed, &n->changed_link);
	cache_mark(s->space);
}

void
node_remove(struct cw_share *s, struct node *n)
{
	CW_ASSERT(n != s->root && !(n->flags & NODE_REMOVED));
	CW_ASSERT(!S_ISDIR(n->mode) || n->u.dir->nchildren == 0);
	if (n->parent != NULL) {
		node_changed(s, n->parent);
		node_detach(s, n);
	}
	n->flags = (n->flags & ~(uint32_t)NODE_CHANGED) | NODE_REMOVED;
	list_del(&n->changed_link);
	if (n->flags & NODE_STORED) {
		list_add_tail(&s->dead, &n->changed_link);
		cache_mark(s->space);
	} else {
		list_add_tail(&s->orphans, &n->changed_link);
	}
	node_maybe_free(s, n);
}

void
node_destroy(struct cw_share *s, struct node *n)
{
	ino_delete(s, n);
	list_del(&n->changed_link);
	if (S_ISDIR(n->mode))
		dir_free(n->u.dir);
	else if (S_ISREG(n->mode))
		free(n->u.file);
	else
		free(n->u.target);
	free(n->head_waiters);
	free(n->remote.key);
	free(n->remote.etag);
	free(n->name);
	free(n);
}

struct node_idle {
	struct cw_share *s;
	struct node *n;
};

static void
node_is_idle(void *arg)
{
	struct node_idle *idle = arg;

	share_lock(idle->s);
	idle->n->flags &= ~(uint32_t)NODE_DYING;
	node_maybe_free(idle->s, idle->n);
	share_unlock(idle->s);
	__atomic_sub_fetch(&idle->s->nops, 1, __ATOMIC_SEQ_CST);
	free(idle);
}

static bool
node_has_waiters(const struct node *n)
{
	if (n->head_waiters != NULL && !list_empty(n->head_waiters))
		return true;
	return S_ISDIR(n->mode) && !list_empty(&n->u.dir->waiters);
}

void
node_maybe_free(struct cw_share *s, struct node *n)
{
	struct node_idle *idle;

	if (!(n->flags & NODE_REMOVED) || n->nopen > 0 || n->nrefs > 0)
		return;
	sync_released(s, n);
	if (n->flags & (NODE_DYING | NODE_HEADING | NODE_LISTING) || n->job != NULL ||
	    !list_empty(&n->sync_link) || node_has_waiters(n))
		return;
	if (S_ISREG(n->mode) && n->u.file != NULL) {
		if (!(n->flags & NODE_DISCARDED)) {
			cache_file_discard(n->u.file);
			n->flags |= NODE_DISCARDED;
		}
		if (n->u.file->nio > 0) {
			/* Read-ahead or a fetch is still at it. It counts as an op, so that the share does
			 * not go away under the callback. */
			n->flags |= NODE_DYING;
			idle = xmalloc(sizeof(*idle));
			idle->s = s;
			idle->n = n;
			__atomic_add_fetch(&s->nops, 1, __ATOMIC_SEQ_CST);
			cache_when_idle(n->u.file, node_is_idle, idle);
			return;
		}
	}
	if (!(n->flags & NODE_STORED))
		node_destroy(s, n);
}

void
node_ref(struct node *n)
{
	n->nrefs++;
}

void
node_unref(struct cw_share *s, struct node *n)
{
	CW_ASSERT(n->nrefs > 0);
	if (--n->nrefs == 0)
		node_maybe_free(s, n);
}

/* --- keys and paths ---------------------------------------------------------------------------- */

/* path_put - write the path of n from the end of buf[cap] backwards, '/' in front of each name.
 * result: offset of the first byte, or -ENAMETOOLONG */
static int
path_put(const struct node *n, char *buf, size_t cap)
{
	size_t at = cap;

	for (; n->parent != NULL; n = n->parent) {
		if (at < n->name_len + 1u)
			return -ENAMETOOLONG;
		at -= n->name_len;
		memcpy(buf + at, n->name, n->name_len);
		buf[--at] = '/';
	}
	return (int)at;
}

int
node_key(const struct cw_share *s, const struct node *n, char *buf)
{
	size_t plen = strlen(s->conf.prefix), len;
	char tail[CW_KEY_MAX + 2];
	int at;

	if (plen > CW_KEY_MAX)
		return -ENAMETOOLONG;
	memcpy(buf, s->conf.prefix, plen);
	buf[plen] = '\0';
	if (n->parent == NULL)
		return (int)plen;
	at = path_put(n, tail, sizeof(tail));
	if (at < 0)
		return at;
	at++; /* keys have no leading slash */
	len = sizeof(tail) - (size_t)at;
	if (plen + len + (S_ISDIR(n->mode) ? 1 : 0) > CW_KEY_MAX)
		return -ENAMETOOLONG;
	memcpy(buf + plen, tail + at, len);
	len += plen;
	if (S_ISDIR(n->mode))
		buf[len++] = '/';
	buf[len] = '\0';
	return (int)len;
}

size_t
node_key_len(const struct cw_share *s, const struct node *n)
{
	size_t len = strlen(s->conf.prefix);

	for (; n->parent != NULL && len <= 2 * CW_KEY_MAX; n = n->parent)
		len += n->name_len + 1u; /* the slash below its parent, or a directory's own */
	return len;
}

bool
node_key_fits(const struct cw_share *s, const struct node *dir, size_t name_len, bool is_dir)
{
	return node_key_len(s, dir) + name_len + (is_dir ? 1 : 0) <= CW_KEY_MAX;
}

int
node_path(const struct node *n, char *buf, size_t cap)
{
	size_t len;
	int at;

	if (cap < 2)
		return -ENAMETOOLONG;
	if (n->parent == NULL) {
		memcpy(buf, "/", 2);
		return 1;
	}
	at = path_put(n, buf, cap - 1);
	if (at < 0)
		return at;
	len = cap - 1 - (size_t)at;
	memmove(buf, buf + at, len);
	buf[len] = '\0';
	return (int)len;
}

/* --- attributes and content -------------------------------------------------------------------- */

void
node_touch(struct node *n, bool with_mtime)
{
	int64_t now = clock_real_ns();

	n->ctime_ns = now > n->ctime_ns ? now : n->ctime_ns + 1;
	if (with_mtime)
		n->mtime_ns = n->ctime_ns;
}

void
node_attr(const struct cw_share *s, const struct node *n, struct cw_attr *out)
{
	out->ino = n->ino;
	out->gen = n->gen;
	out->mode = n->mode;
	out->uid = n->uid;
	out->gid = n->gid;
	if (S_ISDIR(n->mode)) {
		out->nlink = n->flags & NODE_REMOVED ? 0 : 2 + n->u.dir->nsubdirs;
		out->size = out->used_bytes = 4096;
	} else {
		out->nlink = n->flags & NODE_REMOVED ? 0 : 1;
		out->size = n->size;
		out->used_bytes = (n->size + 511) & ~(uint64_t)511;
	}
	out->atime_ns = n->atime_ns;
	out->mtime_ns = n->mtime_ns;
	out->ctime_ns = n->ctime_ns;
	out->share_id = s->id;
}

struct cache_file *
node_file(struct cw_share *s, struct node *n)
{
	CW_ASSERT(S_ISREG(n->mode));
	if (n->u.file == NULL) {
		n->u.file = xcalloc(1, sizeof(*n->u.file));
		cache_file_init(
		    n->u.file, s->space, n->ino, n, n->remote.key != NULL ? n->remote.size : 0);
	}
	return n->u.file;
}

void
node_free_all(struct cw_share *s)
{
	struct node *n, *next;
	uint32_t i;

	for (i = 0; i < s->nbuckets_ino; i++) {
		for (n = s->by_ino[i]; n != NULL; n = next) {
			next = n->ino_next;
			node_destroy(s, n);
		}
	}
	free(s->by_ino);
	free(s->by_name);
	s->by_ino = s->by_name = NULL;
	s->nbuckets_ino = s->nbuckets_name = 0;
	s->root = NULL;
}
