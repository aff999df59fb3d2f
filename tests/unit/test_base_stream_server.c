/* SPDX-License-Identifier: Apache-2.0 */
/* A server that says one byte, the number of the loop, and holds the connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/base/clock.h"
#include "gateway/base/stream_server.h"

#define LOOPS 3u

struct conn {
	struct list link;
	int fd;
};

struct worker {
	struct stream_worker stream;
	struct list conns;
	struct loop_task release;
};

static struct stream_server *server;
static atomic_bool keeps_at_drain, refuses;
static atomic_int nsweeps;
static _Atomic unsigned int last_tag;

static void
close_all(struct stream_worker *w)
{
	struct worker *mine = container_of(w, struct worker, stream);

	assert_true(loop_is_current(w->loop));
	while (!list_empty(&mine->conns)) {
		struct conn *c = container_of(mine->conns.next, struct conn, link);

		list_del(&c->link);
		close(c->fd);
		free(c);
		stream_worker_gone(w);
	}
}

static void
drain(struct stream_worker *w)
{
	assert_true(w->draining);
	if (!atomic_load(&keeps_at_drain))
		close_all(w);
}

static void
sweep(struct stream_worker *w)
{
	assert_true(loop_is_current(w->loop));
	atomic_fetch_add(&nsweeps, 1);
}

static int
on_open(struct stream_worker *w, int fd, const union inet_addr *peer, unsigned int tag)
{
	struct worker *mine = container_of(w, struct worker, stream);
	struct conn *c = calloc(1, sizeof(*c));
	char number = 0;

	assert_true(loop_is_current(w->loop));
	assert_true(inet_has_host(peer, "127.0.0.1"));
	last_tag = tag;
	if (atomic_load(&refuses)) {
		free(c);
		close(fd);
		return -ENOMEM;
	}
	while (stream_server_worker(server, (unsigned int)number) != w)
		number++;
	c->fd = fd;
	list_add_tail(&mine->conns, &c->link);
	assert_int_equal(send(fd, &number, 1, 0), 1);
	return 0;
}

static void
on_release(struct loop_task *t)
{
	stream_worker_release(&container_of(t, struct worker, release)->stream);
}

static int
dial(unsigned int listener)
{
	const union inet_addr *a = stream_server_address(server, listener);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, &a->sa, inet_len(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* What the server says: a loop's number, or -1 when it hangs up. */
static int
hear(int fd)
{
	char number;

	return recv(fd, &number, 1, 0) == 1 ? number : -1;
}

static struct worker *
worker(unsigned int i)
{
	return container_of(stream_server_worker(server, i), struct worker, stream);
}

static int64_t
count(void)
{
	return metric_get(metrics_gauge("test_connections", NULL, ""));
}

static int
setup(void **state)
{
	static const struct stream_ops ops = {
	    .open = on_open, .drain = drain, .close_all = close_all, .sweep = sweep};
	const struct stream_conf conf = {.name = "test",
	    .log = "test.server",
	    .ops = &ops,
	    .worker_size = sizeof(struct worker),
	    .loops = LOOPS,
	    .max_connections = 6,
	    .sweep_ms = 5,
	    .connections = metrics_gauge("test_connections", NULL, "of this test")};

	(void)state;
	atomic_store(&keeps_at_drain, false);
	atomic_store(&refuses, false);
	assert_int_equal(stream_server_new(&conf, &server), 0);
	assert_int_equal(stream_server_listen(server, "127.0.0.1:0", 7), 0);
	assert_int_equal(stream_server_listen(server, "127.0.0.1:0", 8), 0);
	for (unsigned int i = 0; i < LOOPS; i++) {
		list_init(&worker(i)->conns);
		worker(i)->release.fn = on_release;
	}
	assert_int_equal(stream_server_start(server), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	assert_true(stream_server_stop(server, 10, 10));
	assert_int_equal(count(), 0);
	stream_server_free(server);
	return 0;
}

static void
connections_are_dealt_out_in_turn(void **state)
{
	int fds[2 * LOOPS];

	(void)state;
	assert_null(stream_server_worker(server, LOOPS));
	assert_null(stream_server_address(server, 2));
	for (unsigned int i = 0; i < 2 * LOOPS; i++) {
		fds[i] = dial(i % 2);
		assert_int_equal(hear(fds[i]), i % LOOPS);
		assert_int_equal(last_tag, 7 + i % 2);
		assert_int_equal(count(), i + 1);
	}
	for (unsigned int i = 0; i < 2 * LOOPS; i++)
		close(fds[i]);
}

static void
one_too_many_is_hung_up_on(void **state)
{
	int fds[6], extra;

	(void)state;
	for (int i = 0; i < 6; i++) {
		fds[i] = dial(0);
		assert_true(hear(fds[i]) >= 0);
	}
	extra = dial(0);
	assert_int_equal(hear(extra), -1);
	assert_int_equal(count(), 6);
	close(extra);
	for (int i = 0; i < 6; i++)
		close(fds[i]);
}

static void
what_cannot_be_opened_is_not_counted(void **state)
{
	int fd;

	(void)state;
	atomic_store(&refuses, true);
	for (int i = 0; i < 10; i++) { /* more than there may be */
		fd = dial(0);
		assert_int_equal(hear(fd), -1);
		close(fd);
	}
	atomic_store(&refuses, false);
	fd = dial(0);
	assert_true(hear(fd) >= 0);
	close(fd);
}

static void
what_does_not_drain_in_time_is_closed(void **state)
{
	int fd = dial(0);

	(void)state;
	assert_true(hear(fd) >= 0);
	atomic_store(&keeps_at_drain, true);
	assert_true(stream_server_stop(server, 0, 10));
	assert_int_equal(hear(fd), -1);
	assert_int_equal(dial(0), -1); /* nobody listens */
	close(fd);
}

static void
what_is_held_is_waited_for(void **state)
{
	(void)state;
	stream_worker_hold(
	    stream_server_worker(server, 1)); /* no connection: its loop is at rest */
	assert_false(stream_server_stop(server, 1, 0));
	loop_post(worker(1)->stream.loop, &worker(1)->release);
	assert_true(stream_server_stop(server, 10, 0));
}

static void
workers_are_swept(void **state)
{
	uint64_t end = clock_mono_ms() + 10000;

	(void)state;
	atomic_store(&nsweeps, 0);
	while (atomic_load(&nsweeps) < 2 * (int)LOOPS && clock_mono_ms() < end)
		usleep(1000);
	assert_true(atomic_load(&nsweeps) >= 2 * (int)LOOPS);
}

static void
addresses_that_cannot_be_had_are_told(void **state)
{
	char text[INET_TEXT_MAX];

	(void)state;
	assert_int_equal(stream_server_listen(server, "nonsense", 0), -EINVAL);
	inet_text(stream_server_address(server, 0), text, sizeof(text));
	assert_int_equal(stream_server_listen(server, text, 0), -EADDRINUSE);
	assert_null(stream_server_address(server, 2));
}

#define SERVED(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    SERVED(connections_are_dealt_out_in_turn),
	    SERVED(one_too_many_is_hung_up_on),
	    SERVED(what_cannot_be_opened_is_not_counted),
	    SERVED(what_does_not_drain_in_time_is_closed),
	    SERVED(what_is_held_is_waited_for),
	    SERVED(workers_are_swept),
	    SERVED(addresses_that_cannot_be_had_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
