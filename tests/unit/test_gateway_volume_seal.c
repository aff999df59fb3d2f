/* SPDX-License-Identifier: Apache-2.0 */
/* test_gateway_volume_seal.c - how the bucket follows and what restarts find. */
#include "tests/unit/volume_wait.h"

static bool
has_sealed(struct vx *x)
{
	bool has;

	cache_space_lock(x->v->space);
	has = x->v->file.has_sealed;
	cache_space_unlock(x->v->space);
	return has;
}

static bool
has_put(struct vx *x)
{
	(void)x;
	return vf.nputs > 0;
}

/* --- barriers ---------------------------------------------------------------------------------------------- */

static void
a_barrier_comes_by_time_by_bytes_and_when_asked_for(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_volume_status st;

	(void)state;
	assert_int_equal(vx_write(x, 0, 8192, buf, false), 0);
	clock_sleep_ms(200);
	assert_int_equal(vf.nputs, 0);
	get_status(x, &st);
	assert_int_equal(st.dirty_bytes, 8192);
	assert_true(st.oldest_dirty_ns != 0);
	vx_drain(x);
	assert_int_equal(vf.nputs, 1);
	vx_drain(x); /* nothing to do is done at once */
	assert_int_equal(vf.nputs, 1);
	get_status(x, &st);
	assert_int_equal(st.dirty_bytes, 0);
	assert_int_equal(st.epoch, 1);
	assert_int_equal(st.oldest_dirty_ns, 0);
	assert_true(st.recovery_point_ns != 0);
	vx_close(x);
	x->vconf.seal_bytes = MIB;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	vf.nputs = 0;
	assert_int_equal(vx_write(x, 0, 2 * MIB, buf, false), 0);
	wait_for(has_put, x);
	vx_drain(x);
	vx_close(x);
	x->vconf.seal_interval_ms = 50;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	vf.nputs = 0;
	assert_int_equal(vx_write(x, 0, 4096, buf2, false), 0);
	wait_for(has_put, x);
	vx_drain(x);
	vx_check_bucket(x);
	vx_end(x);
}

static void
settings_are_changed_while_it_is_open(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);

	(void)state;
	vx_drain(x);
	assert_int_equal(vx_write(x, 0, 8192, buf, false), 0);
	x->vconf.seal_interval_ms = 50;
	x->vconf.is_compressed = false;
	x->vconf.recovery_keep_s = 77;
	cw_volume_change(x->v, &x->vconf);
	wait_for(has_put, x); /* what was written before, too */
	assert_false(vf.is_compressed);
	assert_int_equal(vf.keep_s, 77);
	vx_drain(x);
	x->vconf.seal_interval_ms = 3600000;
	x->vconf.seal_bytes = MIB;
	x->vconf.is_compressed = true;
	x->vconf.recovery_keep_s = 0;
	cw_volume_change(x->v, &x->vconf);
	assert_true(vf.is_compressed);
	assert_int_equal(vf.keep_s, 86400);
	vf.nputs = 0;
	assert_int_equal(vx_write(x, 0, 8192, buf2, false), 0);
	clock_sleep_ms(200);
	assert_int_equal(vf.nputs, 0);
	assert_int_equal(vx_write(x, 0, 2 * MIB, buf2, false), 0);
	wait_for(has_put, x);
	vx_drain(x);
	vx_check_bucket(x);
	vx_end(x);
}

static void
settings_that_changed_before_the_image_was_open_count(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);

	(void)state;
	vx_drain(x);
	vx_close(x);
	vf.has_no_map = true;
	vf.fail_open = -ERR_OFFLINE;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	x->vconf.recovery_keep_s = 77;
	cw_volume_change(x->v, &x->vconf);
	vf.fail_open = 0;
	vx_drain(x);
	assert_int_equal(vf.keep_s, 77);
	vx_end(x);
}

