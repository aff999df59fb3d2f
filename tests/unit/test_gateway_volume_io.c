/* SPDX-License-Identifier: Apache-2.0 */
/* test_gateway_volume_io.c - what a block front end sees of a volume, request by request. */
#include "tests/unit/volume_fixture.h"

#define MIB (1u << 20)

static unsigned char buf[VF_MAX], buf2[VF_MAX];

static struct vx *
start(enum cw_volume_mode mode, uint64_t capacity)
{
	struct vx *x = vx_new(NULL, capacity, mode);
	uint64_t rnd = 5;

	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
	return x;
}

static void
sectors_of_512_bytes_merge_into_blocks(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);

	(void)state;
	for (uint32_t off = 512; off < 100000; off += 3 * 512)
		assert_int_equal(vx_write(x, off, 512, buf + off, false), 0);
	vx_check_all(x);
	vx_drain(x);
	vx_check_bucket(x);
	assert_int_equal(cache_evict_all(x->cache), 0);
	assert_int_equal(
	    vx_write(x, 1024 + 512, 1024, buf2, false), 0); /* over what must be fetched */
	assert_int_equal(vx_write(x, 3 * MIB + 512, 512, buf2, true), 0); /* in a hole */
	vx_check_all(x);
	vx_reopen(x);
	vx_check_all(x);
	vx_end(x);
}

static void
requests_that_cannot_be_are_refused(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);

	(void)state;
	assert_int_equal(vx_call(x, CW_VIO_READ, 100, 512, buf, false), -EINVAL);
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, 100, buf, false), -EINVAL);
	assert_int_equal(vx_call(x, CW_VIO_WRITE, VX_SIZE - 512, 1024, buf, false), -EINVAL);
	assert_int_equal(vx_call(x, CW_VIO_WRITE, UINT64_MAX - 511, 1024, buf, false), -EINVAL);
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, CW_VIO_LEN_MAX + 512, buf, false), -EINVAL);
	assert_int_equal(vx_call(x, CW_VIO_ZERO, VX_SIZE, 512, NULL, false), -EINVAL);
	assert_int_equal(vx_call(x, CW_VIO_READ, VX_SIZE, 0, buf, false), 0);
	vx_close(x);
	x->vconf.is_read_only = true;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_int_equal(vx_call(x, CW_VIO_WRITE, 0, 512, buf, false), -EROFS);
	assert_int_equal(vx_call(x, CW_VIO_ZERO, 0, 512, NULL, false), -EROFS);
	assert_int_equal(vx_call(x, CW_VIO_COMPARE_WRITE, 0, 512, buf, false), -EROFS);
	assert_int_equal(vx_call(x, CW_VIO_SYNC, 0, 0, NULL, false), 0);
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, 512, buf2, false), 0);
	vx_end(x);
}

static void
zeroing_takes_any_range_and_frees_whole_blocks(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	uint64_t rnd = 3;
	struct cw_volume_status st;

	(void)state;
	assert_int_equal(vx_zero(x, 0, VX_SIZE), 0);
	assert_int_equal(x->v->file.nchunks, 0);
	for (int i = 0; i < 60; i++) {
		uint64_t off = fx_random(&rnd) % (VF_MAX / 512) * 512;
		uint64_t len = 512 + fx_random(&rnd) % 400 * 512;

		len = min64(len, VF_MAX - off);
		if (i % 10 == 0)
			assert_int_equal(vx_write(x, 0, VF_MAX, buf, false), 0);
		if (i % 7 == 0)
			vx_drain(x);
		assert_int_equal(vx_zero(x, off, len), 0);
		vx_check(x, off & ~4095ull, (uint32_t)min64(len + 4096, VF_MAX - (off & ~4095ull)));
	}
	vx_check_all(x);
	vx_drain(x);
	vx_check_bucket(x);
	assert_int_equal(vx_zero(x, 0, VX_SIZE), 0);
	vx_drain(x);
	pthread_mutex_lock(&vf.lock);
	for (unsigned int b = 0; b < VF_BLOCKS; b++)
		assert_false(vf.now.is_mapped[b]);
	pthread_mutex_unlock(&vf.lock);
	cw_volume_get_status(x->v, &st);
	assert_int_equal(st.local_bytes, 0);
	vx_check_all(x);
	vx_end(x);
}

