/* SPDX-License-Identifier: Apache-2.0 */
/* Names: made, found, renamed and removed as POSIX and RFC 1813 say. */
#include "tests/unit/share_fixture.h"

static uint64_t top;

static int
each_setup(void **state)
{
	static unsigned int n;
	struct fx *fx = *state;
	char name[32];

	snprintf(name, sizeof(name), "case-%u", n++);
	top = fx_mkdir_ok(fx, fx->root, name);
	return 0;
}

static void
names_are_checked(void **state)
{
	char name[CW_NAME_MAX + 2];
	struct fx *fx = *state;

	memset(name, 'n', sizeof(name));
	name[CW_NAME_MAX + 1] = '\0';
	assert_int_equal(fx_create(fx, &fx_root, top, name, 0644), -ENAMETOOLONG);
	assert_int_equal(fx_lookup(fx, &fx_root, top, name), -ENAMETOOLONG);
	name[CW_NAME_MAX] = '\0';
	assert_int_equal(fx_create(fx, &fx_root, top, name, 0644), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, top, name), 0);
	assert_int_equal(fx_create(fx, &fx_root, top, "", 0644), -EINVAL);
	assert_int_equal(fx_create(fx, &fx_root, top, "a/b", 0644), -EINVAL);
	assert_int_equal(fx_create(fx, &fx_root, top, ".", 0644), -EEXIST);
	assert_int_equal(fx_mkdir(fx, &fx_root, top, "..", 0755), -EEXIST);
	assert_int_equal(fx_create(fx, &fx_root, top, "\xff\xfe", 0644), -EINVAL);
	assert_int_equal(fx_create(fx, &fx_root, top, "\xed\xa0\x80", 0644), -EINVAL);
	assert_int_equal(fx_create(fx, &fx_root, top, "\xc0\xaf", 0644), -EINVAL);
	assert_int_equal(
	    fx_create(fx, &fx_root, top, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\x8a", 0644), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, top, "\xff\xfe"), -ENOENT);
}

/* fill - a name of len bytes. */
static const char *
fill(char name[CW_NAME_MAX + 1], size_t len)
{
	memset(name, 'k', len);
	name[len] = '\0';
	return name;
}

static void
keys_are_kept_within_1024_bytes(void **state)
{
	char a[CW_NAME_MAX + 1], b[CW_NAME_MAX + 1];
	struct fx *fx = *state;
	uint64_t deep = top;
	int i;

	for (i = 0; i < 5; i++) /* "case-N/" and 5 x 201 bytes: 1012 */
		deep = fx_mkdir_ok(fx, deep, fill(a, 200));
	assert_int_equal(fx_create(fx, &fx_root, deep, fill(a, 18), 0644), -ENAMETOOLONG);
	assert_int_equal(fx_mkdir(fx, &fx_root, deep, fill(a, 12), 0755), -ENAMETOOLONG);
	assert_int_equal(fx_create(fx, &fx_root, deep, fill(a, 10), 0644), 0);
	assert_int_equal(
	    fx_rename(fx, &fx_root, deep, fill(a, 10), deep, fill(b, 18)), -ENAMETOOLONG);
	/* a rename far above would push the deepest key over the limit */
	fill(a, 200);
	fill(b, 210);
	assert_int_equal(fx_rename(fx, &fx_root, top, a, top, b), -ENAMETOOLONG);
	assert_int_equal(fx_rename(fx, &fx_root, top, a, top, "short"), 0);
	assert_int_equal(fx_rename(fx, &fx_root, top, "short", top, b), -ENAMETOOLONG);
	assert_int_equal(fx_rename(fx, &fx_root, top, "short", top, a), 0);
	/* the deepest file goes: then there is room again for the longer name */
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, deep, fill(b, 10)), 0);
	assert_int_equal(fx_rename(fx, &fx_root, top, a, top, fill(b, 210)), 0);
}

static void
create_modes_differ_where_the_name_is_taken(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, top, "f");

	assert_int_equal(fx_write(fx, &fx_root, ino, 0, "hello", 5), 0);
	assert_int_equal(fx_create(fx, &fx_root, top, "f", 0600), -EEXIST);
	fx_op(fx, CW_CREATE, &fx_root, top);
	fx->op.name = "f";
	assert_int_equal(cw_call(&fx->op), 0);
	assert_true(fx->op.attr.ino == ino);
	assert_int_equal(fx->op.attr.size, 5);
	fx_op(fx, CW_CREATE, &fx_root, top);
	fx->op.name = "f";
	fx->op.sattr.mask = CW_SET_SIZE;
	assert_int_equal(cw_call(&fx->op), 0);
	assert_true(fx->op.attr.ino == ino);
	assert_int_equal(fx->op.attr.size, 0);
	fx_mkdir_ok(fx, top, "d");
	fx_op(fx, CW_CREATE, &fx_root, top);
	fx->op.name = "d";
	assert_int_equal(cw_call(&fx->op), -EISDIR);
}