/* mkfs discards a new volume before it writes */
static void
a_write_after_a_discard_of_nothing_is_uploaded_in_time(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_volume_status st;

	(void)state;
	vx_close(x);
	x->vconf.seal_interval_ms = 50;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_int_equal(vx_zero(x, 0, VX_SIZE), 0);
	clock_sleep_ms(200);
	assert_int_equal(vf.nputs, 0);
	get_status(x, &st);
	assert_int_equal(st.oldest_dirty_ns, 0);
	assert_int_equal(vx_write(x, 0, 4096, buf2, false), 0);
	wait_for(has_put, x);
	vf.nputs = 0;
	vf.fail_put = -ERR_OFFLINE; /* what was dirty is taken back */
	assert_int_equal(vx_write(x, MIB, 4096, buf2, false), 0);
	assert_int_equal(vx_zero(x, MIB, MIB), 0);
	vf.fail_put = 0;
	vx_drain(x);
	vf.nputs = 0;
	assert_int_equal(vx_write(x, 2 * MIB, 4096, buf, false), 0);
	wait_for(has_put, x);
	vx_drain(x);
	vx_check_bucket(x);
	vx_end(x);
}

/* upload_ms - 2 MiB are written, which is a seal; until they are in the bucket. is_busy: clients read all the time */
static uint64_t
upload_ms(struct vx *x, bool is_busy, bool is_drained)
{
	uint64_t begin = clock_mono_ms();

	vf.nputs = 0;
	assert_int_equal(vx_write(x, 0, 2 * MIB, buf, false), 0);
	if (is_drained)
		cw_volume_drain(x->v, NULL, NULL);
	while (vf.nputs == 0 && clock_mono_ms() - begin < 30000) {
		if (is_busy)
			vx_check(x, 0, 4096);
		clock_sleep_ms(1);
	}
	return clock_mono_ms() - begin;
}

static void
an_upload_makes_way_for_clients_within_the_interval(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	uint64_t ms = 0;

	(void)state;
	vx_close(x);
	x->vconf.seal_bytes = MIB;
	x->vconf.seal_interval_ms =
	    6000; /* a third: two seconds. The bounds bear a loaded machine */
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	/* on a loaded machine the client itself may pause so long that nobody seems to be busy */
	for (int tries = 0; tries < 8; tries++) {
		ms = upload_ms(x, true, false);
		assert_in_range(ms, 0, 5999);
		if (ms >= 600)
			break;
		vx_drain(x);
	}
	assert_in_range(ms, 600, 5999);
	vx_drain(x);
	assert_in_range(upload_ms(x, false, false), 0, 1500); /* nobody to make way for */
	vx_drain(x);
	assert_in_range(upload_ms(x, true, true), 0, 1500); /* somebody waits for it */
	vx_drain(x);
	vx_check_bucket(x);
	vx_end(x);
}

/* A bucket whose policy forbids to delete, or a damaged manifest, is no reason to keep data from it. */
static void
upkeep_that_fails_does_not_hold_up_data(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_volume_status st = {0};
	uint64_t begin;

	(void)state;
	vf.fail_tick = -EACCES;
	begin = clock_mono_ms();
	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(vx_write(x, i % 2 * MIB, MIB, buf, false), 0);
		vx_drain(x);
	}
	assert_in_range(clock_mono_ms() - begin, 0, 8000); /* 1 + 2 + 4 + ... s otherwise */
	cw_volume_get_status(x->v, &st);
	assert_non_null(strstr(st.reason, "upkeep"));
	assert_true(st.is_store_reachable);
	vf.fail_tick = 0;
	vx_check_bucket(x);
	vx_end(x);
}

static void
while_the_uplink_is_slow_overwrites_coalesce(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);

	(void)state;
	vf.fail_put = -ERR_THROTTLED;
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	cw_volume_drain(x->v, NULL, NULL);
	wait_for(has_sealed, x);
	for (int i = 0; i < 20; i++)
		assert_int_equal(vx_write(x, 0, MIB, buf2 + i, false), 0);
	vf.fail_put = 0;
	vx_drain(x);
	assert_int_equal(vf.put_bytes, 2 * MIB); /* the seal's, and the last of twenty */
	vx_check_bucket(x);
	vx_end(x);
}

static void
a_seal_is_durable_before_the_first_object(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);

	(void)state;
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	/* the epoch reaches the bucket, the answer does not, and the process ends */
	vf.fail_put = -ERR_OFFLINE;
	vf.fail_after = true;
	cw_volume_drain(x->v, NULL, NULL);
	wait_for(has_put, x);
	assert_int_equal(vx_write(x, 4096, 4096, buf2, true), 0);
	vx_close(x);
	vf.fail_put = 0;
	vf.fail_after = false;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	vx_check_all(x);
	vx_drain(x);
	assert_true(vf.nadopted >= 1); /* found, not uploaded again */
	assert_int_equal(vf.put_bytes, MIB + 4096);
	vx_check_bucket(x);
	vx_end(x);
}

