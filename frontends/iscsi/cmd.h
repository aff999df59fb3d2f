/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd.h - one SCSI command of a session, from its PDU to its response. Loop.
 *
 *   COMMAND PDU --> GATHER (unsolicited data, then R2Ts; dataout.c) --> RUNNING (scsi_task_execute)
 *                     |  refused, or the data is wrong                     |
 *                     '--> still GATHER until the initiator has sent what  v
 *                          it announced -----------------------------> answered (response.c), freed
 *
 * Where data lies: a WRITE whose data came with the command and fits in the receive buffer runs right
 * from there; any other has a buffer that the socket is read into.  Data-In is filled into a place of
 * the send buffer, or goes from where the volume has it straight into the socket.
 */
#ifndef ISCSI_CMD_H
#define ISCSI_CMD_H

#include "frontends/iscsi/session.h"

#define ISCSI_R2TS_MAX ISCSI_OUR_R2TS

enum iscsi_cmd_state { CMD_GATHER, CMD_RUNNING };

struct iscsi_cmd {
	struct scsi_task task;
	struct iscsi_session *session;
	struct list link, r2t_link;
	struct iscsi_cmd *next; /* of its bucket, or of the free list */
	enum iscsi_cmd_state state;
	bool is_read, is_write;
	bool is_counted; /* it took a CmdSN */
	bool
	    is_refused; /* task.status is set already, no data is wanted; never prepared or abandoned */
	uint32_t itt, edtl;
	/* Data-Out */
	struct stream_buf *buf;
	uint8_t *out;
	uint32_t out_len;   /* what the task takes */
	uint32_t got;	    /* all that came, also past out_len */
	uint32_t unsol_max; /* unsolicited data ends here */
	bool is_unsol_done, has_out_bytes;
	uint32_t data_sn; /* of the next PDU of the current sequence */
	uint32_t r2t_off; /* asked for so far */
	uint32_t r2t_sn;
	struct {
		uint32_t ttt, end;
	} r2ts[ISCSI_R2TS_MAX]; /* outstanding, oldest first */
	unsigned int nr2ts;
	/* Data-In */
	struct stream_buf *region;
	uint32_t region_off, region_len; /* place in the send buffer */
	uint32_t segment;		 /* the initiator's, when the place was made */
	uint32_t npdus;
	uint32_t sent; /* bytes of the PDUs' stream that iscsi_datain_send sent */
};

/* --- cmd.c --- */
/* iscsi_cmd_begin - a SCSI command PDU's header. result: the command, NULL: its data is to be dropped */
struct iscsi_cmd *iscsi_cmd_begin(struct iscsi_conn *c, const struct iscsi_pdu *pdu);
/* iscsi_cmd_gather - what of the command's data is missing is asked for; with all there it runs. */
void iscsi_cmd_gather(struct iscsi_cmd *cmd);
/* iscsi_cmd_fail - CHECK CONDITION, ABORTED COMMAND with this additional sense code (RFC 7143
 * 11.4.7.2); answered when the initiator has sent what it announced. */
void iscsi_cmd_fail(struct iscsi_cmd *cmd, uint8_t asc, uint8_t ascq);
/* iscsi_cmd_drop - end it without an answer; it is not running. */
void iscsi_cmd_drop(struct iscsi_cmd *cmd);
/* iscsi_cmd_free - answered */
void iscsi_cmd_free(struct iscsi_cmd *cmd);
/* iscsi_cmd_free_list - the memory of a worker's free commands */
void iscsi_cmd_free_list(struct iscsi_cmd *cmd);
struct iscsi_cmd *iscsi_cmd_find(struct iscsi_session *s, uint32_t itt);

/* --- dataout.c --- */
/* iscsi_data_out_begin - a Data-Out PDU's header. result: the command, NULL: the data is to be dropped */
struct iscsi_cmd *iscsi_data_out_begin(struct iscsi_conn *c, const struct iscsi_pdu *pdu);
/* iscsi_data_place - where the next bytes of cmd go. result: NULL: nowhere; *cap: how many at most */
uint8_t *iscsi_data_place(struct iscsi_cmd *cmd, uint32_t *cap);
/* iscsi_data_adopt - all data of the command lies at data in b, which is kept. result: false: it is
 * not all, or not wanted */
bool iscsi_data_adopt(struct iscsi_cmd *cmd, struct stream_buf *b, uint8_t *data, uint32_t len);
/* iscsi_data_end - a data segment of cmd was received whole. is_intact: its digest is right */
void iscsi_data_end(
    struct iscsi_conn *c, const struct iscsi_pdu *pdu, struct iscsi_cmd *cmd, bool is_intact);
/* iscsi_r2t_next - ask for more of cmd's data, as far as the limits go. */
void iscsi_r2t_next(struct iscsi_cmd *cmd);
/* iscsi_r2t_wake - memory was freed: those that wait for it ask. */
void iscsi_r2t_wake(struct iscsi_session *s);

/* --- datain.c --- */
/* iscsi_datain_reserve - a place for the data of a READ, task.in. */
void iscsi_datain_reserve(struct iscsi_cmd *cmd, uint32_t cap);
/* iscsi_datain_send - scsi_task.send */
uint32_t iscsi_datain_send(struct scsi_task *t, struct iovec *iov, unsigned int n);
/* iscsi_datain_queue - Data-In PDUs for task.in_len bytes; with the status in the last one if has_status.
 * result: how many */
uint32_t iscsi_datain_queue(struct iscsi_cmd *cmd, bool has_status);
/* iscsi_datain_trim - the place is not needed. */
void iscsi_datain_trim(struct iscsi_cmd *cmd);

/* --- response.c --- */
/* iscsi_cmd_answer - the task is complete: send what it gave, free the command. */
void iscsi_cmd_answer(struct iscsi_cmd *cmd);
/* iscsi_cmd_residual - flags and count. RFC 7143 11.4.5.1 */
uint8_t iscsi_cmd_residual(const struct iscsi_cmd *cmd, uint32_t *count);

#endif
