/* SPDX-License-Identifier: Apache-2.0 */
/* The task set: order, aborts, resets, tasks on several loops. */
#include "tests/unit/scsi_fixture.h"

static uint8_t buf[4096];
static const uint8_t write1[10] = {0x2a, 0, 0, 0, 0, 0, 0, 0, 1};
static const uint8_t read1[10] = {0x28, 0, 0, 0, 0, 0, 0, 0, 1};

static struct io *
send_io(struct scsi_nexus *n, const uint8_t cdb[10], enum scsi_attr attr)
{
	struct io *io = io_new(n, cdb, 10, buf, 512, 512);

	io->t.attr = attr;
	io_send(io);
	return io;
}

static bool
has_ended(struct io *io)
{
	int value;

	sem_getvalue(&io->ended, &value);
	return value > 0;
}

/* All that was posted to a loop so far has run. */
static void
settle(struct scsi_nexus *n)
{
	on_loop(n->loop, nothing, NULL);
	on_loop(n->loop, nothing, NULL);
}

static void
an_ordered_task_waits_and_is_waited_for(void **state)
{
	struct io *first, *ordered, *behind, *head, *other;

	(void)state;
	fake_is_held = true;
	first = send_io(a, write1, SCSI_SIMPLE);
	ordered = send_io(a, write1, SCSI_ORDERED);
	behind = send_io(a, write1, SCSI_SIMPLE);
	settle(a);
	assert_int_equal(fake_nheld, 1);
	fake_is_held = false;
	head = send_io(a, read1, SCSI_HEAD_OF_QUEUE);
	io_take(head); /* waits for nobody */
	assert_int_equal(r.status, SCSI_GOOD);
	other = send_io(b, read1, SCSI_SIMPLE); /* a task set of its own */
	io_take(other);
	assert_int_equal(r.status, SCSI_GOOD);
	assert_false(has_ended(ordered) || has_ended(behind));
	fake_is_async = true;
	fake_release();
	io_take(behind);
	assert_int_equal(r.status, SCSI_GOOD);
	assert_true(has_ended(first) && has_ended(ordered));
	io_take(first);
	io_take(ordered);
	assert_int_equal(r.status, SCSI_GOOD);
	/* alone it runs at once */
	io_take(send_io(a, write1, SCSI_ORDERED));
	assert_int_equal(r.status, SCSI_GOOD);
	io_take(send_io(a, write1, SCSI_ACA));
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_MESSAGE);
}

static void
many_blocked_tasks_run_without_recursion(void **state)
{
	struct io *io[200];

	(void)state;
	fake_is_held = true;
	for (int i = 0; i < 200; i++)
		io[i] = send_io(a, write1, i % 3 == 0 ? SCSI_ORDERED : SCSI_SIMPLE);
	settle(a);
	assert_int_equal(fake_nheld, 1);
	fake_release();
	for (int i = 0; i < 200; i++) {
		io_take(io[i]);
		assert_int_equal(r.status, SCSI_GOOD);
	}
}

static void
abort_task_waits_for_a_write_and_says_so(void **state)
{
	struct io *write;
	struct tmf_call c;

	(void)state;
	fake_is_held = true;
	write = send_io(a, write1, SCSI_SIMPLE);
	settle(a);
	assert_int_equal(tmf(a, SCSI_ABORT_TASK, 4711), SCSI_TMF_NO_TASK);
	tmf_send(&c, a, SCSI_ABORT_TASK, write->t.tag);
	settle(a);
	assert_int_equal(sem_trywait(&c.ended), -1); /* the write could still land */
	fake_release();
	sem_wait(&c.ended);
	assert_int_equal(c.result, SCSI_TMF_COMPLETE);
	sem_destroy(&c.ended);
	assert_true(has_ended(write));
	io_take(write);
	assert_true(r.is_aborted);
	/* it is gone */
	assert_int_equal(tmf(a, SCSI_ABORT_TASK, next_tag), SCSI_TMF_NO_TASK);
}

static void
an_aborted_read_is_not_waited_for(void **state)
{
	struct io *read;

	(void)state;
	fake_is_held = true;
	read = send_io(a, read1, SCSI_SIMPLE);
	settle(a);
	assert_int_equal(tmf(a, SCSI_ABORT_TASK, read->t.tag), SCSI_TMF_COMPLETE);
	assert_false(has_ended(read));
	fake_release();
	io_take(read);
	assert_true(r.is_aborted);
	assert_int_equal(r.in_len, 0);
}

static void
tasks_that_wait_are_aborted_at_once(void **state)
{
	struct io *gathering, *first, *blocked;

	(void)state;
	gathering = io_new(a, write1, 10, buf, 512, 0);
	gathering->is_gathering = true;
	io_send(gathering);
	assert_int_equal(tmf(a, SCSI_ABORT_TASK, gathering->t.tag), SCSI_TMF_COMPLETE);
	assert_true(has_ended(gathering));
	io_take(gathering);
	assert_true(r.is_aborted);
	fake_is_held = true;
	first = send_io(a, read1, SCSI_SIMPLE);
	blocked = send_io(a, write1, SCSI_ORDERED);
	settle(a);
	assert_int_equal(tmf(a, SCSI_ABORT_TASK_SET, 0), SCSI_TMF_COMPLETE);
	io_take(blocked);
	assert_true(r.is_aborted);
	fake_release();
	io_take(first);
	assert_true(r.is_aborted);
	/* the set is empty: an ordered task runs */
	io_take(send_io(a, write1, SCSI_ORDERED));
	assert_int_equal(r.status, SCSI_GOOD);
}

