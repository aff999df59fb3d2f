/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on a share against a simple model of a file system, with restarts in between.
 * CW_TEST_SEED repeats a run, CW_TEST_OPS sets its length.
 */
#include "tests/unit/share_fixture.h"

#define MAX 400 /* nodes alive */
#define FILE_MAX_LEN 70000
#define NAMES 12 /* few, so that they collide */

struct obj {
	bool is_used;
	uint32_t type; /* S_IFREG, S_IFDIR, S_IFLNK */
	uint32_t mode;
	int parent; /* index; the root is its own */
	char name[8];
	uint64_t ino;
	uint8_t *data;
	size_t len;
};

struct model {
	struct fx *fx;
	struct obj obj[MAX];
	unsigned int seed;
	unsigned int ops;
};

static unsigned int
rnd(struct model *m, unsigned int n)
{
	return (unsigned int)rand_r(&m->seed) % n;
}

static int
child(const struct model *m, int dir, const char *name)
{
	int i;

	for (i = 1; i < MAX; i++)
		if (m->obj[i].is_used && m->obj[i].parent == dir &&
		    strcmp(m->obj[i].name, name) == 0)
			return i;
	return -1;
}

static bool
is_empty(const struct model *m, int dir)
{
	int i;

	for (i = 1; i < MAX; i++)
		if (m->obj[i].is_used && m->obj[i].parent == dir)
			return false;
	return true;
}

static bool
is_inside(const struct model *m, int i, int top)
{
	for (; i != 0; i = m->obj[i].parent)
		if (i == top)
			return true;
	return top == 0;
}

static int
pick(struct model *m, uint32_t type)
{
	int i, n = 0, found = -1;

	for (i = 0; i < MAX; i++)
		if (m->obj[i].is_used && (type == 0 || m->obj[i].type == type) &&
		    rnd(m, (unsigned int)++n) == 0)
			found = i;
	return found;
}

static void
pick_name(struct model *m, char name[8])
{
	snprintf(name, 8, "n%u", rnd(m, NAMES));
}

static void
forget(struct model *m, int i)
{
	free(m->obj[i].data);
	memset(&m->obj[i], 0, sizeof(m->obj[i]));
}

static void
do_make(struct model *m)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFDIR, S_IFLNK};
	static const enum cw_opcode codes[] = {CW_CREATE, CW_CREATE, CW_MKDIR, CW_SYMLINK};
	unsigned int k = rnd(m, 4);
	int dir = pick(m, S_IFDIR), i, want = 0;
	struct cw_op *op;
	char name[8];

	for (i = 1; i < MAX && m->obj[i].is_used; i++)
		;
	if (i == MAX)
		return;
	pick_name(m, name);
	if (child(m, dir, name) >= 0)
		want = -EEXIST;
	op = fx_op(m->fx, codes[k], &fx_root, m->obj[dir].ino);
	op->name = name;
	op->name2 = "somewhere";
	op->create_mode = CW_CREATE_GUARDED;
	op->sattr.mask = CW_SET_MODE;
	op->sattr.mode = rnd(m, 01000);
	assert_int_equal(cw_call(op), want);
	if (want < 0)
		return;
	m->obj[i] = (struct obj){.is_used = true, .type = types[k], .parent = dir};
	m->obj[i].mode = k == 3 ? 0777 : op->sattr.mode;
	m->obj[i].ino = op->attr.ino;
	snprintf(m->obj[i].name, sizeof(m->obj[i].name), "%s", name);
	assert_int_equal(op->attr.mode, types[k] | m->obj[i].mode);
}

static void
do_remove(struct model *m)
{
	int dir = pick(m, S_IFDIR), i, want = 0;
	bool rmdir_it = rnd(m, 3) == 0;
	char name[8];

	pick_name(m, name);
	i = child(m, dir, name);
	if (i < 0)
		want = -ENOENT;
	else if (rmdir_it && m->obj[i].type != S_IFDIR)
		want = -ENOTDIR;
	else if (!rmdir_it && m->obj[i].type == S_IFDIR)
		want = -EISDIR;
	else if (rmdir_it && !is_empty(m, i))
		want = -ENOTEMPTY;
	assert_int_equal(
	    fx_unlink(m->fx, rmdir_it ? CW_RMDIR : CW_REMOVE, &fx_root, m->obj[dir].ino, name),
	    want);
	if (want == 0)
		forget(m, i);
}

