/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random epochs, snapshots, clones, deletions, compactions, restarts, lost appliances and crashes at
 * any request, against an oracle.
 */
#include "tests/unit/vol_fixture.h"

#define SNAPS 8u
#define CLONES 3u
#define HISTORY 400u

struct snap {
	char id[VOL_ID_MAX];
	struct vf_image image;
	bool is_used;
};

struct clone { /* a volume of its own, with the fixture's store */
	char id[VOL_ID_MAX];
	char stem[160];
	struct vf f;
	bool is_used;
};

struct model {
	struct vf f;
	struct snap snaps[SNAPS];
	struct clone clones[CLONES];
	struct vf_image history[HISTORY]; /* by epoch */
	unsigned int made;
};

/* ---- a crash: from some request on nothing comes through ---- */

struct cut {
	struct objstore *store;
	unsigned int left;
	bool is_applied, is_over;
};

static void
cut_here(struct objstore_req *req, void *ctx)
{
	struct cut *c = ctx;

	(void)req;
	if (c->is_over || c->left-- > 0)
		return;
	c->is_over = true;
	/* this one: done, and nobody hears of it, or not done */
	objstore_mem_fail_next(c->store, OBJ_OP_MAX, -ERR_OFFLINE, c->is_applied, 1);
}

static void
cut_rest(struct objstore_req *req, void *ctx)
{
	struct cut *c = ctx;

	if (c->is_over) {
		objstore_mem_fail_next(c->store, OBJ_OP_MAX, -ERR_OFFLINE, false, 1000000);
		return;
	}
	cut_here(req, ctx);
}

static void
cut_begin(struct vf *f, struct cut *c, unsigned int at)
{
	*c = (struct cut){.store = f->store, .left = at, .is_applied = vf_rnd(f, 2) != 0};
	objstore_mem_before(f->store, cut_rest, c);
}

static void
cut_end(struct vf *f)
{
	objstore_mem_before(f->store, NULL, NULL);
	objstore_mem_fail_next(f->store, OBJ_OP_MAX, 0, false, 0);
}

/* ---- steps ---- */

static void
remember(struct model *m)
{
	assert_true(m->f.epoch < HISTORY);
	m->history[m->f.epoch] = m->f.now;
}

static void
step_epoch(struct model *m)
{
	struct vf *f = &m->f;

	if (vf_rnd(f, 20) == 0 && f->now.nblocks < 700)
		f->now.nblocks += 10;
	vf_epoch(f, 1 + vf_rnd(f, 30), 1 + vf_rnd(f, 40), 15);
	remember(m);
}

static void
step_snapshot(struct model *m)
{
	struct vf *f = &m->f;
	struct snap *s = &m->snaps[vf_rnd(f, SNAPS)];

	if (s->is_used) {
		assert_int_equal(vol_remote_snapshot_delete(f->r, s->id), 0);
		s->is_used = false;
		return;
	}
	(void)snprintf(s->id, sizeof(s->id), "snap-%u", m->made++);
	assert_int_equal(vol_remote_snapshot_create(f->r, s->id, "of a test", f->time_ns), 0);
	assert_int_equal(vol_remote_snapshot_create(f->r, s->id, "of a test", f->time_ns), 0);
	s->image = f->now;
	s->is_used = true;
}

static void
clone_end(struct clone *c)
{
	vol_remote_close(c->f.r);
	free(c->f.runs);
	/* 1: a clone of it needs a part of it */
	assert_in_range(vol_remote_destroy(&c->f.conf), 0, 1);
	c->is_used = false;
}

