/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk listings of objects that others put into the bucket: what is shown before HEAD confirms it, what
 * never is, and what is listed ahead of a walk through the tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/sync_fixture.h"

#define FILES 400
#define ODD 133 /* no sample looks at this one */

struct seen {
	unsigned int n, with_attr;
	uint32_t mode[FILES], uid[FILES];
	uint64_t ino[FILES];
	int64_t ctime_ns[FILES];
};

static bool
take(struct cw_op *op, const struct cw_dirent *e)
{
	struct seen *seen = op->ctx;
	unsigned int i;

	if (e->name[0] == '.')
		return true;
	i = (unsigned int)strtoul(e->name + 1, NULL, 10);
	assert_in_range(i, 0, FILES - 1);
	seen->n++;
	seen->ino[i] = e->ino;
	seen->mode[i] = 0;
	if (e->attr == NULL)
		return true;
	seen->with_attr++;
	seen->mode[i] = e->attr->mode;
	seen->uid[i] = e->attr->uid;
	seen->ctime_ns[i] = e->attr->ctime_ns;
	return true;
}

static void
reset(struct cw_op *op)
{
	memset(op->ctx, 0, sizeof(struct seen));
}

static void
list(struct sx *sx, uint64_t dir, struct seen *seen)
{
	struct cw_op *op = fx_op(&sx->fx, CW_READDIR, &fx_root, dir);

	memset(seen, 0, sizeof(*seen));
	op->emit = take;
	op->emit_reset = reset;
	op->ctx = seen;
	op->want_attrs = op->is_bulk = true;
	assert_int_equal(cw_call(op), 0);
}

static void
put(struct sx *sx, const char *key, const char *perm)
{
	const struct objstore_meta meta[] = {{"file-permissions", perm}, {"file-owner", "7"}};

	objstore_mem_put(sx->bucket, key, "text", 4, meta, perm != NULL ? 2 : 0, NULL);
}

static uint64_t
make_files(struct sx *sx, const char *odd, const char *others)
{
	char key[64];
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		snprintf(key, sizeof(key), "p/d/f%04u", i);
		put(sx, key, i == ODD ? odd : others);
	}
	return sx_ino(sx, sx->fx.root, "d");
}

static uint64_t
heads(const struct sx *sx)
{
	return objstore_mem_count(sx->bucket, OBJ_HEAD);
}

static void
wait_heads(const struct sx *sx, uint64_t n)
{
	unsigned int i;

	for (i = 0; i < 5000 && heads(sx) < n; i++)
		clock_sleep_ms(2);
	assert_true(heads(sx) >= n);
}

static void
plain_objects_are_shown_before_their_heads(void **state)
{
	struct sx *sx = *state;
	uint64_t dir = make_files(sx, NULL, NULL), before = heads(sx);
	struct seen seen;

	list(sx, dir, &seen);
	assert_int_equal(seen.n, FILES);
	assert_int_equal(seen.with_attr, FILES);
	assert_int_equal(seen.mode[5], S_IFREG | sx->fx.conf.file_mode);
	assert_in_range(heads(sx) - before, 1, FILES / 4);
	wait_heads(sx, before + FILES); /* each is asked for in the end, once */
	list(sx, dir, &seen);
	clock_sleep_ms(50);
	assert_int_equal(heads(sx), before + FILES);
}

static void
objects_with_attributes_are_not_shown_without_them(void **state)
{
	struct sx *sx = *state;
	uint64_t dir = make_files(sx, "0100600", "0100640");
	struct seen seen;
	unsigned int i;

	list(sx, dir, &seen);
	assert_int_equal(seen.n, FILES);
	for (i = 0; i < FILES; i++) {
		if (seen.mode[i] == 0)
			continue;
		assert_int_equal(seen.mode[i] & 07777, i == ODD ? 0600 : 0640);
		assert_int_equal(seen.uid[i], 7);
	}
}

static void
an_exception_is_corrected_and_never_believed_by_a_check(void **state)
{
	const struct cw_cred other = {.uid = 1000, .gid = 1000};
	struct sx *sx = *state;
	uint64_t dir = make_files(sx, "0100600", NULL);
	struct seen first, second;
	struct cw_op *op;
	unsigned int i;

	list(sx, dir, &first);
	assert_int_equal(first.mode[ODD], S_IFREG | sx->fx.conf.file_mode);
	op = fx_op(&sx->fx, CW_ACCESS, &other, first.ino[ODD]);
	op->access = CW_MAY_READ;
	assert_int_equal(cw_call(op), 0);
	assert_int_equal(op->access, 0); /* 0600 of uid 7: the check waited for the HEAD */
	for (i = 0; i < 2000; i++) {
		list(sx, dir, &second);
		if (second.mode[ODD] == (S_IFREG | 0600))
			break;
		clock_sleep_ms(2);
	}
	assert_int_equal(second.mode[ODD], S_IFREG | 0600);
	assert_int_equal(second.uid[ODD], 7);
	assert_int_equal(second.ino[ODD], first.ino[ODD]);
	assert_true(second.ctime_ns[ODD] > first.ctime_ns[ODD]);
}

static void
a_symlink_shown_as_a_file_comes_back_as_another_inode(void **state)
{
	struct sx *sx = *state;
	uint64_t dir = make_files(sx, "0120777", NULL);
	struct seen first;

	list(sx, dir, &first);
	assert_int_equal(first.mode[ODD], S_IFREG | sx->fx.conf.file_mode);
	assert_int_equal(fx_getattr(&sx->fx, first.ino[ODD]), -ESTALE);
	assert_int_equal(fx_lookup(&sx->fx, &fx_root, dir, "f0133"), 0);
	assert_true(S_ISLNK(sx->fx.op.attr.mode));
	assert_true(sx->fx.op.attr.ino != first.ino[ODD]);
}

static void
a_walk_is_listed_ahead(void **state)
{
	struct sx *sx = *state;
	uint64_t before, top;
	struct seen *seen = xcalloc(1, sizeof(*seen));
	char key[64];
	unsigned int i;

	for (i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "p/t/d%04u/f%04u", i, i);
		put(sx, key, NULL);
	}
	top = sx_ino(sx, sx->fx.root, "t");
	before = objstore_mem_count(sx->bucket, OBJ_LIST);
	list(sx, top, seen);
	assert_int_equal(seen->with_attr, 30);
	for (i = 0; i < 2; i++) {
		uint64_t dir = seen->ino[i];
		struct seen below;

		list(sx, dir, &below);
		assert_int_equal(below.n, 1);
	}
	for (i = 0; i < 5000 && objstore_mem_count(sx->bucket, OBJ_LIST) < before + 31; i++)
		clock_sleep_ms(2);
	assert_int_equal(objstore_mem_count(sx->bucket, OBJ_LIST), before + 31);
	free(seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		plain_objects_are_shown_before_their_heads, sx_setup, sx_teardown),
	    cmocka_unit_test_setup_teardown(
		objects_with_attributes_are_not_shown_without_them, sx_setup, sx_teardown),
	    cmocka_unit_test_setup_teardown(
		an_exception_is_corrected_and_never_believed_by_a_check, sx_setup, sx_teardown),
	    cmocka_unit_test_setup_teardown(
		a_symlink_shown_as_a_file_comes_back_as_another_inode, sx_setup, sx_teardown),
	    cmocka_unit_test_setup_teardown(a_walk_is_listed_ahead, sx_setup, sx_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
