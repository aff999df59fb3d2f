/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.c - a connection's states, birth and end, and what is late.
 *
 * The socket is watched edge-triggered for both directions, so that no system call changes the
 * interest; `is_readable` remembers what an edge told until a short receive clears it.  A connection
 * lives as long as something refers to it: its open socket, its session, each task on the loop.
 */
#include "frontends/iscsi/conn.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontends/iscsi/cmd.h"
#include "frontends/iscsi/login.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define MS 1000000ull
#define LINGER_MS 1000u

/* --- states ------------------------------------------------------------------------------------- */

#define IN(state) (1u << (state))

/* RFC 7143 8.1.2; a target has no T1 and T2. */
static const struct {
	unsigned int from; /* mask */
	enum iscsi_conn_event event;
	enum iscsi_conn_state to;
	const char *label;
} transitions[] = {
    {IN(CONN_FREE), CONN_EV_CONNECTED, CONN_XPT_UP, "T3"},
    {IN(CONN_XPT_UP), CONN_EV_LOGIN, CONN_IN_LOGIN, "T4"},
    {IN(CONN_IN_LOGIN), CONN_EV_LOGGED_IN, CONN_LOGGED_IN, "T5"},
    {IN(CONN_XPT_UP), CONN_EV_LOST, CONN_FREE, "T6"},
    {IN(CONN_IN_LOGIN), CONN_EV_LOST, CONN_FREE, "T7"},
    {IN(CONN_LOGGED_IN), CONN_EV_LOGOUT, CONN_IN_LOGOUT, "T9"},
    {IN(CONN_LOGOUT_REQUESTED), CONN_EV_LOGOUT, CONN_IN_LOGOUT, "T10"},
    {IN(CONN_LOGGED_IN), CONN_EV_WANT_LOGOUT, CONN_LOGOUT_REQUESTED, "T11"},
    {IN(CONN_LOGOUT_REQUESTED), CONN_EV_WANT_LOGOUT, CONN_LOGOUT_REQUESTED, "T12"},
    {IN(CONN_IN_LOGOUT), CONN_EV_LOGGED_OUT, CONN_FREE, "T13"},
    {IN(CONN_IN_LOGOUT), CONN_EV_WANT_LOGOUT, CONN_IN_LOGOUT, "T14"},
    {IN(CONN_LOGGED_IN), CONN_EV_LOST, CONN_CLEANUP_WAIT, "T15"},
    {IN(CONN_LOGOUT_REQUESTED), CONN_EV_LOST, CONN_CLEANUP_WAIT, "T16"},
    {IN(CONN_IN_LOGOUT), CONN_EV_LOST, CONN_CLEANUP_WAIT, "T17"},
    /* the socket of a connection that was logged out is closed last of all */
    {IN(CONN_FREE), CONN_EV_LOST, CONN_FREE, "-"},
};

bool
iscsi_conn_event(struct iscsi_conn *c, enum iscsi_conn_event ev)
{
	for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
		if (transitions[i].event != ev || !(transitions[i].from & IN(c->state)))
			continue;
		log_debug("iscsi.conn", "state", "peer=%s by=%s from=%d to=%d", c->name,
		    transitions[i].label, c->state, transitions[i].to);
		c->state = transitions[i].to;
		return true;
	}
	return false;
}

/* --- life --------------------------------------------------------------------------------------- */

void
iscsi_conn_ref(struct iscsi_conn *c)
{
	c->refs++;
}

void
iscsi_conn_unref(struct iscsi_conn *c)
{
	struct iscsi_worker *w = c->worker;

	if (--c->refs > 0)
		return;
	CW_ASSERT(c->fd.fd < 0 && c->session == NULL && c->login == NULL);
	stream_tx_free(&c->tx);
	stream_buf_put(&w->pool, c->rx);
	strbuf_free(&c->text_in);
	strbuf_free(&c->text_out);
	list_del(&c->link);
	free(c);
	stream_worker_gone(&w->stream);
}

/* What the connection was for is over. */
static void
leave_session(struct iscsi_conn *c)
{
	iscsi_conn_event(c, CONN_EV_LOST);
	memset(&c->sink, 0, sizeof(c->sink));
	iscsi_login_end(c);
	iscsi_session_lost(c);
}