static void
step_clone(struct model *m)
{
	struct vf *f = &m->f;
	struct clone *c = &m->clones[vf_rnd(f, CLONES)];
	struct clone *from = &m->clones[vf_rnd(f, CLONES)];
	struct cw_volume_origin o = {
	    .source = CW_SOURCE_VOLUME, .volume_id = "vol-0001", .prefix = "p/"};
	char why[256] = "", *text;
	unsigned int k;

	if (c->is_used) {
		clone_end(c);
		return;
	}
	c->f = *f;
	c->f.runs = calloc(VF_BLOCKS_MAX + 1, sizeof(*c->f.runs));
	c->f.r = NULL;
	c->f.epoch = 0;
	c->f.seed += 77 * m->made;
	(void)snprintf(c->id, sizeof(c->id), "vol-c%u", m->made++);
	text = xasprintf("%s/%s.map", f->dir, c->id);
	memcpy(c->stem, text, strlen(text) + 1);
	free(text);
	c->f.conf.volume_id = c->id;
	c->f.conf.local_path = c->stem;
	c->f.conf.tune = &f->tune;
	c->f.conf.size_bytes = 0;
	k = vf_rnd(f, SNAPS);
	if (from->is_used && from != c && vf_rnd(f, 2) == 0) { /* a clone of a clone */
		o.volume_id = from->id;
		c->f.now = from->f.now;
	} else if (m->snaps[k].is_used) {
		o.source = CW_SOURCE_SNAPSHOT;
		o.snapshot_id = m->snaps[k].id;
		c->f.now = m->snaps[k].image;
	}
	if (vol_remote_create(&c->f.conf, &o, &c->f.r, why, sizeof(why)) != 0)
		fail_msg("clone: %s", why);
	c->is_used = true;
}

/* step_crash - amid an upload; then a restart, or another appliance. */
static void
step_crash(struct model *m)
{
	struct vf *f = &m->f;
	uint64_t before = f->epoch, next;
	struct cut c;
	int err;

	vf_seal(f, 1 + vf_rnd(f, 40), 1 + vf_rnd(f, 30), 15);
	cut_begin(f, &c, vf_rnd(f, 16));
	if (vf_rnd(f, 3) == 0)
		(void)vol_remote_tick(f->r, &next);
	err = vf_put(f);
	if (err == 0 && vf_rnd(f, 2) == 0) {
		vf_apply(f);
		remember(m);
		(void)vol_remote_tick(f->r, &next);
	}
	vol_remote_close(f->r);
	f->r = NULL;
	cut_end(f);
	if (vf_rnd(f, 3) > 0) {
		vf_reopen_local(f);
		if (vol_remote_epoch(f->r) != f->epoch)
			fail_msg("epoch %d", (int)vol_remote_epoch(f->r));
		vf_check(f->r, &f->now);
		if (f->epoch == before) { /* the seal is still there */
			assert_int_equal(vf_put(f), 0);
			vf_apply(f);
			remember(m);
		}
		return;
	}
	vf_reopen_bucket(f);
	if (vol_remote_epoch(f->r) == f->epoch + 1) {
		f->epoch++;
		f->now = f->sealed;
		remember(m);
	}
	assert_int_equal(vol_remote_epoch(f->r), f->epoch);
	vf_check(f->r, &f->now);
}

static void
step_clone_epoch(struct model *m)
{
	struct clone *c = &m->clones[vf_rnd(&m->f, CLONES)];

	if (!c->is_used)
		return;
	vf_epoch(&c->f, 1 + vf_rnd(&m->f, 20), 1 + vf_rnd(&m->f, 40), 15);
	if (vf_rnd(&m->f, 2) == 0)
		vf_tick(&c->f);
	if (vf_rnd(&m->f, 4) == 0)
		vf_reopen_local(&c->f);
}

static void
check_points(struct model *m)
{
	struct vf *f = &m->f;
	const struct vol_point *p;
	struct vol_err e = {""};
	struct vol_found found;
	struct vol_place pl;
	struct vol_image now, im;

	vf_tick(f); /* after a restart it finds out what is left */
	p = &f->r->im.points[vf_rnd(f, (uint32_t)f->r->im.npoints)];
	vf_place(f, "vol-0001", &pl);
	assert_int_equal(vol_replay_now(&pl, &now, &found, &e), 0);
	if (vol_image_point(&now, p->epoch) != NULL) {
		if (vol_replay_at(&pl, &now, p->epoch, &im, &e) != 0)
			fail_msg("epoch %d of %d: %s", (int)p->epoch, (int)f->epoch, e.text);
		vf_check_image(f, &pl, &im, &m->history[p->epoch], "point");
		vol_image_free(&im);
	}
	vol_image_free(&now);
}

static void
check_all(struct model *m)
{
	vf_check(m->f.r, &m->f.now);
	vf_check_bucket(&m->f, "vol-0001", &m->f.now, m->f.epoch);
	for (unsigned int i = 0; i < SNAPS; i++)
		if (m->snaps[i].is_used)
			vf_check_snapshot(&m->f, "vol-0001", m->snaps[i].id, &m->snaps[i].image);
	for (unsigned int i = 0; i < CLONES; i++) {
		if (!m->clones[i].is_used)
			continue;
		vf_check(m->clones[i].f.r, &m->clones[i].f.now);
		vf_check_bucket(
		    &m->clones[i].f, m->clones[i].id, &m->clones[i].f.now, m->clones[i].f.epoch);
	}
	check_points(m);
}

