/* SPDX-License-Identifier: Apache-2.0 */
/* The duplicate-request cache: one run per call, one answer for each repetition, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "frontends/nfs/drc.h"
#include "gateway/base/clock.h"

static uint64_t now_ns = 1000000000;

static uint64_t
fake_mono(void)
{
	return now_ns;
}

static int64_t
fake_real(void)
{
	return (int64_t)now_ns;
}

static const struct clock_ops fake_clock = {fake_mono, fake_real};
static struct drc *d;
static struct loop *loop;
static int nposted;

static void
count_post(struct loop_task *t)
{
	(void)t;
	nposted++;
	loop_stop(loop);
}

static int
setup(void **state)
{
	(void)state;
	clock_install(&fake_clock);
	d = drc_new(4096, 60);
	nposted = 0;
	return loop_new("test", 0, &loop);
}

static int
teardown(void **state)
{
	(void)state;
	drc_free(d);
	loop_free(loop);
	clock_install(NULL);
	return 0;
}

static enum drc_verdict
begin(uint32_t xid, uint64_t origin, struct drc_waiter *w, struct drc_entry **e, char *reply)
{
	struct drc_key key = {
	    .addr = {10, 0, 0, 1}, .xid = xid, .proc = 8, .len = 100, .checksum = 5};
	enum drc_verdict v;
	void *bytes;
	uint32_t len;

	memset(w, 0, sizeof(*w));
	w->loop = loop;
	w->task.fn = count_post;
	w->origin = origin;
	v = drc_begin(d, &key, w, e, &bytes, &len);
	reply[0] = '\0';
	if (v == DRC_REPLAY) {
		memcpy(reply, bytes, len);
		reply[len] = '\0';
		free(bytes);
	}
	return v;
}

static void
a_repetition_gets_the_first_answer(void **state)
{
	struct drc_entry *e, *none;
	struct drc_waiter w;
	char reply[16];

	(void)state;
	assert_int_equal(begin(1, 1, &w, &e, reply), DRC_NEW);
	drc_end(d, e, "done", 4, true);
	assert_int_equal(begin(1, 2, &w, &none, reply), DRC_REPLAY);
	assert_string_equal(reply, "done");
	assert_int_equal(begin(2, 2, &w, &e, reply), DRC_NEW);
	drc_end(d, e, "other", 5, true);
}

static void
other_peer_procedure_or_arguments_are_another_call(void **state)
{
	struct drc_key key = {
	    .addr = {10, 0, 0, 1}, .xid = 1, .proc = 8, .len = 100, .checksum = 5};
	struct drc_waiter w = {.loop = loop, .origin = 1};
	struct drc_entry *e;
	void *bytes;
	uint32_t len;

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct drc_key k = key;

		k.addr[3] += i == 1;
		k.proc += i == 2;
		k.len += i == 3;
		k.checksum += i == 4;
		assert_int_equal(drc_begin(d, &k, &w, &e, &bytes, &len), DRC_NEW);
		drc_end(d, e, "x", 1, true);
	}
}

static void
while_in_progress_the_newest_connection_waits(void **state)
{
	struct drc_entry *e, *none;
	struct drc_waiter w1, w2, w3;
	char reply[16];

	(void)state;
	assert_int_equal(begin(1, 1, &w1, &e, reply), DRC_NEW);
	assert_int_equal(begin(1, 1, &w2, &none, reply), DRC_DROP);
	assert_int_equal(begin(1, 2, &w2, &none, reply), DRC_WAIT);
	assert_int_equal(begin(1, 3, &w3, &none, reply), DRC_WAIT);
	drc_end(d, e, "done", 4, true);
	loop_run(loop); /* both tasks lie in one batch */
	assert_int_equal(nposted, 2);
	assert_null(w2.reply); /* its place was taken */
	assert_int_equal(w3.reply_len, 4);
	assert_memory_equal(w3.reply, "done", 4);
	free(w3.reply);
}

static void
an_answer_that_says_later_is_not_kept(void **state)
{
	struct drc_entry *e;
	struct drc_waiter w;
	char reply[16];

	(void)state;
	assert_int_equal(begin(1, 1, &w, &e, reply), DRC_NEW);
	drc_end(d, e, "jukebox", 7, false);
	assert_int_equal(begin(1, 2, &w, &e, reply), DRC_NEW);
	drc_end(d, e, "ok", 2, true);
}

static void
bounded_in_bytes_and_age(void **state)
{
	struct drc_entry *e, *slow;
	struct drc_waiter w;
	char reply[16];

	(void)state;
	assert_int_equal(begin(0, 1, &w, &slow, reply), DRC_NEW);
	for (uint32_t xid = 1; xid <= 1000; xid++) {
		assert_int_equal(begin(xid, 1, &w, &e, reply), DRC_NEW);
		drc_end(d, e, "0123456789", 10, true);
		assert_true(drc_bytes(d) < 4096 + 512);
	}
	assert_int_equal(begin(1000, 2, &w, &e, reply), DRC_REPLAY);
	assert_int_equal(begin(1, 2, &w, &e, reply), DRC_NEW); /* forgotten */
	drc_end(d, e, "x", 1, true);
	assert_int_equal(begin(0, 1, &w, &e, reply), DRC_DROP); /* in progress: never forgotten */
	now_ns += 61ull * 1000000000;
	assert_int_equal(begin(1000, 2, &w, &e, reply), DRC_NEW);
	drc_end(d, e, "x", 1, true);
	drc_end(d, slow, "x", 1, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_repetition_gets_the_first_answer, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		other_peer_procedure_or_arguments_are_another_call, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		while_in_progress_the_newest_connection_waits, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_answer_that_says_later_is_not_kept, setup, teardown),
	    cmocka_unit_test_setup_teardown(bounded_in_bytes_and_age, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
