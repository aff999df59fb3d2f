/* SPDX-License-Identifier: Apache-2.0 */
/* The bucket follows the tree: content, attributes, names, deletions, in every order. */
#include "tests/unit/sync_fixture.h"

static void
a_new_file_becomes_an_object_with_its_attributes(void **state)
{
	struct sx *sx = *state;

	sx_file(sx, sx->fx.root, "a.txt", "hello");
	sx_sync(sx);
	sx_assert_object(sx, "p/a.txt", "hello");
	sx_assert_meta(sx, "p/a.txt", "file-permissions", "0100644");
	sx_assert_meta(sx, "p/a.txt", "file-owner", "0");
	sx_assert_meta(sx, "p/a.txt", "user-agent", "causeway");
	sx_assert_meta(sx, "p/a.txt", "content-type", "text/plain");
}

static void
one_settled_change_is_one_put(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "once", "abc"), before;

	sx_sync(sx);
	before = objstore_mem_count(sx->bucket, OBJ_PUT);
	assert_int_equal(fx_write(&sx->fx, &fx_root, ino, 3, "def", 3), 0);
	assert_int_equal(fx_chmod(&sx->fx, ino, 0600), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/once", "abcdef");
	sx_assert_meta(sx, "p/once", "file-permissions", "0100600");
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_PUT) - before, 1);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_COPY), 0);
}

static void
attributes_alone_are_a_copy(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "attr", "abc"), puts;

	sx_sync(sx);
	puts = objstore_mem_count(sx->bucket, OBJ_PUT);
	assert_int_equal(fx_chmod(&sx->fx, ino, 0640), 0);
	sx_sync(sx);
	sx_assert_meta(sx, "p/attr", "file-permissions", "0100640");
	sx_assert_object(sx, "p/attr", "abc");
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_PUT), puts);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_COPY), 1);
}

static void
a_rename_is_a_copy_and_a_delete(void **state)
{
	struct sx *sx = *state;
	uint64_t puts;

	sx_file(sx, sx->fx.root, "old", "abc");
	sx_sync(sx);
	puts = objstore_mem_count(sx->bucket, OBJ_PUT);
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "old", sx->fx.root, "new"), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/new", "abc");
	assert_false(sx_exists(sx, "p/old"));
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_PUT), puts);
	sx_assert_reads(sx, sx_ino(sx, sx->fx.root, "new"), "abc");
}

static void
a_rename_before_the_first_upload_costs_nothing(void **state)
{
	struct sx *sx = *state;

	sx_file(sx, sx->fx.root, "tmp", "abc");
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "tmp", sx->fx.root, "final"), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/final", "abc");
	assert_false(sx_exists(sx, "p/tmp"));
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_COPY), 0);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_DELETE), 1); /* the probe's */
}

static void
chains_of_directory_renames_collapse(void **state)
{
	struct sx *sx = *state;
	uint64_t d = fx_mkdir_ok(&sx->fx, sx->fx.root, "d1"), sub;
	char name[16], key[48];
	int i;

	sub = fx_mkdir_ok(&sx->fx, d, "sub");
	for (i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		sx_file(sx, i % 2 ? d : sub, name, name);
	}
	sx_sync(sx);
	assert_true(sx_exists(sx, "p/d1/sub/f0"));
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "d1", sx->fx.root, "d2"), 0);
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "d2", sx->fx.root, "d3"), 0);
	sx_sync(sx);
	for (i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(key, sizeof(key), "p/d3/%s%s", i % 2 ? "" : "sub/", name);
		sx_assert_object(sx, key, name);
	}
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_COPY), 20);
	assert_true(sx_exists(sx, "p/d3/sub/"));
	assert_int_equal(objstore_mem_objects(sx->bucket), 22);
}

