/* SPDX-License-Identifier: Apache-2.0 */
/* cmd.c - birth, gathering, running and end of SCSI commands; see cmd.h. */
#include "frontends/iscsi/cmd.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define KEEP_CMDS 512u
/* Data-In of so much goes from where it lies when its digest need not be made */
#define SEND_MIN (128u * 1024)

static struct iscsi_cmd **
bucket(struct iscsi_session *s, uint32_t itt)
{
	return &s->buckets[(itt * 0x9e3779b1u) >> 24];
}

_Static_assert(ISCSI_CMD_BUCKETS == 256, "bucket() takes 8 bits");

struct iscsi_cmd *
iscsi_cmd_find(struct iscsi_session *s, uint32_t itt)
{
	struct iscsi_cmd *cmd = *bucket(s, itt);

	while (cmd != NULL && cmd->itt != itt)
		cmd = cmd->next;
	return cmd;
}

static struct iscsi_cmd *
cmd_new(struct iscsi_session *s, uint32_t itt)
{
	struct iscsi_worker *w = s->worker;
	struct iscsi_cmd *cmd = w->free_cmds, **b = bucket(s, itt);

	if (cmd != NULL) {
		w->free_cmds = cmd->next;
		w->nfree_cmds--;
	} else {
		cmd = xmalloc(sizeof(*cmd));
	}
	memset(cmd, 0, sizeof(*cmd));
	cmd->session = s;
	cmd->itt = itt;
	list_init(&cmd->r2t_link);
	list_add_tail(&s->cmds, &cmd->link);
	cmd->next = *b;
	*b = cmd;
	s->ncmds++;
	return cmd;
}

void
iscsi_cmd_free(struct iscsi_cmd *cmd)
{
	struct iscsi_session *s = cmd->session;
	struct iscsi_worker *w = s->worker;
	struct iscsi_cmd **p = bucket(s, cmd->itt);

	while (*p != cmd)
		p = &(*p)->next;
	*p = cmd->next;
	iscsi_datain_trim(cmd);
	if (s->conn != NULL && s->conn->sink.cmd == cmd) { /* the rest of its data goes nowhere */
		s->conn->sink.cmd = NULL;
		s->conn->sink.dst = NULL;
		s->conn->sink.cap = 0;
	}
	stream_buf_put(&w->stream.pool, cmd->buf);
	list_del(&cmd->link);
	list_del(&cmd->r2t_link);
	s->ncmds--;
	if (cmd->is_counted)
		s->ncounted--;
	if (cmd->has_out_bytes) {
		s->out_bytes -= cmd->out_len;
		iscsi_r2t_wake(s);
	}
	if (w->nfree_cmds < KEEP_CMDS) {
		cmd->next = w->free_cmds;
		w->free_cmds = cmd;
		w->nfree_cmds++;
	} else {
		free(cmd);
	}
	if (s->conn != NULL)
		stream_conn_resume(&s->conn->stream);
	iscsi_session_progress(s);
}

void
iscsi_cmd_free_list(struct iscsi_cmd *cmd)
{
	while (cmd != NULL) {
		struct iscsi_cmd *next = cmd->next;

		free(cmd);
		cmd = next;
	}
}

/* --- running ------------------------------------------------------------------------------------ */

static void
on_done(struct scsi_task *t)
{
	iscsi_cmd_answer(container_of(t, struct iscsi_cmd, task));
}

static void
execute(struct iscsi_cmd *cmd)
{
	struct scsi_task *t = &cmd->task;
	uint64_t want = cmd->is_read ? t->want_in : 0;
	uint32_t cap = want < cmd->edtl ? (uint32_t)want : cmd->edtl;

	cmd->state = CMD_RUNNING;
	if (cap > 0) {
		iscsi_datain_reserve(cmd, cap);
		if (cap >= SEND_MIN && !cmd->session->conn->has_data_digest)
			t->send = iscsi_datain_send;
	}
	t->out = cmd->out;
	t->out_len = cmd->out_len;
	if (scsi_task_execute(t))
		iscsi_cmd_answer(cmd);
}

void
iscsi_cmd_gather(struct iscsi_cmd *cmd)
{
	if (!cmd->is_unsol_done || cmd->nr2ts > 0)
		return;
	if (cmd->is_refused)
		iscsi_cmd_answer(cmd);
	else if (cmd->got < cmd->out_len)
		iscsi_r2t_next(cmd);
	else
		execute(cmd);
}

void
iscsi_cmd_fail(struct iscsi_cmd *cmd, uint8_t asc, uint8_t ascq)
{
	struct scsi_task *t = &cmd->task;

	if (cmd->is_refused)
		return;
	scsi_task_abandon(t);
	cmd->is_refused = true;
	t->status = SCSI_CHECK_CONDITION;
	memset(t->sense, 0, 18); /* SPC-4 4.5.3, fixed format */
	t->sense[0] = 0x70;
	t->sense[2] = 0x0b; /* ABORTED COMMAND */
	t->sense[7] = 10;
	t->sense[12] = asc;
	t->sense[13] = ascq;
	t->sense_len = 18;
}

