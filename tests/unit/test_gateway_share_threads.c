/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads and a loop on one share at once.  Each thread keeps to a directory of its own and knows
 * what must be in it; all of them also fight over one common directory, where only sane results count.
 * Made for ThreadSanitizer.
 */
#include <pthread.h>

#include "gateway/base/loop.h"
#include "tests/unit/share_fixture.h"

#define THREADS 4
#define ROUNDS 300
#define NAMES 8

struct actor {
	struct fx fx; /* a copy: the op in it is the thread's own */
	pthread_t thread;
	unsigned int id, seed;
	uint64_t common;
};

static bool
count_entry(struct cw_op *op, const struct cw_dirent *e)
{
	(void)e;
	++*(unsigned int *)op->ctx;
	return true;
}

static unsigned int
entries(struct fx *fx, uint64_t dir)
{
	unsigned int n = 0;

	fx_op(fx, CW_READDIR, &fx_root, dir);
	fx->op.emit = count_entry;
	fx->op.ctx = &n;
	fx->op.want_attrs = true;
	assert_int_equal(cw_call(&fx->op), 0);
	return n - 2;
}

/* own directory: everything is known */
static void
own_round(struct actor *a, uint64_t dir, bool *is_there)
{
	unsigned int k = (unsigned int)rand_r(&a->seed) % NAMES, want = 0, i;
	struct fx *fx = &a->fx;
	char name[16], data[16], got[16];
	uint64_t ino;

	snprintf(name, sizeof(name), "n%u", k);
	memset(data, (int)('a' + k), sizeof(data));
	if (is_there[k]) {
		assert_int_equal(fx_lookup(fx, &fx_root, dir, name), 0);
		assert_int_equal(fx_read(fx, &fx_root, fx->op.attr.ino, 0, got, 16), 0);
		assert_int_equal(fx->op.count_done, 16);
		assert_memory_equal(got, data, 16);
		assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, dir, name), 0);
	} else {
		assert_int_equal(fx_create(fx, &fx_root, dir, name, 0644), 0);
		ino = fx->op.attr.ino;
		fx_op(fx, CW_WRITE, &fx_root, ino);
		fx->op.buf = data;
		fx->op.count = sizeof(data);
		fx->op.stable = rand_r(&a->seed) % 2;
		assert_int_equal(cw_call(&fx->op), 0);
		assert_int_equal(fx_commit(fx, ino), 0);
	}
	is_there[k] = !is_there[k];
	for (i = 0; i < NAMES; i++)
		want += is_there[i];
	assert_int_equal(entries(fx, dir), want);
}

static void
common_round(struct actor *a)
{
	unsigned int k = (unsigned int)rand_r(&a->seed);
	struct fx *fx = &a->fx;
	char name[16], name2[16], b[64];
	int r;

	snprintf(name, sizeof(name), "c%u", k % 4);
	snprintf(name2, sizeof(name2), "c%u", k / 4 % 4);
	switch (k / 16 % 6) {
	case 0:
		r = fx_create(fx, &fx_root, a->common, name, 0644);
		assert_true(r == 0 || r == -EEXIST);
		break;
	case 1:
		r = fx_unlink(fx, CW_REMOVE, &fx_root, a->common, name);
		assert_true(r == 0 || r == -ENOENT);
		break;
	case 2:
		r = fx_rename(fx, &fx_root, a->common, name, a->common, name2);
		assert_true(r == 0 || r == -ENOENT);
		break;
	case 3:
		if (fx_lookup(fx, &fx_root, a->common, name) == 0) {
			r = fx_write(fx, &fx_root, fx->op.attr.ino, k % 9000, name, 3);
			assert_true(r == 0 || r == -ESTALE);
		}
		break;
	case 4:
		if (fx_lookup(fx, &fx_root, a->common, name) == 0) {
			r = fx_truncate(fx, &fx_root, fx->op.attr.ino, k % 9000);
			assert_true(r == 0 || r == -ESTALE);
		}
		break;
	default:
		if (fx_lookup(fx, &fx_root, a->common, name) == 0) {
			r = fx_read(fx, &fx_root, fx->op.attr.ino, k % 9000, b, sizeof(b));
			assert_true(r == 0 || r == -ESTALE);
		}
	}
}

static void *
act(void *arg)
{
	struct actor *a = arg;
	bool is_there[NAMES] = {false};
	char name[16];
	uint64_t dir;
	int i;

	snprintf(name, sizeof(name), "own-%u", a->id);
	dir = fx_mkdir_ok(&a->fx, a->fx.root, name);
	for (i = 0; i < ROUNDS; i++) {
		own_round(a, dir, is_there);
		common_round(a);
	}
	return NULL;
}

