/* SPDX-License-Identifier: Apache-2.0 */
/* test_gateway_volume_source.c - where volumes come from: raw images, snapshots, the bucket, larger settings. */
#include <fcntl.h>

#include "tests/unit/volume_wait.h"

/* --- where volumes come from --------------------------------------------------------------------------------- */

static void
make_image(struct vx *x, uint64_t len)
{
	int fd;

	snprintf(x->image, sizeof(x->image), "%s/raw.img", x->dir);
	fd = open(x->image, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, buf, MIB, 0), MIB);
	assert_int_equal(pwrite(fd, buf2, MIB, 2 * MIB), MIB); /* a hole between */
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	memcpy(x->oracle, buf, MIB);
	memcpy(x->oracle + 2 * MIB, buf2, MIB);
	memset(x->oracle + len, 0, VF_MAX - len);
	close(fd);
}

static struct vx *
start_from_image(uint64_t capacity, uint64_t len)
{
	struct vx *x = vx_init(NULL, capacity, CW_VOLUME_STORED);
	struct cw_volume_origin o = {.source = CW_SOURCE_IMAGE};

	fill_bufs();
	make_image(x, len);
	o.image_path = x->image;
	assert_int_equal(vx_try_open(x, &o, true), 0);
	return x;
}

static void
an_image_is_taken_over_while_it_is_used(void **state)
{
	struct vx *x;
	struct cw_volume_status st;
	uint64_t rnd = 9;

	(void)state;
	/* 1.5 MiB may be dirty, and nothing gets away: the copier gets stuck in the middle */
	x = start_from_image(2 * MIB, 3 * MIB - 5000);
	vf.fail_put = -ERR_OFFLINE;
	get_status(x, &st);
	assert_string_equal(st.state, "BOOTSTRAPPING");
	vx_check_all(x);
	assert_int_equal(vx_zero(x, 2 * MIB + 8192 + 512, 65536), 0);
	vx_check_all(x);
	vx_reopen(x);
	get_status(x, &st);
	assert_string_equal(st.state, "BOOTSTRAPPING");
	assert_true(st.progress >= 0 && st.progress < 1);
	vx_check_all(x);
	vf.fail_put = 0;
	for (int i = 0; i < 40 && !is_available(x); i++) {
		uint64_t off = fx_random(&rnd) % (VF_MAX / 512 - 64) * 512;
		uint32_t len = (uint32_t)(1 + fx_random(&rnd) % 32) * 512;
		int err =
		    i % 3 == 0 ? vx_zero(x, off, len) : vx_write(x, off, len, buf + off / 2, false);

		assert_true(err == 0 || err == -ERR_BACKPRESSURE);
		if (err != 0) { /* parts of it may have been done */
			i--;
			clock_sleep_ms(20);
			continue;
		}
		vx_check(x, off & ~4095ull, len);
		cw_volume_drain(x->v, NULL, NULL);
	}
	wait_for(is_available, x);
	vx_check_all(x);
	vx_drain(x);
	vx_check_bucket(x);
	assert_int_equal(unlink(x->image), 0); /* not needed any more */
	vx_reopen(x);
	vx_check_all(x);
	assert_int_equal(vf.nfetches, 0);
	vx_end(x);
}

/* --- the copier comes on between a read's plan and its fetch --- */

static struct {
	struct vx *x;
	_Atomic bool is_armed;
} passing;

static uint64_t
copied(struct vx *x)
{
	uint64_t at;

	cache_space_lock(x->v->space);
	at = x->v->row.image_copied;
	cache_space_unlock(x->v->space);
	return at;
}

static bool
is_past_2_mib(struct vx *x)
{
	return copied(x) >= 2 * MIB;
}

static bool
is_past_1_mib(struct vx *x)
{
	return copied(x) >= MIB;
}

static void
pass_at_fetch(const char *name)
{
	if (strcmp(name, "fetch-planned") != 0 || !passing.is_armed)
		return;
	passing.is_armed = false;
	assert_true(copied(passing.x) == MIB);
	cache_set_capacity(passing.x->cache, 3 * MIB, 0); /* room for one more */
	wait_for(is_past_2_mib, passing.x);
}