static void
compare_and_write_writes_only_where_it_matches(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	unsigned char both[2 * 4096];
	struct cw_vio vio = {.op = CW_VIO_COMPARE_WRITE,
	    .volume = x->v,
	    .off = 8192 + 512,
	    .len = 4096,
	    .buf = both};

	(void)state;
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	vx_drain(x);
	assert_int_equal(cache_evict_all(x->cache), 0);
	memcpy(both, buf + 8192 + 512, 4096);
	memcpy(both + 4096, buf2, 4096);
	both[1000] ^= 1;
	assert_int_equal(cw_volume_call(&vio), -EILSEQ);
	assert_int_equal(vio.miscompare_off, 1000);
	vx_check(x, 0, MIB);
	both[1000] ^= 1;
	vio.is_fua = true;
	assert_int_equal(cw_volume_call(&vio), 0);
	memcpy(x->oracle + 8192 + 512, buf2, 4096);
	vx_check(x, 0, MIB);
	vf.fail_fetch = -ERR_THROTTLED;
	vio.off = 700 * 1024;
	assert_int_equal(cache_evict_all(x->cache), 0);
	assert_int_equal(cw_volume_call(&vio), -ERR_OFFLINE);
	vf.fail_fetch = 0;
	vx_end(x);
}

#define COUNTERS 8
#define ROUNDS 200

struct counter {
	pthread_t thread;
	struct vx *x;
	unsigned int misses;
};

static void *
count_up(void *arg)
{
	struct counter *c = arg;
	unsigned char both[1024];
	uint32_t n = 0;

	memset(both, 0, sizeof(both));
	for (unsigned int done = 0; done < ROUNDS;) {
		int err;

		memcpy(both, &n, sizeof(n));
		n++;
		memcpy(both + 512, &n, sizeof(n));
		err = vx_call(c->x, CW_VIO_COMPARE_WRITE, 65536, 512, both, false);
		if (err == 0) {
			done++;
			continue;
		}
		if (err != -EILSEQ)
			abort();
		c->misses++;
		if (vx_call(c->x, CW_VIO_READ, 65536, 512, both + 512, false) != 0)
			abort();
		memcpy(&n, both + 512, sizeof(n));
	}
	return NULL;
}

static void
compare_and_write_is_atomic_against_itself(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct counter c[COUNTERS] = {0};
	uint32_t n;

	(void)state;
	for (int i = 0; i < COUNTERS; i++) {
		c[i].x = x;
		assert_int_equal(pthread_create(&c[i].thread, NULL, count_up, &c[i]), 0);
	}
	for (int i = 0; i < COUNTERS; i++)
		pthread_join(c[i].thread, NULL);
	assert_int_equal(vx_call(x, CW_VIO_READ, 65536, 512, buf2, false), 0);
	memcpy(&n, buf2, sizeof(n));
	assert_int_equal(n, COUNTERS * ROUNDS); /* none was lost */
	vx_end(x);
}

/* --- on a loop ------------------------------------------------------------------------------------------- */

static _Atomic unsigned int ncompleted;
static struct loop *the_loop;

static void
on_loop(struct cw_vio *vio)
{
	if (!loop_is_current(the_loop))
		abort();
	(void)vio;
	ncompleted++;
}

struct on_loop_task {
	struct loop_task task;
	struct cw_vio *vio;
	_Atomic bool was_inline, is_submitted;
};

static void
submit_there(struct loop_task *t)
{
	struct on_loop_task *o = container_of(t, struct on_loop_task, task);

	o->was_inline = cw_volume_submit(o->vio);
	o->is_submitted = true;
}

static bool
on_the_loop(struct cw_vio *vio)
{
	struct on_loop_task o = {.task.fn = submit_there, .vio = vio};
	unsigned int before = ncompleted;

	vio->loop = the_loop;
	vio->done = on_loop;
	loop_post(the_loop, &o.task);
	while (!o.is_submitted)
		clock_sleep_ms(1);
	while (!o.was_inline && ncompleted == before)
		clock_sleep_ms(1);
	return o.was_inline;
}

static uint32_t sent;

static uint32_t
send_it(struct cw_vio *vio, struct iovec *iov, unsigned int n)
{
	(void)vio;
	(void)iov;
	(void)n;
	sent++;
	return (uint32_t)vio->len;
}

