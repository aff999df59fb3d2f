/* SPDX-License-Identifier: Apache-2.0 */
/* Content: reads, writes, sizes, times, and files that lost their name while open. */
#include "tests/unit/share_fixture.h"

static void
reads_are_clamped_to_the_size(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, fx->root, "clamp");
	char b[16];

	assert_int_equal(fx_read(fx, &fx_root, ino, 0, b, 16), 0);
	assert_int_equal(fx->op.count_done, 0);
	assert_true(fx->op.eof);
	assert_int_equal(fx_write(fx, &fx_root, ino, 3, "abc", 3), 0);
	assert_int_equal(fx->op.attr.size, 6);
	assert_int_equal(fx_read(fx, &fx_root, ino, 0, b, 16), 0);
	assert_int_equal(fx->op.count_done, 6);
	assert_true(fx->op.eof);
	assert_memory_equal(b, "\0\0\0abc", 6);
	assert_int_equal(fx_read(fx, &fx_root, ino, 0, b, 3), 0);
	assert_false(fx->op.eof);
	assert_int_equal(fx_read(fx, &fx_root, ino, 6, b, 3), 0);
	assert_true(fx->op.eof);
	assert_int_equal(fx->op.count_done, 0);
	assert_int_equal(fx_read(fx, &fx_root, ino, UINT64_MAX, b, 3), 0);
	assert_true(fx->op.eof);
}

static void
truncate_is_exact_and_what_was_cut_reads_as_zeros(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, fx->root, "trunc");
	char *big = xmalloc(600000), *got = xcalloc(1, 600000);
	size_t i;

	for (i = 0; i < 600000; i++)
		big[i] = (char)(i * 7 + 1);
	assert_int_equal(fx_write(fx, &fx_root, ino, 0, big, 600000), 0);
	assert_int_equal(fx_truncate(fx, &fx_root, ino, 300001), 0);
	assert_int_equal(fx->op.attr.size, 300001);
	assert_int_equal(fx_truncate(fx, &fx_root, ino, 500000), 0);
	assert_int_equal(fx_read(fx, &fx_root, ino, 0, got, 600000), 0);
	assert_int_equal(fx->op.count_done, 500000);
	memset(big + 300001, 0, 600000 - 300001);
	assert_memory_equal(got, big, 500000);
	free(big);
	free(got);
}

static void
sizes_beyond_an_object_are_refused(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, fx->root, "efbig");

	assert_int_equal(fx_truncate(fx, &fx_root, ino, (5ull << 40) + 1), -EFBIG);
	assert_int_equal(fx_write(fx, &fx_root, ino, 5ull << 40, "x", 1), -EFBIG);
	assert_int_equal(fx_write(fx, &fx_root, ino, UINT64_MAX, "x", 1), -EFBIG);
	assert_int_equal(fx_truncate(fx, &fx_root, ino, 5ull << 40), 0);
	assert_int_equal(fx_write(fx, &fx_root, ino, (5ull << 40) - 1, "x", 1), 0);
	assert_int_equal(fx_truncate(fx, &fx_root, ino, 0), 0);
}

static void
content_ops_refuse_what_has_none(void **state)
{
	struct fx *fx = *state;
	uint64_t dir = fx_mkdir_ok(fx, fx->root, "dir"), link;
	char b[4];

	fx_op(fx, CW_SYMLINK, &fx_root, fx->root);
	fx->op.name = "link";
	fx->op.name2 = "t";
	assert_int_equal(cw_call(&fx->op), 0);
	link = fx->op.attr.ino;
	assert_int_equal(fx_read(fx, &fx_root, dir, 0, b, 4), -EISDIR);
	assert_int_equal(fx_write(fx, &fx_root, dir, 0, b, 4), -EISDIR);
	assert_int_equal(fx_truncate(fx, &fx_root, dir, 0), -EISDIR);
	assert_int_equal(fx_read(fx, &fx_root, link, 0, b, 4), -EINVAL);
	assert_int_equal(fx_write(fx, &fx_root, link, 0, b, 4), -EINVAL);
	assert_int_equal(fx_truncate(fx, &fx_root, link, 0), -EINVAL);
	assert_int_equal(fx_lookup(fx, &fx_root, link, "x"), -ENOTDIR);
}

