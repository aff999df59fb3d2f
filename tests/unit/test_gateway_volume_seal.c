/* SPDX-License-Identifier: Apache-2.0 */
/* test_gateway_volume_seal.c - how the bucket follows, what restarts find, and where volumes come from. */
#include <fcntl.h>

#include "tests/unit/volume_fixture.h"

#define MIB (1u << 20)

static unsigned char buf[VF_MAX], buf2[VF_MAX];

static void
fill_bufs(void)
{
	uint64_t rnd = 5;

	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
}

static struct vx *
start(enum cw_volume_mode mode, uint64_t capacity)
{
	fill_bufs();
	return vx_new(NULL, capacity, mode);
}

static void
wait_for(bool (*is_so)(struct vx *x), struct vx *x)
{
	for (int i = 0; i < 10000 && !is_so(x); i++)
		clock_sleep_ms(1);
	assert_true(is_so(x));
}

static void
get_status(struct vx *x, struct cw_volume_status *st)
{
	cw_volume_get_status(x->v, st);
}

static bool
is_available(struct vx *x)
{
	struct cw_volume_status st;

	get_status(x, &st);
	return strcmp(st.state, "AVAILABLE") == 0;
}

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

static void
a_bucket_that_lost_the_volume_makes_it_irrecoverable(void **state)
{
	struct vx *x = start(CW_VOLUME_CACHED, 64 * MIB);
	struct cw_volume_status st;

	(void)state;
	assert_int_equal(vx_write(x, 0, MIB, buf, false), 0);
	vx_drain(x);
	vx_close(x);
	vf.has_no_map = vf.is_lost = true;
	assert_int_equal(vx_try_open(x, NULL, false), 0);
	for (int i = 0; i < 5000 && !x->v->is_irrecoverable; i++)
		clock_sleep_ms(1);
	get_status(x, &st);
	assert_string_equal(st.state, "IRRECOVERABLE");
	assert_int_equal(vx_call(x, CW_VIO_READ, 0, 4096, buf2, false), -EIO);
	assert_true(vx_waits_for(x, "volume-irrecoverable"));
	vx_reopen(x); /* it stays so */
	get_status(x, &st);
	assert_string_equal(st.state, "IRRECOVERABLE");
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
	cw_volume_destroy(x->v, true);
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
	    cmocka_unit_test(a_barrier_comes_by_time_by_bytes_and_when_asked_for),
	    cmocka_unit_test(a_write_after_a_discard_of_nothing_is_uploaded_in_time),
	    cmocka_unit_test(an_upload_makes_way_for_clients_within_the_interval),
	    cmocka_unit_test(upkeep_that_fails_does_not_hold_up_data),
	    cmocka_unit_test(while_the_uplink_is_slow_overwrites_coalesce),
	    cmocka_unit_test(a_seal_is_durable_before_the_first_object),
	    cmocka_unit_test(an_upload_that_was_not_begun_goes_on_after_a_restart),
	    cmocka_unit_test(without_the_bucket_a_cached_volume_serves_what_is_here),
	    cmocka_unit_test(a_bucket_that_lost_the_volume_makes_it_irrecoverable),
	    cmocka_unit_test(another_owner_ends_the_uploads_and_nothing_else),
	    cmocka_unit_test(a_snapshot_is_of_the_moment_and_survives_restarts),
	    cmocka_unit_test(no_epoch_passes_a_snapshot_that_the_store_holds_up),
	    cmocka_unit_test(a_snapshot_that_cannot_be_made_does_not_hold_up_uploads),
	    cmocka_unit_test(an_image_is_taken_over_while_it_is_used),
	    cmocka_unit_test(an_image_that_is_not_there_is_refused),
	    cmocka_unit_test(a_stored_volume_from_a_snapshot_gets_complete),
	    cmocka_unit_test(a_volume_is_attached_from_its_bucket_and_detached_again),
	    cmocka_unit_test(a_larger_size_in_the_settings_is_taken_at_the_next_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