static void
cached_data_is_served_on_the_submitters_stack(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_vio vio = {
	    .op = CW_VIO_WRITE, .volume = x->v, .off = 8192, .len = 8192, .buf = buf};

	(void)state;
	assert_int_equal(loop_new("test", 0, &the_loop), 0);
	assert_int_equal(loop_start(the_loop), 0);
	assert_true(on_the_loop(&vio));
	vio.op = CW_VIO_READ;
	vio.buf = buf2;
	assert_true(on_the_loop(&vio));
	assert_memory_equal(buf, buf2, 8192);
	vio.send = send_it;
	assert_true(on_the_loop(&vio));
	assert_int_equal(sent, 1);
	vio.send = NULL;
	vio.off = 512 << 20; /* a hole */
	assert_true(on_the_loop(&vio));
	vio.op = CW_VIO_SYNC;
	assert_false(on_the_loop(&vio));
	assert_int_equal(vio.result, 0);
	assert_true(on_the_loop(&vio)); /* nothing changed since */
	memcpy(x->oracle + 8192, buf, 8192);
	vx_drain(x);
	assert_int_equal(cache_evict_all(x->cache), 0);
	vio.op = CW_VIO_READ;
	vio.off = 8192;
	vio.len = 8192;
	assert_false(on_the_loop(&vio)); /* has to be fetched */
	assert_int_equal(vio.result, 0);
	assert_memory_equal(buf, buf2, 8192);
	vio.op = CW_VIO_ZERO;
	vio.len = 4096;
	vio.is_fua = true;
	assert_false(on_the_loop(&vio));
	assert_int_equal(vio.result, 0);
	loop_join(the_loop);
	loop_free(the_loop);
	vx_end(x);
}

static void
a_sync_is_one_commit_and_none_when_nothing_changed(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cache_stats a, b;

	(void)state;
	vx_drain(x); /* the first rows */
	assert_int_equal(vx_sync(x), 0);
	cache_get_stats(x->cache, &a);
	for (int i = 0; i < 10; i++)
		assert_int_equal(vx_sync(x), 0);
	cache_get_stats(x->cache, &b);
	assert_true(b.commits <= a.commits + 1);
	vx_end(x);
}

static void
a_failed_sync_is_told_and_the_next_one_makes_good(void **state)
{
	struct vx *x = vx_new(&osfile_crash, 64 * MIB, CW_VOLUME_CACHED);
	uint64_t rnd = 1;

	(void)state;
	fx_fill(&rnd, buf, sizeof(buf));
	vx_close(x);
	x->conf.flush_interval_ms = 1000000;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	vx_drain(x); /* the bucket was found, and that was committed: no sync is under way */
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	osfile_crash_fail_syncs(1);
	assert_int_equal(vx_sync(x), -EIO);
	assert_int_equal(vx_sync(x), 0);
	osfile_crash_forget_cached();
	vx_check_all(x);
	vx_end(x);
}

static void
writes_wait_for_room_and_are_then_told_to_come_again(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 4 * MIB); /* 3 MiB may be dirty */
	int err = 0;

	(void)state;
	vf.fail_put = -ERR_OFFLINE;
	for (uint32_t off = 0; off + MIB <= VF_MAX && err == 0; off += MIB)
		err = vx_write(x, off, MIB, buf + off, false);
	assert_int_equal(err, -ERR_BACKPRESSURE);
	vx_check(x, 0, 3 * MIB);
	vf.fail_put = 0;
	err = -ERR_BACKPRESSURE;
	for (int i = 0; i < 5 && err == -ERR_BACKPRESSURE; i++)
		err = vx_write(x, 3 * MIB, MIB, buf + 3 * MIB, false);
	assert_int_equal(err, 0);
	vx_drain(x);
	vx_check_bucket(x);
	vx_end(x);
}

static void
what_is_provisioned_is_told(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	uint64_t end;

	(void)state;
	assert_false(cw_volume_provisioned(x->v, 0, VX_SIZE, &end));
	assert_int_equal(end, VX_SIZE);
	assert_int_equal(vx_write(x, MIB, 8192, buf, false), 0);
	for (int i = 0; i < 2; i++) {
		assert_false(cw_volume_provisioned(x->v, 512, VX_SIZE - 512, &end));
		assert_int_equal(end, MIB);
		assert_true(cw_volume_provisioned(x->v, MIB + 512, VX_SIZE - MIB - 512, &end));
		assert_int_equal(end, MIB + 8192);
		vx_drain(x);
		assert_int_equal(cache_evict_all(x->cache), 0);
	}
	assert_int_equal(vx_zero(x, MIB, 4096), 0);
	assert_false(cw_volume_provisioned(x->v, MIB, 512, &end));
	assert_int_equal(end, MIB + 512);
	vx_end(x);
}

/* --- who may log in ---------------------------------------------------------------------------------------- */

static unsigned int nended, nchanged;

static void
note_end(struct cw_target_session *s)
{
	(void)s;
	nended++;
}