static void
an_upload_that_was_not_begun_goes_on_after_a_restart(void **state)
{
	struct vx *x = start(CW_VOLUME_STORED, 64 * MIB);

	(void)state;
	vf.fail_put = -ERR_OFFLINE;
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	cw_volume_drain(x->v, NULL, NULL);
	wait_for(has_sealed, x);
	assert_int_equal(vx_zero(x, 8192, 65536), 0);
	assert_int_equal(vx_write(x, 12288, 512, buf2, true), 0);
	vx_reopen(x);
	assert_true(has_sealed(x));
	vx_check_all(x);
	vf.fail_put = 0;
	vx_drain(x);
	vx_check_bucket(x);
	vx_check_all(x);
	assert_int_equal(vf.nfetches, 0); /* stored: never reads the bucket */
	vx_end(x);
}

/* An error that holds up no epoch of an image that is open: of one that is not, there is nowhere to put it. */
static void
a_seal_waits_for_an_image_that_may_not_be_opened(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_volume_status st = {0};

	(void)state;
	vf.fail_put = -ERR_OFFLINE;
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	cw_volume_drain(x->v, NULL, NULL);
	wait_for(has_sealed, x);
	vx_close(x);
	vf.has_no_map = true;
	vf.fail_open = -EACCES;
	vf.fail_put = 0;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	for (int i = 0; i < 5000 && st.reason[0] == '\0'; i++) {
		clock_sleep_ms(1);
		get_status(x, &st);
	}
	assert_false(st.is_store_reachable);
	clock_sleep_ms(20);
	assert_true(has_sealed(x));
	vx_check(x, 0, MIB);
	vf.fail_open = 0;
	vx_drain(x);
	vx_check_bucket(x);
	vx_end(x);
}

static void
without_the_bucket_a_cached_volume_serves_what_is_here(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_volume_status st;

	(void)state;
	assert_int_equal(vx_write(x, 0, 2 * MIB, buf, false), 0);
	vx_drain(x);
	assert_int_equal(cache_evict_all(x->cache), 0);
	vx_check(x, 0, MIB);
	vx_close(x);
	vf.has_no_map = true;
	vf.fail_open = -ERR_OFFLINE;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	vx_check(x, 0, 65536);
	assert_int_equal(vx_call(x, CW_VIO_READ, MIB + MIB / 2, 4096, buf2, false), -ERR_OFFLINE);
	assert_int_equal(vx_write(x, MIB, 4096, buf, true), 0); /* whole blocks need nothing */
	clock_sleep_ms(50);
	get_status(x, &st);
	assert_false(st.is_store_reachable);
	assert_true(st.reason[0] != '\0');
	vf.fail_open = 0;
	vx_drain(x);
	vx_check_all(x);
	vx_check_bucket(x);
	vx_end(x);
}

/* --- the bucket says that it has lost the volume --------------------------------------------------------------- */

static bool
is_irrecoverable(struct vx *x)
{
	struct cw_volume_status st;

	get_status(x, &st);
	return strcmp(st.state, "IRRECOVERABLE") == 0;
}

/* start_lost - a volume with an epoch in the bucket, which the bucket denies from the next opening on; no map here.
 * Only the first MiB of two is here. */
static struct vx *
start_lost(enum cw_volume_mode mode)
{
	struct vx *x = start(mode, 64 * MIB);

	assert_int_equal(vx_write(x, 0, 2 * MIB, buf, false), 0);
	vx_drain(x);
	assert_int_equal(cache_evict_all(x->cache), 0);
	vx_check(x, 0, MIB);
	vx_close(x);
	x->tune =
	    (struct volume_tune){.lost_tries = 4, .lost_ms = 150, .retry_ms = 1, .look_ms = 10};
	vf.has_no_map = vf.is_lost = true;
	return x;
}

