/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random work on a share while the store fails at random and the share restarts; in the end the
 * bucket must hold exactly the tree, and a gateway that has lost everything must show the same.
 * SYNC_SEED repeats a run, SYNC_STEPS sets its length.
 */
#include "tests/unit/sync_fixture.h"

#define NAMES 6
#define DEPTH 3
#define STEPS 1500

struct model {
	struct sx *sx;
	unsigned int seed;
	unsigned int nfiles, ndirs;
	struct strbuf seen; /* "\nkey" of everything the tree has */
};

static unsigned int
rnd(struct model *m, unsigned int n)
{
	return (unsigned int)rand_r(&m->seed) % n;
}

static void
random_name(struct model *m, char out[8])
{
	snprintf(out, 8, "n%u", rnd(m, NAMES));
}

/* random_dir - walk down from the root by chance. */
static uint64_t
random_dir(struct model *m)
{
	uint64_t dir = m->sx->fx.root;
	unsigned int i, depth = rnd(m, DEPTH + 1);
	char name[8];

	for (i = 0; i < depth; i++) {
		random_name(m, name);
		if (fx_lookup(&m->sx->fx, &fx_root, dir, name) == 0 &&
		    S_ISDIR(m->sx->fx.op.attr.mode))
			dir = m->sx->fx.op.attr.ino;
	}
	return dir;
}

static void
write_some(struct model *m, uint64_t ino)
{
	char buf[9000];
	uint32_t len = 1 + rnd(m, rnd(m, 4) == 0 ? sizeof(buf) : 50);

	memset(buf, 'a' + (int)rnd(m, 26), len);
	snprintf(buf, sizeof(buf), "%u", rnd(m, 1000000));
	(void)fx_write(&m->sx->fx, &fx_root, ino, rnd(m, 3) == 0 ? rnd(m, 20000) : 0, buf, len);
}

static void
work(struct model *m)
{
	struct fx *fx = &m->sx->fx;
	uint64_t dir = random_dir(m), dir2;
	char name[8], name2[8];

	random_name(m, name);
	switch (rnd(m, 12)) {
	case 0:
	case 1:
	case 2:
		if (fx_create(fx, &fx_root, dir, name, 0644) == 0)
			write_some(m, fx->op.attr.ino);
		break;
	case 3:
		(void)fx_mkdir(fx, &fx_root, dir, name, 0755);
		break;
	case 4:
	case 5:
		if (fx_lookup(fx, &fx_root, dir, name) == 0 && S_ISREG(fx->op.attr.mode)) {
			uint64_t ino = fx->op.attr.ino;

			write_some(m, ino);
			if (rnd(m, 4) == 0)
				(void)fx_truncate(fx, &fx_root, ino, rnd(m, 10000));
			if (rnd(m, 4) == 0)
				(void)fx_commit(fx, ino);
		}
		break;
	case 6:
		if (fx_lookup(fx, &fx_root, dir, name) == 0)
			(void)fx_chmod(fx, fx->op.attr.ino, 0700 + rnd(m, 64));
		break;
	case 7:
		(void)fx_unlink(fx, CW_REMOVE, &fx_root, dir, name);
		break;
	case 8:
		(void)fx_unlink(fx, CW_RMDIR, &fx_root, dir, name);
		break;
	default:
		dir2 = rnd(m, 2) ? dir : random_dir(m);
		random_name(m, name2);
		(void)fx_rename(fx, &fx_root, dir, name, dir2, name2);
	}
}

static void
trouble(struct model *m)
{
	static const int errs[] = {-ERR_STORE, -ERR_THROTTLED, -ERR_OFFLINE};
	static const enum objstore_opcode ops[] = {
	    OBJ_PUT, OBJ_COPY, OBJ_DELETE, OBJ_DELETE_MANY, OBJ_HEAD, OBJ_GET, OBJ_LIST};

	switch (rnd(m, 40)) {
	case 0:
	case 1:
	case 2:
		objstore_mem_fail_next(m->sx->bucket, ops[rnd(m, sizeof(ops) / sizeof(ops[0]))],
		    errs[rnd(m, 3)], rnd(m, 2), 1 + rnd(m, 3));
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		cw_share_drain(m->sx->fx.s);
		break;
	case 7:
		clock_sleep_ms(rnd(m, 5)); /* let it get somewhere: chance, not synchronisation */
		break;
	case 8:
		if (rnd(m, 8) == 0)
			sx_restart(m->sx);
		break;
	case 9:
		(void)cache_evict_all(m->sx->fx.cache);
		break;
	}
}

/* --- comparing ------------------------------------------------------------------------------------ */

struct names {
	char name[64][64];
	unsigned int n;
};

static bool
names_emit(struct cw_op *op, const struct cw_dirent *e)
{
	struct names *l = op->ctx;

	if (e->name[0] != '.' && l->n < 64)
		snprintf(l->name[l->n++], sizeof(l->name[0]), "%.*s", (int)e->name_len, e->name);
	return true;
}

static void
names_reset(struct cw_op *op)
{
	((struct names *)op->ctx)->n = 0;
}