void
iscsi_cmd_drop(struct iscsi_cmd *cmd)
{
	CW_ASSERT(cmd->state == CMD_GATHER);
	if (!cmd->is_refused)
		scsi_task_abandon(&cmd->task);
	iscsi_cmd_free(cmd);
}

/* --- the command PDU ---------------------------------------------------------------------------- */

static enum scsi_attr
attr_of(uint8_t a)
{
	/* 11.3.1: 0 untagged, 1 simple, 2 ordered, 3 head of queue, 4 ACA */
	static const enum scsi_attr attrs[] = {
	    SCSI_UNTAGGED, SCSI_SIMPLE, SCSI_ORDERED, SCSI_HEAD_OF_QUEUE, SCSI_ACA};

	return a < sizeof(attrs) / sizeof(attrs[0]) ? attrs[a] : SCSI_SIMPLE;
}

/* Is there no memory for the command's data? */
static bool
is_full(const struct iscsi_session *s, const struct iscsi_pdu *pdu)
{
	size_t all =
	    atomic_load_explicit(s->worker->stream.pool.in_use_bytes, memory_order_relaxed);

	if (pdu->cmd.edtl == 0 || s->ncmds == 0)
		return false; /* a session that has nothing else always gets on */
	return all >= ISCSI_BUFFERS_MAX ||
	       (pdu->cmd.is_write && s->out_bytes >= ISCSI_OUT_HARD_MAX);
}

static void
prepare(struct iscsi_cmd *cmd, const struct iscsi_pdu *pdu)
{
	struct iscsi_session *s = cmd->session;
	struct scsi_task *t = &cmd->task;

	t->nexus = s->nexus;
	t->lun = pdu->lun;
	t->cdb_len = pdu->cmd.cdb_len;
	memcpy(t->cdb, pdu->cmd.cdb, pdu->cmd.cdb_len);
	t->attr = attr_of(pdu->cmd.attr);
	t->tag = pdu->itt;
	t->done = on_done;
	t->out_announced = cmd->is_write ? cmd->edtl : 0;
	if (is_full(s, pdu)) {
		t->status = SCSI_TASK_SET_FULL;
		cmd->is_refused = true;
		return;
	}
	cmd->is_refused = !scsi_task_prepare(t);
	if (cmd->is_write && !cmd->is_refused)
		cmd->out_len = t->want_out < cmd->edtl ? (uint32_t)t->want_out : cmd->edtl;
}

/* Does the unsolicited data keep to what was agreed? 11.4.7.2: 0Ch/0Ch unexpected unsolicited data */
static void
check_unsolicited(struct iscsi_cmd *cmd, const struct iscsi_pdu *pdu)
{
	const struct iscsi_params *p = &cmd->session->params;

	cmd->unsol_max = cmd->edtl < p->first_burst ? cmd->edtl : p->first_burst;
	cmd->is_unsol_done = pdu->is_final;
	if ((pdu->data_len > 0 && !p->immediate_data) || (!pdu->is_final && p->initial_r2t) ||
	    pdu->data_len > cmd->unsol_max)
		iscsi_cmd_fail(cmd, 0x0c, 0x0c);
}

struct iscsi_cmd *
iscsi_cmd_begin(struct iscsi_conn *c, const struct iscsi_pdu *pdu)
{
	struct iscsi_session *s = c->session;
	struct iscsi_cmd *cmd;

	if (s->is_discovery || pdu->itt == ISCSI_NO_TAG) {
		iscsi_conn_reject(c, ISCSI_REJECT_PROTOCOL);
		return NULL;
	}
	if (pdu->is_immediate && s->ncmds - s->ncounted >= ISCSI_IMMEDIATE_MAX) {
		iscsi_conn_reject(c, ISCSI_REJECT_TOO_MANY_IMMEDIATE);
		return NULL;
	}
	if (iscsi_session_take_sn(s, pdu) != CMD_SN_TAKE)
		return NULL;
	if (iscsi_cmd_find(s, pdu->itt) != NULL) {
		/* 11.2.1.8: unique among those in flight. Whose answer would be whose? */
		iscsi_conn_reject(c, ISCSI_REJECT_PROTOCOL);
		stream_conn_end(&c->stream);
		return NULL;
	}
	metric_add(s->worker->service->commands, 1);
	cmd = cmd_new(s, pdu->itt);
	cmd->is_read = pdu->cmd.is_read;
	cmd->is_write = pdu->cmd.is_write;
	cmd->edtl = pdu->cmd.edtl;
	cmd->is_counted = !pdu->is_immediate;
	s->ncounted += cmd->is_counted;
	prepare(cmd, pdu);
	check_unsolicited(cmd, pdu);
	return cmd;
}
