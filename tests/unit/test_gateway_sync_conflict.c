/* SPDX-License-Identifier: Apache-2.0 */
/* Other writers, lost replies, failures: P9, and nothing is lost or sent for ever. */
#include "tests/unit/sync_fixture.h"

/* sx_child_like - the one name in the root that begins with prefix and is longer. Static buffer. */
struct finding {
	const char *prefix;
	char name[256];
	unsigned int n;
};

static bool
find_emit(struct cw_op *op, const struct cw_dirent *e)
{
	struct finding *f = op->ctx;

	if (strncmp(e->name, f->prefix, strlen(f->prefix)) == 0 &&
	    e->name_len > strlen(f->prefix)) {
		snprintf(f->name, sizeof(f->name), "%.*s", (int)e->name_len, e->name);
		f->n++;
	}
	return true;
}

static void
find_reset(struct cw_op *op)
{
	((struct finding *)op->ctx)->n = 0;
}

static const char *
child_like(struct sx *sx, const char *prefix)
{
	static struct finding f;
	struct cw_op *op = fx_op(&sx->fx, CW_READDIR, &fx_root, sx->fx.root);

	memset(&f, 0, sizeof(f));
	f.prefix = prefix;
	op->emit = find_emit;
	op->emit_reset = find_reset;
	op->ctx = &f;
	assert_int_equal(cw_call(op), 0);
	return f.n == 1 ? f.name : NULL;
}

static void
both_versions_survive_a_conflict(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "doc", "first");
	const char *copy;
	char *key;

	sx_sync(sx);
	objstore_mem_put(sx->bucket, "p/doc", "theirs", 6, NULL, 0, NULL);
	assert_int_equal(fx_write(&sx->fx, &fx_root, ino, 0, "ours!", 5), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/doc", "theirs");
	copy = child_like(sx, "doc");
	assert_non_null(copy);
	assert_non_null(strstr(copy, "doc.conflict-sgw-TEST-"));
	key = xasprintf("p/%s", copy);
	sx_assert_object(sx, key, "ours!");
	free(key);
	sx_assert_reads(sx, ino, "ours!"); /* who has it open goes on with his own */
	sx_assert_reads(sx, sx_ino(sx, sx->fx.root, "doc"), "theirs");
	assert_true(sx_has_event(sx, "conflict", "\"kind\":\"changed-there\""));
}

static void
the_share_may_choose_that_local_wins(void **state)
{
	struct sx *sx = *state;
	struct cw_share_conf conf = {0};
	uint64_t ino = sx_file(sx, sx->fx.root, "doc", "first");

	sx_sync(sx);
	assert_int_equal(cw_share_conf_copy(&conf, &sx->fx.conf), 0);
	conf.conflict_policy = CW_CONFLICT_LOCAL_WINS;
	assert_int_equal(cw_share_reconfigure(sx->fx.s, &conf), 0);
	cw_share_conf_free(&conf);
	objstore_mem_put(sx->bucket, "p/doc", "theirs", 6, NULL, 0, NULL);
	assert_int_equal(fx_write(&sx->fx, &fx_root, ino, 0, "ours!", 5), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/doc", "ours!");
	assert_null(child_like(sx, "doc"));
	assert_true(sx_has_event(sx, "conflict", "\"kept\":\"gateway\""));
}

static void
a_new_name_taken_by_another_writer_is_a_conflict(void **state)
{
	struct sx *sx = *state;

	assert_int_equal(fx_lookup(&sx->fx, &fx_root, sx->fx.root, "new"), -ENOENT); /* lists */
	objstore_mem_put(sx->bucket, "p/new", "theirs", 6, NULL, 0, NULL);
	sx_file(sx, sx->fx.root, "new", "ours");
	sx_sync(sx);
	sx_assert_object(sx, "p/new", "theirs");
	assert_non_null(child_like(sx, "new"));
	assert_int_equal(objstore_mem_objects(sx->bucket), 2);
}

static void
a_change_outlives_a_deletion_in_the_bucket(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "doc", "first");

	sx_sync(sx);
	assert_true(objstore_mem_delete(sx->bucket, "p/doc"));
	assert_int_equal(fx_write(&sx->fx, &fx_root, ino, 0, "later", 5), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/doc", "later");
	assert_true(sx_has_event(sx, "conflict", "deleted-there"));
}

static void
a_deletion_spares_what_another_writer_put_there(void **state)
{
	struct sx *sx = *state;

	sx_file(sx, sx->fx.root, "doc", "first");
	sx_sync(sx);
	objstore_mem_put(sx->bucket, "p/doc", "theirs", 6, NULL, 0, NULL);
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "doc"), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/doc", "theirs");
	sx_assert_reads(sx, sx_ino(sx, sx->fx.root, "doc"), "theirs");
}

static void
attributes_of_ours_go_on_content_of_theirs(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "doc", "first");

	sx_sync(sx);
	objstore_mem_put(sx->bucket, "p/doc", "theirs", 6, NULL, 0, NULL);
	assert_int_equal(fx_chmod(&sx->fx, ino, 0600), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/doc", "theirs");
	sx_assert_meta(sx, "p/doc", "file-permissions", "0100600");
	sx_assert_reads(sx, ino, "theirs");
	assert_null(child_like(sx, "doc"));
}