static void
compare_file(struct model *m, const char *key, uint64_t ino, const struct cw_attr *a)
{
	size_t len = 0;
	char *object = objstore_mem_get(m->sx->bucket, key, &len, NULL), *buf, *meta, want[16];

	if (object == NULL)
		fail_msg("seed: no object %s", key);
	if (len != a->size)
		fail_msg(
		    "%s: object has %zu bytes, file %llu", key, len, (unsigned long long)a->size);
	buf = xcalloc(1, len + 1);
	if (len > 0) {
		assert_int_equal(fx_read(&m->sx->fx, &fx_root, ino, 0, buf, (uint32_t)len), 0);
		assert_int_equal(m->sx->fx.op.count_done, len);
		for (size_t i = 0; i < len; i++)
			if (buf[i] != object[i])
				fail_msg("%s: content differs at %zu of %zu: %02x in the bucket, "
					 "%02x here",
				    key, i, len, (uint8_t)object[i], (uint8_t)buf[i]);
	}
	snprintf(want, sizeof(want), "%07o", a->mode);
	meta = objstore_mem_get_meta(m->sx->bucket, key, "file-permissions");
	assert_non_null(meta);
	if (strcmp(meta, want) != 0)
		fail_msg("%s: mode %s, want %s", key, meta, want);
	free(meta);
	free(buf);
	free(object);
}

static void
compare_dir(struct model *m, uint64_t dir, const char *prefix)
{
	struct names *l = xcalloc(1, sizeof(*l));
	struct cw_op *op = fx_op(&m->sx->fx, CW_READDIR, &fx_root, dir);
	unsigned int i;

	op->emit = names_emit;
	op->emit_reset = names_reset;
	op->ctx = l;
	assert_int_equal(cw_call(op), 0);
	for (i = 0; i < l->n; i++) {
		uint64_t ino = sx_ino(m->sx, dir, l->name[i]);
		struct cw_attr a = m->sx->fx.op.attr;
		char *key = xasprintf("%s%s%s", prefix, l->name[i], S_ISDIR(a.mode) ? "/" : "");

		strbuf_addf(&m->seen, "\n%s\n", key);
		if (S_ISDIR(a.mode)) {
			m->ndirs++;
			if (!sx_exists(m->sx, key))
				fail_msg("no marker %s", key);
			compare_dir(m, ino, key);
		} else {
			m->nfiles++;
			compare_file(m, key, ino, &a);
		}
		free(key);
	}
	free(l);
}

static void
compare(struct model *m)
{
	size_t i, nprobes = 0;
	char *key;

	m->nfiles = m->ndirs = 0;
	strbuf_reset(&m->seen);
	compare_dir(m, m->sx->fx.root, "p/");
	for (i = 0; (key = objstore_mem_key_at(m->sx->bucket, i)) != NULL; i++) {
		nprobes += strstr(key, "/.causeway-probe-") != NULL; /* when its deletion failed */
		free(key);
	}
	if (objstore_mem_objects(m->sx->bucket) != m->nfiles + m->ndirs + nprobes) {
		for (i = 0; (key = objstore_mem_key_at(m->sx->bucket, i)) != NULL; i++) {
			char *line = xasprintf("\n%s\n", key);

			if (strstr(strbuf_str(&m->seen), line) == NULL)
				fprintf(stderr, "unwanted object %s\n", key);
			free(line);
			free(key);
		}
		fail_msg("%zu objects, %u files, %u directories",
		    objstore_mem_objects(m->sx->bucket), m->nfiles, m->ndirs);
	}
}

static void
the_bucket_converges_to_the_tree_whatever_happens(void **state)
{
	struct model m = {.sx = *state, .seed = (unsigned int)clock_real_ns()};
	const char *seed = getenv("SYNC_SEED"), *steps = getenv("SYNC_STEPS");
	int i, n = steps != NULL ? atoi(steps) : STEPS;

	if (seed != NULL)
		m.seed = (unsigned int)strtoul(seed, NULL, 10);
	printf("seed %u\n", m.seed);
	for (i = 0; i < n; i++) {
		work(&m);
		trouble(&m);
		if (i % 500 == 499) {
			objstore_mem_fail_next(m.sx->bucket, OBJ_OP_MAX, 0, false, 0);
			for (int op = 0; op < OBJ_OP_MAX; op++)
				objstore_mem_fail_next(
				    m.sx->bucket, (enum objstore_opcode)op, 0, false, 0);
			sx_sync(m.sx);
			compare(&m);
		}
	}
	for (int op = 0; op <= OBJ_OP_MAX; op++)
		objstore_mem_fail_next(m.sx->bucket, (enum objstore_opcode)op, 0, false, 0);
	sx_sync(m.sx);
	compare(&m);
	assert_false(sx_has_event(m.sx, "conflict", ""));
	printf("%u files, %u directories, %llu requests\n", m.nfiles, m.ndirs,
	    (unsigned long long)objstore_mem_count(m.sx->bucket, OBJ_OP_MAX));
	sx_forget(m.sx);
	compare(&m);
	assert_int_equal(sx_pending(m.sx), 0);
	strbuf_free(&m.seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		the_bucket_converges_to_the_tree_whatever_happens, sx_setup, sx_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
