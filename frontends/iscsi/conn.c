/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.c - a connection's states, birth and end, and what is late; over gateway/base/stream_conn.h.
 */
#include "frontends/iscsi/conn.h"

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
		log_debug("iscsi.conn", "state", "peer=%s by=%s from=%d to=%d", c->stream.name,
		    transitions[i].label, c->state, transitions[i].to);
		c->state = transitions[i].to;
		return true;
	}
	return false;
}

/* --- life --------------------------------------------------------------------------------------- */

static struct iscsi_conn *
conn_of(const struct stream_conn *s)
{
	return container_of(s, struct iscsi_conn, stream);
}

static void
conn_free(struct stream_conn *s)
{
	struct iscsi_conn *c = conn_of(s);

	CW_ASSERT(c->session == NULL && c->login == NULL);
	strbuf_free(&c->text_in);
	strbuf_free(&c->text_out);
	free(c);
}

/* What the connection was for is over. */
static void
over(struct stream_conn *s)
{
	struct iscsi_conn *c = conn_of(s);

	iscsi_conn_event(c, CONN_EV_LOST);
	memset(&c->sink, 0, sizeof(c->sink));
	iscsi_login_end(c);
	iscsi_session_lost(c);
}

static void
sent_all(struct stream_conn *s)
{
	stream_conn_linger(s, LINGER_MS);
}

static bool
may_take(const struct stream_conn *s)
{
	const struct iscsi_conn *c = conn_of(s);

	return !c->is_held && c->reserved_bytes < ISCSI_RESERVED_MAX;
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
	stream_conn_resume(&c->stream);
}

int
iscsi_conn_open(struct stream_worker *w, int fd, const union inet_addr *peer, unsigned int tag)
{
	struct iscsi_conn *c = xcalloc(1, sizeof(*c));
	socklen_t len = sizeof(c->local);
	int err;

	(void)tag;
	c->worker = container_of(w, struct iscsi_worker, stream.worker);
	c->stream.need = ISCSI_BHS_LEN;
	c->peer_segment = ISCSI_LOGIN_SEGMENT;
	c->stat_sn = 1;
	c->text_ttt = c->text_itt = ISCSI_NO_TAG;
	err = getsockname(fd, &c->local.sa, &len) < 0 ? -errno : 0;
	if (err == 0)
		err = stream_conn_open(&c->stream, &c->worker->stream, fd, peer);
	if (err < 0) {
		close(fd);
		free(c);
		return err;
	}
	c->opened_ns = c->stream.last_rx_ns;
	iscsi_conn_event(c, CONN_EV_CONNECTED);
	return 0;
}

/* --- what is late, and the end ------------------------------------------------------------------- */

static void
drain(struct stream_conn *s)
{
	struct iscsi_conn *c = conn_of(s);

	if (c->session != NULL)
		iscsi_session_want_logout(c->session);
	else
		stream_conn_close(s, "server stops");
}

/* Ask an initiator that has been silent; give up one that does not answer. RFC 7143 11.19. */
static void
sweep_silent(struct iscsi_conn *c, uint64_t now)
{
	const struct iscsi_service *s = c->worker->service;

	if (c->stream.is_stalled || now - c->stream.last_rx_ns < s->nop_ms * MS)
		return; /* stalled: it is us who do not listen */
	if (c->ping_ns == 0) {
		c->ping_ns = now;
		iscsi_session_ping(c->session);
	} else if (now - c->ping_ns > s->nop_timeout_ms * MS) {
		log_warn("iscsi.conn", "silent", "peer=%s ms=%llu next=\"closed\"", c->stream.name,
		    (unsigned long long)((now - c->stream.last_rx_ns) / MS));
		stream_conn_close(&c->stream, "no answer to NOP-In");
	}
}

static void
sweep(struct stream_conn *s, uint64_t now)
{
	struct iscsi_conn *c = conn_of(s);
	uint64_t login_ns = c->worker->service->login_ms * MS;

	if (s->is_ending) {
		if (now - s->last_rx_ns > login_ns)
			stream_conn_close(s, "does not read its last answer");
	} else if (c->state == CONN_XPT_UP || c->state == CONN_IN_LOGIN) {
		if (now - c->opened_ns > login_ns)
			stream_conn_close(s, "login takes too long");
	} else if (c->logout_by_ns != 0 && now > c->logout_by_ns) {
		stream_conn_close(s, "has not logged out in time");
	} else if (c->session != NULL && c->state == CONN_LOGGED_IN) {
		sweep_silent(c, now);
	}
}

const struct stream_conn_ops iscsi_conn_ops = {.log = "iscsi.conn",
    .user_timeout_ms = 120000,
    .may_take = may_take,
    .take = iscsi_rx_take,
    .receive = iscsi_rx_receive,
    .sent_all = sent_all,
    .drain = drain,
    .sweep = sweep,
    .over = over,
    .free = conn_free};

void
iscsi_worker_free(struct iscsi_worker *w)
{
	iscsi_cmd_free_list(w->free_cmds);
	w->free_cmds = NULL;
	stream_conns_free(&w->stream);
}