static void
ctime_always_moves_forward(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, fx->root, "ctime");
	int64_t last = fx->op.attr.ctime_ns;
	int i;

	for (i = 0; i < 200; i++) {
		if (i % 2)
			assert_int_equal(fx_write(fx, &fx_root, ino, 0, "x", 1), 0);
		else
			assert_int_equal(fx_chmod(fx, ino, 0644), 0);
		assert_true(fx->op.attr.ctime_ns > last);
		last = fx->op.attr.ctime_ns;
	}
	assert_true(last - clock_real_ns() < 1000000);
}

static void
wcc_of_a_write_frames_it(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, fx->root, "wcc");
	struct cw_attr before = fx->op.attr;

	assert_int_equal(fx_write(fx, &fx_root, ino, 0, "abc", 3), 0);
	assert_true(fx->op.wcc[0].has_pre && fx->op.wcc[0].has_post);
	assert_int_equal(fx->op.wcc[0].pre_size, 0);
	assert_true(fx->op.wcc[0].pre_ctime_ns == before.ctime_ns);
	assert_int_equal(fx->op.wcc[0].post.size, 3);
}

static int
opened(struct fx *fx, enum cw_opcode code, uint64_t ino, uint32_t access)
{
	fx_op(fx, code, &fx_root, ino);
	fx->op.access = access;
	return cw_call(&fx->op);
}

static uint64_t
nodes(struct fx *fx)
{
	struct cw_share_status st;

	cw_share_get_status(fx->s, &st);
	return st.nodes;
}

static void
an_unlinked_file_lives_until_it_is_released(void **state)
{
	struct fx *fx = *state;
	uint64_t before = nodes(fx), ino = fx_create_ok(fx, fx->root, "orphan");
	int rounds;
	char b[8];

	assert_int_equal(fx_write(fx, &fx_root, ino, 0, "before", 6), 0);
	assert_int_equal(opened(fx, CW_OPEN, ino, CW_MAY_READ | CW_MAY_WRITE), 0);
	assert_int_equal(opened(fx, CW_OPEN, ino, CW_MAY_READ), 0);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, fx->root, "orphan"), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "orphan"), -ENOENT);
	assert_int_equal(fx_write(fx, &fx_root, ino, 6, "!!", 2), 0);
	assert_int_equal(fx_commit(fx, ino), 0);
	assert_int_equal(fx_read(fx, &fx_root, ino, 0, b, 8), 0);
	assert_memory_equal(b, "before!!", 8);
	assert_int_equal(fx_truncate(fx, &fx_root, ino, 2), 0);
	assert_int_equal(fx_getattr(fx, ino), 0);
	assert_int_equal(fx->op.attr.nlink, 0);
	assert_int_equal(fx->op.attr.size, 2);
	fx_create_ok(fx, fx->root, "orphan"); /* the name is free */
	assert_int_equal(opened(fx, CW_RELEASE, ino, 0), 0);
	assert_int_equal(fx_getattr(fx, ino), 0);
	assert_int_equal(opened(fx, CW_RELEASE, ino, 0), 0);
	assert_int_equal(fx_getattr(fx, ino), -ESTALE);
	assert_int_equal(opened(fx, CW_OPEN, ino, 0), -ESTALE);
	/* its memory goes with the commit that takes its row, when no upload holds it either */
	for (rounds = 0; rounds < 1000 && nodes(fx) > before + 1; rounds++)
		assert_int_equal(fx_chmod(fx, fx->root, 0777), 0);
	assert_int_equal(nodes(fx), before + 1);
}

