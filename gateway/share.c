/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.c - opening, closing and finding shares.
 *
 * Lives: the registry holds one reference from open to close; front ends hold one while they work on
 * a share.  Ops are counted in nops: close() sets `closing` (no op starts or parks afterwards), stops
 * the reconciler, fails what is parked, cuts the store off (which ends reads under way), waits until
 * nops is 0 and only then gives the space and the tree back.  The struct itself lives until the last
 * reference is put.
 */
#include "gateway/share.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/base/strbuf.h"
#include "gateway/reply.h"
#include "gateway/share_int.h"
#include "s3/objstore_door.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list registry = LIST_INIT(registry);

/* --- references and look-up -------------------------------------------------------------------- */

void
cw_share_get(struct cw_share *s)
{
	__atomic_add_fetch(&s->nrefs, 1, __ATOMIC_RELAXED);
}

static void
share_free(struct cw_share *s)
{
	struct share_conf_version *v, *older;

	for (v = s->versions; v != NULL; v = older) {
		older = v->older;
		cw_share_conf_free(&v->conf);
		free(v);
	}
	reply_free(s);
	free((char *)s->env.appliance_id);
	free(s);
}

void
cw_share_put(struct cw_share *s)
{
	if (s != NULL && __atomic_sub_fetch(&s->nrefs, 1, __ATOMIC_ACQ_REL) == 0)
		share_free(s);
}

struct cw_share *
cw_share_find(uint32_t id)
{
	struct cw_share *s, *found = NULL;
	struct list *l;

	pthread_mutex_lock(&registry_lock);
	list_for_each(l, &registry)
	{
		s = container_of(l, struct cw_share, share_link);
		if (s->id == id) {
			found = s;
			cw_share_get(s);
			break;
		}
	}
	pthread_mutex_unlock(&registry_lock);
	return found;
}

struct cw_share *
cw_share_by_name(const char *name)
{
	struct cw_share *s, *found = NULL;
	struct list *l;

	pthread_mutex_lock(&registry_lock);
	list_for_each(l, &registry)
	{
		s = container_of(l, struct cw_share, share_link);
		if (strcmp(cw_share_conf(s)->name, name) == 0) {
			found = s;
			cw_share_get(s);
			break;
		}
	}
	pthread_mutex_unlock(&registry_lock);
	return found;
}

void
cw_share_each(void (*fn)(void *arg, struct cw_share *s), void *arg)
{
	struct cw_share **all;
	struct list *l;
	size_t n = 0, i = 0;

	pthread_mutex_lock(&registry_lock);
	list_for_each(l, &registry) n++;
	all = xcalloc(n + 1, sizeof(*all));
	list_for_each(l, &registry)
	{
		all[i] = container_of(l, struct cw_share, share_link);
		cw_share_get(all[i++]);
	}
	pthread_mutex_unlock(&registry_lock);
	for (i = 0; i < n; i++) {
		fn(arg, all[i]);
		cw_share_put(all[i]);
	}
	free(all);
}

uint32_t
cw_share_id(const struct cw_share *s)
{
	return s->id;
}

const struct cw_share_conf *
cw_share_conf(const struct cw_share *s)
{
	return &__atomic_load_n(&s->versions, __ATOMIC_ACQUIRE)->conf;
}

uint64_t
cw_share_root(const struct cw_share *s)
{
	return s->root_ino;
}

uint32_t
cw_share_root_gen(const struct cw_share *s)
{
	return s->root_gen;
}

uint64_t
cw_share_write_verf(const struct cw_share *s)
{
	return __atomic_load_n(&s->write_verf, __ATOMIC_ACQUIRE);
}

struct objstore *
share_store(struct cw_share *s)
{
	return __atomic_load_n(&s->store, __ATOMIC_ACQUIRE);
}

bool
share_op_begin(struct cw_share *s)
{
	__atomic_add_fetch(&s->nops, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&s->closing, __ATOMIC_SEQ_CST))
		return true;
	share_op_end(s);
	return false;
}

