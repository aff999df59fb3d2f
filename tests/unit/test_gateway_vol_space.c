/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of snapshots, the end of a volume, and how much lies in the bucket and is sent there. */
#include "tests/unit/vol_fixture.h"

#define SNAPS 50u

struct snap {
	char id[VOL_ID_MAX];
	struct vf_image image;
	bool is_used;
};

struct chain {
	struct vf f;
	struct snap snaps[SNAPS];
};

/* ---- fifty snapshots ---- */

static void
snapshots_of_a_chain_stay_bit_exact(void **state)
{
	struct chain *m = calloc(1, sizeof(*m));
	struct vf *f = &m->f;
	uint64_t bytes;

	(void)state;
	vf_init(f, 600);
	f->tune.object_bytes = 128u << 10;
	f->tune.waste_min_bytes = 32u << 10;
	vf_create(f);
	for (unsigned int i = 0; i < SNAPS; i++) {
		struct snap *s = &m->snaps[i];

		vf_epoch(f, 20, 20, 10);
		(void)snprintf(s->id, sizeof(s->id), "snap-%u", i);
		assert_int_equal(vol_remote_snapshot_create(f->r, s->id, NULL, i), 0);
		s->image = f->now;
		s->is_used = true;
		vf_tick(f);
		if (i % 2 == 1) {
			s = &m->snaps[vf_rnd(f, i)];
			if (s->is_used) {
				assert_int_equal(vol_remote_snapshot_delete(f->r, s->id), 0);
				assert_int_equal(vol_remote_snapshot_delete(f->r, s->id), -ENOENT);
				s->is_used = false;
			}
		}
		if (i % 10 == 9) {
			vf_reopen_bucket(f);
			for (unsigned int k = 0; k <= i; k++)
				if (m->snaps[k].is_used)
					vf_check_snapshot(
					    f, "vol-0001", m->snaps[k].id, &m->snaps[k].image);
		}
	}
	vf_settle(f, "vol-0001");
	for (unsigned int k = 0; k < SNAPS; k++) {
		struct snap *s = &m->snaps[k];

		if (!s->is_used)
			continue;
		vf_check_snapshot(f, "vol-0001", s->id, &s->image);
		assert_int_equal(vol_remote_snapshot_delete(f->r, s->id), 0);
	}
	vf_settle(f, "vol-0001"); /* compacts; */
	vf_settle(f, "vol-0001"); /* it takes the next epoch to count, and a checkpoint */
	vf_check(f->r, &f->now);
	assert_int_equal(vf_count(f, "/snap/", &bytes), 0);
	assert_int_equal(vf_count(f, "/map/", &bytes), 1);
	(void)vf_count(f, "/log/", &bytes);
	print_message("after all snapshots went: %llu KiB for %llu KiB mapped\n",
	    (unsigned long long)bytes >> 10,
	    (unsigned long long)vol_remote_mapped_bytes(f->r) >> 10);
	assert_true(bytes < 2 * vol_remote_mapped_bytes(f->r));
	vf_free(f);
	free(m);
}

/* ---- destroying ---- */

