/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.c - one share's or volume's data file and chunks: open, load, close, destroy.
 *
 * Recovery is loading: redo rows are replayed, chunk rows are read, slots that no row names are free.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/cache_int.h"
#include "cache/redo.h"

void
cache_space_lock(struct cache_space *s)
{
	pthread_mutex_lock(&s->lock);
}

void
cache_space_unlock(struct cache_space *s)
{
	pthread_mutex_unlock(&s->lock);
}

uint32_t
cache_sync_errors(const struct cache_space *s)
{
	return s->sync_errors;
}

uint32_t
cache_space_id(const struct cache_space *s)
{
	return s->id;
}

const char *
cache_space_path(const struct cache_space *s)
{
	return s->path;
}

void
cache_space_get_stats(struct cache_space *s, uint64_t *used_bytes, uint64_t *dirty_bytes)
{
	cache_space_lock(s);
	*dirty_bytes = s->dirty_bytes + s->sealed_bytes;
	*used_bytes = *dirty_bytes + s->clean_bytes;
	cache_space_unlock(s);
}

void
cachei_idle_signal(struct cache_space *s)
{
	if (s->nidle_waiters > 0)
		pthread_cond_broadcast(&s->idle);
}

static struct cache_space *
space_new(struct cache *c, uint32_t id, const struct cache_owner_ops *ops, void *owner)
{
	struct cache_space *s = xcalloc(1, sizeof(*s));
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&s->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	pthread_cond_init(&s->idle, NULL);
	s->cache = c;
	s->id = id;
	s->ops = ops;
	s->owner = owner;
	list_init(&s->changed);
	list_init(&s->lazy);
	list_init(&s->lru);
	list_init(&s->bufs);
	list_init(&s->landings);
	list_init(&s->link);
	list_init(&s->waiters);
	list_init(&s->work_link);
	list_init(&s->mark_link);
	list_init(&s->tidy_link);
	return s;
}

static void
space_free(struct cache_space *s)
{
	if (s->file != NULL)
		s->cache->os->close(s->file);
	cachei_slab_free_all(s);
	cachei_slots_free(&s->slots);
	cachei_pend_free(&s->pend);
	cachei_vec_free(&s->redo);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->idle);
	free(s->path);
	free(s);
}

/* name_file - a new data file: empty, its name durable, then known to the index. */
static int
name_file(struct cache_space *s)
{
	struct index_txn *t;
	char key[16], *dir, *slash;
	int err;

	err = s->cache->os->truncate(s->file, 0); /* left over from an index that was lost */
	if (err != 0)
		return err;
	dir = xstrdup(s->path);
	slash = strrchr(dir, '/');
	if (slash != NULL)
		*slash = '\0';
	err = s->cache->os->sync(s->file);
	if (err == 0)
		err = osfile_sync_dir(slash == NULL ? "." : dir);
	free(dir);
	if (err != 0)
		return err;
	t = index_txn_new();
	snprintf(key, sizeof(key), "%u", s->id);
	index_txn_put_kv(t, "space", key, s->path);
	err = index_apply(s->cache->index, t);
	index_txn_free(t);
	return err;
}

static int
space_open(struct cache_space *s, const char *dir, struct cache_space **out)
{
	struct cache *c = s->cache;
	uint32_t id = s->id;
	bool is_new;
	int64_t size;
	int err = 0;

	*out = NULL;
	s->path = cachei_data_path(c, id, dir, &is_new);
	if (is_new && dir != NULL)
		err = osfile_mkdir_p(dir, 0700);
	if (err == 0)
		err = c->os->open(s->path, &s->file);
	if (err == 0 && is_new)
		err = name_file(s);
	if (err == 0)
		err = cachei_redo_replay(s);
	if (err == 0) {
		size = c->os->size(s->file);
		if (size < 0)
			err = (int)size;
		else
			cachei_slots_grow(
			    s, (uint32_t)((size + CACHE_CHUNK_SIZE - 1) >> CACHE_CHUNK_SHIFT));
	}
	if (err != 0) {
		log_err("cache.space", "open-failed", "space=%u path=%s err=\"%s\"", id, s->path,
		    err_str(err));
		space_free(s);
		return err;
	}
	pthread_mutex_lock(&c->spaces_lock);
	list_add_tail(&c->spaces, &s->link);
	pthread_mutex_unlock(&c->spaces_lock);
	*out = s;
	return 0;
}

int
cache_space_open(struct cache *c, uint32_t id, const struct cache_owner_ops *ops, void *owner,
    struct cache_space **out)
{
	return space_open(space_new(c, id, ops, owner), NULL, out);
}

int
cache_space_open_pinned(struct cache *c, uint32_t id, const char *dir,
    const struct cache_owner_ops *ops, void *owner, struct cache_space **out)
{
	struct cache_space *s = space_new(c, id, ops, owner);

	s->is_pinned = true;
	return space_open(s, dir, out);
}