static int
exclusive(struct fx *fx, uint64_t dir, const char *name, uint64_t verf)
{
	fx_op(fx, CW_CREATE, &fx_root, dir);
	fx->op.name = name;
	fx->op.create_mode = CW_CREATE_EXCLUSIVE;
	fx->op.verf = verf;
	return cw_call(&fx->op);
}

static void
exclusive_create_knows_its_retransmission(void **state)
{
	struct fx *fx = *state;
	uint64_t ino;

	assert_int_equal(exclusive(fx, top, "x", 0x1122334455667788), 0);
	ino = fx->op.attr.ino;
	assert_int_equal(exclusive(fx, top, "x", 0x1122334455667788), 0);
	assert_true(fx->op.attr.ino == ino);
	assert_int_equal(exclusive(fx, top, "x", 0x1122334455667789), -EEXIST);
	fx_create_ok(fx, top, "y");
	assert_int_equal(exclusive(fx, top, "y", 0), -EEXIST);
	fx_restart(fx);
	assert_int_equal(exclusive(fx, top, "x", 0x1122334455667788), 0);
	assert_true(fx->op.attr.ino == ino);
	assert_int_equal(exclusive(fx, top, "x", 5), -EEXIST);
}

static void
remove_and_rmdir_keep_to_their_kind(void **state)
{
	struct fx *fx = *state;
	uint64_t d = fx_mkdir_ok(fx, top, "d");

	fx_create_ok(fx, top, "f");
	fx_create_ok(fx, d, "inner");
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, top, "d"), -EISDIR);
	assert_int_equal(fx_unlink(fx, CW_RMDIR, &fx_root, top, "f"), -ENOTDIR);
	assert_int_equal(fx_unlink(fx, CW_RMDIR, &fx_root, top, "d"), -ENOTEMPTY);
	assert_int_equal(fx_unlink(fx, CW_RMDIR, &fx_root, d, "."), -EINVAL);
	assert_int_equal(fx_unlink(fx, CW_RMDIR, &fx_root, d, ".."), -ENOTEMPTY);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, top, "none"), -ENOENT);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, d, "inner"), 0);
	assert_int_equal(fx_unlink(fx, CW_RMDIR, &fx_root, top, "d"), 0);
	assert_int_equal(fx_getattr(fx, d), -ESTALE);
	assert_int_equal(fx_create(fx, &fx_root, d, "late", 0644), -ESTALE);
	assert_int_equal(fx_lookup(fx, &fx_root, top, "d"), -ENOENT);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, top, "f"), 0);
}

/* What rename() does for each kind of source and target. */
static void
rename_matrix(void **state)
{
	enum { FILE_, DIR_, FULL, LINK, NONE };
	static const struct {
		int from, to, want;
	} cases[] = {
	    {FILE_, NONE, 0},
	    {FILE_, FILE_, 0},
	    {FILE_, LINK, 0},
	    {FILE_, DIR_, -EISDIR},
	    {FILE_, FULL, -EISDIR},
	    {LINK, FILE_, 0},
	    {LINK, DIR_, -EISDIR},
	    {DIR_, NONE, 0},
	    {DIR_, FILE_, -ENOTDIR},
	    {DIR_, LINK, -ENOTDIR},
	    {DIR_, DIR_, 0},
	    {DIR_, FULL, -ENOTEMPTY},
	    {FULL, DIR_, 0},
	    {FULL, FULL, -ENOTEMPTY},
	    {NONE, FILE_, -ENOENT},
	};
	static const char *const names[] = {"from", "to"};
	struct fx *fx = *state;
	uint64_t d, ino[2], sub;
	char dir_name[16];
	size_t i;
	int k, kind;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(dir_name, sizeof(dir_name), "m%zu", i);
		d = fx_mkdir_ok(fx, top, dir_name);
		for (k = 0; k < 2; k++) {
			kind = k == 0 ? cases[i].from : cases[i].to;
			ino[k] = 0;
			if (kind == FILE_) {
				ino[k] = fx_create_ok(fx, d, names[k]);
			} else if (kind == DIR_ || kind == FULL) {
				ino[k] = sub = fx_mkdir_ok(fx, d, names[k]);
				if (kind == FULL)
					fx_create_ok(fx, sub, "inside");
			} else if (kind == LINK) {
				fx_op(fx, CW_SYMLINK, &fx_root, d);
				fx->op.name = names[k];
				fx->op.name2 = "target";
				assert_int_equal(cw_call(&fx->op), 0);
				ino[k] = fx->op.attr.ino;
			}
		}
		assert_int_equal(fx_rename(fx, &fx_root, d, "from", d, "to"), cases[i].want);
		if (cases[i].want == 0) {
			assert_int_equal(fx_lookup(fx, &fx_root, d, "from"), -ENOENT);
			assert_int_equal(fx_lookup(fx, &fx_root, d, "to"), 0);
			assert_true(fx->op.attr.ino == ino[0]);
			if (ino[1] != 0)
				assert_int_equal(fx_getattr(fx, ino[1]), -ESTALE);
		}
	}
}

