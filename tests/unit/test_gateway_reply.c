/* SPDX-License-Identifier: Apache-2.0 */
/* Requests whose answer was lost with the daemon: done once, and answered as done. */
#include "tests/unit/share_fixture.h"

static uint8_t next_tag;

/* tagged - an op with a tag; n 0: a new one. */
static struct cw_op *
tagged(struct fx *fx, enum cw_opcode code, uint8_t n, const char *name)
{
	struct cw_op *op = fx_op(fx, code, &fx_root, fx->root);

	op->name = name;
	op->create_mode = CW_CREATE_GUARDED;
	op->has_reply_tag = true;
	memset(op->reply_tag, 0xa5, sizeof(op->reply_tag));
	op->reply_tag[sizeof(op->reply_tag) - 1] = n != 0 ? n : ++next_tag;
	return op;
}

static void
assert_answered_again(const struct cw_op *op, bool has_attr)
{
	assert_int_equal(op->has_attr, has_attr);
	assert_false(op->wcc[0].has_pre);
	assert_true(op->wcc[0].has_post);
}

static void
removals_are_answered_as_done(void **state)
{
	struct fx *fx = *state;
	struct cw_op *op;
	uint8_t file, dir;

	fx_create_ok(fx, fx->root, "f");
	fx_mkdir_ok(fx, fx->root, "d");
	assert_int_equal(cw_call(tagged(fx, CW_REMOVE, 0, "f")), 0);
	file = next_tag;
	assert_int_equal(cw_call(tagged(fx, CW_RMDIR, 0, "d")), 0);
	dir = next_tag;
	fx_restart(fx);
	op = tagged(fx, CW_REMOVE, file, "f");
	assert_int_equal(cw_call(op), 0);
	assert_answered_again(op, false);
	assert_int_equal(cw_call(tagged(fx, CW_RMDIR, dir, "d")), 0);
	assert_int_equal(cw_call(tagged(fx, CW_REMOVE, 0, "f")), -ENOENT);
	assert_int_equal(cw_call(tagged(fx, CW_RMDIR, 0, "d")), -ENOENT);
	/* whoever took the name meanwhile keeps it */
	fx_create_ok(fx, fx->root, "f");
	assert_int_equal(cw_call(tagged(fx, CW_REMOVE, file, "f")), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "f"), 0);
	fx_restart(fx); /* and once more */
	assert_int_equal(cw_call(tagged(fx, CW_REMOVE, file, "f")), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "f"), 0);
}

static void
made_again(struct fx *fx, enum cw_opcode code, const char *name)
{
	struct cw_op *op = tagged(fx, code, 0, name);
	struct cw_attr attr;
	uint8_t tag = next_tag;

	op->name2 = "target";
	assert_int_equal(cw_call(op), 0);
	attr = op->attr;
	fx_restart(fx);
	op = tagged(fx, code, tag, name);
	op->name2 = "target";
	assert_int_equal(cw_call(op), 0);
	assert_answered_again(op, true);
	assert_true(op->attr.ino == attr.ino && op->attr.mode == attr.mode);
	op = tagged(fx, code, 0, name);
	op->name2 = "target";
	assert_int_equal(cw_call(op), -EEXIST);
	/* gone since: done all the same, with nothing to show */
	assert_int_equal(
	    fx_unlink(fx, code == CW_MKDIR ? CW_RMDIR : CW_REMOVE, &fx_root, fx->root, name), 0);
	op = tagged(fx, code, tag, name);
	op->name2 = "target";
	assert_int_equal(cw_call(op), 0);
	assert_answered_again(op, false);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, name), -ENOENT);
}

static void
what_was_made_is_shown_again(void **state)
{
	made_again(*state, CW_CREATE, "made-file");
	made_again(*state, CW_MKDIR, "made-dir");
	made_again(*state, CW_SYMLINK, "made-link");
}

static void
renames_are_answered_as_done(void **state)
{
	struct fx *fx = *state;
	uint64_t to = fx_mkdir_ok(fx, fx->root, "to"), f = fx_create_ok(fx, fx->root, "old");
	struct cw_op *op = tagged(fx, CW_RENAME, 0, "old");
	uint8_t tag = next_tag;

	op->ino2 = to;
	op->name2 = "new";
	assert_int_equal(cw_call(op), 0);
	fx_restart(fx);
	op = tagged(fx, CW_RENAME, tag, "old");
	op->ino2 = to;
	op->name2 = "new";
	assert_int_equal(cw_call(op), 0);
	assert_answered_again(op, false);
	assert_true(op->wcc[1].has_post && op->wcc[1].post.ino == to);
	assert_int_equal(fx_lookup(fx, &fx_root, to, "new"), 0);
	assert_true(fx->op.attr.ino == f);
	op = tagged(fx, CW_RENAME, 0, "old");
	op->ino2 = to;
	op->name2 = "new";
	assert_int_equal(cw_call(op), -ENOENT);
}

static void
what_failed_is_tried_again(void **state)
{
	struct fx *fx = *state;
	uint8_t tag;

	assert_int_equal(cw_call(tagged(fx, CW_REMOVE, 0, "late")), -ENOENT);
	tag = next_tag;
	fx_create_ok(fx, fx->root, "late");
	fx_restart(fx);
	assert_int_equal(cw_call(tagged(fx, CW_REMOVE, tag, "late")), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "late"), -ENOENT);
}

static void
tags_of_this_life_are_the_front_ends_business(void **state)
{
	struct fx *fx = *state;
	uint8_t tag;

	fx_create_ok(fx, fx->root, "twice");
	assert_int_equal(cw_call(tagged(fx, CW_REMOVE, 0, "twice")), 0);
	tag = next_tag;
	assert_int_equal(cw_call(tagged(fx, CW_REMOVE, tag, "twice")), -ENOENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(removals_are_answered_as_done),
	    cmocka_unit_test(what_was_made_is_shown_again),
	    cmocka_unit_test(renames_are_answered_as_done),
	    cmocka_unit_test(what_failed_is_tried_again),
	    cmocka_unit_test(tags_of_this_life_are_the_front_ends_business),
	};

	return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