static void
a_destroyed_volume_leaves_what_others_need(void **state)
{
	struct cw_volume_origin o = {.source = CW_SOURCE_SNAPSHOT,
	    .volume_id = "vol-0001",
	    .prefix = "p/",
	    .snapshot_id = "snap-1"};
	struct vf_image *snap = calloc(1, sizeof(*snap));
	struct vol_remote_conf conf;
	struct vol_remote *clone;
	char why[256], stem[128];
	uint64_t bytes;
	struct vf f;

	(void)state;
	vf_init(&f, 600);
	vf_create(&f);
	vf_epoch(&f, 40, 20, 0);
	assert_int_equal(vol_remote_snapshot_create(f.r, "snap-1", "x", 1), 0);
	*snap = f.now;
	for (int i = 0; i < 5; i++)
		vf_epoch(&f, 40, 20, 0);
	conf = f.conf;
	(void)snprintf(stem, sizeof(stem), "%s/clone.map", f.dir);
	conf.volume_id = "vol-2";
	conf.local_path = stem;
	assert_int_equal(vol_remote_create(&conf, &o, &clone, why, sizeof(why)), 0);
	vol_remote_close(f.r);
	f.r = NULL;
	(void)vf_count(&f, "/vol-0001/log/", &bytes);
	assert_int_equal(vol_remote_destroy(&f.conf), 1);
	assert_true(vf_count(&f, "/vol-0001/log/", &bytes) > 0);
	vf_check_snapshot(&f, "vol-0001", "snap-1", snap);
	vf_check(clone, snap);
	/* the snapshot goes, the clone is left */
	vf_reopen_bucket(&f);
	assert_int_equal(vol_remote_snapshot_delete(f.r, "snap-1"), 0);
	vol_remote_close(f.r);
	f.r = NULL;
	assert_int_equal(vol_remote_destroy(&f.conf), 1);
	vf_check(clone, snap);
	vol_remote_close(clone);
	assert_int_equal(vol_remote_destroy(&conf), 0);
	assert_int_equal(vol_remote_destroy(&f.conf), 0);
	assert_int_equal(objstore_mem_objects(f.store), 0);
	assert_int_equal(vol_remote_destroy(&f.conf), 0);
	vf_free(&f);
	free(snap);
}

/* own - the owner object, as an appliance that took the volume over, or gave it up (""), leaves it. */
static void
own(struct vf *f, const char *appliance)
{
	struct vol_owner o = {.term = 9, .nonce = "x"};
	char key[VOL_KEY_MAX], *text;

	(void)snprintf(o.appliance, sizeof(o.appliance), "%s", appliance);
	text = vol_owner_encode(&o);
	vol_key(key, "p/", "vol-0001", "owner");
	objstore_mem_put(f->store, key, text, strlen(text), NULL, 0, NULL);
	free(text);
}

struct taking {
	struct vf *f;
	unsigned int
	    at; /* before the n-th request, but before it is taken by whoever destroys it */
	bool is_done, is_too_late;
};

static void
take_over(struct objstore_req *req, void *ctx)
{
	struct taking *t = ctx;
	size_t n = req->key != NULL ? strlen(req->key) : 0;

	if (t->is_done || t->is_too_late)
		return;
	if (t->at-- == 0) {
		t->is_done = true;
		own(t->f, "gw-b");
	} else if (req->op == OBJ_PUT && n > 6 && strcmp(req->key + n - 6, "/owner") == 0) {
		t->is_too_late = true;
	}
}

static void
another_appliances_volume_is_not_destroyed(void **state)
{
	size_t n;
	char key[VOL_KEY_MAX];
	struct vf f;

	(void)state;
	vf_init(&f, 600);
	vf_create(&f);
	vf_epoch(&f, 40, 20, 0);
	vol_remote_close(f.r);
	f.r = NULL;
	own(&f, "gw-b");
	n = objstore_mem_objects(f.store);
	assert_int_equal(vol_remote_destroy(&f.conf), -ESTALE);
	assert_int_equal(objstore_mem_objects(f.store), n);
	vol_key(key, "p/", "vol-0001", "volume.json"); /* nor when that cannot be read */
	objstore_mem_put(f.store, key, "{", 1, NULL, 0, NULL);
	assert_int_equal(vol_remote_destroy(&f.conf), -ESTALE);
	assert_true(objstore_mem_delete(f.store, key));
	assert_int_equal(vol_remote_destroy(&f.conf), -ESTALE);
	assert_int_equal(objstore_mem_objects(f.store), n - 1);
	vol_key(key, "p/", "vol-0001", "owner"); /* nor when nobody knows whose it is */
	objstore_mem_put(f.store, key, "{", 1, NULL, 0, NULL);
	assert_int_equal(vol_remote_destroy(&f.conf), -ERR_CHECKSUM);
	assert_int_equal(objstore_mem_objects(f.store), n - 1);
	own(&f, "");
	assert_int_equal(vol_remote_destroy(&f.conf), 0);
	assert_int_equal(objstore_mem_objects(f.store), 0);
	vf_free(&f);
}

