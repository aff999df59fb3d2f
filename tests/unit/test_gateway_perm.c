/* SPDX-License-Identifier: Apache-2.0 */
/* Permissions are checked here, on every op, whatever the client believes. */
#include "tests/unit/share_fixture.h"

#define R CW_MAY_READ
#define W CW_MAY_WRITE
#define X CW_MAY_EXEC

/* a file of alice's, group 500, below a directory that anybody may use */
static uint64_t
alices_file(struct fx *fx, uint64_t dir, const char *name, uint32_t mode)
{
	struct cw_sattr a = {
	    .mask = CW_SET_UID | CW_SET_GID | CW_SET_MODE, .uid = 1000, .gid = 500, .mode = mode};
	uint64_t ino = fx_create_ok(fx, dir, name);

	assert_int_equal(fx_setattr(fx, &fx_root, ino, &a), 0);
	return ino;
}

static uint64_t
open_dir(struct fx *fx, const char *name, uint32_t mode)
{
	uint64_t dir = fx_mkdir_ok(fx, fx->root, name);

	assert_int_equal(fx_chmod(fx, dir, mode), 0);
	return dir;
}

static uint32_t
access_of(struct fx *fx, const struct cw_cred *cred, uint64_t ino)
{
	struct cw_op *op = fx_op(fx, CW_ACCESS, cred, ino);

	op->access = R | W | X | CW_MAY_DELETE;
	assert_int_equal(cw_call(op), 0);
	return op->access;
}

static void
the_mode_bits_of_the_first_matching_class_decide(void **state)
{
	const struct cw_cred group = {.uid = 3000, .gid = 3000, .ngroups = 1, .groups = {500}};
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "matrix", 0777), ino = alices_file(fx, dir, "f", 0);
	uint32_t mode, want;

	for (mode = 0; mode < 01000; mode += 37) {
		assert_int_equal(fx_chmod(fx, ino, mode), 0);
		want = (mode >> 8 & 1 ? R : 0) | (mode >> 7 & 1 ? W : 0) | (mode >> 6 & 1 ? X : 0);
		assert_int_equal(access_of(fx, &fx_alice, ino), want);
		want = (mode >> 5 & 1 ? R : 0) | (mode >> 4 & 1 ? W : 0) | (mode >> 3 & 1 ? X : 0);
		assert_int_equal(access_of(fx, &group, ino), want);
		want = (mode >> 2 & 1 ? R : 0) | (mode >> 1 & 1 ? W : 0) | (mode & 1 ? X : 0);
		assert_int_equal(access_of(fx, &fx_bob, ino), want);
		want = R | W | (mode & 0111 ? X : 0);
		assert_int_equal(access_of(fx, &fx_root, ino), want);
	}
}

static void
read_and_write_are_refused_without_permission(void **state)
{
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "rw", 0777), ino = alices_file(fx, dir, "f", 0600);
	char b[4];

	assert_int_equal(fx_write(fx, &fx_alice, ino, 0, "abcd", 4), 0);
	assert_int_equal(fx_write(fx, &fx_bob, ino, 0, "abcd", 4), -EACCES);
	assert_int_equal(fx_read(fx, &fx_bob, ino, 0, b, 4), -EACCES);
	assert_int_equal(fx_chmod(fx, ino, 0), 0);
	assert_int_equal(fx_read(fx, &fx_alice, ino, 0, b, 4), -EACCES);
	fx_op(fx, CW_READ, &fx_alice, ino);
	fx->op.buf = b;
	fx->op.count = 4;
	fx->op.is_owner_ok = true;
	assert_int_equal(cw_call(&fx->op), 0);
	assert_int_equal(fx_chmod(fx, ino, 0711), 0);
	assert_int_equal(fx_read(fx, &fx_bob, ino, 0, b, 4), 0); /* execution needs the bytes */
	assert_int_equal(fx_write(fx, &fx_bob, ino, 0, b, 4), -EACCES);
}