static void
run(uint64_t seed, unsigned int steps, uint32_t keep_s)
{
	struct model *m = calloc(1, sizeof(*m));
	struct vf *f = &m->f;

	vf_init(f, 600);
	f->seed = seed;
	f->tune.object_bytes = 128u << 10;
	f->tune.waste_min_bytes = 32u << 10;
	f->conf.recovery_keep_s = keep_s;
	f->conf.is_compressed = seed % 2;
	f->conf.has_key = seed % 3 == 0;
	vf_create(f);
	remember(m);
	for (unsigned int i = 0; i < steps; i++) {
		uint32_t what = vf_rnd(f, 100);

		if (what < 35)
			step_epoch(m);
		else if (what < 55)
			vf_tick(f);
		else if (what < 67)
			step_snapshot(m);
		else if (what < 73)
			step_clone(m);
		else if (what < 80)
			step_clone_epoch(m);
		else if (what < 84)
			vf_reopen_local(f);
		else if (what < 87)
			vf_reopen_bucket(f);
		else
			step_crash(m);
		if (i % 10 == 9)
			check_all(m);
	}
	check_all(m);
	vf_settle(f, "vol-0001");
	remember(m);
	check_all(m);
	for (unsigned int i = 0; i < CLONES; i++)
		if (m->clones[i].is_used)
			clone_end(&m->clones[i]);
	remember(m);
	vf_settle(f, "vol-0001");
	remember(m);
	check_all(m);
	vf_free(f);
	free(m);
}

static void
the_model_holds(void **state)
{
	const char *ops = getenv("VOL_MODEL_STEPS");

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		run(seed, ops != NULL ? (unsigned int)atoi(ops) : 90, seed % 2 ? 0 : 3600);
}

/* ---- a cut at each request of one life ---- */

static void
life(struct vf *f, bool *is_snapped)
{
	uint64_t next;

	*is_snapped = false;
	for (int i = 0; i < 3; i++) {
		vf_seal(f, 40, 20, 10);
		if (vf_put(f) < 0)
			return;
		vf_apply(f);
		(void)vol_remote_tick(f->r, &next);
		if (i == 1)
			*is_snapped = vol_remote_snapshot_create(f->r, "snap-1", "", 1) == 0;
	}
}

static void
a_cut_at_any_request_leaves_an_epoch(void **state)
{
	bool is_cut = true;

	(void)state;
	for (unsigned int at = 0; is_cut; at++) {
		for (int variant = 0; variant < 2; variant++) {
			struct vf_image *snap = calloc(1, sizeof(*snap));
			bool is_snapped;
			struct cut c;
			struct vf f;

			vf_init(&f, 600);
			f.tune.checkpoint_min_bytes = 1;
			f.tune.waste_min_bytes = 1;
			vf_create(&f);
			vf_epoch(&f, 60, 20, 0);
			vf_epoch(&f, 60, 20, 0);
			cut_begin(&f, &c, at);
			life(&f, &is_snapped);
			is_cut = c.is_over;
			cut_end(&f);
			vol_remote_close(f.r);
			f.r = NULL;
			if (variant == 0) {
				vf_reopen_local(&f);
				vf_check(f.r, &f.now);
				if (f.epoch < 5) {
					assert_int_equal(vf_put(&f), 0);
					vf_apply(&f);
				}
			} else {
				vf_reopen_bucket(&f);
				if (vol_remote_epoch(f.r) == f.epoch + 1) {
					f.now = f.sealed;
					f.epoch++;
				}
				assert_int_equal(vol_remote_epoch(f.r), f.epoch);
			}
			vf_check(f.r, &f.now);
			vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
			if (is_snapped) {
				*snap = f.now;
				assert_int_equal(voli_load_pins(f.r), 0);
				assert_int_equal(f.r->npins, 1);
			}
			vf_settle(&f, "vol-0001");
			vf_check(f.r, &f.now);
			vf_free(&f);
			free(snap);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_model_holds),
	    cmocka_unit_test(a_cut_at_any_request_leaves_an_epoch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