static void
a_file_replaced_by_rename_lives_on_when_open(void **state)
{
	struct fx *fx = *state;
	uint64_t old = fx_create_ok(fx, fx->root, "target");
	char b[4];

	fx_create_ok(fx, fx->root, "source");
	assert_int_equal(fx_write(fx, &fx_root, old, 0, "old", 3), 0);
	assert_int_equal(opened(fx, CW_OPEN, old, CW_MAY_READ), 0);
	assert_int_equal(fx_rename(fx, &fx_root, fx->root, "source", fx->root, "target"), 0);
	assert_int_equal(fx_read(fx, &fx_root, old, 0, b, 4), 0);
	assert_int_equal(fx->op.count_done, 3);
	assert_memory_equal(b, "old", 3);
	fx_restart(fx); /* nobody can have it open any more */
	assert_int_equal(fx_getattr(fx, old), -ESTALE);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "target"), 0);
}

static void
reads_move_atime_lazily(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, fx->root, "atime");
	int64_t first;
	char b[4];

	assert_int_equal(fx_write(fx, &fx_root, ino, 0, "abc", 3), 0);
	assert_int_equal(fx_read(fx, &fx_root, ino, 0, b, 3), 0);
	first = fx->op.attr.atime_ns;
	assert_true(first > fx->op.attr.mtime_ns);
	assert_int_equal(fx_read(fx, &fx_root, ino, 0, b, 3), 0);
	assert_true(fx->op.attr.atime_ns == first);
	assert_int_equal(fx_write(fx, &fx_root, ino, 0, "abc", 3), 0);
	assert_int_equal(fx_read(fx, &fx_root, ino, 0, b, 3), 0);
	assert_true(fx->op.attr.atime_ns > first);
}

static void
the_write_verifier_changes_with_every_start(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, fx->root, "verf"), verf;

	assert_int_equal(fx_write(fx, &fx_root, ino, 0, "x", 1), 0);
	verf = fx->op.write_verf;
	assert_int_equal(fx_commit(fx, ino), 0);
	assert_true(fx->op.write_verf == verf);
	assert_int_equal(fx_commit(fx, ino), 0); /* nothing left to do */
	assert_true(fx->op.write_verf == verf);
	fx_restart(fx);
	assert_int_equal(fx_commit(fx, ino), 0);
	assert_true(fx->op.write_verf != verf);
}

static void
statfs_has_room(void **state)
{
	struct fx *fx = *state;

	assert_int_equal(cw_call(fx_op(fx, CW_STATFS, &fx_bob, fx->root)), 0);
	assert_true(fx->op.statfs.free_bytes >= 1ull << 50);
	assert_true(fx->op.statfs.free_files < fx->op.statfs.total_files);
}

/* --- from the bucket ---------------------------------------------------------------------------- */

static void
objects_of_the_bucket_are_read_through(void **state)
{
	struct fx *fx = *state;
	uint64_t dir, ino;
	char b[16];

	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "there"), 0);
	dir = fx->op.attr.ino;
	assert_int_equal(fx_lookup(fx, &fx_root, dir, "file"), 0);
	ino = fx->op.attr.ino;
	assert_int_equal(fx->op.attr.size, 15);
	assert_int_equal(fx->op.attr.mode & 07777, 0640);
	assert_int_equal(fx->op.attr.uid, 12);
	assert_int_equal(fx_read(fx, &fx_root, ino, 5, b, 16), 0);
	assert_int_equal(fx->op.count_done, 10);
	assert_memory_equal(b, "the bucket", 10);
	assert_int_equal(fx_lookup(fx, &fx_root, dir, "none"), -ENOENT);
}

