/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/stream_conn.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"

#define ROUNDS_PER_WAKEUP 16
#define DROP_BYTES (1024u * 1024)
#define MS 1000000ull

/* --- references and the end --------------------------------------------------------------------- */

void
stream_conn_ref(struct stream_conn *c)
{
	c->refs++;
}

void
stream_conn_unref(struct stream_conn *c)
{
	struct stream_conns *all = c->conns;

	if (--c->refs > 0)
		return;
	CW_ASSERT(!stream_conn_is_open(c));
	stream_tx_free(&c->tx);
	stream_buf_put(&all->pool, c->rx);
	list_del(&c->link);
	all->ops->free(c);
	stream_worker_gone(&all->worker);
}

static void
over(struct stream_conn *c)
{
	if (c->conns->ops->over != NULL)
		c->conns->ops->over(c);
}

void
stream_conn_close(struct stream_conn *c, const char *why)
{
	if (!stream_conn_is_open(c))
		return;
	log_debug(c->conns->ops->log, "closed", "peer=%s why=\"%s\"", c->name, why);
	loop_del(c->conns->worker.loop, &c->fd);
	close(c->fd.fd);
	c->fd.fd = -1;
	if (!c->is_lingering)
		over(c);
	stream_conn_unref(c);
}

void
stream_conn_end(struct stream_conn *c)
{
	c->is_ending = true;
	stream_conn_flush_later(c);
}

void
stream_conn_break(struct stream_conn *c)
{
	c->is_broken = true;
	stream_tx_drop(&c->tx);
	stream_conn_end(c);
}

static void
run_later(struct stream_conn *c)
{
	if (c->run_pending || !stream_conn_is_open(c))
		return;
	c->run_pending = true;
	c->refs++;
	loop_post(c->conns->worker.loop, &c->run_task);
}

/* To close with data unread would reset the connection, and a reset overtakes our last answer. */
void
stream_conn_linger(struct stream_conn *c, unsigned int ms)
{
	c->refs++;
	over(c);
	c->is_lingering = true;
	c->linger_by_ns = clock_mono_ns() + ms * MS;
	if (shutdown(c->fd.fd, SHUT_WR) < 0)
		stream_conn_close(c, "all is said");
	run_later(c);
	stream_conn_unref(c);
}

/* --- sending ------------------------------------------------------------------------------------ */

void
stream_conn_flush(struct stream_conn *c)
{
	int err = stream_conn_is_open(c) ? stream_tx_send(&c->tx, c->fd.fd) : 0;

	if (err == 0)
		return;
	log_debug(c->conns->ops->log, "send-failed", "peer=%s err=\"%s\"", c->name, err_str(err));
	stream_conn_break(c);
}

bool
stream_conn_has_sent(struct stream_conn *c)
{
	if (c->tx.queued_bytes > 0)
		stream_conn_flush(c);
	return stream_conn_is_open(c) && !c->is_broken && c->tx.queued_bytes == 0;
}

void
stream_conn_flush_later(struct stream_conn *c)
{
	if (c->flush_pending)
		return;
	c->flush_pending = true;
	c->refs++;
	loop_defer(c->conns->worker.loop, &c->flush_task);
}

void
stream_conn_queue(struct stream_conn *c, struct stream_buf *buf, uint32_t off, uint32_t len)
{
	if (!stream_conn_is_open(c) || c->is_broken)
		return;
	stream_tx_queue(&c->tx, buf, off, len);
	if (c->tx.queued_bytes >= STREAM_TX_FLUSH_AT)
		stream_conn_flush(c);
	stream_conn_flush_later(c);
}

static void
on_flush_task(struct loop_task *t)
{
	struct stream_conn *c = container_of(t, struct stream_conn, flush_task);

	c->flush_pending = false;
	stream_conn_flush(c);
	stream_conn_progress(c);
	stream_tx_rest(&c->tx);
	stream_conn_unref(c);
}

/* --- receiving ---------------------------------------------------------------------------------- */

static bool
may_take(const struct stream_conn *c)
{
	return stream_conn_is_open(c) && !c->is_ending &&
	       c->tx.queued_bytes < STREAM_CONN_QUEUED_MAX && c->conns->ops->may_take(c);
}

void
stream_conn_resume(struct stream_conn *c)
{
	if (c->is_stalled && may_take(c))
		run_later(c);
}

void
stream_conn_progress(struct stream_conn *c)
{
	stream_conn_resume(c);
	if (!c->is_ending || c->tx.queued_bytes > 0 || c->is_lingering || !stream_conn_is_open(c))
		return;
	if (c->is_broken)
		stream_conn_close(c, "nothing can be sent");
	else
		c->conns->ops->sent_all(c);
}

bool
stream_conn_received(struct stream_conn *c, ssize_t n, size_t asked)
{
	if (n > 0) {
		c->last_rx_ns = clock_mono_ns();
		metric_add(c->conns->rx_bytes, n);
		if ((size_t)n < asked && !c->at_eof)
			c->is_readable = false; /* the next edge tells */
		return true;
	}
	if (n < 0 && errno == EINTR)
		return false;
	c->is_readable = false;
	if (n < 0 && errno != EAGAIN)
		stream_conn_close(c, strerror(errno));
	return false;
}