static void
threads_do_not_disturb_each_other(void **state)
{
	struct actor *a = xcalloc(THREADS, sizeof(*a));
	struct fx *fx = *state;
	uint64_t common = fx_mkdir_ok(fx, fx->root, "common");
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		a[i].fx = *fx;
		a[i].id = i;
		a[i].seed = i * 7919 + 1;
		a[i].common = common;
		assert_int_equal(pthread_create(&a[i].thread, NULL, act, &a[i]), 0);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(a[i].thread, NULL);
	assert_int_equal(fx_getattr(fx, common), 0);
	free(a);
}

/* --- a loop with many ops in flight -------------------------------------------------------------- */

#define FLIGHT 64

struct flight {
	struct loop *loop;
	struct loop_task task;
	struct cw_op ops[FLIGHT];
	char names[FLIGHT][16];
	unsigned int ndone;
	uint64_t dir;
	struct cw_share *s;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_over;
};

static void
flight_done(struct cw_op *op)
{
	struct flight *f = op->ctx;

	assert_true(loop_is_current(f->loop));
	assert_int_equal(op->result, 0);
	if (++f->ndone < FLIGHT)
		return;
	pthread_mutex_lock(&f->lock);
	f->is_over = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

static void
flight_start(struct loop_task *t)
{
	struct flight *f = container_of(t, struct flight, task);
	unsigned int i;

	for (i = 0; i < FLIGHT; i++) {
		struct cw_op *op = &f->ops[i];

		snprintf(f->names[i], sizeof(f->names[i]), "f%u", i);
		op->code = CW_CREATE;
		op->create_mode = CW_CREATE_GUARDED;
		op->share = f->s;
		op->ino = f->dir;
		op->name = f->names[i];
		op->loop = f->loop;
		op->done = flight_done;
		op->ctx = f;
		if (cw_submit(op))
			flight_done(op);
	}
}

static void
ops_of_a_loop_complete_on_it(void **state)
{
	struct flight *f = xcalloc(1, sizeof(*f));
	struct fx *fx = *state;

	f->s = fx->s;
	f->dir = fx_mkdir_ok(fx, fx->root, "flight");
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->cond, NULL);
	assert_int_equal(loop_new("test", 0, &f->loop), 0);
	assert_int_equal(loop_start(f->loop), 0);
	f->task.fn = flight_start;
	loop_post(f->loop, &f->task);
	pthread_mutex_lock(&f->lock);
	while (!f->is_over)
		pthread_cond_wait(&f->cond, &f->lock);
	pthread_mutex_unlock(&f->lock);
	loop_join(f->loop);
	loop_free(f->loop);
	assert_int_equal(entries(fx, f->dir), FLIGHT);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->cond);
	free(f);
}

/* --- closing while the bucket does not answer --------------------------------------------------- */

struct parked {
	struct cw_op op;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
};

static void
parked_done(struct cw_op *op)
{
	struct parked *p = op->ctx;

	pthread_mutex_lock(&p->lock);
	p->is_done = true;
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

/* a share of its own: its bucket falls silent for good */
static void
a_share_closes_although_its_bucket_is_silent(void **state)
{
	struct parked *p = xcalloc(1, sizeof(*p));
	struct fx *fx = fx_new();
	struct cw_share_env env = {.appliance_id = "test"};

	(void)state;
	fx_start(fx);
	cw_share_close(fx->s);
	env.cache = fx->cache;
	env.store = objstore_mem_new("silent");
	objstore_mem_hold(env.store, true);
	assert_int_equal(cw_share_open(8, &fx->conf, &env, &fx->s), 0);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	p->op.code = CW_LOOKUP;
	p->op.share = fx->s;
	p->op.ino = cw_share_root(fx->s);
	p->op.name = "x";
	p->op.done = parked_done;
	p->op.ctx = p;
	assert_false(cw_submit(&p->op));
	cw_share_close(fx->s);
	pthread_mutex_lock(&p->lock);
	while (!p->is_done)
		pthread_cond_wait(&p->cond, &p->lock);
	pthread_mutex_unlock(&p->lock);
	assert_int_equal(p->op.result, -ERR_OFFLINE);
	cache_close(fx->cache);
	fx_start(fx);
	fx_free(fx);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->cond);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(threads_do_not_disturb_each_other),
	    cmocka_unit_test(ops_of_a_loop_complete_on_it),
	    cmocka_unit_test(a_share_closes_although_its_bucket_is_silent),
	};

	return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