static void
note_changed(struct cw_target_session *s)
{
	(void)s;
	nchanged++;
}

static void
sessions_hear_of_secrets_and_sizes(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	uint64_t size;
	struct cw_chap c = {.initiator = "iqn.a", .secret_initiator = "0123456789ab"}, got;
	struct cw_target_session s = {
	    .initiator = "iqn.a", .end = note_end, .changed = note_changed};
	char *text;

	(void)state;
	nended = nchanged = 0;
	assert_false(cw_target_needs_chap(x->v));
	assert_int_equal(cw_target_session_add(x->v, &s), 0);
	cw_target_set_chap(x->v, &c);
	assert_int_equal(nended, 1);
	assert_true(cw_target_needs_chap(x->v));
	assert_int_equal(cw_target_chap(x->v, "iqn.b", &got), -ENOENT);
	assert_int_equal(cw_target_chap(x->v, "iqn.a", &got), 0);
	assert_string_equal(got.secret_initiator, c.secret_initiator);
	c.secret_initiator[0] = '\0';
	cw_target_set_chap(x->v, &c);
	assert_false(cw_target_needs_chap(x->v));
	assert_int_equal(cw_volume_resize(x->v, VX_SIZE / 2), -EINVAL);
	assert_int_equal(cw_volume_resize(x->v, VX_SIZE * 2), 0);
	assert_int_equal(nchanged, 1);
	assert_int_equal(cw_volume_size(x->v), VX_SIZE * 2);
	cw_target_session_del(x->v, &s);
	assert_int_equal(vx_call(x, CW_VIO_READ, VX_SIZE, 4096, buf2, false), 0);
	vx_drain(x);
	(void)vf_now(&size);
	assert_int_equal(size, VX_SIZE * 2);
	assert_int_equal(cw_target_pr_save(x->v, "{\"a\":1}"), 0);
	assert_int_equal(cw_target_pr_save(x->v, "\xff\xfe"), -EINVAL);
	vx_reopen(x);
	assert_int_equal(cw_volume_size(x->v), VX_SIZE * 2);
	text = cw_target_pr_load(x->v);
	assert_string_equal(text, "{\"a\":1}");
	free(text);
	vx_end(x);
}

static void
count_one(void *arg, struct cw_volume *v)
{
	(void)v;
	++*(int *)arg;
}

static void
a_retired_volume_is_no_target(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	char *iqn = xstrdup(cw_volume_conf(x->v)->iqn), *id = xstrdup(cw_volume_id(x->v));
	struct cw_target_session s = {
	    .initiator = "iqn.a", .end = note_end, .changed = note_changed};
	struct cw_volume *v;
	int n = 0;

	(void)state;
	nended = 0;
	assert_int_equal(vx_call(x, CW_VIO_WRITE, 0, 4096, buf2, true), 0);
	assert_int_equal(cw_target_session_add(x->v, &s), 0);
	cw_target_retire(x->v);
	assert_int_equal(nended, 1);
	cw_target_session_del(x->v, &s);
	assert_int_equal(cw_target_session_add(x->v, &s), -ESHUTDOWN);
	assert_null(cw_volume_by_iqn(iqn));
	cw_volume_each(count_one, &n);
	assert_int_equal(n, 0);
	v = cw_volume_by_id(id);
	assert_non_null(v);
	cw_volume_put(v);
	vx_drain(x); /* and yet all of it is uploaded */
	vx_reopen(x);
	v = cw_volume_by_iqn(iqn);
	assert_non_null(v);
	cw_volume_put(v);
	free(iqn);
	free(id);
	vx_end(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sectors_of_512_bytes_merge_into_blocks),
	    cmocka_unit_test(requests_that_cannot_be_are_refused),
	    cmocka_unit_test(zeroing_takes_any_range_and_frees_whole_blocks),
	    cmocka_unit_test(compare_and_write_writes_only_where_it_matches),
	    cmocka_unit_test(compare_and_write_is_atomic_against_itself),
	    cmocka_unit_test(cached_data_is_served_on_the_submitters_stack),
	    cmocka_unit_test(a_sync_is_one_commit_and_none_when_nothing_changed),
	    cmocka_unit_test(a_failed_sync_is_told_and_the_next_one_makes_good),
	    cmocka_unit_test(writes_wait_for_room_and_are_then_told_to_come_again),
	    cmocka_unit_test(what_is_provisioned_is_told),
	    cmocka_unit_test(sessions_hear_of_secrets_and_sizes),
	    cmocka_unit_test(a_retired_volume_is_no_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