static void
a_directory_without_search_permission_hides_its_names(void **state)
{
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "hidden", 0744);

	fx_create_ok(fx, dir, "f");
	assert_int_equal(fx_lookup(fx, &fx_bob, dir, "f"), -EACCES);
	assert_int_equal(fx_lookup(fx, &fx_bob, dir, "."), -EACCES);
	assert_int_equal(fx_lookup(fx, &fx_root, dir, "f"), 0);
	assert_int_equal(fx_chmod(fx, dir, 0711), 0);
	assert_int_equal(fx_lookup(fx, &fx_bob, dir, "f"), 0);
	assert_int_equal(fx_create(fx, &fx_bob, dir, "g", 0644), -EACCES);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_bob, dir, "f"), -EACCES);
	assert_int_equal(fx_rename(fx, &fx_bob, dir, "f", dir, "g"), -EACCES);
}

static void
the_sticky_bit_keeps_others_from_removing(void **state)
{
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "sticky", 01777), other = open_dir(fx, "other", 0777);

	alices_file(fx, dir, "f", 0666);
	assert_int_equal(fx_create(fx, &fx_bob, other, "mine", 0644), 0);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_bob, dir, "f"), -EPERM);
	assert_int_equal(fx_rename(fx, &fx_bob, dir, "f", other, "f"), -EPERM);
	assert_int_equal(fx_rename(fx, &fx_bob, other, "mine", dir, "f"), -EPERM);
	assert_int_equal(fx_rename(fx, &fx_alice, dir, "f", dir, "g"), 0);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_alice, dir, "g"), 0);
	alices_file(fx, dir, "f", 0666);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, dir, "f"), 0);
}

static void
only_the_owner_changes_modes_and_only_root_gives_away(void **state)
{
	struct cw_sattr mode = {.mask = CW_SET_MODE, .mode = 0640};
	struct cw_sattr uid = {.mask = CW_SET_UID, .uid = 2000};
	struct cw_sattr gid = {.mask = CW_SET_GID, .gid = 1000};
	struct cw_sattr gid_foreign = {.mask = CW_SET_GID, .gid = 2000};
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "own", 0777), ino = alices_file(fx, dir, "f", 0666);

	assert_int_equal(fx_setattr(fx, &fx_bob, ino, &mode), -EPERM);
	assert_int_equal(fx_setattr(fx, &fx_alice, ino, &mode), 0);
	assert_int_equal(fx->op.attr.mode & 07777, 0640);
	assert_int_equal(fx_setattr(fx, &fx_alice, ino, &uid), -EPERM);
	assert_int_equal(fx_setattr(fx, &fx_alice, ino, &gid_foreign), -EPERM);
	assert_int_equal(fx_setattr(fx, &fx_alice, ino, &gid), 0);
	assert_int_equal(fx->op.attr.gid, 1000);
	assert_int_equal(fx_setattr(fx, &fx_root, ino, &uid), 0);
	assert_int_equal(fx->op.attr.uid, 2000);
}

static void
times_may_be_set_by_the_owner_and_touched_by_writers(void **state)
{
	struct cw_sattr set = {.mask = CW_SET_MTIME, .mtime_ns = 5};
	struct cw_sattr now = {.mask = CW_SET_MTIME_NOW | CW_SET_ATIME_NOW};
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "times", 0777), ino = alices_file(fx, dir, "f", 0666);

	assert_int_equal(fx_setattr(fx, &fx_bob, ino, &set), -EPERM);
	assert_int_equal(fx_setattr(fx, &fx_bob, ino, &now), 0);
	assert_true(fx->op.attr.mtime_ns > 1000000000);
	assert_int_equal(fx_setattr(fx, &fx_alice, ino, &set), 0);
	assert_true(fx->op.attr.mtime_ns == 5);
	assert_int_equal(fx_chmod(fx, ino, 0644), 0);
	assert_int_equal(fx_setattr(fx, &fx_bob, ino, &now), -EACCES);
}