/* start_passing - 4 MiB of data in the image; 1.5 MiB may be dirty, so the copier waits behind the first. */
static struct vx *
start_passing(int fail_put, int fail_open)
{
	struct vx *x = vx_init(NULL, 2 * MIB, CW_VOLUME_STORED);
	struct cw_volume_origin o = {.source = CW_SOURCE_IMAGE};
	int fd;

	fill_bufs();
	make_image(x, 4 * MIB);
	fd = open(x->image, O_RDWR);
	assert_true(fd >= 0);
	for (unsigned int i = 0; i < 4; i++) {
		const unsigned char *p = i % 2 == 0 ? buf2 : buf;

		assert_int_equal(pwrite(fd, p, MIB, (off_t)i * MIB), MIB);
		memcpy(x->oracle + (size_t)i * MIB, p, MIB);
	}
	close(fd);
	o.image_path = x->image;
	vf.fail_put = fail_put;
	vf.fail_open = fail_open;
	passing.x = x;
	cache_failpoint = pass_at_fetch; /* before there are threads that look at it */
	assert_int_equal(vx_try_open(x, &o, true), 0);
	wait_for(is_past_1_mib, x);
	return x;
}

/* end_passing - with room for all of it nothing of the image is missing, here and in the bucket. */
static void
end_passing(struct vx *x)
{
	assert_false(passing.is_armed);
	vf.fail_put = vf.fail_open = 0;
	x->conf.capacity_bytes = 64 * MIB;
	vx_reopen(x);
	wait_for(is_available, x);
	vx_check_all(x);
	vx_drain(x);
	vx_check_bucket(x);
	vx_close(x);
	cache_failpoint = NULL;
	vx_free(x);
}

static bool
is_connected(struct vx *x)
{
	return x->v->remote != NULL;
}

static void
a_read_that_the_copier_comes_into_gets_the_image(void **state)
{
	struct vx *x = start_passing(-ERR_OFFLINE, 0);

	(void)state;
	wait_for(is_connected, x);
	passing.is_armed = true;
	vx_check(x, MIB, 3 * MIB);
	assert_int_equal(vf.nfetches, 0);
	end_passing(x);
}

static void
a_read_that_the_copier_overtakes_needs_no_bucket(void **state)
{
	struct vx *x = start_passing(0, -ERR_OFFLINE);

	(void)state;
	passing.is_armed = true;
	vx_check(x, MIB, MIB);
	end_passing(x);
}

static void
an_image_that_is_not_there_is_refused(void **state)
{
	struct vx *x = vx_init(NULL, 64 * MIB, CW_VOLUME_STORED);
	struct cw_volume_origin o = {.source = CW_SOURCE_IMAGE, .image_path = "/nowhere/at/all"};

	(void)state;
	assert_int_equal(vx_try_open(x, &o, true), -EINVAL);
	cache_close(x->cache);
	assert_int_equal(vx_try_open(x, NULL, false), -ENOENT);
	cache_close(x->cache);
	assert_int_equal(vx_try_open(x, NULL, true), 0);
	cw_volume_destroy(x->v);
	x->v = NULL;
	cache_close(x->cache);
	assert_int_equal(vx_try_open(x, NULL, false), -ENOENT);
	vx_end(x);
}

static void
put_in_bucket(void)
{
	vf.is_created = true;
	vf.now.epoch = 7;
	vf.now.size = VX_SIZE;
	memcpy(vf.now.p, buf, 2 * MIB);
	memcpy(vf.now.p + 3 * MIB, buf2, MIB);
	for (unsigned int b = 0; b < VF_BLOCKS; b++)
		vf.now.is_mapped[b] = b < 2 * MIB / VOL_BLOCK || b >= 3 * MIB / VOL_BLOCK;
}