static void
abandon_on_loop(void *arg)
{
	struct io *io = arg;

	scsi_task_abandon(&io->t);
}

static void
an_abandoned_task_lets_others_go_on(void **state)
{
	struct io *gathering, *behind;

	(void)state;
	gathering = io_new(a, write1, 10, buf, 512, 0);
	gathering->t.attr = SCSI_ORDERED;
	gathering->is_gathering = true;
	io_send(gathering);
	behind = send_io(a, write1, SCSI_SIMPLE);
	settle(a);
	assert_false(has_ended(behind));
	on_loop(a->loop, abandon_on_loop, gathering);
	io_take(behind);
	assert_int_equal(r.status, SCSI_GOOD);
	assert_false(has_ended(gathering));
	io_free(gathering);
}

/* iscsi-test-cu MultipathIO.Reset: every nexus hears of it, the one that asked, too */
static void
a_reset_reaches_all_nexuses(void **state)
{
	struct io *mine, *theirs;
	struct tmf_call c;

	(void)state;
	fake_is_held = true;
	mine = send_io(a, write1, SCSI_SIMPLE);
	theirs = send_io(b, write1, SCSI_SIMPLE);
	settle(a);
	settle(b);
	tmf_send(&c, a, SCSI_LUN_RESET, 0);
	settle(a);
	settle(b);
	assert_int_equal(sem_trywait(&c.ended), -1);
	fake_release();
	sem_wait(&c.ended);
	assert_int_equal(c.result, SCSI_TMF_COMPLETE);
	sem_destroy(&c.ended);
	io_take(mine);
	assert_true(r.is_aborted);
	io_take(theirs);
	assert_false(r.is_aborted);
	assert_int_equal(r.status, SCSI_TASK_ABORTED);
	CHECK(a, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_LUN_RESET, 0, 0, 0, 0, 0, 0);
	CHECK(b, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_LUN_RESET, 0, 0, 0, 0, 0, 0);
	GOOD(a, NULL, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(tmf(b, SCSI_TARGET_RESET, 0), SCSI_TMF_COMPLETE);
	CHECK(a, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_LUN_RESET, 0, 0, 0, 0, 0, 0);
	clear_ua(b);
	assert_int_equal(tmf(a, SCSI_CLEAR_ACA, 0), SCSI_TMF_NOT_SUPPORTED);
	assert_int_equal(tmf(a, SCSI_CLEAR_TASK_SET, 0), SCSI_TMF_COMPLETE);
}

static void
work_on_a_worker_gives_up_when_aborted(void **state)
{
	const uint8_t verify[10] = {0x2f, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	struct io *io = io_new(a, verify, 10, NULL, 0, 0);

	(void)state;
	fake_reads = 0;
	fake_is_held = true;
	io_send(io);
	settle(a);
	assert_int_equal(tmf(a, SCSI_ABORT_TASK, io->t.tag), SCSI_TMF_COMPLETE);
	fake_is_held = false;
	io_take(io);
	assert_true(r.is_aborted);
	assert_in_range(atomic_load(&fake_reads), 0, 1); /* of 32 pieces */
}

/* Both loops busy, resets and reservations between: nothing is lost, nothing hangs. For ThreadSanitizer. */
static void
two_nexuses_under_resets_and_reservations(void **state)
{
	struct io *io[2][16];
	uint8_t register_[10] = {0x5f, PR_REGISTER_IGNORE, [8] = 24},
		preempt[10] = {0x5f, PR_PREEMPT_ABORT, 5, [8] = 24};
	uint8_t list[24] = {0};

	(void)state;
	fake_is_async = true;
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 16; i++) {
			io[0][i] = send_io(
			    a, i % 2 ? write1 : read1, i % 5 == 0 ? SCSI_ORDERED : SCSI_SIMPLE);
			io[1][i] = send_io(b, i % 2 ? write1 : read1, SCSI_SIMPLE);
		}
		if (round % 10 == 3) {
			assert_int_equal(
			    tmf(round % 20 == 3 ? a : b, SCSI_LUN_RESET, 0), SCSI_TMF_COMPLETE);
		} else if (round % 10 == 6) {
			clear_ua(a);
			clear_ua(b);
			list[15] = 1;
			assert_int_equal(command(a, register_, 10, list, 24, 0), SCSI_GOOD);
			list[15] = 2;
			assert_int_equal(command(b, register_, 10, list, 24, 0), SCSI_GOOD);
			list[7] = 1; /* a ousts b */
			assert_int_equal(command(a, preempt, 10, list, 24, 0), SCSI_GOOD);
			list[7] = 0;
		}
		for (int i = 0; i < 16; i++) {
			io_take(io[0][i]);
			io_take(io[1][i]);
		}
		clear_ua(a);
		clear_ua(b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		an_ordered_task_waits_and_is_waited_for, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		many_blocked_tasks_run_without_recursion, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		abort_task_waits_for_a_write_and_says_so, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(an_aborted_read_is_not_waited_for, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		tasks_that_wait_are_aborted_at_once, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		an_abandoned_task_lets_others_go_on, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(a_reset_reaches_all_nexuses, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		work_on_a_worker_gives_up_when_aborted, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		two_nexuses_under_resets_and_reservations, setup_512, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