static void
rename_refuses_to_tie_a_knot(void **state)
{
	struct fx *fx = *state;
	uint64_t a = fx_mkdir_ok(fx, top, "a"), b = fx_mkdir_ok(fx, a, "b");

	assert_int_equal(fx_rename(fx, &fx_root, top, "a", b, "a"), -EINVAL);
	assert_int_equal(fx_rename(fx, &fx_root, top, "a", a, "a"), -EINVAL);
	assert_int_equal(fx_rename(fx, &fx_root, top, "a", top, "."), -EINVAL);
	assert_int_equal(fx_rename(fx, &fx_root, a, "..", top, "x"), -EINVAL);
	assert_int_equal(fx_rename(fx, &fx_root, top, "a", top, "a"), 0);
	assert_int_equal(fx_rename(fx, &fx_root, a, "b", top, "b"), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, b, ".."), 0);
	assert_true(fx->op.attr.ino == top);
}

static void
links_of_a_directory_are_counted(void **state)
{
	struct fx *fx = *state;
	uint64_t a = fx_mkdir_ok(fx, top, "a"), b = fx_mkdir_ok(fx, top, "b");

	fx_mkdir_ok(fx, a, "sub");
	fx_create_ok(fx, a, "file");
	assert_int_equal(fx_getattr(fx, top), 0);
	assert_int_equal(fx->op.attr.nlink, 4);
	assert_int_equal(fx_getattr(fx, a), 0);
	assert_int_equal(fx->op.attr.nlink, 3);
	assert_int_equal(fx_rename(fx, &fx_root, a, "sub", b, "sub"), 0);
	assert_int_equal(fx_getattr(fx, a), 0);
	assert_int_equal(fx->op.attr.nlink, 2);
	assert_int_equal(fx_getattr(fx, b), 0);
	assert_int_equal(fx->op.attr.nlink, 3);
}

static void
wcc_data_frame_exactly_this_change(void **state)
{
	struct fx *fx = *state;
	struct cw_attr before;

	assert_int_equal(fx_getattr(fx, top), 0);
	before = fx->op.attr;
	fx_create_ok(fx, top, "f");
	assert_true(fx->op.wcc[0].has_pre && fx->op.wcc[0].has_post);
	assert_true(fx->op.wcc[0].pre_mtime_ns == before.mtime_ns);
	assert_true(fx->op.wcc[0].pre_ctime_ns == before.ctime_ns);
	assert_true(fx->op.wcc[0].post.ctime_ns > before.ctime_ns);
	assert_true(fx->op.wcc[0].post.mtime_ns > before.mtime_ns);
	before = fx->op.wcc[0].post;
	assert_int_equal(fx_create(fx, &fx_root, top, "f", 0644), -EEXIST);
	assert_true(fx->op.wcc[0].has_post);
	assert_true(fx->op.wcc[0].post.ctime_ns == before.ctime_ns);
	assert_int_equal(fx_rename(fx, &fx_root, top, "f", top, "g"), 0);
	assert_true(fx->op.wcc[1].pre_ctime_ns == before.ctime_ns);
	assert_true(fx->op.wcc[1].post.ctime_ns > before.ctime_ns);
}

