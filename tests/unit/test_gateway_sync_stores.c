/* SPDX-License-Identifier: Apache-2.0 */
/* Stores that know less than S3: no conditions on writes, no copies of parts, no copies at all. And what
 * the reconciler keeps of names that are gone, of the root, and counts of what is pending. */
#include "gateway/sync_int.h"
#include "tests/unit/sync_fixture.h"

#define MIB (1u << 20)

static void
fill(uint8_t *buf, size_t len, uint64_t off, uint8_t salt)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)((off + i) * 2654435761u >> 13) ^ salt;
}

static void
write_fill(struct sx *sx, uint64_t ino, uint64_t off, size_t len, uint8_t salt)
{
	uint8_t *buf = xmalloc(MIB);
	size_t n;

	for (; len > 0; len -= n, off += n) {
		n = len < MIB ? len : MIB;
		fill(buf, n, off, salt);
		assert_int_equal(fx_write(&sx->fx, &fx_root, ino, off, buf, (uint32_t)n), 0);
	}
	free(buf);
}

/* assert_filled - key is `size` bytes of salt 0, but [off, off+len) of salt. */
static void
assert_filled(struct sx *sx, const char *key, size_t size, uint64_t off, size_t len, uint8_t salt)
{
	uint8_t *want = xmalloc(size);
	size_t got_len = 0;
	char *got = objstore_mem_get(sx->bucket, key, &got_len, NULL);

	assert_non_null(got);
	assert_int_equal(got_len, size);
	fill(want, size, 0, 0);
	fill(want + off, len, off, salt);
	assert_true(memcmp(got, want, size) == 0);
	free(got);
	free(want);
}

/* --- conditions --------------------------------------------------------------------------------- */

static int
setup_unconditional(void **state)
{
	int r = sx_setup(state);

	objstore_mem_conditional(((struct sx *)*state)->bucket, false);
	return r;
}

static void
without_conditions_everything_gets_there(void **state)
{
	struct sx *sx = *state;
	uint64_t a = sx_file(sx, sx->fx.root, "a", "one"),
		 d = fx_mkdir_ok(&sx->fx, sx->fx.root, "d");

	sx_file(sx, d, "b", "two");
	sx_sync(sx);
	assert_int_equal(fx_write(&sx->fx, &fx_root, a, 0, "ONE!", 4), 0);
	assert_int_equal(fx_rename(&sx->fx, &fx_root, d, "b", sx->fx.root, "c"), 0);
	sx_sync(sx);
	assert_int_equal(fx_chmod(&sx->fx, a, 0600), 0);
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "d", sx->fx.root, "e"), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/a", "ONE!");
	sx_assert_object(sx, "p/c", "two");
	sx_assert_object(sx, "p/e/", "");
	sx_assert_meta(sx, "p/a", "file-permissions", "0100600");
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "c"), 0);
	sx_sync(sx);
	assert_int_equal(objstore_mem_objects(sx->bucket), 2);
	assert_false(sx_has_event(sx, "conflict", ""));
}

static void
without_conditions_another_writers_objects_stay(void **state)
{
	struct sx *sx = *state;
	uint64_t a = sx_file(sx, sx->fx.root, "a", "one");

	sx_sync(sx);
	sx_file(sx, sx->fx.root, "new", "ours");
	assert_int_equal(fx_write(&sx->fx, &fx_root, a, 0, "two", 3), 0);
	objstore_mem_put(sx->bucket, "p/new", "theirs", 6, NULL, 0, NULL);
	objstore_mem_put(sx->bucket, "p/a", "changed", 7, NULL, 0, NULL);
	sx_sync(sx);
	sx_assert_object(sx, "p/new", "theirs");
	sx_assert_object(sx, "p/a", "changed");
	assert_int_equal(objstore_mem_objects(sx->bucket), 4);
	assert_true(sx_has_event(sx, "conflict", "/new"));
	assert_true(sx_has_event(sx, "conflict", "/a"));
	sx_assert_reads(sx, sx_ino(sx, sx->fx.root, "a"), "changed");
}