/* Take all that is whole; give back the receive buffer when nothing of it is wanted any more. */
static void
take_all(struct stream_conn *c)
{
	do {
		c->is_stalled = !may_take(c);
	} while (!c->is_stalled && c->conns->ops->take(c));
	if (c->rx == NULL || c->rx_start < c->rx->len)
		return;
	stream_buf_put(&c->conns->pool, c->rx);
	c->rx = NULL;
	c->rx_start = 0;
}

/* It lingers: nothing of it matters any more. */
static void
drop_all(struct stream_conn *c)
{
	for (int i = 0; i < ROUNDS_PER_WAKEUP; i++) {
		ssize_t n = recv(c->fd.fd, NULL, DROP_BYTES, MSG_TRUNC | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
			break;
	}
	stream_conn_close(c, "all is said");
}

static void
run(struct stream_conn *c)
{
	if (c->is_lingering) {
		drop_all(c);
		return;
	}
	for (int i = 0;; i++) {
		take_all(c);
		if (c->is_stalled || !c->is_readable || !stream_conn_is_open(c))
			return;
		if (i == ROUNDS_PER_WAKEUP)
			break;
		c->conns->ops->receive(c);
	}
	run_later(c); /* others have their turn first */
}

static void
on_run_task(struct loop_task *t)
{
	struct stream_conn *c = container_of(t, struct stream_conn, run_task);

	c->run_pending = false;
	if (stream_conn_is_open(c))
		run(c);
	stream_conn_unref(c);
}

static void
on_event(struct loop_fd *f, uint32_t events)
{
	struct stream_conn *c = container_of(f, struct stream_conn, fd);

	if (events & (EPOLLERR | EPOLLHUP)) {
		stream_conn_close(c, "connection lost");
		return;
	}
	c->refs++;
	if (events & EPOLLRDHUP)
		c->at_eof = true;
	if (events & (EPOLLIN | EPOLLRDHUP))
		c->is_readable = true;
	if ((events & EPOLLOUT) && c->tx.queued_bytes > 0) {
		stream_conn_flush(c);
		stream_conn_progress(c);
	}
	if (stream_conn_is_open(c) && c->is_readable)
		run(c);
	stream_conn_unref(c);
}

/* --- the beginning ------------------------------------------------------------------------------ */

static void
set_socket_options(int fd, int user_timeout_ms)
{
	const struct {
		int level, name, value;
	} options[] = {
	    {IPPROTO_TCP, TCP_NODELAY, 1},
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, 60},
	    {IPPROTO_TCP, TCP_KEEPINTVL, 15},
	    {IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout_ms},
	};

	/* each is a refinement: a socket that refuses one still serves */
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
		    sizeof(options[i].value));
}

int
stream_conn_open(
    struct stream_conn *c, struct stream_conns *all, int fd, const union inet_addr *peer)
{
	int err;

	c->conns = all;
	c->tx.pool = &all->pool;
	c->tx.bytes = all->tx_bytes;
	c->peer = *peer;
	c->refs = 1;
	c->fd.fd = fd;
	c->fd.cb = on_event;
	c->flush_task.fn = on_flush_task;
	c->run_task.fn = on_run_task;
	c->last_rx_ns = clock_mono_ns();
	inet_text(&c->peer, c->name, sizeof(c->name));
	set_socket_options(fd, (int)all->ops->user_timeout_ms);
	err = loop_add(all->worker.loop, &c->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (err < 0)
		return err;
	list_add_tail(&all->list, &c->link);
	log_debug(all->ops->log, "opened", "peer=%s", c->name);
	return 0;
}

/* --- all connections of a loop ------------------------------------------------------------------ */

void
stream_conns_init(struct stream_conns *all, const struct stream_conn_ops *ops,
    _Atomic size_t *in_use_bytes, struct metric *rx_bytes, struct metric *tx_bytes)
{
	all->ops = ops;
	all->pool.in_use_bytes = in_use_bytes;
	all->rx_bytes = rx_bytes;
	all->tx_bytes = tx_bytes;
	list_init(&all->list);
}

void
stream_conns_free(struct stream_conns *all)
{
	stream_buf_pool_free(&all->pool);
}

void
stream_conns_drain(struct stream_worker *w)
{
	struct stream_conns *all = container_of(w, struct stream_conns, worker);
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &all->list)
	{
		struct stream_conn *c = container_of(pos, struct stream_conn, link);

		if (stream_conn_is_open(c))
			all->ops->drain(c);
	}
}

void
stream_conns_close_all(struct stream_worker *w)
{
	struct stream_conns *all = container_of(w, struct stream_conns, worker);
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &all->list)
	    stream_conn_close(container_of(pos, struct stream_conn, link), "server stops");
}

void
stream_conns_sweep(struct stream_worker *w)
{
	struct stream_conns *all = container_of(w, struct stream_conns, worker);
	uint64_t now = clock_mono_ns();
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &all->list)
	{
		struct stream_conn *c = container_of(pos, struct stream_conn, link);

		if (!stream_conn_is_open(c))
			continue;
		if (!c->is_lingering)
			all->ops->sweep(c, now);
		else if (now > c->linger_by_ns)
			stream_conn_close(c, "does not close its side");
	}
}
