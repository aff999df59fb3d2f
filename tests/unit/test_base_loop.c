/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/base/clock.h"
#include "gateway/base/loop.h"
#include "gateway/base/workq.h"

static atomic_int counted;

struct counter {
	struct loop_task task;
	struct loop_timer timer;
	struct work work;
	struct loop *loop;
};

static void
count_task(struct loop_task *t)
{
	(void)t;
	atomic_fetch_add(&counted, 1);
}

static void
count_timer(struct loop_timer *t)
{
	struct counter *c = container_of(t, struct counter, timer);

	atomic_fetch_add(&counted, 1);
	loop_stop(c->loop);
}

static void
count_work(struct work *w)
{
	(void)w;
	atomic_fetch_add(&counted, 1);
}

static void
posts_from_other_threads_all_run(void **state)
{
	struct counter c[100] = {0};
	struct loop *l;

	(void)state;
	atomic_store(&counted, 0);
	assert_int_equal(loop_new("t", 0, &l), 0);
	assert_int_equal(loop_start(l), 0);
	for (int i = 0; i < 100; i++) {
		c[i].task.fn = count_task;
		loop_post(l, &c[i].task);
	}
	loop_join(l); /* what was posted before the stop still runs */
	assert_int_equal(atomic_load(&counted), 100);
	loop_free(l);
}

static void
stop_task(struct loop_task *t)
{
	loop_stop(container_of(t, struct counter, task)->loop);
}

static void *
post_it(void *arg)
{
	struct counter *c = arg;

	loop_post(c->loop, &c->task);
	return NULL;
}

/* the race checker watches: whoever posted may be on its way out of loop_post() still */
static void
a_loop_may_be_freed_once_its_last_task_ran(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		struct counter c = {0};
		pthread_t thread;

		assert_int_equal(loop_new("t", 0, &c.loop), 0);
		c.task.fn = stop_task;
		assert_int_equal(pthread_create(&thread, NULL, post_it, &c), 0);
		loop_run(c.loop);
		loop_free(c.loop);
		pthread_join(thread, NULL);
	}
}

static void
timers_run_in_order_of_due_time_and_can_be_cancelled(void **state)
{
	struct counter soon = {0}, never = {0};
	uint64_t start = clock_mono_ms();
	struct loop *l;

	(void)state;
	atomic_store(&counted, 0);
	assert_int_equal(loop_new("t", 10, &l), 0);
	loop_timer_init(&never.timer, count_timer);
	loop_timer_init(&soon.timer, count_timer);
	never.loop = soon.loop = l;
	loop_timer_set(l, &never.timer, 5);
	loop_timer_set(l, &soon.timer, 20);
	loop_timer_cancel(&never.timer);
	loop_run(l);
	assert_int_equal(atomic_load(&counted), 1);
	assert_true(clock_mono_ms() - start >= 20);
	loop_free(l);
}

static void
drain_waits_for_all_work(void **state)
{
	struct counter c[200] = {0};
	struct workq *q;

	(void)state;
	atomic_store(&counted, 0);
	assert_int_equal(workq_new("w", 3, &q), 0);
	for (int i = 0; i < 200; i++) {
		c[i].work.fn = count_work;
		workq_submit(q, &c[i].work);
	}
	workq_drain(q);
	assert_int_equal(atomic_load(&counted), 200);
	workq_free(q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(posts_from_other_threads_all_run),
	    cmocka_unit_test(a_loop_may_be_freed_once_its_last_task_ran),
	    cmocka_unit_test(timers_run_in_order_of_due_time_and_can_be_cancelled),
	    cmocka_unit_test(drain_waits_for_all_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