void
iscsi_conn_close(struct iscsi_conn *c, const char *why)
{
	if (!iscsi_conn_is_open(c))
		return;
	log_debug("iscsi.conn", "closed", "peer=%s why=\"%s\"", c->name, why);
	loop_del(c->worker->stream.loop, &c->fd);
	close(c->fd.fd);
	c->fd.fd = -1;
	if (!c->is_lingering)
		leave_session(c);
	iscsi_conn_unref(c);
}

void
iscsi_conn_close_sent(struct iscsi_conn *c)
{
	c->is_closing = true;
	iscsi_tx_schedule(c);
}

bool
iscsi_conn_may_take(const struct iscsi_conn *c)
{
	return iscsi_conn_is_open(c) && !c->is_closing && !c->is_held &&
	       c->tx.queued_bytes < ISCSI_TX_QUEUED_MAX && c->reserved_bytes < ISCSI_RESERVED_MAX;
}

static void
schedule_run(struct iscsi_conn *c)
{
	if (c->run_pending || !iscsi_conn_is_open(c))
		return;
	c->run_pending = true;
	c->refs++;
	loop_post(c->worker->stream.loop, &c->run_task);
}

/* All is said. To close with data unread would reset the connection, and a reset overtakes our last
 * answer: what still comes is read and dropped until the initiator has closed, too. */
static void
linger(struct iscsi_conn *c)
{
	c->refs++;
	leave_session(c);
	c->is_lingering = true;
	c->linger_by_ns = clock_mono_ns() + LINGER_MS * MS;
	if (c->is_broken || shutdown(c->fd.fd, SHUT_WR) < 0)
		iscsi_conn_close(c, "all is said");
	schedule_run(c);
	iscsi_conn_unref(c);
}

void
iscsi_conn_unstall(struct iscsi_conn *c)
{
	if (c->is_stalled && iscsi_conn_may_take(c))
		schedule_run(c);
}

void
iscsi_conn_progress(struct iscsi_conn *c)
{
	iscsi_conn_unstall(c);
	if (c->is_closing && c->tx.queued_bytes == 0 && !c->is_lingering && iscsi_conn_is_open(c))
		linger(c);
}

void
iscsi_conn_hold(struct iscsi_conn *c)
{
	c->is_held = true;
}

void
iscsi_conn_release(struct iscsi_conn *c)
{
	c->is_held = false;
	schedule_run(c);
}

static void
run(struct iscsi_conn *c)
{
	c->refs++;
	iscsi_rx_run(c);
	if (!iscsi_conn_may_take(c))
		c->is_stalled = true;
	else if (c->is_readable)
		schedule_run(c); /* others have their turn first */
	iscsi_conn_unref(c);
}

static void
on_run_task(struct loop_task *t)
{
	struct iscsi_conn *c = container_of(t, struct iscsi_conn, run_task);

	c->run_pending = false;
	if (iscsi_conn_is_open(c))
		run(c);
	iscsi_conn_unref(c);
}

static void
on_event(struct loop_fd *f, uint32_t events)
{
	struct iscsi_conn *c = container_of(f, struct iscsi_conn, fd);

	if (events & (EPOLLERR | EPOLLHUP)) {
		iscsi_conn_close(c, "connection lost");
		return;
	}
	c->refs++;
	if (events & EPOLLRDHUP)
		c->at_eof = true;
	if (events & (EPOLLIN | EPOLLRDHUP))
		c->is_readable = true;
	if ((events & EPOLLOUT) && c->tx.queued_bytes > 0) {
		iscsi_tx_flush(c);
		iscsi_conn_progress(c);
	}
	if (iscsi_conn_is_open(c) && c->is_readable)
		run(c);
	iscsi_conn_unref(c);
}

static void
set_socket_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
	    {IPPROTO_TCP, TCP_NODELAY, 1},
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, 60},
	    {IPPROTO_TCP, TCP_KEEPINTVL, 15},
	    {IPPROTO_TCP, TCP_USER_TIMEOUT, 120000},
	};

	/* each is a refinement: a socket that refuses one still serves */
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
		    sizeof(options[i].value));
}

