/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers of a loop, what goes out of them, and room for what comes in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/base/stream_tx.h"

static _Atomic size_t in_use;
static struct stream_buf_pool pool = {.in_use_bytes = &in_use};

static void
buffers_are_counted_and_kept(void **state)
{
	struct stream_buf *a, *b;

	(void)state;
	a = stream_buf_get(&pool, 1);
	assert_int_equal(a->cap, STREAM_BUF_SMALL);
	assert_int_equal((uintptr_t)a->data & 63, 0);
	b = stream_buf_get(&pool, 16u << 20);
	assert_int_equal(b->cap, 16u << 20);
	assert_int_equal(in_use, STREAM_BUF_SMALL + (16u << 20));
	a->refs++;
	stream_buf_put(&pool, a);
	stream_buf_put(&pool, a);
	stream_buf_put(&pool, b);
	assert_int_equal(in_use, 0);
	assert_ptr_equal(stream_buf_get(&pool, 100), a);
	stream_buf_put(&pool, a);
}

static struct stream_tx
tx_new(void)
{
	return (struct stream_tx){
	    .pool = &pool, .bytes = metrics_counter("test_bytes_total", NULL, "Bytes sent")};
}

static void
answer(struct stream_tx *tx, int byte, uint32_t len)
{
	uint32_t off = stream_tx_room(tx, len);

	memset(tx->buf->data + off, byte, len);
	tx->buf->len += len;
	stream_tx_queue(tx, tx->buf, off, len);
}

static void
expect(int fd, int byte, size_t len)
{
	static uint8_t got[65536];

	while (len > 0) {
		ssize_t n = read(fd, got, len < sizeof(got) ? len : sizeof(got));

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(got[i], byte);
		len -= (size_t)n;
	}
}

static void
what_was_reserved_goes_out_when_it_is_filled(void **state)
{
	struct stream_tx tx = tx_new();
	struct stream_buf *place;
	uint32_t off;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	answer(&tx, 'a', 100);
	off = stream_tx_room(&tx, 500);
	place = tx.buf;
	place->refs++;
	place->len += 500;
	answer(&tx, 'c', 200);
	answer(&tx, 'd', 200);
	assert_int_equal(tx.tail, 2); /* what lies together goes together */
	memset(place->data + off, 'b', 500);
	stream_tx_queue(&tx, place, off, 500);
	stream_buf_put(&pool, place);
	assert_int_equal(tx.queued_bytes, 1000);
	assert_int_equal(stream_tx_send(&tx, fds[0]), 0);
	assert_int_equal(tx.queued_bytes, 0);
	expect(fds[1], 'a', 100);
	expect(fds[1], 'c', 200);
	expect(fds[1], 'd', 200);
	expect(fds[1], 'b', 500);
	stream_tx_rest(&tx);
	assert_null(tx.buf);
	assert_int_equal(in_use, 0);
	stream_tx_free(&tx);
	close(fds[0]);
	close(fds[1]);
}

static void
a_full_socket_takes_the_rest_later(void **state)
{
	struct stream_tx tx = tx_new();
	size_t before;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	for (int i = 0; i < 100; i++)
		answer(&tx, 'x', 60000);
	assert_int_equal(stream_tx_send(&tx, fds[0]), 0);
	assert_true(tx.queued_bytes > 0);
	for (size_t left = 6000000; left > 0; left -= before) {
		before = left - tx.queued_bytes;
		expect(fds[1], 'x', before);
		assert_int_equal(stream_tx_send(&tx, fds[0]), 0);
	}
	close(fds[1]);
	answer(&tx, 'y', 10);
	assert_int_equal(stream_tx_send(&tx, fds[0]), -EPIPE);
	assert_int_equal(tx.queued_bytes, 10);
	stream_tx_drop(&tx);
	assert_int_equal(tx.queued_bytes, 0);
	stream_tx_free(&tx);
	assert_int_equal(in_use, 0);
	close(fds[0]);
}

static void
room_keeps_what_is_in_use(void **state)
{
	struct stream_buf *rx = NULL, *old;
	uint32_t start = 0;

	(void)state;
	stream_buf_room(&pool, &rx, &start, 4, 0);
	old = rx;
	assert_int_equal(rx->cap, STREAM_BUF_SMALL);
	memset(rx->data, 'q', STREAM_BUF_SMALL);
	rx->len = STREAM_BUF_SMALL;
	start = STREAM_BUF_SMALL - 1000;
	stream_buf_room(&pool, &rx, &start, 5000, 0); /* moved to the front */
	assert_ptr_equal(rx, old);
	assert_int_equal(start, 0);
	assert_int_equal(rx->len, 1000);
	old->refs++; /* somebody refers to what is before it */
	rx->len = STREAM_BUF_SMALL;
	start = 100;
	stream_buf_room(&pool, &rx, &start, 200000, 0);
	assert_ptr_not_equal(rx, old);
	assert_int_equal(rx->len, STREAM_BUF_SMALL - 100);
	assert_true(rx->cap >= 200000);
	for (uint32_t i = 0; i < rx->len; i++)
		assert_int_equal(rx->data[i], 'q');
	stream_buf_put(&pool, old);
	stream_buf_put(&pool, rx);
	assert_int_equal(in_use, 0);
	stream_buf_pool_free(&pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(buffers_are_counted_and_kept),
	    cmocka_unit_test(what_was_reserved_goes_out_when_it_is_filled),
	    cmocka_unit_test(a_full_socket_takes_the_rest_later),
	    cmocka_unit_test(room_keeps_what_is_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