static void
a_volume_taken_over_at_the_last_moment_is_not_destroyed(void **state)
{
	struct taking t = {0};

	(void)state;
	for (unsigned int at = 0; !t.is_too_late; at++) {
		size_t n;
		struct vf f;

		vf_init(&f, 600);
		vf_create(&f);
		vf_epoch(&f, 40, 20, 0);
		vol_remote_close(f.r);
		f.r = NULL;
		n = objstore_mem_objects(f.store);
		t = (struct taking){.f = &f, .at = at};
		objstore_mem_before(f.store, take_over, &t);
		if (vol_remote_destroy(&f.conf) == 0) {
			assert_true(t.is_too_late);
			assert_true(at > 2);
		} else {
			assert_true(t.is_done);
			objstore_mem_before(f.store, NULL, NULL);
			assert_int_equal(vol_remote_destroy(&f.conf), -ESTALE);
			assert_int_equal(objstore_mem_objects(f.store), n);
		}
		vf_free(&f);
	}
}

static void
a_snapshot_dropped_takes_a_deleted_volume_along_and_no_other(void **state)
{
	uint64_t bytes;
	struct vf f;

	(void)state;
	vf_init(&f, 600);
	vf_create(&f);
	vf_epoch(&f, 40, 20, 0);
	assert_int_equal(vol_remote_snapshot_create(f.r, "snap-1", "x", 1), 0);
	assert_int_equal(vol_remote_snapshot_create(f.r, "snap-2", "x", 1), 0);
	vf_epoch(&f, 40, 20, 0);
	vol_remote_close(f.r);
	f.r = NULL;
	/* somebody may have attached it elsewhere, or will: it is not deleted */
	own(&f, "gw-b");
	assert_int_equal(vol_remote_snapshot_drop(&f.conf, "snap-1"), 0);
	assert_int_equal(vf_count(&f, "/snap/", &bytes), 1);
	vf_check_bucket(&f, "vol-0001", &f.now, 2);
	assert_int_equal(vol_remote_snapshot_drop(&f.conf, "snap-1"), 0);
	own(&f, "");
	assert_int_equal(vol_remote_destroy(&f.conf), 1);
	own(&f, "gw-b"); /* a deleted one is nobody's */
	assert_int_equal(vol_remote_snapshot_drop(&f.conf, "snap-2"), 0);
	assert_int_equal(objstore_mem_objects(f.store), 0);
	assert_int_equal(vol_remote_snapshot_drop(&f.conf, "snap-2"), 0);
	vf_free(&f);
}

/* ---- how much lies in the bucket, how much was sent ---- */

