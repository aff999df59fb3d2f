/* SPDX-License-Identifier: Apache-2.0 */
/* test_gateway_volume_remote.c - volumes over the real image, in a bucket in memory. CW_SEED repeats a run. */
#include <time.h>

#define VX_REAL
#include "tests/unit/volume_fixture.h"

#define MIB (1u << 20)

static unsigned char buf[VF_MAX], buf2[VF_MAX];

static struct vx *
start(enum cw_volume_mode mode, uint64_t capacity)
{
	uint64_t rnd = 5;

	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
	return vx_new(NULL, capacity, mode);
}

static bool
is_available(struct vx *x)
{
	struct cw_volume_status st;

	cw_volume_get_status(x->v, &st);
	return strcmp(st.state, "AVAILABLE") == 0;
}

static void
wait_available(struct vx *x)
{
	for (int i = 0; i < 20000 && !is_available(x); i++)
		clock_sleep_ms(1);
	assert_true(is_available(x));
}

static void
what_was_evicted_comes_back_also_after_a_restart(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_volume_status st;
	char *map;

	(void)state;
	assert_int_equal(vx_write(x, 512, 3 * MIB, buf, false), 0);
	assert_int_equal(vx_zero(x, MIB, 300 * 1024), 0);
	vx_drain(x);
	assert_int_equal(cache_evict_all(x->cache), 0);
	vx_check_all(x);
	vx_reopen(x);
	assert_int_equal(cache_evict_all(x->cache), 0);
	vx_check_all(x);
	cw_volume_get_status(x->v, &st);
	assert_true(st.is_owner && st.is_store_reachable);
	assert_int_equal(st.epoch, 1);
	assert_int_equal(st.used_bytes, 3 * MIB + 4096 - 300 * 1024);
	/* the map on the disk is lost: it is read from the bucket */
	map = volume_map_path(x->v);
	vx_close(x);
	vol_remote_forget_local(map);
	free(map);
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_int_equal(cache_evict_all(x->cache), 0);
	for (int i = 0; i < 5000 && vx_call(x, CW_VIO_READ, 0, 4096, buf2, false) != 0; i++)
		clock_sleep_ms(1);
	vx_check_all(x);
	assert_int_equal(vx_write(x, 7 * 512, 512, buf2, true), 0);
	vx_drain(x);
	vx_check_all(x);
	vx_end(x);
	vx_drop_bucket();
}

static void
a_lost_appliance_is_replaced_by_another(void **state)
{
	struct vx *x = start(CW_VOLUME_STORED, 64 * MIB), *y;
	struct cw_volume_origin o = {.source = CW_SOURCE_BUCKET};

	(void)state;
	assert_int_equal(vx_write(x, 0, 2 * MIB + 512, buf, false), 0);
	vx_drain(x);
	assert_int_equal(vx_zero(x, 4096, MIB), 0);
	assert_int_equal(vx_write(x, 3 * MIB, 65536, buf2, false), 0);
	vx_drain(x);
	y = vx_init(NULL, 64 * MIB, CW_VOLUME_STORED);
	memcpy(y->oracle, x->oracle, VF_MAX);
	vx_close(x); /* and its disk is never seen again */
	y->vconf.size_bytes = 0;
	assert_int_equal(vx_try_open(y, &o, true), 0);
	wait_available(y);
	assert_int_equal(cw_volume_size(y->v), VX_SIZE);
	vx_check_all(y);
	assert_int_equal(vx_write(y, 512, 512, buf2, true), 0);
	vx_drain(y);
	vx_free(x);
	vx_check_all(y);
	vx_end(y);
	vx_drop_bucket();
}

static void
destroy_remote(const char *id)
{
	struct cw_volume_place p = {
	    .id = id, .prefix = "", .appliance_id = "me", .store = vx_store()};

	assert_int_equal(cw_volume_destroy_remote(&p), 0);
	p.store->ops->close(p.store);
}

static void
a_snapshot_becomes_another_volume(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB), *y;
	struct cw_volume_origin o = {.source = CW_SOURCE_SNAPSHOT,
	    .volume_id = "vol-0123abcd",
	    .prefix = "",
	    .snapshot_id = "snap-00000001"};

	(void)state;
	assert_int_equal(vx_write(x, 0, 2 * MIB, buf, false), 0);
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000001", "one", true), 0);
	y = vx_init(NULL, 64 * MIB, CW_VOLUME_STORED);
	memcpy(y->oracle, x->oracle, VF_MAX);
	assert_int_equal(vx_write(x, MIB, MIB, buf2, false), 0);
	vx_drain(x);
	assert_true(vx_waits_for(x, "snapshot-complete"));
	snprintf(y->vconf.id, sizeof(y->vconf.id), "vol-0123ffff");
	free(y->vconf.iqn);
	y->vconf.iqn = xstrdup("iqn.1997-05.com.amazon:clone");
	y->vconf.size_bytes = 0;
	assert_int_equal(vx_try_open(y, &o, true), 0);
	wait_available(y);
	vx_check_all(y);
	assert_int_equal(vx_write(y, 0, 4096, buf2, false), 0);
	vx_drain(y);
	vx_reopen(y);
	vx_check_all(y);
	vx_check_all(x);
	cw_volume_destroy(y->v);
	destroy_remote("vol-0123ffff");
	y->v = NULL;
	vx_end(y);
	assert_int_equal(cw_snapshot_delete(x->v, "snap-00000001"), 0);
	vx_check_all(x);
	vx_end(x);
	vx_drop_bucket();
}