static void
without_conditions_a_lost_reply_is_no_conflict(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "a", "one");

	sx_sync(sx);
	objstore_mem_fail_next(sx->bucket, OBJ_PUT, -ERR_STORE, true, 1);
	assert_int_equal(fx_write(&sx->fx, &fx_root, ino, 0, "two", 3), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/a", "two");
	objstore_mem_fail_next(sx->bucket, OBJ_MPU_COMPLETE, -ERR_STORE, true, 1);
	write_fill(sx, ino, 0, 20 * MIB, 0);
	sx_sync(sx);
	assert_filled(sx, "p/a", 20 * MIB, 0, 0, 0);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	assert_int_equal(objstore_mem_objects(sx->bucket), 1);
	assert_false(sx_has_event(sx, "conflict", ""));
}

/* --- another object under the parts that are copied ------------------------------------------------ */

static void
replace_base(struct objstore_req *req, void *ctx)
{
	struct sx *sx = ctx;
	uint8_t *theirs;

	if (req->op != OBJ_MPU_PART_COPY || req->part_number != 3)
		return;
	theirs = xmalloc(40 * MIB);
	fill(theirs, 40 * MIB, 0, 77);
	objstore_mem_put(sx->bucket, "p/big", theirs, 40 * MIB, NULL, 0, NULL);
	free(theirs);
	objstore_mem_before(sx->bucket, NULL, NULL);
}

/* conflict_copy - the one key below p/ that names a conflict; caller frees. */
static char *
conflict_copy(struct sx *sx)
{
	char *key;
	size_t i;

	for (i = 0; (key = objstore_mem_key_at(sx->bucket, i)) != NULL; i++) {
		if (strstr(key, ".conflict-") != NULL)
			return key;
		free(key);
	}
	return NULL;
}

static void
parts_copied_from_anothers_object_are_not_ours(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	uint8_t want;
	size_t len = 0;
	char *copy, *got;

	write_fill(sx, ino, 0, 40 * MIB, 0);
	sx_sync(sx);
	write_fill(sx, ino, 7 * MIB, 4096, 9);
	objstore_mem_before(sx->bucket, replace_base, sx);
	sx_sync(sx);
	got = objstore_mem_get(sx->bucket, "p/big", &len, NULL);
	fill(&want, 1, 1000, 77);
	assert_int_equal((uint8_t)got[1000], want);
	free(got);
	copy = conflict_copy(sx); /* all of the old content was local yet */
	assert_non_null(copy);
	assert_filled(sx, copy, 40 * MIB, 7 * MIB, 4096, 9);
	free(copy);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
}

static void
the_same_when_it_is_renamed_meanwhile(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	size_t len = 0;
	uint8_t want;
	char *got;

	write_fill(sx, ino, 0, 40 * MIB, 0);
	sx_sync(sx);
	write_fill(sx, ino, 7 * MIB, 4096, 9);
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "big", sx->fx.root, "ours"), 0);
	objstore_mem_before(sx->bucket, replace_base, sx);
	sx_sync(sx);
	assert_filled(sx, "p/ours", 40 * MIB, 7 * MIB, 4096, 9);
	got = objstore_mem_get(sx->bucket, "p/big", &len, NULL);
	assert_non_null(got);
	fill(&want, 1, 1000, 77);
	assert_int_equal((uint8_t)got[1000], want);
	free(got);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
}

static void
the_same_when_local_changes_win(void **state)
{
	struct sx *sx = *state;
	uint64_t ino;

	sx->fx.conf.conflict_policy = CW_CONFLICT_LOCAL_WINS;
	sx_restart(sx);
	ino = fx_create_ok(&sx->fx, sx->fx.root, "big");
	write_fill(sx, ino, 0, 40 * MIB, 0);
	sx_sync(sx);
	write_fill(sx, ino, 7 * MIB, 4096, 9);
	objstore_mem_before(sx->bucket, replace_base, sx);
	sx_sync(sx);
	assert_filled(sx, "p/big", 40 * MIB, 7 * MIB, 4096, 9);
	assert_int_equal(objstore_mem_objects(sx->bucket), 1);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
}

/* --- no copies ---------------------------------------------------------------------------------- */

