/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - birth and end of sessions.
 *
 * The end, whatever brings it: commands that wait for data are dropped, running ones are aborted;
 * when the last has ended the nexus goes, then the name is free for the next session, then the target
 * is put back by a thread that may wait.
 */
#include "frontends/iscsi/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "frontends/iscsi/cmd.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define LOGOUT_S 2u /* an initiator that is asked to log out has so long */

static void on_signal(struct loop_task *t);

/* --- birth -------------------------------------------------------------------------------------- */

struct iscsi_session *
iscsi_session_new(
    struct iscsi_conn *c, const char *initiator, const char *target, struct cw_volume *volume)
{
	struct iscsi_session *s = xcalloc(1, sizeof(*s));

	list_init(&s->link);
	list_init(&s->cmds);
	list_init(&s->r2t_waiters);
	s->worker = c->worker;
	s->state = SESSION_ACTIVE;
	s->is_discovery = volume == NULL;
	snprintf(s->initiator, sizeof(s->initiator), "%s", initiator);
	snprintf(s->target_name, sizeof(s->target_name), "%s", target);
	s->volume = volume;
	if (volume != NULL)
		cw_volume_get(volume);
	s->signal_task.fn = on_signal;
	stream_worker_hold(&s->worker->stream.worker);
	return s;
}

/* any thread, from the volume */
static void
on_end(struct cw_target_session *reg)
{
	struct iscsi_session *s = container_of(reg, struct iscsi_session, reg);

	atomic_store(&s->wants_logout, true);
	iscsi_session_signal(s);
}

/* any thread, from the volume */
static void
on_changed(struct cw_target_session *reg)
{
	struct iscsi_session *s = container_of(reg, struct iscsi_session, reg);

	atomic_store(&s->has_changed, true);
	iscsi_session_signal(s);
}

int
iscsi_session_start(struct iscsi_session *s, struct scsi_target *target)
{
	const uint8_t *i = s->isid;
	char port[ISCSI_NAME_MAX + 24];
	int err;

	if (s->is_discovery) {
		s->state = SESSION_LOGGED_IN;
		return 0;
	}
	s->target = target;
	if (atomic_load(&s->wants_close))
		return -ESHUTDOWN;
	/* RFC 7143 4.4.1: SCSI port name of an initiator */
	snprintf(port, sizeof(port), "%s,i,0x%02x%02x%02x%02x%02x%02x", s->initiator, i[0], i[1],
	    i[2], i[3], i[4], i[5]);
	s->nexus = scsi_nexus_new(target, port, ISCSI_PORTAL_GROUP, s->worker->stream.worker.loop);
	s->reg.initiator = s->initiator;
	s->reg.end = on_end;
	s->reg.changed = on_changed;
	snprintf(s->reg.peer, sizeof(s->reg.peer), "%s", s->conn->stream.name);
	err = cw_target_session_add(s->volume, &s->reg);
	if (err < 0)
		return err;
	s->is_registered = true;
	s->state = SESSION_LOGGED_IN;
	metric_add(s->worker->service->nsessions, 1);
	log_info("iscsi.session", "logged-in", "initiator=%s target=%s peer=%s", s->initiator,
	    s->target_name, s->conn->stream.name);
	return 0;
}

/* --- end ---------------------------------------------------------------------------------------- */

struct farewell { /* what a thread that may wait has to put back */
	struct work work;
	struct cw_volume *volume;
	struct scsi_target *target;
};

static void
put_back(struct work *w)
{
	struct farewell *f = container_of(w, struct farewell, work);

	if (f->target != NULL)
		scsi_target_put(f->target);
	cw_volume_put(f->volume);
	free(f);
}

/* The last command has ended. The name is free only when the nexus is gone. */
static void
finish(struct iscsi_session *s)
{
	struct iscsi_worker *w = s->worker;
	struct farewell *f;

	if (!s->is_finished) {
		s->is_finished = true;
		if (s->nexus != NULL)
			scsi_nexus_free(s->nexus);
		if (s->volume != NULL) {
			f = xcalloc(1, sizeof(*f));
			f->work.fn = put_back;
			f->volume = s->volume;
			f->target = s->target;
			workq_submit(w->service->workq, &f->work);
		}
		iscsi_sessions_leave(w->service->sessions, s);
	}
	if (atomic_load(&s->signal_pending))
		return; /* the last signal there can be: on_signal comes here again */
	free(s);
	stream_worker_release(&w->stream.worker);
}

static void
unregister(struct iscsi_session *s)
{
	if (!s->is_registered)
		return;
	s->is_registered = false;
	cw_target_session_del(s->volume, &s->reg);
	metric_add(s->worker->service->nsessions, -1);
}

static void
on_aborted(void *arg, enum scsi_tmf_result r)
{
	struct iscsi_session *s = arg;

	(void)r;
	s->ntmfs--;
	iscsi_session_progress(s);
}