static void
a_directory_rename_survives_a_restart(void **state)
{
	struct sx *sx = *state;
	uint64_t d = fx_mkdir_ok(&sx->fx, sx->fx.root, "d1");

	sx_file(sx, d, "f", "one");
	sx_sync(sx);
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "d1", sx->fx.root, "d2"), 0);
	d = fx_mkdir_ok(&sx->fx, sx->fx.root, "d1"); /* the old name is taken again at once */
	sx_file(sx, d, "f", "two");
	sx_restart(sx);
	sx_sync(sx);
	sx_assert_object(sx, "p/d2/f", "one");
	sx_assert_object(sx, "p/d1/f", "two");
	assert_int_equal(objstore_mem_objects(sx->bucket), 4);
}

static void
names_that_change_places_keep_their_content(void **state)
{
	struct sx *sx = *state;
	struct fx *fx = &sx->fx;

	sx_file(sx, fx->root, "a", "AAA");
	sx_file(sx, fx->root, "b", "BBB");
	sx_file(sx, fx->root, "c", "CCC");
	sx_sync(sx);
	/* a -> b -> c -> a */
	assert_int_equal(fx_rename(fx, &fx_root, fx->root, "a", fx->root, "x"), 0);
	assert_int_equal(fx_rename(fx, &fx_root, fx->root, "c", fx->root, "a"), 0);
	assert_int_equal(fx_rename(fx, &fx_root, fx->root, "b", fx->root, "c"), 0);
	assert_int_equal(fx_rename(fx, &fx_root, fx->root, "x", fx->root, "b"), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/a", "CCC");
	sx_assert_object(sx, "p/b", "AAA");
	sx_assert_object(sx, "p/c", "BBB");
	assert_int_equal(objstore_mem_objects(sx->bucket), 3);
}

static void
directories_that_change_places_keep_their_content(void **state)
{
	struct sx *sx = *state;
	struct fx *fx = &sx->fx;
	uint64_t a = fx_mkdir_ok(fx, fx->root, "a"), b = fx_mkdir_ok(fx, fx->root, "b");

	sx_file(sx, a, "f", "in A");
	sx_file(sx, b, "f", "in B");
	sx_sync(sx);
	assert_int_equal(fx_rename(fx, &fx_root, fx->root, "a", fx->root, "t"), 0);
	assert_int_equal(fx_rename(fx, &fx_root, fx->root, "b", fx->root, "a"), 0);
	assert_int_equal(fx_rename(fx, &fx_root, fx->root, "t", fx->root, "b"), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/a/f", "in B");
	sx_assert_object(sx, "p/b/f", "in A");
	assert_int_equal(objstore_mem_objects(sx->bucket), 4);
}

static void
a_deletion_deletes_and_a_new_file_of_the_name_stays(void **state)
{
	struct sx *sx = *state;
	struct fx *fx = &sx->fx;

	sx_file(sx, fx->root, "gone", "1");
	sx_file(sx, fx->root, "again", "1");
	sx_sync(sx);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, fx->root, "gone"), 0);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, fx->root, "again"), 0);
	sx_file(sx, fx->root, "again", "2");
	sx_sync(sx);
	assert_false(sx_exists(sx, "p/gone"));
	sx_assert_object(sx, "p/again", "2");
	assert_int_equal(objstore_mem_objects(sx->bucket), 1);
}

static void
many_deletions_go_in_few_requests(void **state)
{
	struct sx *sx = *state;
	struct fx *fx = &sx->fx;
	uint64_t d = fx_mkdir_ok(fx, fx->root, "many"), heads;
	char name[16];
	int i;

	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		sx_file(sx, d, name, name);
	}
	sx_sync(sx);
	heads = objstore_mem_count(sx->bucket, OBJ_HEAD);
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, d, name), 0);
	}
	assert_int_equal(fx_unlink(fx, CW_RMDIR, &fx_root, fx->root, "many"), 0);
	sx_sync(sx);
	assert_int_equal(objstore_mem_objects(sx->bucket), 0);
	assert_true(objstore_mem_count(sx->bucket, OBJ_DELETE_MANY) >= 1);
	assert_true(objstore_mem_count(sx->bucket, OBJ_HEAD) - heads < 40);
}