static void
a_read_of_an_object_that_was_replaced_gives_the_new_one(void **state)
{
	struct fx *fx = *state;
	uint64_t dir;
	char b[16];

	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "there"), 0);
	dir = fx->op.attr.ino;
	assert_int_equal(fx_lookup(fx, &fx_root, dir, "file2"), 0);
	objstore_mem_put(fx->store, "there/file2", "newer", 5, NULL, 0, NULL);
	assert_int_equal(fx_read(fx, &fx_root, fx->op.attr.ino, 0, b, 16), 0);
	assert_int_equal(fx->op.count_done, 5);
	assert_memory_equal(b, "newer", 5);
}

/* P9: both wrote. Until it is decided whose version stays, a reader is told to ask again, not EIO. */
static void
a_read_in_a_conflict_waits_for_the_decision(void **state)
{
	char a[8192], b[8192];
	struct fx *fx = *state;
	uint64_t dir, ino, due;
	int r;

	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "there"), 0);
	dir = fx->op.attr.ino;
	assert_int_equal(fx_lookup(fx, &fx_root, dir, "file3"), 0);
	ino = fx->op.attr.ino;
	memset(a, 'B', sizeof(a));
	assert_int_equal(fx_write(fx, &fx_root, ino, 0, a, 4096), 0);
	memset(a, 'C', sizeof(a));
	objstore_mem_put(fx->store, "there/file3", a, sizeof(a), NULL, 0, NULL);
	due = clock_mono_ms() + 20000;
	do
		r = fx_read(fx, &fx_root, ino, 0, b, sizeof(b));
	while (r == -ERR_OFFLINE && clock_mono_ms() < due);
	assert_true(r == 0 || r == -ESTALE);
	if (r == 0 && fx_lookup(fx, &fx_root, dir, "file3") == 0 && fx->op.attr.ino == ino)
		assert_memory_equal(b, a, sizeof(a));
}

/* A store that answers 500 for longer than a request is tried again is in trouble, the file is not: the
 * front ends wait. (-EIO is what they pass on.) */
static void
a_failing_store_is_no_broken_file(void **state)
{
	static const enum objstore_opcode asked[] = {OBJ_LIST, OBJ_HEAD, OBJ_GET};
	struct fx *fx = *state;
	uint64_t dir;
	char b[16];

	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "sick"), 0);
	dir = fx->op.attr.ino;
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		int r;

		objstore_mem_fail_next(fx->store, asked[i], -ERR_STORE, false, 1000);
		r = fx_lookup(fx, &fx_root, dir, "file");
		if (asked[i] == OBJ_GET) {
			assert_int_equal(r, 0);
			r = fx_read(fx, &fx_root, fx->op.attr.ino, 0, b, 16);
		}
		assert_int_equal(r, -ERR_STORE);
		objstore_mem_fail_next(fx->store, asked[i], 0, false, 0);
	}
	assert_int_equal(fx_lookup(fx, &fx_root, dir, "file"), 0);
	assert_int_equal(fx_read(fx, &fx_root, fx->op.attr.ino, 0, b, 16), 0);
	assert_memory_equal(b, "pulse", 5);
}

/* looped - an op as the network's front ends submit it. */
struct looped {
	struct cw_op op;
	struct loop *loop;
	struct loop_task task;
	unsigned int is_done; /* atomic */
};

static void
looped_done(struct cw_op *op)
{
	__atomic_store_n(&((struct looped *)op->ctx)->is_done, 1, __ATOMIC_RELEASE);
}

static void
looped_submit(struct loop_task *t)
{
	struct looped *p = container_of(t, struct looped, task);

	p->op.loop = p->loop;
	p->op.ctx = p;
	p->op.done = looped_done;
	if (cw_submit(&p->op))
		looped_done(&p->op);
}

static int
looped_call(struct loop *loop, const struct cw_op *op)
{
	struct looped p = {.op = *op, .loop = loop, .task.fn = looped_submit};
	uint64_t due = clock_mono_ms() + 30000;

	loop_post(loop, &p.task);
	while (__atomic_load_n(&p.is_done, __ATOMIC_ACQUIRE) == 0 && clock_mono_ms() < due)
		clock_sleep_ms(1);
	assert_int_equal(p.is_done, 1);
	return p.op.result;
}