static void
the_bucket_stays_small_in_the_long_run(void **state)
{
	struct vol_remote_stats st;
	uint64_t worst = 0, log, map;
	struct vf f;

	(void)state;
	vf_init(&f, 16384); /* 64 MiB */
	f.tune = (struct vol_tune){.object_bytes = 1u << 20,
	    .checkpoint_min_bytes = 1u << 20,
	    .waste_min_bytes = 2u << 20};
	vf_create(&f);
	vf_epoch(&f, 12000, 4, 0);
	for (int i = 0; i < 120; i++) {
		uint64_t live;

		vf_epoch(&f, 512, 1, 0); /* 2 MiB of single blocks */
		vf_tick(&f);
		live = vol_remote_mapped_bytes(f.r);
		(void)vf_count(&f, "/log/", &log);
		(void)vf_count(&f, "/map/", &map);
		if (i > 20 && (log + map) * 1000 / live > worst)
			worst = (log + map) * 1000 / live;
	}
	vol_remote_get_stats(f.r, &st);
	print_message("bucket at most %.3f x live; uploaded %.3f per byte written, of that moved "
		      "%.3f\n",
	    (double)worst / 1000, (double)st.uploaded_bytes / (double)f.written,
	    (double)st.moved_bytes / (double)f.written);
	assert_true(worst < 1500);
	assert_true(st.uploaded_bytes * 100 < f.written * 185);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

/* A volume of 16 GiB, its epochs of 256 MiB and its bounds, all divided by 256, but log objects by 32: there
 * is little luck in which of them is how empty. */
struct run {
	struct vf f;
	uint64_t worst; /* bucket bytes per 1,000 live */
};

static void
run_start(struct run *r)
{
	vf_init(&r->f, 16384);
	r->f.tune = (struct vol_tune){.object_bytes = 256u << 10,
	    .checkpoint_min_bytes = 256u << 10,
	    .compact_bytes = 256u << 10,
	    .waste_min_bytes = 256u << 10};
	vf_create(&r->f);
}

/* run_write - parts of 1/64 of the volume. result: 1,000 times bytes uploaded per byte written */
static uint64_t
run_write(struct run *r, int parts)
{
	struct vol_remote_stats from, to;
	uint64_t log, map, next, written = r->f.written;

	vol_remote_get_stats(r->f.r, &from);
	while (parts-- > 0) {
		vf_epoch(&r->f, 256, 1, 0);
		do
			assert_int_equal(vol_remote_tick(r->f.r, &next), 0);
		while (next == 0);
		(void)vf_count(&r->f, "/log/", &log);
		(void)vf_count(&r->f, "/map/", &map);
		log = (log + map) * 1000 / vol_remote_mapped_bytes(r->f.r);
		r->worst = log > r->worst ? log : r->worst;
	}
	vol_remote_get_stats(r->f.r, &to);
	return (to.uploaded_bytes - from.uploaded_bytes) * 1000 / (r->f.written - written);
}

static void
random_writes_over_all_of_a_volume_cost_little_with_collection(void **state)
{
	struct run r = {0};
	uint64_t first, then;

	(void)state;
	run_start(&r);
	first = run_write(&r, 64);
	then = run_write(&r, 48);
	print_message(
	    "uploaded per 1,000 bytes written: %llu while as much is written as the volume "
	    "has, %llu then; bucket at most %llu per 1,000 live\n",
	    (unsigned long long)first, (unsigned long long)then, (unsigned long long)r.worst);
	assert_true(first <= 1150);
	assert_true(then <= 1750);
	assert_true(r.worst < 1500);
	vf_check(r.f.r, &r.f.now);
	vf_free(&r.f);
}

static void
random_writes_cost_little_more_than_themselves(void **state)
{
	struct vol_remote_stats st;
	struct vf f;

	(void)state;
	vf_init(&f, 16384);
	f.tune = (struct vol_tune){.object_bytes = 1u << 20,
	    .checkpoint_min_bytes = 8u << 20,
	    .waste_min_bytes = 8u << 20};
	f.conf.recovery_keep_s = 86400;
	vf_create(&f);
	for (int i = 0; i < 24; i++) {
		vf_epoch(&f, 512, 1, 0);
		vf_tick(&f);
	}
	vol_remote_get_stats(f.r, &st);
	print_message(
	    "uploaded %.4f per byte written\n", (double)st.uploaded_bytes / (double)f.written);
	assert_true(st.uploaded_bytes * 100 < f.written * 115);
	vf_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(snapshots_of_a_chain_stay_bit_exact),
	    cmocka_unit_test(a_destroyed_volume_leaves_what_others_need),
	    cmocka_unit_test(another_appliances_volume_is_not_destroyed),
	    cmocka_unit_test(a_volume_taken_over_at_the_last_moment_is_not_destroyed),
	    cmocka_unit_test(a_snapshot_dropped_takes_a_deleted_volume_along_and_no_other),
	    cmocka_unit_test(the_bucket_stays_small_in_the_long_run),
	    cmocka_unit_test(random_writes_over_all_of_a_volume_cost_little_with_collection),
	    cmocka_unit_test(random_writes_cost_little_more_than_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