static void
where_parts_cannot_be_copied_they_are_sent(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = fx_create_ok(&sx->fx, sx->fx.root, "big"), tried;

	objstore_mem_fail_next(sx->bucket, OBJ_MPU_PART_COPY, -ENOSYS, false, 1000000);
	write_fill(sx, ino, 0, 30 * MIB, 0);
	sx_sync(sx);
	assert_int_equal(cache_evict_all(sx->fx.cache), 0);
	write_fill(sx, ino, 12 * MIB, 4096, 9);
	sx_sync(sx);
	assert_filled(sx, "p/big", 30 * MIB, 12 * MIB, 4096, 9);
	tried = objstore_mem_count(sx->bucket, OBJ_MPU_PART_COPY);
	assert_in_range(tried, 1, 100);
	write_fill(sx, ino, 12 * MIB, 4096, 10);
	sx_sync(sx);
	assert_filled(sx, "p/big", 30 * MIB, 12 * MIB, 4096, 10);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_MPU_PART_COPY), tried);
	assert_int_equal(objstore_mem_uploads(sx->bucket), 0);
	assert_int_equal(sx_pending(sx), 0);
}

static void
where_objects_cannot_be_copied_they_are_sent(void **state)
{
	struct sx *sx = *state;
	uint64_t a = sx_file(sx, sx->fx.root, "a", "one"), b = sx_file(sx, sx->fx.root, "b", "two");

	sx_sync(sx);
	assert_int_equal(cache_evict_all(sx->fx.cache), 0);
	objstore_mem_fail_next(sx->bucket, OBJ_COPY, -ENOSYS, false, 1000000);
	assert_int_equal(fx_chmod(&sx->fx, a, 0600), 0);
	sx_sync(sx);
	sx_assert_meta(sx, "p/a", "file-permissions", "0100600");
	/* a <-> b: a cycle, so one of them is parked on its way */
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "a", sx->fx.root, "t"), 0);
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "b", sx->fx.root, "a"), 0);
	assert_int_equal(fx_rename(&sx->fx, &fx_root, sx->fx.root, "t", sx->fx.root, "b"), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/a", "two");
	sx_assert_object(sx, "p/b", "one");
	sx_assert_meta(sx, "p/b", "file-permissions", "0100600");
	assert_int_equal(objstore_mem_objects(sx->bucket), 2);
	sx_assert_reads(sx, b, "two");
}

/* --- unlinked, but open --------------------------------------------------------------------------- */

static void
an_object_stays_while_its_unlinked_file_is_open(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "a", "still wanted");
	struct cw_op *op;
	int i;

	sx_sync(sx);
	op = fx_op(&sx->fx, CW_OPEN, &fx_root, ino);
	op->access = CW_MAY_READ;
	assert_int_equal(cw_call(op), 0);
	assert_int_equal(cache_evict_all(sx->fx.cache), 0);
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "a"), 0);
	sx_sync(sx); /* and it is not waited for */
	assert_true(sx_exists(sx, "p/a"));
	assert_int_equal(sx_refresh(sx, "/", true), 0);
	assert_int_equal(fx_lookup(&sx->fx, &fx_root, sx->fx.root, "a"), -ENOENT);
	sx_assert_reads(sx, ino, "still wanted");
	assert_int_equal(cw_call(fx_op(&sx->fx, CW_RELEASE, &fx_root, ino)), 0);
	sx_sync(sx);
	for (i = 0; i < 1000 && sx_exists(sx, "p/a"); i++)
		clock_sleep_ms(5);
	assert_false(sx_exists(sx, "p/a"));
}

static void
a_name_is_free_for_others_while_an_unlinked_file_is_open(void **state)
{
	struct sx *sx = *state;
	uint64_t ino = sx_file(sx, sx->fx.root, "a", "old");

	sx_sync(sx);
	assert_int_equal(cw_call(fx_op(&sx->fx, CW_OPEN, &fx_root, ino)), 0);
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "a"), 0);
	sx_file(sx, sx->fx.root, "a", "new");
	sx_sync(sx);
	sx_assert_object(sx, "p/a", "new");
	assert_int_equal(cw_call(fx_op(&sx->fx, CW_RELEASE, &fx_root, ino)), 0);
	sx_sync(sx);
	sx_assert_object(sx, "p/a", "new");
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "a"), 0);
	sx_sync(sx);
	assert_int_equal(objstore_mem_objects(sx->bucket), 0);
}