int
iscsi_conn_new(struct iscsi_worker *w, int fd, const union inet_addr *peer)
{
	struct iscsi_conn *c = xcalloc(1, sizeof(*c));
	socklen_t len = sizeof(c->local);
	int err;

	c->worker = w;
	c->tx.pool = &w->pool;
	c->tx.bytes = w->service->tx_bytes;
	c->peer = *peer;
	c->refs = 1;
	c->need = ISCSI_BHS_LEN;
	c->fd.fd = fd;
	c->fd.cb = on_event;
	c->flush_task.fn = iscsi_tx_on_task;
	c->run_task.fn = on_run_task;
	c->opened_ns = c->last_rx_ns = clock_mono_ns();
	c->peer_segment = ISCSI_LOGIN_SEGMENT;
	c->stat_sn = 1;
	c->text_ttt = c->text_itt = ISCSI_NO_TAG;
	inet_text(&c->peer, c->name, sizeof(c->name));
	set_socket_options(fd);
	err = getsockname(fd, &c->local.sa, &len) < 0 ? -errno : 0;
	if (err == 0)
		err = loop_add(w->stream.loop, &c->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (err < 0) {
		close(fd);
		free(c);
		return err;
	}
	iscsi_conn_event(c, CONN_EV_CONNECTED);
	list_add_tail(&w->conns, &c->link);
	log_debug("iscsi.conn", "opened", "peer=%s", c->name);
	return 0;
}

/* --- all connections of a loop ------------------------------------------------------------------ */

void
iscsi_worker_drain(struct iscsi_worker *w)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &w->conns)
	{
		struct iscsi_conn *c = container_of(pos, struct iscsi_conn, link);

		if (c->session != NULL)
			iscsi_session_want_logout(c->session);
		else
			iscsi_conn_close(c, "server stops");
	}
}

void
iscsi_worker_close_all(struct iscsi_worker *w)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &w->conns)
	    iscsi_conn_close(container_of(pos, struct iscsi_conn, link), "server stops");
}

/* Ask an initiator that has been silent; give up one that does not answer. RFC 7143 11.19. */
static void
sweep_silent(struct iscsi_conn *c, uint64_t now)
{
	const struct iscsi_service *s = c->worker->service;

	if (c->is_stalled || now - c->last_rx_ns < s->nop_ms * MS)
		return; /* stalled: it is us who do not listen */
	if (c->ping_ns == 0) {
		c->ping_ns = now;
		iscsi_session_ping(c->session);
	} else if (now - c->ping_ns > s->nop_timeout_ms * MS) {
		log_warn("iscsi.conn", "silent", "peer=%s ms=%llu next=\"closed\"", c->name,
		    (unsigned long long)((now - c->last_rx_ns) / MS));
		iscsi_conn_close(c, "no answer to NOP-In");
	}
}

void
iscsi_worker_sweep(struct iscsi_worker *w)
{
	uint64_t now = clock_mono_ns();
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &w->conns)
	{
		struct iscsi_conn *c = container_of(pos, struct iscsi_conn, link);

		if (!iscsi_conn_is_open(c))
			continue;
		if (c->is_lingering) {
			if (now > c->linger_by_ns)
				iscsi_conn_close(c, "does not close its side");
		} else if (c->is_closing) {
			if (now - c->last_rx_ns > w->service->login_ms * MS)
				iscsi_conn_close(c, "does not read its last answer");
		} else if (c->state == CONN_XPT_UP || c->state == CONN_IN_LOGIN) {
			if (now - c->opened_ns > w->service->login_ms * MS)
				iscsi_conn_close(c, "login takes too long");
		} else if (c->logout_by_ns != 0 && now > c->logout_by_ns) {
			iscsi_conn_close(c, "has not logged out in time");
		} else if (c->session != NULL && c->state == CONN_LOGGED_IN) {
			sweep_silent(c, now);
		}
	}
}

void
iscsi_worker_free(struct iscsi_worker *w)
{
	iscsi_cmd_free_list(w->free_cmds);
	w->free_cmds = NULL;
	stream_buf_pool_free(&w->pool);
}
