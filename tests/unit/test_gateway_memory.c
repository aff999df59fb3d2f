/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file costs in memory, and how long a start takes.  CW_TEST_NODES=1000000 gives the figures of
 * gateway/DESIGN.md; by default it is a tenth of that.
 */
#include <malloc.h>

#include "gateway/node.h"
#include "tests/unit/share_fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

#define PER_DIR 500u
#define NODE_BYTES_MAX 560 /* SQLite's page cache, up to 64 MiB, is counted too */

static unsigned int
count(void)
{
	const char *text = getenv("CW_TEST_NODES");

	return text != NULL ? (unsigned int)strtoul(text, NULL, 10) : 100000;
}

static uint64_t
heap(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static uint64_t
resident(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f != NULL) {
		if (fscanf(f, "%*s %lu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* a file as an upload leaves it: key and ETag known, nothing local */
static void
add_file(struct cw_share *s, struct node *dir, unsigned int i)
{
	struct node *n = node_new(s, S_IFREG | 0644);
	char name[64], key[CW_KEY_MAX + 2];

	snprintf(name, sizeof(name), "IMG_%06u.jpeg", i);
	node_attach(s, dir, n, name, strlen(name));
	assert_true(node_key(s, n, key) > 0);
	n->size = n->remote.size = i;
	n->remote.key = xstrdup(key);
	n->remote.etag = xstrdup("5d41402abc4b2a76b9719d911017c592");
	n->remote.data_seq = n->data_seq = 1;
	n->remote.attr_seq = n->attr_seq = 1;
	node_changed(s, n);
}

static void
a_file_costs_what_the_design_says(void **state)
{
	unsigned int n = count(), i;
	struct node *root, *dir = NULL;
	struct fx *fx = *state;
	uint64_t before, after, start;
	char name[64];

	assert_int_equal(fx_getattr(fx, fx->root), 0);
	for (i = 0; i < n; i++) {
		share_lock(fx->s);
		root = node_by_ino(fx->s, fx->root);
		if (i % PER_DIR == 0) {
			dir = node_new(fx->s, S_IFDIR | 0755);
			dir->flags |= NODE_LISTED | NODE_NO_MARKER;
			snprintf(name, sizeof(name), "photos-of-%04u", i / PER_DIR);
			node_attach(fx->s, root, dir, name, strlen(name));
			node_changed(fx->s, dir);
		}
		add_file(fx->s, dir, i);
		share_unlock(fx->s);
	}
	share_lock(fx->s);
	root = node_by_ino(fx->s, fx->root);
	root->flags |= NODE_LISTED;
	node_changed(fx->s, root);
	share_unlock(fx->s);
	start = clock_mono_ms();
	assert_int_equal(cache_commit_sync(fx->s->space), 0);
	print_message(
	    "%u rows committed in %llu ms\n", n, (unsigned long long)(clock_mono_ms() - start));
	fx_stop(fx);
	malloc_trim(0);
	before = heap();
	start = clock_mono_ms();
	fx_start(fx);
	print_message("loaded in %llu ms\n", (unsigned long long)(clock_mono_ms() - start));
	after = heap();
	print_message("%llu bytes a node, %llu MiB resident\n",
	    (unsigned long long)((after - before) / n), (unsigned long long)(resident() >> 20));
	if (!IS_SANITIZED)
		assert_true((after - before) / n <= NODE_BYTES_MAX);
	assert_true(fx->s->nnodes >= n);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->root, "photos-of-0000"), 0);
	assert_int_equal(fx_lookup(fx, &fx_root, fx->op.attr.ino, "IMG_000007.jpeg"), 0);
	assert_int_equal(fx->op.attr.size, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_file_costs_what_the_design_says),
	};

	return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