static void
a_bucket_that_lost_the_volume_makes_it_irrecoverable(void **state)
{
	struct vx *x = start_lost(CW_VOLUME_CACHED);
	uint64_t begin = clock_mono_ms();

	(void)state;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	wait_for(is_irrecoverable, x);
	assert_in_range(clock_mono_ms() - begin, 150, 5000);
	assert_in_range(vf.nasked, 4, 20);
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, 4096, buf2, false), -EIO);
	assert_true(vx_waits_for(x, "volume-irrecoverable"));
	vx_reopen(x); /* it stays so */
	assert_true(is_irrecoverable(x));
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, 4096, buf2, false), -EIO);
	vx_end(x);
}

static bool
was_asked_nine_times(struct vx *x)
{
	(void)x;
	return vf.nasked >= 9;
}

static void
a_bucket_that_is_wrong_for_a_while_is_asked_again(void **state)
{
	struct vx *x = start_lost(CW_VOLUME_CACHED);
	struct cw_volume_status st;

	(void)state;
	/* not often enough, for as long as one likes */
	x->tune.lost_tries = 1000;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	wait_for(was_asked_nine_times, x);
	get_status(x, &st);
	assert_string_equal(st.state, "AVAILABLE");
	assert_non_null(strstr(st.reason, "the fake bucket says no"));
	vx_check(x, 0, MIB); /* as without a bucket */
	assert_int_equal(vx_call(x, CW_VIO_READ, MIB + MIB / 2, 4096, buf2, false), -ERR_OFFLINE);
	vx_close(x);
	/* not for long enough, however often */
	x->tune.lost_tries = 2;
	x->tune.lost_ms = 3600000;
	vf.nasked = 0;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	wait_for(was_asked_nine_times, x);
	assert_true(is_available(x));
	vx_close(x);
	/* not the same answer */
	x->tune.lost_tries = 3;
	x->tune.lost_ms = 1;
	vf.nasked = 0;
	vf.offline_each = 3;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	wait_for(was_asked_nine_times, x);
	assert_true(is_available(x));
	vf.is_lost = false;
	vx_drain(x);
	vx_check_all(x);
	assert_null(strstr(x->events, "volume-irrecoverable"));
	vx_end(x);
}

static void
an_irrecoverable_volume_comes_back_with_its_bucket(void **state)
{
	struct vx *x = start_lost(CW_VOLUME_CACHED);

	(void)state;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_true(vx_waits_for(x, "volume-irrecoverable"));
	vf.is_lost = false;
	assert_true(vx_waits_for(x, "volume-recovered"));
	assert_true(is_available(x));
	vx_check_all(x);
	assert_int_equal(vx_write(x, MIB, MIB, buf2, true), 0);
	vx_drain(x);
	vx_check_bucket(x);
	vf.fail_open = -ERR_OFFLINE; /* what comes now is the row's */
	vx_reopen(x);
	assert_true(is_available(x));
	vx_check(x, MIB, MIB);
	vx_end(x);
}

static void
an_irrecoverable_volume_is_looked_at_when_it_is_opened(void **state)
{
	struct vx *x = start_lost(CW_VOLUME_CACHED);
	struct cw_volume_status st;

	(void)state;
	x->tune.look_ms = 3600000;
	vf.is_lost = false;
	vf.now.epoch = 7; /* a bucket that was restored, or that somebody else wrote to */
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_true(vx_waits_for(x, "volume-irrecoverable"));
	get_status(x, &st);
	assert_non_null(strstr(st.reason, "another epoch"));
	vx_close(x);
	vf.now.epoch = 1;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_true(vx_waits_for(x, "volume-recovered"));
	assert_true(is_available(x));
	vx_drain(x);
	vx_check_all(x);
	vf.fail_open = -ERR_OFFLINE; /* what comes now is the row's */
	vx_reopen(x);
	assert_true(is_available(x));
	vx_end(x);
}