struct load {
	struct cache_space *s;
	struct cache_file *(*resolve)(void *owner, uint64_t file_id);
	struct cache_file *last; /* rows come file by file */
	struct vec dirty;	 /* struct cache_file *: files with DIRTY blocks */
	uint64_t size;		 /* of the data file */
	uint64_t norphans;
};

static struct cache_file *
load_resolve(struct load *ld, uint64_t file_id)
{
	if (ld->last == NULL || ld->last->id != file_id)
		ld->last = ld->resolve(ld->s->owner, file_id);
	return ld->last;
}

static bool
row_ok(int64_t slot, uint64_t mask)
{
	return slot == NO_SLOT ? mask == 0 : slot >= 0 && slot <= INT32_MAX && mask != 0;
}

/* is_there - does the data file reach to the last block of mask? What is named was durable (P1): if not,
 * somebody cut the file, and zeros would be served for data. */
static bool
is_there(const struct load *ld, int64_t slot, uint64_t mask)
{
	return mask == 0 ||
	       slot_off((int32_t)slot) + (uint64_t)(63 - __builtin_clzll(mask)) * CACHE_BLOCK_SIZE <
		   ld->size;
}

static void
note_dirty(struct load *ld, const struct chunk *ch)
{
	struct cache_file **files = ld->dirty.p;

	if (dirty_data(ch) != 0 && (ld->dirty.n == 0 || files[ld->dirty.n - 1] != ch->file))
		*(struct cache_file **)cachei_vec_push(&ld->dirty, sizeof(ch->file)) = ch->file;
}

/* zero_tails - an append in place that was not durable may have left bytes behind the end (C6). */
static int
zero_tails(struct load *ld)
{
	struct cache_file **files = ld->dirty.p;
	uint64_t size;
	int err = 0;

	for (uint32_t i = 0; i < ld->dirty.n && err == 0; i++) {
		err = index_node_size(ld->s->cache->index, files[i]->id, &size);
		if (err == 0)
			err = cachei_zero_tail(files[i], size);
		else if (err == -ENOENT)
			err =
			    0; /* an owner without nodes keeps no byte-exact size: nothing to cut */
	}
	cachei_vec_free(&ld->dirty);
	return err;
}

/* claim - the slot that a row names, if it names one. */
static bool
claim(struct cache_space *s, int64_t slot)
{
	return slot < 0 || cachei_slot_claim(s, (int32_t)slot) == 0;
}

/* note_cut - does the row name CLEAN blocks that are not whole below the base limit? */
static void
note_cut(struct cache_file *f, const struct index_chunk *row)
{
	uint64_t top;

	if (row->clean_mask == 0)
		return;
	top = ((uint64_t)row->chunk_no << CACHE_CHUNK_SHIFT) +
	      ((64 - (uint64_t)__builtin_clzll(row->clean_mask)) << CACHE_BLOCK_SHIFT);
	f->has_cut_base |= top > f->base_limit;
}

static int
load_chunk(void *arg, const struct index_chunk *row)
{
	struct load *ld = arg;
	struct cache_space *s = ld->s;
	struct cache_file *f = load_resolve(ld, row->file_id);
	struct chunk_key *key;
	uint64_t sealed, dirty;
	struct chunk *ch;

	if (f == NULL) {
		key = cachei_vec_push(&s->pend.dead_chunks, sizeof(*key));
		key->file_id = row->file_id;
		key->no = row->chunk_no;
		ld->norphans++;
		return 0;
	}
	sealed = row->sealed_mask & ~row->sealed_zero;
	dirty = row->dirty_mask & ~row->dirty_zero;
	if (!row_ok(row->clean_slot, row->clean_mask) || !row_ok(row->sealed_slot, sealed) ||
	    !row_ok(row->dirty_slot, dirty) || (row->sealed_zero & ~row->sealed_mask) != 0 ||
	    (row->dirty_zero & ~row->dirty_mask) != 0 ||
	    (row->sealed_mask != 0 && !f->has_sealed) || !claim(s, row->clean_slot) ||
	    !claim(s, row->sealed_slot) || !claim(s, row->dirty_slot)) {
		log_err("cache.space", "bad-row", "space=%u file=%llu chunk=%u: run causeway check",
		    s->id, (unsigned long long)row->file_id, row->chunk_no);
		return -EUCLEAN;
	}
	if (!is_there(ld, row->clean_slot, row->clean_mask) ||
	    !is_there(ld, row->sealed_slot, sealed) || !is_there(ld, row->dirty_slot, dirty)) {
		log_err("cache.space", "data-file-short",
		    "space=%u path=%s size=%llu file=%llu chunk=%u: the index names bytes behind "
		    "the "
		    "end; put the file back, or run causeway check and see what would be lost",
		    s->id, s->path, (unsigned long long)ld->size, (unsigned long long)row->file_id,
		    row->chunk_no);
		return -EUCLEAN;
	}
	ch = cachei_chunk_get(f, row->chunk_no);
	ch->flags |= CHUNK_STORED;
	ch->clean_slot = (int32_t)row->clean_slot;
	ch->sealed_slot = (int32_t)row->sealed_slot;
	ch->dirty_slot = (int32_t)row->dirty_slot;
	cachei_chunk_set_clean(ch, row->clean_mask);
	cachei_chunk_set_sealed(ch, row->sealed_mask, row->sealed_zero);
	cachei_chunk_set_dirty(ch, row->dirty_mask, row->dirty_zero);
	ch->clean_row = row->clean_mask;
	note_cut(f, row);
	note_dirty(ld, ch);
	if (ch->clean_slot != NO_SLOT)
		list_add_tail(&s->lru, &ch->lru);
	cachei_chunk_check(ch);
	return 0;
}