static void
set_id_bits_go_when_others_write_or_owners_change(void **state)
{
	struct cw_sattr own = {.mask = CW_SET_UID, .uid = 2000};
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "suid", 0777), ino = alices_file(fx, dir, "f", 06777);

	assert_int_equal(fx_getattr(fx, ino), 0);
	assert_int_equal(fx->op.attr.mode & 07777, 06777);
	assert_int_equal(fx_write(fx, &fx_root, ino, 0, "x", 1), 0);
	assert_int_equal(fx->op.attr.mode & 07777, 06777);
	assert_int_equal(fx_write(fx, &fx_bob, ino, 0, "x", 1), 0);
	assert_int_equal(fx->op.attr.mode & 07777, 0777);
	assert_int_equal(fx_chmod(fx, ino, 06777), 0);
	assert_int_equal(fx_truncate(fx, &fx_bob, ino, 0), 0);
	assert_int_equal(fx->op.attr.mode & 07777, 0777);
	assert_int_equal(fx_chmod(fx, ino, 06777), 0);
	assert_int_equal(fx_setattr(fx, &fx_root, ino, &own), 0);
	assert_int_equal(fx->op.attr.mode & 07777, 0777);
}

static void
a_setgid_directory_hands_its_group_down(void **state)
{
	struct cw_sattr a = {.mask = CW_SET_GID | CW_SET_MODE, .gid = 500, .mode = 02777};
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "setgid", 0777);

	assert_int_equal(fx_setattr(fx, &fx_root, dir, &a), 0);
	assert_int_equal(fx_create(fx, &fx_bob, dir, "f", 0644), 0);
	assert_int_equal(fx->op.attr.gid, 500);
	assert_int_equal(fx->op.attr.uid, 2000);
	assert_int_equal(fx_mkdir(fx, &fx_bob, dir, "d", 0755), 0);
	assert_int_equal(fx->op.attr.gid, 500);
	assert_int_equal(fx->op.attr.mode & 07777, 02755);
}

static void
a_read_only_share_changes_nothing(void **state)
{
	struct fx *fx = *state;
	uint64_t dir = open_dir(fx, "ro", 0777), ino = alices_file(fx, dir, "f", 0666);
	char b[4];

	fx->conf.read_only = true;
	assert_int_equal(cw_share_reconfigure(fx->s, &fx->conf), 0);
	assert_int_equal(fx_create(fx, &fx_root, dir, "g", 0644), -EROFS);
	assert_int_equal(fx_mkdir(fx, &fx_root, dir, "g", 0644), -EROFS);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, dir, "f"), -EROFS);
	assert_int_equal(fx_rename(fx, &fx_root, dir, "f", dir, "g"), -EROFS);
	assert_int_equal(fx_write(fx, &fx_root, ino, 0, "x", 1), -EROFS);
	assert_int_equal(fx_truncate(fx, &fx_root, ino, 0), -EROFS);
	assert_int_equal(fx_chmod(fx, ino, 0600), -EROFS);
	assert_int_equal(access_of(fx, &fx_root, ino), R);
	assert_int_equal(access_of(fx, &fx_root, dir), R | X);
	assert_int_equal(fx_read(fx, &fx_root, ino, 0, b, 4), 0);
	fx->conf.read_only = false;
	assert_int_equal(cw_share_reconfigure(fx->s, &fx->conf), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_mode_bits_of_the_first_matching_class_decide),
	    cmocka_unit_test(read_and_write_are_refused_without_permission),
	    cmocka_unit_test(a_directory_without_search_permission_hides_its_names),
	    cmocka_unit_test(the_sticky_bit_keeps_others_from_removing),
	    cmocka_unit_test(only_the_owner_changes_modes_and_only_root_gives_away),
	    cmocka_unit_test(times_may_be_set_by_the_owner_and_touched_by_writers),
	    cmocka_unit_test(set_id_bits_go_when_others_write_or_owners_change),
	    cmocka_unit_test(a_setgid_directory_hands_its_group_down),
	    cmocka_unit_test(a_read_only_share_changes_nothing),
	};

	return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