static void
the_reason_of_an_irrecoverable_volume_is_the_newest(void **state)
{
	struct vx *x = start_lost(CW_VOLUME_CACHED);
	struct cw_volume_status st = {0};

	(void)state;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	assert_true(vx_waits_for(x, "volume-irrecoverable"));
	vf.fail_open = -ERR_OFFLINE; /* tells nothing of the volume */
	vf.is_lost = false;
	for (unsigned int n = vf.nasked; vf.nasked < n + 2;)
		clock_sleep_ms(1);
	get_status(x, &st);
	assert_string_equal(st.state, "IRRECOVERABLE");
	assert_string_equal(st.reason, "the fake bucket says no");
	pthread_mutex_lock(&vf.lock);
	vf.now.epoch = 7;
	pthread_mutex_unlock(&vf.lock);
	vf.fail_open = 0;
	for (int i = 0; i < 10000 && strstr(st.reason, "another epoch") == NULL; i++) {
		clock_sleep_ms(1);
		get_status(x, &st);
	}
	assert_string_equal(st.state, "IRRECOVERABLE");
	assert_non_null(strstr(st.reason, "another epoch"));
	vx_end(x);
}

static void
an_irrecoverable_volume_that_is_complete_is_served(void **state)
{
	struct vx *x = start_lost(CW_VOLUME_STORED);

	(void)state;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	wait_for(is_irrecoverable, x);
	vx_check_all(x);
	assert_int_equal(vx_write(x, 0, MIB, buf2, true), 0);
	vx_check_all(x);
	vf.is_lost = false;
	vx_drain(x); /* somebody who asks for it need not wait for the next look */
	assert_true(is_available(x));
	vx_check_all(x);
	vx_check_bucket(x);
	vx_end(x);
}

static void
an_irrecoverable_volume_does_not_hang_whoever_detaches_it(void **state)
{
	struct vx *x = start_lost(CW_VOLUME_STORED);

	(void)state;
	x->tune.look_ms = 3600000;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	wait_for(is_irrecoverable, x);
	assert_int_equal(vx_write(x, 0, MIB, buf2, true), 0);
	assert_int_equal(cw_volume_detach(x->v, false), -ENOENT);
	vx_check_all(x); /* still here */
	assert_int_equal(cw_volume_detach(x->v, true), 0);
	x->v = NULL;
	vx_end(x);
}

static void
another_owner_ends_the_uploads_and_nothing_else(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_volume_status st;

	(void)state;
	vf.fail_put = -ESTALE;
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	cw_volume_drain(x->v, NULL, NULL);
	assert_true(vx_waits_for(x, "ownership-lost"));
	get_status(x, &st);
	assert_false(st.is_owner);
	vx_check_all(x);
	vx_end(x);
}

/* --- snapshots --------------------------------------------------------------------------------------------- */

struct snap_list {
	unsigned int n, ncompleted;
	uint64_t epoch;
};

static void
count_snap(void *arg, const struct cw_snapshot_info *s)
{
	struct snap_list *l = arg;

	l->n++;
	l->ncompleted += s->state == CW_SNAPSHOT_COMPLETED;
	l->epoch = s->epoch;
}

static void
a_snapshot_is_of_the_moment_and_survives_restarts(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct snap_list l = {0};

	(void)state;
	vx_drain(x);
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000000", NULL, false), -ENOENT);
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	vf.fail_put = -ERR_OFFLINE;
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000001", "first", true), 0);
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000001", "again", true), -EEXIST);
	clock_sleep_ms(50);
	assert_int_equal(vx_write(x, 0, MIB, buf2, false), 0); /* not part of it */
	cw_snapshot_each(x->v, count_snap, &l);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.ncompleted, 0);
	vx_reopen(x);
	vf.fail_put = 0;
	vx_drain(x);
	for (int i = 0; i < 5000 && vf.nsnaps == 0; i++)
		clock_sleep_ms(1);
	assert_int_equal(vf.nsnaps, 1);
	assert_int_equal(vf.snaps[0].epoch, 1);
	assert_int_equal(vf_now(NULL), 2);
	assert_true(vx_waits_for(x, "snapshot-complete"));
	l = (struct snap_list){0};
	cw_snapshot_each(x->v, count_snap, &l);
	assert_int_equal(l.ncompleted, 1);
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000002", NULL, false), 0);
	for (int i = 0; i < 5000 && vf.nsnaps < 2; i++)
		clock_sleep_ms(1);
	assert_int_equal(vf.snaps[1].epoch, 2);
	assert_int_equal(cw_snapshot_delete(x->v, "snap-00000001"), 0);
	for (int i = 0; i < 5000 && vf.nsnaps > 1; i++)
		clock_sleep_ms(1);
	assert_int_equal(vf.nsnaps, 1);
	assert_int_equal(cw_snapshot_delete(x->v, "snap-00000009"), -ENOENT);
	vx_end(x);
}

