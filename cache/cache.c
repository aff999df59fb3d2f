/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c - the cache as a whole: open, close, where data files lie, statistics. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cache/cache_int.h"

static void
cond_init_mono(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

static struct cache *
cache_new(const struct cache_conf *conf)
{
	struct cache *c = xcalloc(1, sizeof(*c));

	c->os = conf->os == NULL ? &osfile_posix : conf->os;
	c->flush_interval_ms = conf->flush_interval_ms == 0 ? 1000 : conf->flush_interval_ms;
	pthread_mutex_init(&c->dirs_lock, NULL);
	pthread_mutex_init(&c->spaces_lock, NULL);
	pthread_mutex_init(&c->commit_lock, NULL);
	pthread_mutex_init(&c->queue_lock, NULL);
	pthread_mutex_init(&c->bufs.lock, NULL);
	pthread_cond_init(&c->spaces_cond, NULL);
	pthread_cond_init(&c->group_done, NULL);
	cond_init_mono(&c->commit_cond);
	cond_init_mono(&c->queue_cond);
	list_init(&c->spaces);
	list_init(&c->work);
	list_init(&c->marked);
	list_init(&c->untidy);
	list_init(&c->queue);
	cache_set_capacity(c, conf->capacity_bytes, conf->dirty_max_bytes);
	return c;
}

static void
cache_free(struct cache *c)
{
	if (c->wq != NULL)
		workq_free(c->wq);
	if (c->index != NULL)
		index_close(c->index);
	for (size_t i = 0; i < c->ndirs; i++)
		free(c->dirs[i]);
	free(c->dirs);
	pthread_mutex_destroy(&c->dirs_lock);
	pthread_mutex_destroy(&c->spaces_lock);
	pthread_mutex_destroy(&c->commit_lock);
	pthread_mutex_destroy(&c->queue_lock);
	pthread_mutex_destroy(&c->bufs.lock);
	pthread_cond_destroy(&c->spaces_cond);
	pthread_cond_destroy(&c->group_done);
	pthread_cond_destroy(&c->commit_cond);
	pthread_cond_destroy(&c->queue_cond);
	free(c);
}

int
cache_add_data_dir(struct cache *c, const char *dir)
{
	int err = osfile_mkdir_p(dir, 0700);

	if (err != 0)
		return err;
	pthread_mutex_lock(&c->dirs_lock);
	c->dirs = xrealloc(c->dirs, (c->ndirs + 1) * sizeof(*c->dirs));
	c->dirs[c->ndirs++] = xstrdup(dir);
	pthread_mutex_unlock(&c->dirs_lock);
	return 0;
}

int
cache_open(const struct cache_conf *conf, struct cache **out, char *err_text, size_t err_cap)
{
	struct cache *c = cache_new(conf);
	bool is_new;
	int err;

	*out = NULL;
	err_text[0] = '\0';
	err = index_open(conf->index_path, true, &c->index, &is_new, err_text, err_cap);
	for (size_t i = 0; i < conf->ndata_dirs && err == 0; i++) {
		err = cache_add_data_dir(c, conf->data_dirs[i]);
		if (err != 0)
			snprintf(err_text, err_cap, "cache directory %s: %s", conf->data_dirs[i],
			    err_str(err));
	}
	if (err == 0 && c->ndirs == 0) {
		snprintf(err_text, err_cap, "no cache directory is configured");
		err = -EINVAL;
	}
	if (err == 0)
		err = workq_new("cache", conf->workers == 0 ? 8 : conf->workers, &c->wq);
	if (err != 0) {
		if (err_text[0] == '\0')
			snprintf(err_text, err_cap, "%s: %s", conf->index_path, err_str(err));
		cache_free(c);
		return err;
	}
	*out = c;
	return 0;
}

int
cache_start(struct cache *c)
{
	int err = cachei_committer_start(c);

	if (err == 0)
		err = cachei_evictor_start(c);
	return err;
}

void
cache_close(struct cache *c)
{
	CW_ASSERT(list_empty(&c->spaces));
	cachei_evictor_stop(c);
	cachei_committer_stop(c);
	cachei_bufs_end(c);
	cache_free(c);
}

struct index *
cache_index(struct cache *c)
{
	return c->index;
}

struct workq *
cache_workq(struct cache *c)
{
	return c->wq;
}

void
cache_set_capacity(struct cache *c, uint64_t capacity_bytes, uint64_t dirty_max_bytes)
{
	c->capacity = capacity_bytes;
	c->dirty_max = dirty_max_bytes == 0 ? capacity_bytes / 4 * 3 : dirty_max_bytes;
	cachei_evict_kick(c);
}

void
cache_get_stats(struct cache *c, struct cache_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->capacity_bytes = c->capacity;
	out->dirty_max_bytes = c->dirty_max;
	out->clean_bytes = (uint64_t)c->clean_bytes;
	out->dirty_bytes = (uint64_t)c->dirty_bytes;
	out->used_bytes = out->clean_bytes + out->dirty_bytes;
	out->hit_bytes = c->hit_bytes;
	out->miss_bytes = c->miss_bytes;
	out->fetched_bytes = c->fetched_bytes;
	out->evicted_bytes = c->evicted_bytes;
	out->commits = c->commits;
	out->fdatasyncs = c->fdatasyncs;
	out->redo_bytes = c->redo_bytes;
	out->parked_writes = c->parked_writes;
	out->failing = c->failing;
}

/* best_dir - the cache directory with the most free space. dirs_lock held */
static const char *
best_dir(struct cache *c)
{
	const char *best = c->dirs[0];
	uint64_t most = 0, room;
	struct statvfs sv;

	for (size_t i = 0; i < c->ndirs; i++) {
		if (statvfs(c->dirs[i], &sv) != 0)
			continue;
		room = (uint64_t)sv.f_bavail * sv.f_frsize;
		if (room > most) {
			most = room;
			best = c->dirs[i];
		}
	}
	return best;
}

char *
cachei_data_path(struct cache *c, uint32_t id, const char *dir, bool *is_new)
{
	char key[16], *path;

	snprintf(key, sizeof(key), "%u", id);
	path = index_get_kv(c->index, "space", key);
	*is_new = path == NULL;
	if (path == NULL && dir != NULL) {
		path = xasprintf("%s/space-%u.data", dir, id);
	} else if (path == NULL) {
		pthread_mutex_lock(&c->dirs_lock);
		path = xasprintf("%s/space-%u.data", best_dir(c), id);
		pthread_mutex_unlock(&c->dirs_lock);
	}
	return path;
}

struct cache_space *
cachei_space_next(struct cache *c, int64_t *id)
{
	struct cache_space *best = NULL;
	struct list *l;

	pthread_mutex_lock(&c->spaces_lock);
	list_for_each(l, &c->spaces)
	{
		struct cache_space *s = container_of(l, struct cache_space, link);

		if ((int64_t)s->id > *id && (best == NULL || s->id < best->id))
			best = s;
	}
	if (best != NULL) {
		best->nusers++;
		*id = best->id;
	}
	pthread_mutex_unlock(&c->spaces_lock);
	return best;
}

void
cachei_space_put(struct cache_space *s)
{
	struct cache *c = s->cache;

	pthread_mutex_lock(&c->spaces_lock);
	if (--s->nusers == 0)
		pthread_cond_broadcast(&c->spaces_cond);
	pthread_mutex_unlock(&c->spaces_lock);
}