static int
load_seal(void *arg, const struct index_seal *row)
{
	struct load *ld = arg;
	struct cache_file *f = load_resolve(ld, row->file_id);
	struct seal_op *op;

	if (f != NULL && f->has_sealed) {
		f->seal_base_limit = row->base_limit;
		return 0;
	}
	op = cachei_vec_push(&ld->s->pend.seals, sizeof(*op));
	op->file_id = row->file_id;
	op->is_delete = true;
	return 0;
}

int
cache_space_load(
    struct cache_space *s, struct cache_file *(*resolve)(void *owner, uint64_t file_id))
{
	struct load ld = {.s = s, .resolve = resolve};
	int64_t size = s->cache->os->size(s->file);
	int err;

	if (size < 0)
		return (int)size;
	ld.size = (uint64_t)size;
	cache_space_lock(s);
	err = index_each_chunk(s->cache->index, s->id, load_chunk, &ld);
	if (err == 0)
		err = index_each_seal(s->cache->index, s->id, load_seal, &ld);
	if (err == 0)
		err = zero_tails(&ld);
	else
		cachei_vec_free(&ld.dirty);
	if (err == 0)
		cachei_slots_loaded(s, s->clean_bytes + s->sealed_bytes + s->dirty_bytes);
	cache_space_unlock(s);
	if (err == 0 && ld.norphans > 0) {
		log_info("cache.space", "orphans", "space=%u rows=%llu", s->id,
		    (unsigned long long)ld.norphans);
		cache_mark(s);
	}
	if (err == 0)
		cachei_evict_kick(s->cache);
	return err;
}

static void
wait_quiet(struct cache_space *s)
{
	cache_space_lock(s);
	s->is_closing = true;
	s->nidle_waiters++;
	while (s->nio > 0 || s->npunching > 0)
		pthread_cond_wait(&s->idle, &s->lock);
	s->nidle_waiters--;
	cachei_bufs_drop_landed(s, INT64_MAX, UINT64_MAX);
	CW_ASSERT(list_empty(&s->bufs));
	cache_space_unlock(s);
}

/* detach - nobody but the caller knows the space afterwards. */
static void
detach(struct cache_space *s)
{
	struct cache *c = s->cache;

	pthread_mutex_lock(&c->spaces_lock);
	list_del(&s->link);
	while (s->nusers > 0)
		pthread_cond_wait(&c->spaces_cond, &c->spaces_lock);
	pthread_mutex_unlock(&c->spaces_lock);
	cachei_commit_leave(s);
	cachei_slots_gone(s);
	if (!s->is_pinned)
		c->clean_bytes -= (int64_t)s->clean_bytes;
	c->dirty_bytes -= (int64_t)(s->dirty_bytes + s->sealed_bytes);
}

void
cache_space_close(struct cache_space *s)
{
	int err;

	wait_quiet(s);
	if (s->cache->committer_runs) {
		cache_space_lock(s);
		s->flush_lazy = true;
		cache_space_unlock(s);
		err = cache_commit_sync(s);
		if (err != 0)
			log_err("cache.space", "close-failed",
			    "space=%u err=\"%s\": not all is durable", s->id, err_str(err));
	}
	detach(s);
	space_free(s);
}

int
cache_space_destroy(struct cache_space *s)
{
	struct cache *c = s->cache;
	struct index_txn *t;
	char key[16];
	int err;

	wait_quiet(s);
	detach(s);
	t = index_txn_new();
	index_txn_del_space(t, s->id);
	snprintf(key, sizeof(key), "%u", s->id);
	index_txn_put_kv(t, "space", key, NULL);
	err = index_apply(c->index, t);
	index_txn_free(t);
	if (err == 0 && unlink(s->path) != 0)
		err = -errno;
	if (err != 0)
		log_err("cache.space", "destroy-failed", "space=%u path=%s err=\"%s\"", s->id,
		    s->path, err_str(err));
	space_free(s);
	cachei_space_freed(c);
	return err;
}