static bool
has_snap(struct vx *x)
{
	(void)x;
	return vf.nsnaps > 0;
}

static bool
has_failed_snap(struct vx *x)
{
	struct snap_list l = {0};

	cw_snapshot_each(x->v, count_snap, &l);
	return l.n == 1 && l.ncompleted == 0 && vf_now(NULL) == 2;
}

static bool
is_epoch_1(struct vx *x)
{
	(void)x;
	return vf_now(NULL) == 1;
}

static void
no_epoch_passes_a_snapshot_that_the_store_holds_up(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);

	(void)state;
	vf.fail_snap = -ERR_THROTTLED;
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000001", "first", true), 0);
	clock_sleep_ms(50);
	assert_int_equal(vx_write(x, 0, MIB, buf2, false), 0);
	for (int i = 0; i < 3; i++) { /* each tries again at once */
		cw_volume_drain(x->v, NULL, NULL);
		clock_sleep_ms(30);
	}
	wait_for(is_epoch_1, x);
	vx_reopen(x); /* nor after a restart */
	cw_volume_drain(x->v, NULL, NULL);
	clock_sleep_ms(50);
	assert_int_equal(vf_now(NULL), 1);
	vf.fail_snap = 0;
	vx_drain(x);
	wait_for(has_snap, x);
	assert_int_equal(vf.snaps[0].epoch, 1);
	assert_int_equal(vf_now(NULL), 2);
	vx_end(x);
}

static void
a_snapshot_that_cannot_be_made_does_not_hold_up_uploads(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);

	(void)state;
	vf.fail_snap = -ERR_CHECKSUM; /* another manifest is damaged */
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	assert_int_equal(cw_snapshot_create(x->v, "snap-00000001", "first", true), 0);
	clock_sleep_ms(50);
	assert_int_equal(vx_write(x, 0, MIB, buf2, false), 0);
	vx_drain(x);
	wait_for(has_failed_snap, x);
	vx_end(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_barrier_comes_by_time_by_bytes_and_when_asked_for),
	    cmocka_unit_test(settings_are_changed_while_it_is_open),
	    cmocka_unit_test(settings_that_changed_before_the_image_was_open_count),
	    cmocka_unit_test(a_write_after_a_discard_of_nothing_is_uploaded_in_time),
	    cmocka_unit_test(an_upload_makes_way_for_clients_within_the_interval),
	    cmocka_unit_test(upkeep_that_fails_does_not_hold_up_data),
	    cmocka_unit_test(while_the_uplink_is_slow_overwrites_coalesce),
	    cmocka_unit_test(a_seal_is_durable_before_the_first_object),
	    cmocka_unit_test(an_upload_that_was_not_begun_goes_on_after_a_restart),
	    cmocka_unit_test(a_seal_waits_for_an_image_that_may_not_be_opened),
	    cmocka_unit_test(without_the_bucket_a_cached_volume_serves_what_is_here),
	    cmocka_unit_test(a_bucket_that_lost_the_volume_makes_it_irrecoverable),
	    cmocka_unit_test(a_bucket_that_is_wrong_for_a_while_is_asked_again),
	    cmocka_unit_test(an_irrecoverable_volume_comes_back_with_its_bucket),
	    cmocka_unit_test(an_irrecoverable_volume_is_looked_at_when_it_is_opened),
	    cmocka_unit_test(the_reason_of_an_irrecoverable_volume_is_the_newest),
	    cmocka_unit_test(an_irrecoverable_volume_that_is_complete_is_served),
	    cmocka_unit_test(an_irrecoverable_volume_does_not_hang_whoever_detaches_it),
	    cmocka_unit_test(another_owner_ends_the_uploads_and_nothing_else),
	    cmocka_unit_test(a_snapshot_is_of_the_moment_and_survives_restarts),
	    cmocka_unit_test(no_epoch_passes_a_snapshot_that_the_store_holds_up),
	    cmocka_unit_test(a_snapshot_that_cannot_be_made_does_not_hold_up_uploads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