static int
rename_want(const struct model *m, int from, int dir2, int to)
{
	bool from_dir;

	if (from < 0)
		return -ENOENT;
	if (from == to)
		return 0;
	from_dir = m->obj[from].type == S_IFDIR;
	if (from_dir && is_inside(m, dir2, from))
		return -EINVAL;
	if (to < 0)
		return 0;
	if (from_dir && m->obj[to].type != S_IFDIR)
		return -ENOTDIR;
	if (!from_dir && m->obj[to].type == S_IFDIR)
		return -EISDIR;
	return m->obj[to].type == S_IFDIR && !is_empty(m, to) ? -ENOTEMPTY : 0;
}

static void
do_rename(struct model *m)
{
	int dir = pick(m, S_IFDIR), dir2 = pick(m, S_IFDIR), from, to, want;
	char name[8], name2[8];

	pick_name(m, name);
	pick_name(m, name2);
	from = child(m, dir, name);
	to = child(m, dir2, name2);
	want = rename_want(m, from, dir2, to);
	assert_int_equal(
	    fx_rename(m->fx, &fx_root, m->obj[dir].ino, name, m->obj[dir2].ino, name2), want);
	if (want < 0 || from == to)
		return;
	if (to >= 0)
		forget(m, to);
	m->obj[from].parent = dir2;
	snprintf(m->obj[from].name, sizeof(m->obj[from].name), "%s", name2);
}

static void
set_len(struct obj *o, size_t len)
{
	if (len > o->len) {
		o->data = xrealloc(o->data, len);
		memset(o->data + o->len, 0, len - o->len);
	}
	o->len = len;
}

static void
do_write(struct model *m)
{
	static uint8_t buf[20000];
	int i = pick(m, S_IFREG);
	uint32_t len, k;
	uint64_t off;

	if (i < 0)
		return;
	len = 1 + rnd(m, rnd(m, 4) == 0 ? sizeof(buf) : 600);
	off = rnd(m, FILE_MAX_LEN - len);
	for (k = 0; k < len; k++)
		buf[k] = (uint8_t)rand_r(&m->seed);
	fx_op(m->fx, CW_WRITE, &fx_root, m->obj[i].ino);
	m->fx->op.offset = off;
	m->fx->op.count = len;
	m->fx->op.buf = buf;
	m->fx->op.stable = rnd(m, 4) == 0;
	assert_int_equal(cw_call(&m->fx->op), 0);
	if (off + len > m->obj[i].len)
		set_len(&m->obj[i], off + len);
	memcpy(m->obj[i].data + off, buf, len);
	assert_int_equal(m->fx->op.attr.size, m->obj[i].len);
}

static void
do_truncate(struct model *m)
{
	int i = pick(m, S_IFREG);
	size_t len;

	if (i < 0)
		return;
	len = rnd(m, FILE_MAX_LEN);
	assert_int_equal(fx_truncate(m->fx, &fx_root, m->obj[i].ino, len), 0);
	set_len(&m->obj[i], len);
}

static void
check_content(struct model *m, int i)
{
	static uint8_t buf[FILE_MAX_LEN + 100];
	struct obj *o = &m->obj[i];
	uint64_t off = rnd(m, FILE_MAX_LEN);
	uint32_t len = 1 + rnd(m, FILE_MAX_LEN), want;

	if (rnd(m, 2))
		off = 0;
	want = off >= o->len ? 0 : o->len - off < len ? (uint32_t)(o->len - off) : len;
	assert_int_equal(fx_read(m->fx, &fx_root, o->ino, off, buf, len), 0);
	assert_int_equal(m->fx->op.count_done, want);
	assert_int_equal(m->fx->op.eof, off + want >= o->len);
	if (want > 0)
		assert_memory_equal(buf, o->data + off, want);
}

