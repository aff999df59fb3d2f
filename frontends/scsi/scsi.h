/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scsi.h - logical units and command sets, transport-free: what a transport (iSCSI) sees.
 *
 * A transport makes a target per volume, a nexus per logged-in session, and for each command a struct
 * scsi_task: scsi_task_prepare() tells how much data the command moves, the transport gathers Data-Out,
 * then scsi_task_execute() runs it.  No sockets here, no CDBs below.
 *
 * Order matters: scsi_task_prepare() in the order of CmdSN, from then on a task is in the task set.
 * Every nexus has a task set of its own (TST = 001b), which belongs to its loop.
 */
#ifndef SCSI_SCSI_H
#define SCSI_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "gateway/base/err.h"
#include "gateway/base/list.h"
#include "gateway/base/loop.h"
#include "gateway/base/workq.h"
#include "gateway/volume.h"

#define SCSI_CDB_MAX 260
#define SCSI_SENSE_MAX 252

enum scsi_status { /* SAM-5 5.3 */
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_CONDITION_MET = 0x04,
	SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18,
	SCSI_TASK_SET_FULL = 0x28,
	SCSI_ACA_ACTIVE = 0x30,
	SCSI_TASK_ABORTED = 0x40,
};
enum scsi_attr { SCSI_UNTAGGED, SCSI_SIMPLE, SCSI_ORDERED, SCSI_HEAD_OF_QUEUE, SCSI_ACA };
enum scsi_tmf {
	SCSI_ABORT_TASK,
	SCSI_ABORT_TASK_SET,
	SCSI_CLEAR_ACA,
	SCSI_CLEAR_TASK_SET,
	SCSI_LUN_RESET,
	SCSI_TARGET_RESET, /* warm and cold: what happens to connections is the transport's */
};
enum scsi_tmf_result {
	SCSI_TMF_COMPLETE,
	SCSI_TMF_NO_TASK,
	SCSI_TMF_NO_LUN,
	SCSI_TMF_NOT_SUPPORTED,
	SCSI_TMF_REJECTED,
};

struct scsi_target; /* one SCSI target device: LUN 0 is the volume */
struct scsi_nexus;  /* one I_T nexus: an iSCSI session */
struct scsi_op;	    /* private: a row of the table of commands */

/* scsi_target_get - the target device of a volume, one for all its sessions; loads its persistent
 * reservations and saved mode pages.
 * args:   v: a reference is taken
 * result: counted reference, never NULL
 * ctx:    worker (reads the index) */
struct scsi_target *scsi_target_get(struct cw_volume *v);
void scsi_target_put(struct scsi_target *t); /* any */
/* scsi_stop - end the threads of this layer, after the last target was put. control thread */
void scsi_stop(void);

/* scsi_nexus_new - a session has logged in.
 * args:   t: a reference is taken; initiator_port: SCSI name of the initiator port,
 *         "iqn...,i,0x<ISID as 12 hex digits>", copied; portal_group_tag: relative target port and target
 *         port group; loop: where its tasks are submitted and completed
 * result: never NULL
 * ctx:    the loop, or any thread before the loop knows it
 * source: RFC 7143 4.4.1 (SCSI names), SAM-5 4.6 */
struct scsi_nexus *scsi_nexus_new(struct scsi_target *t, const char *initiator_port,
    uint16_t portal_group_tag, struct loop *loop);
/* scsi_nexus_free - I_T nexus loss: all its tasks and task management functions have ended. nexus loop */
void scsi_nexus_free(struct scsi_nexus *n);
/* scsi_nexus_changed - the volume's capacity or mode changed: unit attention. any */
void scsi_nexus_changed(struct scsi_nexus *n);

struct scsi_task {
	/* --- filled in by the transport before prepare --- */
	struct scsi_nexus *nexus;
	uint64_t lun; /* the 8 bytes of the LUN field, big endian */
	uint8_t cdb[SCSI_CDB_MAX];
	uint16_t cdb_len; /* what arrived */
	enum scsi_attr attr;
	uint64_t tag; /* initiator task tag: for ABORT TASK */
	void (*done)(
	    struct scsi_task *t); /* nexus loop, exactly once unless execute returned true */
	uint64_t out_announced; /* Data-Out bytes that the initiator means to send: may be more than
				 * want_out, and some commands refuse that */
	/* --- filled in by the transport before execute --- */
	void *
	    out; /* Data-Out buffer with out_len bytes; valid until completion; may be written to */
	uint32_t out_len; /* min(want_out, out_announced) */
	void *in;	  /* Data-In buffer, in_cap bytes; valid until completion */
	uint32_t in_cap;  /* at least min(want_in, what the initiator expects) */
	/* send - may be NULL: READ data as memory instead of in `in`; see cw_vio.send. Inside execute only. */
	uint32_t (*send)(struct scsi_task *t, struct iovec *iov, unsigned int n);
	/* --- by scsi_task_prepare() --- */
	uint64_t want_out,
	    want_in; /* bytes that the CDB itself asks to be moved (of an allocation length
				     * no more than the command can give: at most 16 MiB); one is 0 */
	/* --- result --- */
	enum scsi_status status;
	uint8_t sense[SCSI_SENSE_MAX];
	uint16_t sense_len;
	uint32_t in_len;  /* bytes of Data-In that are valid; at most in_cap */
	uint64_t in_full; /* how many there would have been with a larger in_cap: for residuals */
	bool
	    is_aborted; /* send no response (a TASK ABORTED status that is to be sent has this false) */
	/* --- private to scsi --- */
	struct list link;
	const struct scsi_op *op;
	uint64_t off, len; /* bytes of the volume */
	struct cw_vio vio;
	struct work work;
	struct loop_task loop_task;
	void (*step)(struct scsi_task *t);
	void *mem; /* freed at completion */
	uint8_t state, abort;
};

/* scsi_task_prepare - decode the CDB, check unit attention, reservations, ranges.
 * result: true: go on (gather Data-Out, then execute or abandon); false: the task is complete already
 *         (status and sense set): Data-Out is not wanted
 * ctx:    nexus loop; memory only */
bool scsi_task_prepare(struct scsi_task *t);
/* scsi_task_execute - run it.
 * result: true: complete, done() is not called; false: done() comes later
 * ctx:    nexus loop */
bool scsi_task_execute(struct scsi_task *t);
/* scsi_task_abandon - prepared but never to be executed (its data did not come). done() is not called. nexus loop */
void scsi_task_abandon(struct scsi_task *t);

/* scsi_tmf - task management.
 *
 * Tasks that it aborts still call done(), those that were prepared and wait for Data-Out or for their turn
 * before scsi_tmf() returns (neither execute nor abandon may follow then), those under way when they end.
 * is_aborted says that no response is sent; tasks of other nexuses get SCSI_TASK_ABORTED (TAS = 1).
 * Tasks on other loops are reached by posts.
 * args:   lun: ignored by TARGET RESET; tag: of ABORT TASK; done(arg, result): on the nexus loop, never
 *         inside scsi_tmf(), once no aborted task can change the medium any more (an aborted READ may end later)
 * ctx:    nexus loop
 * source: SAM-5 7 */
void scsi_tmf(struct scsi_nexus *n, enum scsi_tmf what, uint64_t lun, uint64_t tag,
    void (*done)(void *arg, enum scsi_tmf_result r), void *arg);

#endif
