/* SPDX-License-Identifier: Apache-2.0 */
/* A store may be replaced and taken away under those who use it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/base/workq.h"
#include "s3/objstore_door.h"
#include "s3/objstore_mem.h"

struct dx {
	struct objstore *behind; /* the door's own */
	struct objstore *door;
	struct workq *wq;
};

static int
setup(void **state)
{
	struct dx *dx = calloc(1, sizeof(*dx));

	assert_int_equal(workq_new("door", 1, &dx->wq), 0);
	dx->behind = objstore_mem_new("one");
	dx->door = objstore_door_new(dx->behind, dx->wq);
	*state = dx;
	return 0;
}

static int
teardown(void **state)
{
	struct dx *dx = *state;

	dx->door->ops->close(dx->door);
	workq_free(dx->wq);
	free(dx);
	return 0;
}

static int
put(struct objstore *s, const char *key)
{
	struct objstore_req req = {.op = OBJ_PUT, .key = key, .body = "x", .body_len = 1};
	int err = objstore_call(s, &req);

	objstore_req_clear(&req);
	return err;
}

static void
requests_go_to_the_store_of_the_day(void **state)
{
	struct dx *dx = *state;
	struct objstore *second = objstore_mem_new("two");

	assert_string_equal(dx->door->label, "one");
	assert_int_equal(put(dx->door, "a"), 0);
	assert_int_equal(objstore_mem_objects(dx->behind), 1);
	objstore_door_replace(dx->door, second);
	assert_string_equal(dx->door->label, "one"); /* though that store is gone */
	assert_int_equal(put(dx->door, "b"), 0);
	assert_int_equal(put(dx->door, "c"), 0);
	assert_int_equal(objstore_mem_objects(second), 2);
}

/* keeps_versions is learned from answers, long after the door was made. */
static void
what_the_store_learns_is_known_before_the_door(void **state)
{
	struct dx *dx = *state;

	assert_int_equal(put(dx->door, "a"), 0);
	assert_false(dx->door->keeps_versions);
	dx->behind->keeps_versions = true;
	assert_int_equal(put(dx->door, "a"), 0);
	assert_true(dx->door->keeps_versions);
}

static __thread bool is_submitting;
static atomic_int refused, other;

static void
on_done(struct objstore_req *req)
{
	assert_false(is_submitting);
	atomic_fetch_add(req->result == -ECANCELED ? &refused : &other, 1);
}

static void
a_shut_door_refuses_and_never_on_the_callers_stack(void **state)
{
	struct dx *dx = *state;
	struct objstore_req reqs[10] = {0};

	atomic_store(&refused, 0);
	atomic_store(&other, 0);
	objstore_door_replace(dx->door, NULL);
	objstore_door_replace(dx->door, NULL); /* may be said again */
	is_submitting = true;
	for (int i = 0; i < 10; i++) {
		reqs[i] = (struct objstore_req){.op = OBJ_HEAD, .key = "a", .done = on_done};
		objstore_submit(dx->door, &reqs[i]);
	}
	is_submitting = false;
	workq_drain(dx->wq);
	assert_int_equal(atomic_load(&refused), 10);
	assert_int_equal(atomic_load(&other), 0);
}

static void
what_is_under_way_ends_when_the_store_is_replaced(void **state)
{
	struct dx *dx = *state;
	struct objstore_req req = {.op = OBJ_HEAD, .key = "a", .done = on_done};

	atomic_store(&refused, 0);
	objstore_mem_hold(dx->behind, true);
	objstore_submit(dx->door, &req);
	objstore_door_replace(dx->door, objstore_mem_new("two"));
	assert_int_equal(atomic_load(&refused), 1); /* replace has waited for it */
	assert_int_equal(put(dx->door, "b"), 0);
}

static void *
put_many(void *door)
{
	for (int i = 0; i < 200; i++) {
		int err = put(door, "a");

		assert_true(err == 0 || err == -ECANCELED);
	}
	return NULL;
}

static void
stores_are_replaced_under_many_submitters(void **state)
{
	struct dx *dx = *state;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, put_many, dx->door), 0);
	for (int i = 0; i < 20; i++)
		objstore_door_replace(dx->door, i % 3 == 2 ? NULL : objstore_mem_new("next"));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(requests_go_to_the_store_of_the_day, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_the_store_learns_is_known_before_the_door, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_shut_door_refuses_and_never_on_the_callers_stack, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_is_under_way_ends_when_the_store_is_replaced, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		stores_are_replaced_under_many_submitters, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