/* --- one read, one object ---------------------------------------------------------------------------- */

static uint64_t replaced_ino;

static void
replace_between(struct objstore_req *req, void *ctx)
{
	struct sx *sx = ctx;
	struct cw_share *s = sx->fx.s;
	char etag[OBJSTORE_ETAG_MAX];
	struct fold f;
	char *body;

	if (req->op != OBJ_GET || req->range_off < MIB / 2 || replaced_ino == 0)
		return;
	body = xmalloc(MIB);
	memset(body, 'N', MIB);
	objstore_mem_put(sx->bucket, "p/a", body, MIB, NULL, 0, etag);
	free(body);
	share_lock(s); /* as a listing that sees it would */
	fold_init(&f, s);
	fold_replace(&f, node_by_ino(s, replaced_ino), etag, MIB, clock_real_ns());
	fold_free(&f);
	share_unlock(s);
	replaced_ino = 0;
}

static void
a_read_is_of_one_object(void **state)
{
	struct sx *sx = *state;
	char *body = xmalloc(MIB);
	uint64_t ino;
	size_t i;

	memset(body, 'O', MIB);
	objstore_mem_put(sx->bucket, "p/a", body, MIB, NULL, 0, NULL);
	ino = replaced_ino = sx_ino(sx, sx->fx.root, "a");
	/* its middle is here: the read that follows needs two requests */
	assert_int_equal(fx_read(&sx->fx, &fx_root, ino, MIB / 2, body, 4096), 0);
	objstore_mem_before(sx->bucket, replace_between, sx);
	assert_int_equal(fx_read(&sx->fx, &fx_root, ino, 0, body, MIB), 0);
	objstore_mem_before(sx->bucket, NULL, NULL);
	assert_int_equal(replaced_ino, 0);
	assert_int_equal(sx->fx.op.count_done, MIB);
	for (i = 1; i < MIB; i++)
		assert_int_equal(body[i], body[0]);
	free(body);
}

/* --- after the appliance is lost -------------------------------------------------------------------- */

static void
the_roots_attributes_outlive_the_appliance(void **state)
{
	struct sx *sx = *state;

	assert_int_equal(fx_getattr(&sx->fx, sx->fx.root), 0);
	assert_false(sx_exists(sx, "p/"));
	assert_int_equal(fx_chmod(&sx->fx, sx->fx.root, 01750), 0);
	sx_sync(sx);
	sx_assert_meta(sx, "p/", "file-permissions", "0041750");
	sx_forget(sx);
	assert_int_equal(fx_getattr(&sx->fx, sx->fx.root), 0);
	assert_int_equal(sx->fx.op.attr.mode, S_IFDIR | 01750);
	assert_int_equal(fx_chmod(&sx->fx, sx->fx.root, 0711), 0);
	sx_sync(sx);
	sx_assert_meta(sx, "p/", "file-permissions", "0040711");
	sx_restart(sx);
	assert_int_equal(fx_getattr(&sx->fx, sx->fx.root), 0);
	assert_int_equal(sx->fx.op.attr.mode, S_IFDIR | 0711);
	assert_false(sx_has_event(sx, "conflict", ""));
}

static void
anothers_marker_of_the_root_is_heeded(void **state)
{
	struct sx *sx = *state;
	const struct objstore_meta meta[] = {{"file-permissions", "0040701"}, {"file-owner", "17"}};

	assert_int_equal(fx_getattr(&sx->fx, sx->fx.root), 0);
	assert_int_equal(sx->fx.op.attr.mode, S_IFDIR | sx->fx.conf.dir_mode);
	objstore_mem_put(sx->bucket, "p/", "", 0, meta, 2, NULL);
	(void)sx_refresh(sx, "/", true);
	assert_int_equal(fx_getattr(&sx->fx, sx->fx.root), 0);
	assert_int_equal(sx->fx.op.attr.mode, S_IFDIR | 0701);
	assert_int_equal(sx->fx.op.attr.uid, 17);
	assert_true(objstore_mem_delete(sx->bucket, "p/"));
	(void)sx_refresh(sx, "/", true);
	assert_int_equal(fx_getattr(&sx->fx, sx->fx.root), 0);
}