static void
setattr_guard_stops_a_change_on_old_knowledge(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, top, "f");
	int64_t ctime = fx->op.attr.ctime_ns;

	fx_op(fx, CW_SETATTR, &fx_root, ino);
	fx->op.sattr.mask = CW_SET_MODE;
	fx->op.sattr.mode = 0600;
	fx->op.has_guard = true;
	fx->op.guard_ctime_ns = ctime - 1;
	assert_int_equal(cw_call(&fx->op), -ETIME);
	fx->op.guard_ctime_ns = ctime;
	assert_int_equal(cw_call(&fx->op), 0);
	assert_int_equal(cw_call(&fx->op), -ETIME);
}

static void
symlinks_keep_their_target(void **state)
{
	char *text = xmalloc(CW_SYMLINK_MAX + 2), buf[64];
	struct fx *fx = *state;
	uint64_t ino;

	fx_op(fx, CW_SYMLINK, &fx_root, top);
	fx->op.name = "l";
	fx->op.name2 = "../some/where";
	assert_int_equal(cw_call(&fx->op), 0);
	ino = fx->op.attr.ino;
	assert_int_equal(fx->op.attr.mode, S_IFLNK | 0777);
	assert_int_equal(fx->op.attr.size, 13);
	fx_op(fx, CW_READLINK, &fx_root, ino);
	fx->op.buf = buf;
	fx->op.count = sizeof(buf);
	assert_int_equal(cw_call(&fx->op), 0);
	assert_int_equal(fx->op.count_done, 13);
	assert_memory_equal(buf, "../some/where", 13);
	memset(text, 't', CW_SYMLINK_MAX + 1);
	text[CW_SYMLINK_MAX + 1] = '\0';
	fx_op(fx, CW_SYMLINK, &fx_root, top);
	fx->op.name = "m";
	fx->op.name2 = text;
	assert_int_equal(cw_call(&fx->op), -ENAMETOOLONG);
	free(text);
}

static void
handles_of_another_generation_are_stale(void **state)
{
	struct fx *fx = *state;
	uint64_t ino = fx_create_ok(fx, top, "f");
	uint32_t gen = fx->op.attr.gen;

	assert_int_not_equal(gen, 0);
	fx_op(fx, CW_GETATTR, &fx_root, ino);
	fx->op.gen = gen;
	assert_int_equal(cw_call(&fx->op), 0);
	fx->op.gen = gen + 1;
	assert_int_equal(cw_call(&fx->op), -ESTALE);
	assert_int_equal(fx_getattr(fx, ino + 1000000), -ESTALE);
}

static void
a_restart_keeps_the_tree_and_its_handles(void **state)
{
	struct fx *fx = *state;
	uint64_t d = fx_mkdir_ok(fx, top, "d"), f = fx_create_ok(fx, d, "f");
	struct cw_attr attr;
	char b[8];

	assert_int_equal(fx_write(fx, &fx_root, f, 0, "content", 7), 0);
	assert_int_equal(fx_commit(fx, f), 0);
	assert_int_equal(fx_rename(fx, &fx_root, d, "f", top, "moved"), 0);
	assert_int_equal(fx_getattr(fx, f), 0);
	attr = fx->op.attr;
	fx_restart(fx);
	assert_int_equal(fx_lookup(fx, &fx_root, top, "moved"), 0);
	assert_true(fx->op.attr.ino == f);
	assert_int_equal(fx->op.attr.gen, attr.gen);
	assert_true(fx->op.attr.mtime_ns == attr.mtime_ns && fx->op.attr.ctime_ns == attr.ctime_ns);
	assert_int_equal(fx_read(fx, &fx_root, f, 0, b, 8), 0);
	assert_int_equal(fx->op.count_done, 7);
	assert_true(fx->op.eof);
	assert_memory_equal(b, "content", 7);
	assert_int_equal(fx_lookup(fx, &fx_root, d, "f"), -ENOENT);
}

#define CASE(f) cmocka_unit_test_setup(f, each_setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(names_are_checked),
	    CASE(keys_are_kept_within_1024_bytes),
	    CASE(create_modes_differ_where_the_name_is_taken),
	    CASE(exclusive_create_knows_its_retransmission),
	    CASE(remove_and_rmdir_keep_to_their_kind),
	    CASE(rename_matrix),
	    CASE(rename_refuses_to_tie_a_knot),
	    CASE(links_of_a_directory_are_counted),
	    CASE(wcc_data_frame_exactly_this_change),
	    CASE(setattr_guard_stops_a_change_on_old_knowledge),
	    CASE(symlinks_keep_their_target),
	    CASE(handles_of_another_generation_are_stale),
	    CASE(a_restart_keeps_the_tree_and_its_handles),
	};

	return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