static void
a_stored_volume_from_a_snapshot_gets_complete(void **state)
{
	struct vx *x = vx_init(NULL, 64 * MIB, CW_VOLUME_STORED);
	struct cw_volume_origin o = {.source = CW_SOURCE_SNAPSHOT,
	    .volume_id = "vol-other",
	    .prefix = "",
	    .snapshot_id = "snap-1"};
	struct cw_volume_status st;
	unsigned int before;

	(void)state;
	fill_bufs();
	put_in_bucket();
	memcpy(x->oracle, vf.now.p, VF_MAX);
	vf.fail_open = -ERR_OFFLINE;
	x->vconf.size_bytes = 0; /* that of the snapshot */
	assert_int_equal(vx_try_open(x, &o, true), 0);
	get_status(x, &st);
	assert_string_equal(st.state, "RESTORING");
	vf.fail_fetch = -ERR_THROTTLED;
	vf.fail_open = 0;
	vx_drain(x);
	get_status(x, &st);
	assert_string_equal(st.state, "RESTORING");
	assert_int_equal(cw_volume_size(x->v), VX_SIZE);
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, 4096, buf2, false), -ERR_OFFLINE);
	assert_int_equal(vx_write(x, MIB, 65536, buf + 7, false), 0);
	vf.fail_fetch = 0;
	wait_for(is_available, x);
	assert_true(vx_waits_for(x, "volume-restored"));
	vx_drain(x);
	before = vf.nfetches;
	vx_check_all(x);
	vx_reopen(x);
	vx_check_all(x);
	assert_int_equal(vf.nfetches, before); /* all of it is here */
	vx_check_bucket(x);
	vx_end(x);
}

static void
a_volume_is_attached_from_its_bucket_and_detached_again(void **state)
{
	struct vx *x = vx_init(NULL, 64 * MIB, CW_VOLUME_CACHED);
	struct cw_volume_origin o = {.source = CW_SOURCE_BUCKET};

	(void)state;
	fill_bufs();
	put_in_bucket();
	memcpy(x->oracle, vf.now.p, VF_MAX);
	x->vconf.size_bytes = 0;
	assert_int_equal(vx_try_open(x, &o, true), 0);
	wait_for(is_available, x);
	assert_int_equal(cw_volume_size(x->v), VX_SIZE);
	vx_check_all(x);
	assert_int_equal(vx_write(x, 5 * 512, 4096, buf2, false), 0);
	vf.fail_put = -ERR_OFFLINE;
	assert_int_equal(cw_volume_detach(x->v, false), -ERR_OFFLINE);
	vx_check_all(x); /* still here */
	vf.fail_put = 0;
	assert_int_equal(cw_volume_detach(x->v, false), 0);
	x->v = NULL;
	vx_check_bucket(x);
	assert_int_equal(vf_now(NULL), 8);
	cache_close(x->cache);
	assert_int_equal(vx_try_open(x, NULL, false), -ENOENT);
	vx_end(x);
}

static void
a_larger_size_in_the_settings_is_taken_at_the_next_start(void **state)
{
	struct vx *x = start(CW_VOLUME_STORED, 64 * MIB);
	uint64_t size;

	(void)state;
	assert_int_equal(vx_write(x, 0, MIB, buf, true), 0);
	vx_close(x);
	x->vconf.size_bytes = 3 * VX_SIZE;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_int_equal(cw_volume_size(x->v), 3 * VX_SIZE);
	vx_drain(x);
	(void)vf_now(&size);
	assert_int_equal(size, 3 * VX_SIZE);
	vx_close(x);
	x->vconf.size_bytes = VX_SIZE; /* the row is the truth */
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_int_equal(cw_volume_size(x->v), 3 * VX_SIZE);
	vx_check_all(x);
	vx_end(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_image_is_taken_over_while_it_is_used),
	    cmocka_unit_test(a_read_that_the_copier_comes_into_gets_the_image),
	    cmocka_unit_test(a_read_that_the_copier_overtakes_needs_no_bucket),
	    cmocka_unit_test(an_image_that_is_not_there_is_refused),
	    cmocka_unit_test(a_stored_volume_from_a_snapshot_gets_complete),
	    cmocka_unit_test(a_volume_is_attached_from_its_bucket_and_detached_again),
	    cmocka_unit_test(a_larger_size_in_the_settings_is_taken_at_the_next_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
