/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A protocol of single bytes: 'e' is answered by itself; 'b' by BIG bytes; 'h' by itself, and then nothing is
 * taken until release(); 'q' is answered and the connection ends; 'x' breaks it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/base/clock.h"
#include "gateway/base/stream_conn.h"

#define BIG 600000u

struct conn {
	struct stream_conn stream;
	bool is_held;
};

static struct stream_server *server;
static struct stream_conns *conns; /* of the one loop */
static _Atomic size_t in_use;
static atomic_int ntaken, nover, nfreed;
static atomic_bool refuses;
static atomic_uint linger_ms;

static struct conn *
conn_of(const struct stream_conn *s)
{
	return container_of(s, struct conn, stream);
}

static bool
may_take(const struct stream_conn *s)
{
	return !conn_of(s)->is_held;
}

static void
answer(struct stream_conn *s, uint8_t byte, uint32_t len)
{
	uint32_t off = stream_tx_room(&s->tx, len);

	memset(s->tx.buf->data + off, byte, len);
	s->tx.buf->len += len;
	stream_conn_queue(s, s->tx.buf, off, len);
}

static bool
take(struct stream_conn *s)
{
	uint8_t byte;

	assert_true(s->tx.queued_bytes < STREAM_CONN_QUEUED_MAX && !s->is_ending);
	if (s->rx == NULL || s->rx_start == s->rx->len)
		return false;
	byte = s->rx->data[s->rx_start++];
	atomic_fetch_add(&ntaken, 1);
	answer(s, byte, byte == 'b' ? BIG : 1);
	conn_of(s)->is_held = byte == 'h';
	if (byte == 'q')
		stream_conn_end(s);
	if (byte == 'x')
		stream_conn_break(s);
	return true;
}

static void
receive(struct stream_conn *s)
{
	size_t room;
	ssize_t n;

	stream_buf_room(&s->conns->pool, &s->rx, &s->rx_start, s->need, 0);
	room = s->rx->cap - s->rx->len;
	n = recv(s->fd.fd, s->rx->data + s->rx->len, room, MSG_DONTWAIT);
	if (stream_conn_received(s, n, room))
		s->rx->len += (uint32_t)n;
	else if (n == 0)
		stream_conn_end(s);
}

static void
sent_all(struct stream_conn *s)
{
	assert_true(stream_conn_has_sent(s));
	if (!conn_of(s)->is_held)
		stream_conn_linger(s, atomic_load(&linger_ms));
}

static void
sweep(struct stream_conn *s, uint64_t now_ns)
{
	assert_true(stream_conn_is_open(s) && !s->is_lingering && now_ns >= s->last_rx_ns);
}

static void
over(struct stream_conn *s)
{
	(void)s;
	atomic_fetch_add(&nover, 1);
}

static void
conn_free(struct stream_conn *s)
{
	free(conn_of(s));
	atomic_fetch_add(&nfreed, 1);
}

static const struct stream_conn_ops conn_ops = {.log = "test.conn",
    .user_timeout_ms = 1000,
    .may_take = may_take,
    .take = take,
    .receive = receive,
    .sent_all = sent_all,
    .drain = stream_conn_end,
    .sweep = sweep,
    .over = over,
    .free = conn_free};

static int
on_open(struct stream_worker *w, int fd, const union inet_addr *peer, unsigned int tag)
{
	struct conn *c = calloc(1, sizeof(*c));
	int err;

	(void)tag;
	c->stream.need = 1;
	err = stream_conn_open(&c->stream, container_of(w, struct stream_conns, worker),
	    atomic_load(&refuses) ? -1 : fd, peer);
	if (err < 0) {
		close(fd);
		free(c);
	}
	return err;
}

static int
setup(void **state)
{
	static const struct stream_ops ops = {.open = on_open,
	    .drain = stream_conns_drain,
	    .close_all = stream_conns_close_all,
	    .sweep = stream_conns_sweep};
	const struct stream_conf conf = {.name = "test",
	    .log = "test.server",
	    .ops = &ops,
	    .worker_size = sizeof(struct stream_conns),
	    .loops = 1,
	    .sweep_ms = 5,
	    .connections = metrics_gauge("test_connections", NULL, "of this test")};

	(void)state;
	atomic_store(&refuses, false);
	atomic_store(&linger_ms, 10000);
	ntaken = nover = nfreed = 0;
	assert_int_equal(stream_server_new(&conf, &server), 0);
	assert_int_equal(stream_server_listen(server, "127.0.0.1:0", 0), 0);
	conns = container_of(stream_server_worker(server, 0), struct stream_conns, worker);
	stream_conns_init(conns, &conn_ops, &in_use,
	    metrics_counter("test_received_bytes_total", NULL, "received"),
	    metrics_counter("test_sent_bytes_total", NULL, "sent"));
	assert_int_equal(stream_server_start(server), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	assert_true(stream_server_stop(server, 10, 10));
	assert_int_equal(in_use, 0);
	stream_conns_free(conns);
	stream_server_free(server);
	return 0;
}

static int
dial(const char *say)
{
	const union inet_addr *a = stream_server_address(server, 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, &a->sa, inet_len(a)), 0);
	assert_int_equal(send(fd, say, strlen(say), MSG_NOSIGNAL), strlen(say));
	return fd;
}