static void
a_lost_reply_is_no_conflict(void **state)
{
	struct sx *sx = *state;
	uint64_t ino, puts;

	ino = sx_file(sx, sx->fx.root, "probe-done", "x");
	sx_sync(sx);
	objstore_mem_fail_next(sx->bucket, OBJ_PUT, -ERR_STORE, true, 1);
	puts = objstore_mem_count(sx->bucket, OBJ_PUT);
	assert_int_equal(fx_write(&sx->fx, &fx_root, ino, 0, "longer", 6), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/probe-done", "longer");
	assert_null(child_like(sx, "probe-done"));
	assert_true(objstore_mem_count(sx->bucket, OBJ_PUT) - puts <= 2);
	assert_false(sx_has_event(sx, "conflict", ""));
	/* and of a rename */
	objstore_mem_fail_next(sx->bucket, OBJ_COPY, -ERR_STORE, true, 1);
	assert_int_equal(
	    fx_rename(&sx->fx, &fx_root, sx->fx.root, "probe-done", sx->fx.root, "moved"), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/moved", "longer");
	assert_int_equal(objstore_mem_objects(sx->bucket), 1);
	assert_false(sx_has_event(sx, "conflict", ""));
}

static void
failures_are_repeated_until_they_pass(void **state)
{
	struct sx *sx = *state;
	struct cw_share_status st;
	int i;

	sx_file(sx, sx->fx.root, "first", "x");
	sx_sync(sx);
	objstore_mem_fail_next(sx->bucket, OBJ_OP_MAX, -ERR_OFFLINE, false, 1000000);
	for (i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		sx_file(sx, sx->fx.root, name, name);
	}
	for (i = 0; i < 500; i++) {
		cw_share_drain(sx->fx.s);
		cw_share_get_status(sx->fx.s, &st);
		if (!st.available)
			break;
		clock_sleep_ms(10);
	}
	assert_false(st.available);
	assert_true(st.reason[0] != '\0');
	assert_true(st.pending_files >= 10);
	/* while it is away nothing but the probe asks for it */
	clock_sleep_ms(100);
	objstore_mem_fail_next(sx->bucket, OBJ_OP_MAX, 0, false, 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/f9", "f9");
	cw_share_get_status(sx->fx.s, &st);
	assert_true(st.available);
	assert_int_equal(st.pending_files, 0);
}

static void
refresh_folds_in_what_others_did(void **state)
{
	struct sx *sx = *state;
	const struct objstore_meta meta[] = {
	    {"file-permissions", "0751"}, {"file-mtime", "1500000000000"}};
	uint64_t d = fx_mkdir_ok(&sx->fx, sx->fx.root, "dir"), ino;

	ino = sx_file(sx, d, "kept", "kept");
	sx_file(sx, d, "changed", "before");
	sx_file(sx, d, "deleted", "x");
	sx_sync(sx);
	sx_assert_reads(sx, sx_ino(sx, d, "changed"), "before");
	objstore_mem_put(sx->bucket, "p/dir/changed", "after!", 6, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, "p/dir/new", "new", 3, meta, 2, NULL);
	objstore_mem_put(sx->bucket, "p/dir/deep/er/file", "deep", 4, NULL, 0, NULL);
	assert_true(objstore_mem_delete(sx->bucket, "p/dir/deleted"));
	assert_int_equal(sx_refresh(sx, "/", true), 6); /* deep and er count too */
	assert_int_equal(sx_ino(sx, d, "kept"), ino);
	sx_assert_reads(sx, sx_ino(sx, d, "changed"), "after!");
	sx_assert_reads(sx, sx_ino(sx, d, "new"), "new");
	assert_int_equal(fx_lookup(&sx->fx, &fx_root, d, "new"), 0);
	assert_int_equal(sx->fx.op.attr.mode, S_IFREG | 0751);
	assert_int_equal(sx->fx.op.attr.mtime_ns, 1500000000000000000);
	assert_int_equal(fx_lookup(&sx->fx, &fx_root, d, "deleted"), -ENOENT);
	sx_assert_reads(sx, sx_ino(sx, sx_ino(sx, sx_ino(sx, d, "deep"), "er"), "file"), "deep");
	assert_int_equal(sx_refresh(sx, "/", true), 0);
	assert_int_equal(sx_refresh(sx, "/dir", false), 0);
	assert_int_equal(sx_pending(sx), 0);
}

static void
keys_that_cannot_be_names_are_left_out(void **state)
{
	struct sx *sx = *state;
	char longkey[400] = "p/";

	memset(longkey + 2, 'x', 300);
	objstore_mem_put(sx->bucket, "p//double", "x", 1, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, "p/./dot", "x", 1, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, "p/..", "x", 1, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, longkey, "x", 1, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, "p/both", "file", 4, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, "p/both/below", "x", 1, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, "p/.causeway-tmp/1", "x", 1, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, "p/fine", "x", 1, NULL, 0, NULL);
	sx_ino(sx, sx->fx.root, "fine");
	assert_int_equal(sx_ino(sx, sx->fx.root, "both") != 0, 1);
	assert_int_equal(sx->fx.op.attr.mode & S_IFMT, S_IFDIR);
	assert_int_equal(fx_lookup(&sx->fx, &fx_root, sx->fx.root, ".causeway-tmp"), -ENOENT);
	assert_int_equal(sx_refresh(sx, "/", true), 1); /* below "both" was not known */
	sx_sync(sx);
	assert_int_equal(objstore_mem_objects(sx->bucket), 8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, sx_setup, sx_teardown)
	    T(both_versions_survive_a_conflict),
	    T(the_share_may_choose_that_local_wins),
	    T(a_new_name_taken_by_another_writer_is_a_conflict),
	    T(a_change_outlives_a_deletion_in_the_bucket),
	    T(a_deletion_spares_what_another_writer_put_there),
	    T(attributes_of_ours_go_on_content_of_theirs),
	    T(a_lost_reply_is_no_conflict),
	    T(failures_are_repeated_until_they_pass),
	    T(refresh_folds_in_what_others_did),
	    T(keys_that_cannot_be_names_are_left_out),
	};

	if (getenv("SYNC_TEST") != NULL)
		cmocka_set_test_filter(getenv("SYNC_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