static void
symlinks_and_directories_come_back_after_the_appliance_is_lost(void **state)
{
	struct sx *sx = *state;
	struct fx *fx = &sx->fx;
	uint64_t d = fx_mkdir_ok(fx, fx->root, "dir"), ino;
	int64_t mtime;

	ino = sx_file(sx, d, "file", "content");
	assert_int_equal(fx_chmod(fx, ino, 0751), 0);
	mtime = fx->op.attr.mtime_ns;
	(void)mtime;
	fx_op(fx, CW_SYMLINK, &fx_root, fx->root);
	fx->op.name = "link";
	fx->op.name2 = "dir/file";
	assert_int_equal(cw_call(&fx->op), 0);
	assert_int_equal(fx_chmod(fx, d, 0710), 0);
	assert_int_equal(fx_getattr(fx, ino), 0);
	mtime = fx->op.attr.mtime_ns;
	sx_sync(sx);
	sx_assert_object(sx, "p/link", "dir/file");
	sx_assert_meta(sx, "p/link", "file-permissions", "0120777");
	sx_assert_meta(sx, "p/dir/", "content-type", "application/x-directory");
	sx_forget(sx);
	d = sx_ino(sx, fx->root, "dir");
	assert_int_equal(fx->op.attr.mode, S_IFDIR | 0710);
	ino = sx_ino(sx, d, "file");
	assert_int_equal(fx->op.attr.mode, S_IFREG | 0751);
	assert_int_equal(fx->op.attr.mtime_ns, mtime);
	sx_assert_reads(sx, ino, "content");
	ino = sx_ino(sx, fx->root, "link");
	assert_int_equal(fx->op.attr.mode & S_IFMT, S_IFLNK);
	{
		char buf[64];

		fx_op(fx, CW_READLINK, &fx_root, ino);
		fx->op.buf = buf;
		fx->op.count = sizeof(buf);
		assert_int_equal(cw_call(&fx->op), 0);
		assert_int_equal(fx->op.count_done, 8);
		assert_memory_equal(buf, "dir/file", 8);
	}
	assert_int_equal(sx_pending(sx), 0);
}

static void
litter_of_an_earlier_life_is_swept(void **state)
{
	struct sx *sx = *state;

	objstore_mem_put(sx->bucket, "p/.causeway-tmp/77", "not marked as ours", 18, NULL, 0, NULL);
	sx_file(sx, sx->fx.root, "f", "x");
	sx_sync(sx);
	assert_true(sx_exists(sx, "p/.causeway-tmp/77"));
	assert_int_equal(objstore_mem_objects(sx->bucket), 2);
	assert_int_equal(fx_lookup(&sx->fx, &fx_root, sx->fx.root, ".causeway-tmp"), -ENOENT);
}

static void
nothing_is_asked_when_idle(void **state)
{
	struct sx *sx = *state;
	uint64_t n;

	sx_file(sx, sx->fx.root, "idle", "x");
	sx_sync(sx);
	n = objstore_mem_count(sx->bucket, OBJ_OP_MAX);
	clock_sleep_ms(300);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_OP_MAX), n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, sx_setup, sx_teardown)
	    T(a_new_file_becomes_an_object_with_its_attributes),
	    T(one_settled_change_is_one_put),
	    T(attributes_alone_are_a_copy),
	    T(a_rename_is_a_copy_and_a_delete),
	    T(a_rename_before_the_first_upload_costs_nothing),
	    T(chains_of_directory_renames_collapse),
	    T(a_directory_rename_survives_a_restart),
	    T(names_that_change_places_keep_their_content),
	    T(directories_that_change_places_keep_their_content),
	    T(a_deletion_deletes_and_a_new_file_of_the_name_stays),
	    T(many_deletions_go_in_few_requests),
	    T(symlinks_and_directories_come_back_after_the_appliance_is_lost),
	    T(litter_of_an_earlier_life_is_swept),
	    T(nothing_is_asked_when_idle),
	};

	if (getenv("SYNC_TEST") != NULL)
		cmocka_set_test_filter(getenv("SYNC_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