static void
a_directory_without_marker_has_the_shares_defaults(void **state)
{
	struct sx *sx = *state;
	uint64_t d;

	objstore_mem_put(sx->bucket, "p/d/x", "x", 1, NULL, 0, NULL);
	d = sx_ino(sx, sx->fx.root, "d");
	assert_int_equal(sx->fx.op.attr.mode, S_IFDIR | sx->fx.conf.dir_mode);
	assert_int_equal(sx->fx.op.attr.uid, sx->fx.conf.owner_id);
	assert_int_equal(fx_chmod(&sx->fx, d, 0700), 0);
	sx_sync(sx);
	sx_forget(sx);
	d = sx_ino(sx, sx->fx.root, "d");
	assert_int_equal(sx->fx.op.attr.mode, S_IFDIR | 0700);
}

/* --- counts ------------------------------------------------------------------------------------- */

static void
what_is_pending_is_counted(void **state)
{
	struct sx *sx = *state;
	struct cw_share_status st;
	uint64_t a;

	sx_file(sx, sx->fx.root, "first", "x");
	sx_sync(sx);
	cw_share_get_status(sx->fx.s, &st);
	assert_int_equal(st.pending_files, 0);
	assert_int_equal(st.pending_bytes, 0);
	assert_int_equal(st.oldest_dirty_ns, 0);
	objstore_mem_hold(sx->bucket, true);
	a = sx_file(sx, sx->fx.root, "a", "one");
	sx_file(sx, sx->fx.root, "b", "two");
	assert_int_equal(fx_write(&sx->fx, &fx_root, a, 0, "uno", 3), 0);
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "first"), 0);
	cw_share_get_status(sx->fx.s, &st);
	assert_int_equal(st.pending_files, 3); /* two files, one deletion */
	assert_int_equal(st.pending_bytes, 2 * 4096);
	assert_in_range(st.oldest_dirty_ns, clock_real_ns() - 20000000000, clock_real_ns());
	assert_int_equal(fx_unlink(&sx->fx, CW_REMOVE, &fx_root, sx->fx.root, "b"), 0);
	cw_share_get_status(sx->fx.s, &st);
	assert_in_range(st.pending_files, 2, 3); /* a job may be at it, then there is a deletion */
	objstore_mem_hold(sx->bucket, false);
	sx_sync(sx);
	sx_restart(sx);
	sx_sync(sx);
	cw_share_get_status(sx->fx.s, &st);
	assert_int_equal(st.pending_files, 0);
	assert_int_equal(st.oldest_dirty_ns, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, sx_setup, sx_teardown)
#define U(f) cmocka_unit_test_setup_teardown(f, setup_unconditional, sx_teardown)
	    U(without_conditions_everything_gets_there),
	    U(without_conditions_another_writers_objects_stay),
	    U(without_conditions_a_lost_reply_is_no_conflict),
	    U(parts_copied_from_anothers_object_are_not_ours),
	    U(the_same_when_it_is_renamed_meanwhile),
	    U(the_same_when_local_changes_win),
	    T(the_same_when_local_changes_win),
	    T(where_parts_cannot_be_copied_they_are_sent),
	    T(where_objects_cannot_be_copied_they_are_sent),
	    T(an_object_stays_while_its_unlinked_file_is_open),
	    T(a_name_is_free_for_others_while_an_unlinked_file_is_open),
	    T(a_read_is_of_one_object),
	    T(the_roots_attributes_outlive_the_appliance),
	    T(anothers_marker_of_the_root_is_heeded),
	    T(a_directory_without_marker_has_the_shares_defaults),
	    T(what_is_pending_is_counted),
	};

	if (getenv("SYNC_TEST") != NULL)
		cmocka_set_test_filter(getenv("SYNC_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