/* The same for a client of the network: "ask again later" costs a Linux client five seconds, and others
 * call it an error. The write needs what the bucket has around it. */
static void
ops_of_the_network_wait_for_the_decision(void **state)
{
	struct fx *fx = *state;
	struct loop *loop;
	char a[8192];
	uint64_t dir, ino;
	struct cw_op op;
	int r;

	assert_int_equal(loop_new("test", 0, &loop), 0);
	assert_int_equal(loop_start(loop), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "there"), 0);
	dir = fx->op.attr.ino;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fx_lookup(fx, &fx_root, dir, i == 0 ? "file4" : "file5"), 0);
		ino = fx->op.attr.ino;
		memset(a, 'B', sizeof(a));
		assert_int_equal(fx_write(fx, &fx_root, ino, 0, a, 4096), 0);
		memset(a, 'C', sizeof(a));
		objstore_mem_put(
		    fx->store, i == 0 ? "there/file4" : "there/file5", a, sizeof(a), NULL, 0, NULL);
		op = *fx_op(fx, i == 0 ? CW_READ : CW_WRITE, &fx_root, ino);
		op.offset = 5000;
		op.count = 10;
		op.buf = a;
		r = looped_call(loop, &op);
		assert_true(r == 0 || r == -ESTALE);
	}
	loop_join(loop);
	loop_free(loop);
}

static int
bucket_setup(void **state)
{
	const struct objstore_meta meta[] = {{"file-permissions", "0100640"}, {"file-owner", "12"}};
	struct fx *fx;
	char a[8192];

	fx_setup(state);
	fx = *state;
	objstore_mem_put(fx->store, "there/file", "from the bucket", 15, meta, 2, NULL);
	objstore_mem_put(fx->store, "there/file2", "something", 9, NULL, 0, NULL);
	objstore_mem_put(fx->store, "sick/file", "pulse", 5, NULL, 0, NULL);
	memset(a, 'A', sizeof(a));
	objstore_mem_put(fx->store, "there/file3", a, sizeof(a), NULL, 0, NULL);
	objstore_mem_put(fx->store, "there/file4", a, sizeof(a), NULL, 0, NULL);
	objstore_mem_put(fx->store, "there/file5", a, sizeof(a), NULL, 0, NULL);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_are_clamped_to_the_size),
	    cmocka_unit_test(truncate_is_exact_and_what_was_cut_reads_as_zeros),
	    cmocka_unit_test(sizes_beyond_an_object_are_refused),
	    cmocka_unit_test(content_ops_refuse_what_has_none),
	    cmocka_unit_test(ctime_always_moves_forward),
	    cmocka_unit_test(wcc_of_a_write_frames_it),
	    cmocka_unit_test(an_unlinked_file_lives_until_it_is_released),
	    cmocka_unit_test(a_file_replaced_by_rename_lives_on_when_open),
	    cmocka_unit_test(reads_move_atime_lazily),
	    cmocka_unit_test(the_write_verifier_changes_with_every_start),
	    cmocka_unit_test(statfs_has_room),
	};
	const struct CMUnitTest bucket_tests[] = {
	    cmocka_unit_test(objects_of_the_bucket_are_read_through),
	    cmocka_unit_test(a_read_of_an_object_that_was_replaced_gives_the_new_one),
	    cmocka_unit_test(a_read_in_a_conflict_waits_for_the_decision),
	    cmocka_unit_test(a_failing_store_is_no_broken_file),
	    cmocka_unit_test(ops_of_the_network_wait_for_the_decision),
	};
	int r = cmocka_run_group_tests(tests, fx_setup, fx_teardown);

	return r + cmocka_run_group_tests(bucket_tests, bucket_setup, fx_teardown);
}