void
share_op_end(struct cw_share *s)
{
	__atomic_sub_fetch(&s->nops, 1, __ATOMIC_SEQ_CST);
}

/* --- opening ----------------------------------------------------------------------------------- */

/* conf_publish - make conf the newest version. Locked, or before the share is known to anybody. */
static void
conf_publish(struct cw_share *s, const struct cw_share_conf *conf)
{
	struct share_conf_version *v = xcalloc(1, sizeof(*v));

	cw_share_conf_copy(&v->conf, conf);
	v->older = s->versions;
	s->conf = v->conf;
	__atomic_store_n(&s->versions, v, __ATOMIC_RELEASE);
}

static struct cache_file *
resolve_file(void *owner, uint64_t file_id)
{
	struct cw_share *s = owner;
	struct node *n = node_by_ino(s, file_id);

	return n != NULL && S_ISREG(n->mode) ? node_file(s, n) : NULL;
}

/* root_follow_conf - a new root gets the share's defaults, as directories without metadata do. */
static void
root_follow_conf(struct cw_share *s)
{
	share_lock(s);
	if (!(s->root->flags & NODE_STORED)) {
		s->root->mode = S_IFDIR | s->conf.dir_mode;
		s->root->uid = s->conf.owner_id;
		s->root->gid = s->conf.group_id;
	}
	s->root_ino = s->root->ino;
	s->root_gen = s->root->gen;
	share_unlock(s);
}

static struct cw_share *
share_new(uint32_t id, const struct cw_share_conf *conf, const struct cw_share_env *env)
{
	struct cw_share *s = xcalloc(1, sizeof(*s));

	s->id = id;
	s->env = *env;
	s->env.appliance_id = xstrdup(env->appliance_id != NULL ? env->appliance_id : "");
	s->store = s->env.store = objstore_door_new(env->store, cache_workq(env->cache));
	s->nrefs = 1;
	list_init(&s->changed);
	list_init(&s->collecting);
	list_init(&s->dead);
	list_init(&s->orphans);
	list_init(&s->share_link);
	random_bytes(&s->write_verf, sizeof(s->write_verf));
	random_bytes(&s->hash_seed, sizeof(s->hash_seed));
	conf_publish(s, conf);
	return s;
}

void
share_cut_store(struct cw_share *s)
{
	struct share_old_store *o;

	/* No store is replaced any more. */
	for (o = s->old_stores; o != NULL; o = o->next)
		objstore_door_replace(o->store, NULL);
	objstore_door_replace(s->store, NULL);
}

static void
stores_close(struct cw_share *s)
{
	struct share_old_store *o, *next;

	for (o = s->old_stores; o != NULL; o = next) {
		next = o->next;
		o->store->ops->close(o->store);
		free(o);
	}
	s->old_stores = NULL;
	if (s->store != NULL)
		s->store->ops->close(s->store);
	s->store = NULL;
}

int
cw_share_open(uint32_t id, const struct cw_share_conf *conf, const struct cw_share_env *env,
    struct cw_share **out)
{
	struct cw_share *s = share_new(id, conf, env);
	uint64_t start_ms = clock_mono_ms();
	char why[128];
	int r;

	*out = NULL;
	r = cw_share_conf_check(conf, why, sizeof(why));
	if (r < 0) {
		log_err("gateway.share", "bad-settings", "share=%u why=\"%s\"", id, why);
		goto fail_store;
	}
	r = cache_space_open(env->cache, id, &share_cache_ops, s, &s->space);
	if (r < 0)
		goto fail_store;
	r = node_load(s);
	if (r == 0)
		r = reply_load(s);
	if (r < 0)
		goto fail_space;
	root_follow_conf(s);
	r = cache_space_load(s->space, resolve_file);
	if (r < 0)
		goto fail_space;
	r = sync_open(s);
	if (r < 0)
		goto fail_space;
	pthread_mutex_lock(&registry_lock);
	list_add_tail(&registry, &s->share_link);
	pthread_mutex_unlock(&registry_lock);
	log_info("gateway.share", "open", "share=%u name=%s bucket=%s nodes=%llu ms=%llu", id,
	    s->conf.name, s->conf.bucket, (unsigned long long)s->nnodes,
	    (unsigned long long)(clock_mono_ms() - start_ms));
	*out = s;
	return 0;

fail_space:
	__atomic_store_n(&s->closing, true, __ATOMIC_SEQ_CST);
	cache_space_close(s->space);
	node_free_all(s);
fail_store:
	stores_close(s);
	cw_share_put(s);
	return r;
}