static void
do_look(struct model *m)
{
	int i = pick(m, 0);
	struct obj *o = &m->obj[i];

	assert_int_equal(
	    fx_lookup(m->fx, &fx_root, m->obj[o->parent].ino, i == 0 ? "." : o->name), 0);
	assert_int_equal(m->fx->op.attr.ino, o->ino);
	if (i != 0)
		assert_int_equal(m->fx->op.attr.mode, o->type | o->mode);
	if (o->type == S_IFREG) {
		assert_int_equal(m->fx->op.attr.size, o->len);
		check_content(m, i);
	}
}

static void
do_chmod(struct model *m)
{
	int i = pick(m, 0);

	if (i == 0 || m->obj[i].type == S_IFLNK)
		return;
	m->obj[i].mode = rnd(m, 01000);
	assert_int_equal(fx_chmod(m->fx, m->obj[i].ino, m->obj[i].mode), 0);
}

struct listed {
	struct model *m;
	int dir;
	unsigned int n;
};

static bool
check_entry(struct cw_op *op, const struct cw_dirent *e)
{
	struct listed *l = op->ctx;
	int i;

	if (e->name[0] == '.')
		return true;
	i = child(l->m, l->dir, e->name);
	assert_true(i > 0);
	assert_int_equal(l->m->obj[i].ino, e->ino);
	assert_non_null(e->attr);
	assert_int_equal(e->attr->mode, l->m->obj[i].type | l->m->obj[i].mode);
	l->n++;
	return true;
}

static void
do_list(struct model *m)
{
	struct listed l = {.m = m, .dir = pick(m, S_IFDIR)};
	unsigned int want = 0;
	int i;

	fx_op(m->fx, CW_READDIR, &fx_root, m->obj[l.dir].ino);
	m->fx->op.emit = check_entry;
	m->fx->op.ctx = &l;
	m->fx->op.want_attrs = true;
	assert_int_equal(cw_call(&m->fx->op), 0);
	assert_true(m->fx->op.eof);
	for (i = 1; i < MAX; i++)
		want += m->obj[i].is_used && m->obj[i].parent == l.dir;
	assert_int_equal(l.n, want);
}

/* restart - commits what is un-synced, so all of the model must be there afterwards. */
static void
do_restart(struct model *m)
{
	int i;

	fx_restart(m->fx);
	for (i = 1; i < MAX; i++) {
		if (!m->obj[i].is_used)
			continue;
		assert_int_equal(fx_getattr(m->fx, m->obj[i].ino), 0);
		if (m->obj[i].type == S_IFREG)
			check_content(m, i);
	}
}

static void
the_share_does_what_the_model_does(void **state)
{
	static void (*const steps[])(struct model *) = {do_make, do_make, do_make, do_remove,
	    do_rename, do_rename, do_write, do_write, do_write, do_truncate, do_look, do_look,
	    do_chmod, do_list};
	const char *seed = getenv("CW_TEST_SEED"), *ops = getenv("CW_TEST_OPS");
	struct model *m = xcalloc(1, sizeof(*m));
	unsigned int i, n = ops != NULL ? (unsigned int)strtoul(ops, NULL, 10) : 6000;

	m->fx = *state;
	m->seed =
	    seed != NULL ? (unsigned int)strtoul(seed, NULL, 10) : (unsigned int)clock_real_ns();
	print_message("seed %u\n", m->seed);
	m->obj[0] = (struct obj){.is_used = true, .type = S_IFDIR, .ino = m->fx->root};
	for (i = 0; i < n; i++) {
		if (rnd(m, 1500) == 0)
			do_restart(m);
		steps[rnd(m, sizeof(steps) / sizeof(steps[0]))](m);
	}
	do_restart(m);
	for (i = 0; i < MAX; i++)
		free(m->obj[i].data);
	free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_share_does_what_the_model_does),
	};

	return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