static struct iscsi_cmd *
first_gathering(struct iscsi_session *s)
{
	struct list *pos;

	list_for_each(pos, &s->cmds)
	{
		struct iscsi_cmd *cmd = container_of(pos, struct iscsi_cmd, link);

		if (cmd->state == CMD_GATHER)
			return cmd;
	}
	return NULL;
}

void
iscsi_session_quiesce(struct iscsi_session *s)
{
	struct iscsi_cmd *cmd;

	s->is_quiescing = true;
	s->ntmfs++;				   /* not finished before we are through */
	while ((cmd = first_gathering(s)) != NULL) /* dropping one may end others */
		iscsi_cmd_drop(cmd);
	if (s->ncmds > 0 && !s->has_aborted) {
		s->has_aborted = true;
		s->ntmfs++;
		scsi_tmf(s->nexus, SCSI_ABORT_TASK_SET, 0, 0, on_aborted, s);
	}
	s->ntmfs--;
	iscsi_session_progress(s);
}

static void
answer_logout(struct iscsi_session *s)
{
	struct iscsi_conn *c = s->conn;
	struct iscsi_sn sn;
	uint8_t *b;

	if (!iscsi_conn_event(c, CONN_EV_LOGGED_OUT))
		return;
	sn = iscsi_conn_sn(c, true);
	b = iscsi_tx_begin(c, 0);
	iscsi_put_logout_response(b, s->logout_itt, ISCSI_LOGOUT_OK, &sn);
	iscsi_tx_end(c, b, 0);
	stream_conn_end(&c->stream);
}

void
iscsi_session_progress(struct iscsi_session *s)
{
	if (!s->is_quiescing || s->ncmds > 0 || s->ntmfs > 0)
		return;
	if (s->conn != NULL)
		answer_logout(s);
	else
		finish(s);
}

void
iscsi_session_end(struct iscsi_session *s)
{
	if (s->conn != NULL)
		s->conn->session = NULL;
	s->conn = NULL;
	unregister(s);
	s->state = SESSION_FAILED;
	iscsi_session_quiesce(s);
}

void
iscsi_session_lost(struct iscsi_conn *c)
{
	struct iscsi_session *s = c->session;

	if (s == NULL)
		return;
	if (!s->is_discovery)
		log_info("iscsi.session", "ended", "initiator=%s target=%s peer=%s commands=%u",
		    s->initiator, s->target_name, c->stream.name, s->ncmds);
	iscsi_session_end(s);
}

/* --- signals of other threads -------------------------------------------------------------------- */

void
iscsi_session_signal(struct iscsi_session *s)
{
	if (!atomic_exchange(&s->signal_pending, true))
		loop_post(s->worker->stream.worker.loop, &s->signal_task);
}

void
iscsi_session_want_logout(struct iscsi_session *s)
{
	struct iscsi_conn *c = s->conn;
	struct iscsi_sn sn;
	uint8_t *b;

	if (c == NULL || !iscsi_conn_event(c, CONN_EV_WANT_LOGOUT)) {
		atomic_store(&s->wants_close, true); /* still logging in: it will not */
		return;
	}
	if (c->logout_by_ns != 0)
		return; /* was told before */
	c->logout_by_ns = clock_mono_ns() + LOGOUT_S * 1000000000ull;
	sn = iscsi_conn_sn(c, true);
	b = iscsi_tx_begin(c, 0);
	iscsi_put_async(b, ISCSI_ASYNC_LOGOUT, 0, 0, LOGOUT_S, &sn);
	iscsi_tx_end(c, b, 0);
}

static void
on_signal(struct loop_task *t)
{
	struct iscsi_session *s = container_of(t, struct iscsi_session, signal_task);

	atomic_store(&s->signal_pending, false);
	if (s->state == SESSION_FAILED) {
		iscsi_session_progress(s);
		return;
	}
	if (atomic_exchange(&s->has_changed, false) && s->nexus != NULL)
		scsi_nexus_changed(s->nexus);
	if (atomic_load(&s->wants_close) && s->conn != NULL && s->state == SESSION_LOGGED_IN)
		stream_conn_close(&s->conn->stream, "another session takes its place");
	else if (atomic_exchange(&s->wants_logout, false))
		iscsi_session_want_logout(s);
}

void
iscsi_session_ping(struct iscsi_session *s)
{
	struct iscsi_conn *c = s->conn;
	struct iscsi_sn sn = iscsi_conn_sn(c, false);
	uint8_t *b = iscsi_tx_begin(c, 0);

	iscsi_put_nop_in(b, 0, ISCSI_NO_TAG, s->next_ttt++, 0, &sn);
	if (s->next_ttt == ISCSI_NO_TAG)
		s->next_ttt = 0;
	iscsi_tx_end(c, b, 0);
}