/* --- closing ----------------------------------------------------------------------------------- */

static void
fail_list(struct list *waiters, int err)
{
	struct cw_op *op;

	while (!list_empty(waiters)) {
		op = container_of(waiters->next, struct cw_op, link);
		list_del(&op->link);
		op_fail(op, err);
	}
}

void
share_fail_parked(struct cw_share *s, int err)
{
	struct node *n;
	uint32_t i;

	for (i = 0; i < s->nbuckets_ino; i++) {
		for (n = s->by_ino[i]; n != NULL; n = n->ino_next) {
			if (n->head_waiters != NULL)
				fail_list(n->head_waiters, err);
			if (S_ISDIR(n->mode))
				fail_list(&n->u.dir->waiters, err);
		}
	}
}

static void
wait_zero(const unsigned int *count)
{
	while (__atomic_load_n(count, __ATOMIC_SEQ_CST) != 0)
		clock_sleep_ms(1);
}

static void
share_stop(struct cw_share *s, bool destroy)
{
	int r;

	pthread_mutex_lock(&registry_lock);
	list_del(&s->share_link);
	pthread_mutex_unlock(&registry_lock);
	share_lock(s);
	__atomic_store_n(&s->closing, true, __ATOMIC_SEQ_CST);
	share_unlock(s);
	/* What ops told the reconciler is durable before it forgets. */
	r = cache_commit_sync(s->space);
	if (r < 0)
		log_err("gateway.share", "commit-failed", "share=%u err=\"%s\"", s->id, err_str(r));
	sync_close(s);
	share_lock(s);
	share_fail_parked(s, -ERR_OFFLINE);
	share_unlock(s);
	share_cut_store(s); /* reads under way end */
	wait_zero(&s->nops);
	share_lock(s); /* whoever counted out the last op may still be inside the lock */
	share_unlock(s);
	if (destroy)
		cache_space_destroy(s->space);
	else
		cache_space_close(s->space);
	s->space = NULL;
	wait_zero(&s->nfetching);
	stores_close(s);
	node_free_all(s);
	log_info("gateway.share", destroy ? "destroyed" : "closed", "share=%u name=%s", s->id,
	    s->conf.name);
	cw_share_put(s);
}

void
cw_share_close(struct cw_share *s)
{
	if (s != NULL)
		share_stop(s, false);
}

void
cw_share_destroy(struct cw_share *s)
{
	if (s != NULL)
		share_stop(s, true);
}

/* --- changing ---------------------------------------------------------------------------------- */

int
cw_share_reconfigure(struct cw_share *s, const struct cw_share_conf *conf)
{
	const struct cw_share_conf *now = cw_share_conf(s);
	char why[128];
	int r = cw_share_conf_check(conf, why, sizeof(why));

	if (r < 0)
		return r;
	if (strcmp(conf->bucket, now->bucket) != 0 ||
	    strcmp(conf->prefix != NULL ? conf->prefix : "", now->prefix) != 0)
		return -EINVAL;
	share_lock(s);
	conf_publish(s, conf);
	share_unlock(s);
	return 0;
}

void
cw_share_replace_store(struct cw_share *s, struct objstore *store)
{
	struct share_old_store *o = xcalloc(1, sizeof(*o));

	store = objstore_door_new(store, cache_workq(s->env.cache));
	/* Requests of other threads may be on their way into the old one: it lives on, idle. */
	share_lock(s);
	o->store = s->store;
	o->next = s->old_stores;
	s->old_stores = o;
	s->env.store = store;
	__atomic_store_n(&s->store, store, __ATOMIC_RELEASE);
	share_unlock(s);
}
