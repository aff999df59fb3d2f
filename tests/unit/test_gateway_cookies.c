/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cookies: a client that stopped at any cookie goes on and sees every entry that was there all the
 * time exactly once, whatever came and went meanwhile, over restarts too.
 */
#include "tests/unit/share_fixture.h"

struct listing {
	unsigned int max, n; /* entries a call */
	uint64_t last;
	bool eof;
	unsigned int seen[4096]; /* by the number in "eNNN" */
	unsigned int ndots;
};

static bool
take(struct cw_op *op, const struct cw_dirent *e)
{
	struct listing *l = op->ctx;
	unsigned int k;

	if (l->n == l->max)
		return false;
	assert_true(e->cookie > l->last);
	l->last = e->cookie;
	l->n++;
	if (e->name[0] == '.') {
		l->ndots++;
		assert_int_equal(e->cookie, l->ndots);
		return true;
	}
	k = (unsigned int)strtoul(e->name + 1, NULL, 10);
	assert_true(k < 4096);
	l->seen[k]++;
	return true;
}

static int
list_some(struct fx *fx, uint64_t dir, struct listing *l, unsigned int max)
{
	int r;

	l->n = 0;
	l->max = max;
	fx_op(fx, CW_READDIR, &fx_root, dir);
	fx->op.cookie = l->last;
	fx->op.emit = take;
	fx->op.ctx = l;
	r = cw_call(&fx->op);
	l->eof = fx->op.eof;
	return r;
}

static void
make(struct fx *fx, uint64_t dir, unsigned int k)
{
	char name[16];

	snprintf(name, sizeof(name), "e%u", k);
	fx_create_ok(fx, dir, name);
}

static void
drop(struct fx *fx, uint64_t dir, unsigned int k)
{
	char name[16];

	snprintf(name, sizeof(name), "e%u", k);
	assert_int_equal(fx_unlink(fx, CW_REMOVE, &fx_root, dir, name), 0);
}

static void
a_listing_survives_comings_and_goings(void **state)
{
	unsigned int seed = (unsigned int)clock_real_ns(), k, next = 600;
	struct listing *l = xcalloc(1, sizeof(*l));
	bool is_there[4096] = {false}, always[4096] = {false};
	struct fx *fx = *state;
	uint64_t dir = fx_mkdir_ok(fx, fx->root, "churn");

	print_message("seed %u\n", seed);
	for (k = 0; k < next; k++) {
		make(fx, dir, k);
		is_there[k] = always[k] = true;
	}
	while (!l->eof) {
		assert_int_equal(list_some(fx, dir, l, 1 + (unsigned int)rand_r(&seed) % 20), 0);
		for (k = 0; k < 20; k++) {
			unsigned int victim = (unsigned int)rand_r(&seed) % next;

			if (is_there[victim]) {
				drop(fx, dir, victim);
				is_there[victim] = always[victim] = false;
			}
		}
		for (k = 0; k < 4; k++) {
			make(fx, dir, next);
			is_there[next++] = true;
		}
		if (rand_r(&seed) % 16 == 0)
			fx_restart(fx);
	}
	assert_int_equal(l->ndots, 2);
	for (k = 0; k < 4096; k++) {
		assert_true(l->seen[k] <= 1);
		if (always[k])
			assert_int_equal(l->seen[k], 1);
	}
	free(l);
}

static void
cookies_are_not_used_again(void **state)
{
	struct listing *l = xcalloc(1, sizeof(*l));
	struct fx *fx = *state;
	uint64_t dir = fx_mkdir_ok(fx, fx->root, "again"), last;

	make(fx, dir, 1);
	make(fx, dir, 2);
	assert_int_equal(list_some(fx, dir, l, 100), 0);
	assert_true(l->eof);
	last = l->last;
	drop(fx, dir, 1);
	drop(fx, dir, 2);
	fx_restart(fx);
	make(fx, dir, 3);
	assert_int_equal(list_some(fx, dir, l, 100), 0);
	assert_int_equal(l->seen[3], 1); /* behind the cookie where the client stood */
	assert_true(l->last > last);
	free(l);
}

static void
a_cookie_that_never_was_is_refused(void **state)
{
	struct listing *l = xcalloc(1, sizeof(*l));
	struct fx *fx = *state;
	uint64_t dir = fx_mkdir_ok(fx, fx->root, "never");

	make(fx, dir, 1);
	l->last = 1000000;
	assert_int_equal(list_some(fx, dir, l, 100), -EBADCOOKIE);
	l->last = UINT64_MAX;
	assert_int_equal(list_some(fx, dir, l, 100), -EBADCOOKIE);
	free(l);
}

static void
a_full_reply_does_not_consume_the_entry(void **state)
{
	struct listing *l = xcalloc(1, sizeof(*l));
	struct fx *fx = *state;
	uint64_t dir = fx_mkdir_ok(fx, fx->root, "full");
	unsigned int i;

	for (i = 0; i < 5; i++)
		make(fx, dir, i);
	for (i = 0; i < 7; i++) {
		assert_false(l->eof);
		assert_int_equal(list_some(fx, dir, l, 1), 0);
		assert_int_equal(l->n, 1);
	}
	assert_true(l->eof);
	for (i = 0; i < 5; i++)
		assert_int_equal(l->seen[i], 1);
	free(l);
}

static void
a_renamed_entry_gets_a_cookie_of_its_own(void **state)
{
	struct listing *l = xcalloc(1, sizeof(*l));
	struct fx *fx = *state;
	uint64_t dir = fx_mkdir_ok(fx, fx->root, "renamed");

	make(fx, dir, 1);
	make(fx, dir, 2);
	assert_int_equal(list_some(fx, dir, l, 100), 0);
	assert_int_equal(fx_rename(fx, &fx_root, dir, "e1", dir, "e7"), 0);
	assert_int_equal(list_some(fx, dir, l, 100), 0);
	assert_int_equal(l->seen[7], 1);
	assert_int_equal(l->seen[2], 1);
	free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_listing_survives_comings_and_goings),
	    cmocka_unit_test(cookies_are_not_used_again),
	    cmocka_unit_test(a_cookie_that_never_was_is_refused),
	    cmocka_unit_test(a_full_reply_does_not_consume_the_entry),
	    cmocka_unit_test(a_renamed_entry_gets_a_cookie_of_its_own),
	};

	return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
