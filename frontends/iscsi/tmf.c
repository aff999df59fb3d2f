/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tmf.c - task management (RFC 7143 11.5, 11.6).  What still waits for its data is ours to drop; the
 * rest is the SCSI layer's.
 */
#include <stdlib.h>

#include "frontends/iscsi/cmd.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

struct tmf {
	struct iscsi_session *session;
	uint32_t itt;
	uint8_t function;
};

static void
respond(struct iscsi_conn *c, uint32_t itt, enum iscsi_tmf_response r)
{
	struct iscsi_sn sn = iscsi_conn_sn(c, true);
	uint8_t *b = iscsi_tx_begin(c, 0);

	iscsi_put_tmf_response(b, itt, r, &sn);
	iscsi_tx_end(c, b, 0);
}

static enum iscsi_tmf_response
response_of(enum scsi_tmf_result r)
{
	switch (r) {
	case SCSI_TMF_COMPLETE:
		return ISCSI_TMF_COMPLETE;
	case SCSI_TMF_NO_TASK:
		return ISCSI_TMF_NO_TASK;
	case SCSI_TMF_NO_LUN:
		return ISCSI_TMF_NO_LUN;
	case SCSI_TMF_NOT_SUPPORTED:
		return ISCSI_TMF_NOT_SUPPORTED;
	case SCSI_TMF_REJECTED:
		break;
	}
	return ISCSI_TMF_REJECTED;
}

static void
on_tmf_done(void *arg, enum scsi_tmf_result r)
{
	struct tmf *f = arg;
	struct iscsi_session *s = f->session;

	s->ntmfs--;
	if (s->conn != NULL && !s->is_quiescing) {
		respond(s->conn, f->itt, response_of(r));
		if (f->function == ISCSI_TMF_TARGET_COLD_RESET && r == SCSI_TMF_COMPLETE) {
			/* 11.5.1: the target terminates all of its connections */
			iscsi_sessions_drop_target(s->worker->service->sessions, s->target_name, s);
			stream_conn_end(&s->conn->stream);
		}
	}
	free(f);
	iscsi_session_progress(s);
}

/* The first of the session that still waits for its data and is meant. */
static struct iscsi_cmd *
next_gathering(struct iscsi_session *s, uint64_t lun, bool is_any_lun)
{
	struct list *pos;

	list_for_each(pos, &s->cmds)
	{
		struct iscsi_cmd *cmd = container_of(pos, struct iscsi_cmd, link);

		if (cmd->state == CMD_GATHER && (is_any_lun || cmd->task.lun == lun))
			return cmd;
	}
	return NULL;
}

static void
drop_gathering(struct iscsi_session *s, uint64_t lun, bool is_any_lun)
{
	struct iscsi_cmd *cmd;

	while ((cmd = next_gathering(s, lun, is_any_lun)) != NULL)
		iscsi_cmd_drop(cmd);
}

static void
submit(struct iscsi_conn *c, const struct iscsi_pdu *pdu, enum scsi_tmf what)
{
	struct iscsi_session *s = c->session;
	struct tmf *f = xcalloc(1, sizeof(*f));

	f->session = s;
	f->itt = pdu->itt;
	f->function = pdu->tmf.function;
	s->ntmfs++;
	scsi_tmf(s->nexus, what, pdu->lun, pdu->tmf.ref_tag, on_tmf_done, f);
}

static void
abort_task(struct iscsi_conn *c, const struct iscsi_pdu *pdu)
{
	struct iscsi_cmd *cmd = iscsi_cmd_find(c->session, pdu->tmf.ref_tag);

	/* With one connection everything before the request has arrived: a task that is not here
	 * is answered already (11.5.1). */
	if (cmd == NULL || cmd->task.lun != pdu->lun) {
		respond(c, pdu->itt, ISCSI_TMF_NO_TASK);
	} else if (cmd->state == CMD_GATHER) {
		iscsi_cmd_drop(cmd);
		respond(c, pdu->itt, ISCSI_TMF_COMPLETE);
	} else {
		submit(c, pdu, SCSI_ABORT_TASK);
	}
}

void
iscsi_tmf_request(struct iscsi_conn *c, const struct iscsi_pdu *pdu)
{
	struct iscsi_session *s = c->session;

	if (s->ntmfs >= ISCSI_IMMEDIATE_MAX) {
		iscsi_conn_reject(c, ISCSI_REJECT_TOO_MANY_IMMEDIATE);
		return;
	}
	log_info("iscsi.tmf", "request", "initiator=%s function=%u lun=%llx tag=%08x", s->initiator,
	    pdu->tmf.function, (unsigned long long)pdu->lun, pdu->tmf.ref_tag);
	switch (pdu->tmf.function) {
	case ISCSI_TMF_ABORT_TASK:
		abort_task(c, pdu);
		break;
	case ISCSI_TMF_ABORT_TASK_SET:
		drop_gathering(s, pdu->lun, false);
		submit(c, pdu, SCSI_ABORT_TASK_SET);
		break;
	case ISCSI_TMF_CLEAR_ACA:
		submit(c, pdu, SCSI_CLEAR_ACA);
		break;
	case ISCSI_TMF_CLEAR_TASK_SET:
		drop_gathering(s, pdu->lun, false);
		submit(c, pdu, SCSI_CLEAR_TASK_SET);
		break;
	case ISCSI_TMF_LUN_RESET:
		drop_gathering(s, pdu->lun, false);
		submit(c, pdu, SCSI_LUN_RESET);
		break;
	case ISCSI_TMF_TARGET_WARM_RESET:
	case ISCSI_TMF_TARGET_COLD_RESET:
		drop_gathering(s, 0, true);
		submit(c, pdu, SCSI_TARGET_RESET);
		break;
	case ISCSI_TMF_TASK_REASSIGN:
		respond(c, pdu->itt, ISCSI_TMF_NO_REASSIGN); /* error recovery level 2 */
		break;
	default:
		respond(c, pdu->itt, ISCSI_TMF_NOT_SUPPORTED);
		break;
	}
}