/* clone_init - another cached volume, to be made of a snapshot. */
static struct vx *
clone_init(const char *id, const unsigned char *oracle)
{
	struct vx *x = vx_init(NULL, 64 * MIB, CW_VOLUME_CACHED);

	memcpy(x->oracle, oracle, VF_MAX);
	snprintf(x->vconf.id, sizeof(x->vconf.id), "%s", id);
	free(x->vconf.iqn);
	x->vconf.iqn = xasprintf("iqn.1997-05.com.amazon:%s", id);
	x->vconf.size_bytes = 0;
	return x;
}

/* A clone that nobody wrote to has its source's image as recovery point; an empty volume has none. */
static void
a_fresh_clone_has_a_recovery_point(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB), *y, *z;
	struct cw_volume_origin o = {.source = CW_SOURCE_SNAPSHOT,
	    .volume_id = "vol-0123abcd",
	    .prefix = "",
	    .snapshot_id = "snap-00000001"};
	struct cw_volume_status st;

	(void)state;
	vx_drain(x);
	cw_volume_get_status(x->v, &st);
	assert_int_equal(st.recovery_point_ns, 0);
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000000", NULL, false), -ENOENT);
	assert_int_equal(vx_write(x, 0, 2 * MIB, buf, false), 0);
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000001", NULL, true), 0);
	assert_true(vx_waits_for(x, "snapshot-complete"));
	y = clone_init("vol-0123ffff", x->oracle);
	assert_int_equal(vx_try_open(y, &o, true), 0);
	vx_drain(y);
	wait_available(y);
	cw_volume_get_status(y->v, &st);
	assert_int_equal(st.epoch, 0);
	assert_in_range((uint64_t)(clock_real_ns() - st.recovery_point_ns), 0, 60000000000ull);
	vx_reopen(y);
	assert_int_equal(cw_snapshot_create(y->v, "snap-00000002", NULL, false), 0);
	assert_true(vx_waits_for(y, "snapshot-complete"));
	z = clone_init("vol-0123eeee", x->oracle);
	assert_int_equal(vx_write(y, 0, 3 * MIB, buf2, false), 0); /* later */
	vx_drain(y);
	o.volume_id = "vol-0123ffff";
	o.snapshot_id = "snap-00000002";
	assert_int_equal(vx_try_open(z, &o, true), 0);
	vx_drain(z);
	wait_available(z);
	vx_check_all(z);
	vx_end(z);
	vx_end(y);
	vx_end(x);
	vx_drop_bucket();
}

static void
random_requests_match(enum cw_volume_mode mode, uint64_t capacity)
{
	const char *text = getenv("CW_SEED");
	uint64_t rnd = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	struct vx *x = start(mode, capacity);

	print_message("CW_SEED=%llu\n", (unsigned long long)rnd);
	vx_close(x);
	x->vconf.seal_interval_ms = 30;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	for (int i = 0; i < 1500; i++) {
		uint64_t off = fx_random(&rnd) % (VF_MAX / 512 - 512) * 512;
		uint32_t len = (uint32_t)(1 + fx_random(&rnd) % (i % 5 == 0 ? 500 : 20)) * 512;
		unsigned int what = (unsigned int)(fx_random(&rnd) % 100);

		if (what < 45)
			assert_int_equal(vx_write(x, off, len, buf + off / 3, what < 3), 0);
		else if (what < 60)
			assert_int_equal(vx_zero(x, off, len), 0);
		else if (what < 80)
			vx_check(x, off, len);
		else if (what < 85)
			assert_int_equal(vx_sync(x), 0);
		else if (what < 90)
			cw_volume_drain(x->v, NULL, NULL);
		else if (what < 92)
			assert_int_equal(cache_evict_all(x->cache), 0);
		else if (what < 93)
			objstore_mem_fail_next(vx_bucket, OBJ_OP_MAX, -ERR_THROTTLED, false, 2);
		else if (what < 94 && i % 3 == 0)
			vx_reopen(x);
	}
	objstore_mem_fail_next(vx_bucket, OBJ_OP_MAX, 0, false, 0);
	vx_check_all(x);
	vx_drain(x);
	assert_int_equal(cache_evict_all(x->cache), 0);
	vx_reopen(x);
	vx_check_all(x);
	vx_end(x);
	vx_drop_bucket();
}

static void
random_requests_match_on_a_cached_volume(void **state)
{
	(void)state;
	random_requests_match(CW_VOLUME_CACHED, 24 * MIB);
}

static void
random_requests_match_on_a_stored_volume(void **state)
{
	(void)state;
	random_requests_match(CW_VOLUME_STORED, 24 * MIB);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_evicted_comes_back_also_after_a_restart),
	    cmocka_unit_test(a_lost_appliance_is_replaced_by_another),
	    cmocka_unit_test(a_snapshot_becomes_another_volume),
	    cmocka_unit_test(a_fresh_clone_has_a_recovery_point),
	    cmocka_unit_test(random_requests_match_on_a_cached_volume),
	    cmocka_unit_test(random_requests_match_on_a_stored_volume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
