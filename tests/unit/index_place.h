/* SPDX-License-Identifier: Apache-2.0 */
/* index_place.h - a directory of its own for each test of the index. */
#ifndef TESTS_INDEX_PLACE_H
#define TESTS_INDEX_PLACE_H

#include "tests/unit/cache_fixture.h"

struct place {
	char dir[64], path[96], copy[96];
};

static inline int
setup(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));

	snprintf(p->dir, sizeof(p->dir), "/tmp/cw-index-test-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/index.db", p->dir);
	snprintf(p->copy, sizeof(p->copy), "%s/copy.db", p->dir);
	*state = p;
	return 0;
}

static inline int
teardown(void **state)
{
	struct place *p = *state;

	testdir_remove(p->dir);
	free(p);
	return 0;
}

static inline int
try_open(const char *path, struct index **ix, char *text, size_t cap)
{
	bool is_new;

	return index_open(path, true, ix, &is_new, text, cap);
}

static inline struct index *
open_ok(const char *path)
{
	struct index *ix;
	char text[512];

	assert_int_equal(try_open(path, &ix, text, sizeof(text)), 0);
	return ix;
}

static inline void
apply(struct index *ix, struct index_txn *t)
{
	assert_int_equal(index_apply(ix, t), 0);
	index_txn_free(t);
}

#endif