static void
expect(int fd, const char *want)
{
	char got[16] = "";

	assert_int_equal(recv(fd, got, strlen(want), MSG_WAITALL), strlen(want));
	assert_string_equal(got, want);
}

static void
expect_end(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static void
wait_for(atomic_int *n, int want)
{
	for (int i = 0; i < 10000 && atomic_load(n) < want; i++)
		clock_sleep_ms(1);
	assert_int_equal(atomic_load(n), want);
}

static void
on_release(struct loop_task *t)
{
	struct stream_conn *s = container_of(conns->list.next, struct stream_conn, link);

	(void)t;
	conn_of(s)->is_held = false;
	stream_conn_progress(s);
}

/* The first connection goes on. */
static void
release(void)
{
	static struct loop_task task = {.fn = on_release};

	loop_post(conns->worker.loop, &task);
}

static void
all_that_came_is_answered_in_turn(void **state)
{
	int a = dial("ee"), b = dial("eeee");

	(void)state;
	expect(b, "eeee");
	expect(a, "ee");
	assert_int_equal(send(a, "ee", 2, 0), 2);
	expect(a, "ee");
	close(a);
	close(b);
	wait_for(&nfreed, 2);
	assert_int_equal(nover, 2);
}

static void
what_a_limit_stops_goes_on_when_it_is_freed(void **state)
{
	int fd = dial("heee");

	(void)state;
	expect(fd, "h");
	assert_int_equal(ntaken, 1); /* answers leave when the wake-up is over */
	assert_int_equal(send(fd, "e", 1, 0), 1);
	release();
	expect(fd, "eeee");
	close(fd);
}

static void
who_does_not_listen_is_not_listened_to(void **state)
{
	static char got[16 * BIG];
	int fd = dial("bbbbbbbbbbbbbbbbq");

	(void)state;
	assert_int_equal(recv(fd, got, sizeof(got), MSG_WAITALL), sizeof(got));
	for (size_t i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], 'b');
	expect(fd, "q"); /* the end waits for what is queued */
	expect_end(fd);
	assert_int_equal(ntaken, 17);
}

static void
a_half_closed_connection_is_served_to_its_end(void **state)
{
	int fd = dial("hee");

	(void)state;
	shutdown(fd, SHUT_WR);
	expect(fd, "h");
	release();
	expect(fd, "ee");
	expect_end(fd);
	wait_for(&nfreed, 1);
	assert_int_equal(nover, 1);
}

static void
the_last_answer_arrives_though_more_is_said(void **state)
{
	static char more[1 << 20];
	int fd = dial("eqeee");

	(void)state;
	wait_for(&nover, 1); /* and no reset follows */
	for (int i = 0; i < 8; i++)
		assert_int_equal(send(fd, more, sizeof(more), MSG_NOSIGNAL), sizeof(more));
	expect(fd, "eq");
	expect_end(fd);
	wait_for(&nfreed, 1);
	assert_int_equal(ntaken, 2);
	assert_int_equal(nover, 1);
}

static void
who_does_not_hang_up_is_hung_up_on(void **state)
{
	int fd;

	(void)state;
	atomic_store(&linger_ms, 20);
	fd = dial("q");
	expect(fd, "q");
	wait_for(&nfreed, 1);
	assert_int_equal(nover, 1);
	expect_end(fd);
}

static void
a_broken_connection_says_nothing_more(void **state)
{
	int fd = dial("eex");

	(void)state;
	expect_end(fd);
	wait_for(&nfreed, 1);
	assert_int_equal(nover, 1);
}

static void
one_that_was_reset_is_over(void **state)
{
	const struct linger now = {.l_onoff = 1};
	int fd = dial("h");

	(void)state;
	expect(fd, "h");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	wait_for(&nfreed, 1);
	assert_int_equal(nover, 1);
}

static void
what_does_not_drain_is_closed(void **state)
{
	int idle = dial("e"), held = dial("h");

	(void)state;
	expect(idle, "e");
	expect(held, "h");
	assert_true(stream_server_stop(server, 0, 10));
	expect_end(idle);
	expect_end(held);
	assert_int_equal(nfreed, 2);
	assert_int_equal(nover, 2);
}

static void
what_cannot_be_watched_is_not_served(void **state)
{
	int fd;

	(void)state;
	atomic_store(&refuses, true);
	fd = dial("");
	expect_end(fd);
	assert_int_equal(nover + nfreed, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(all_that_came_is_answered_in_turn),
	    TEST(what_a_limit_stops_goes_on_when_it_is_freed),
	    TEST(who_does_not_listen_is_not_listened_to),
	    TEST(a_half_closed_connection_is_served_to_its_end),
	    TEST(the_last_answer_arrives_though_more_is_said),
	    TEST(who_does_not_hang_up_is_hung_up_on),
	    TEST(a_broken_connection_says_nothing_more),
	    TEST(one_that_was_reset_is_over),
	    TEST(what_does_not_drain_is_closed),
	    TEST(what_cannot_be_watched_is_not_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
