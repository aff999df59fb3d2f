/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scsi_int.h - what the files of this layer share: target, nexus, the table of commands.
 *
 * Locks: target->lock guards the list of nexuses, the reservations and the mode values; it is a leaf, held
 * for a few instructions, never over I/O.  target->change serialises commands that change what is kept
 * (PERSISTENT RESERVE OUT, MODE SELECT); workers only, held over the save.  Order: change, lock.
 * A nexus' task set belongs to its loop and has no lock.
 */
#ifndef SCSI_INT_H
#define SCSI_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "frontends/scsi/bytes.h"
#include "frontends/scsi/mode.h"
#include "frontends/scsi/pr.h"
#include "frontends/scsi/scsi.h"
#include "frontends/scsi/sense.h"
#include "frontends/scsi/ua.h"

#define SCSI_XCOPY_KEPT 16 /* results of EXTENDED COPY that a nexus can still ask for */

struct xcopy_result {
	bool is_used;
	uint8_t list_id, status;
	uint16_t segments_done;
	uint32_t blocks_done; /* transfer count, in logical blocks of the destination */
};

struct scsi_target {
	struct list link; /* in the registry */
	unsigned int refs;
	struct cw_volume *volume;
	uint64_t naa;
	char serial[CW_VOLUME_ID_MAX];
	pthread_mutex_t change;
	pthread_mutex_t lock;
	struct list nexuses;
	struct pr_state *pr;		/* never NULL; replaced as a whole */
	struct scsi_nexus *spc2_holder; /* RESERVE(6), (10) */
	struct mode_values mode, saved; /* current; what survives a restart */
	atomic_bool is_write_through;	/* !WCE: every write is FUA */
	atomic_bool is_write_protected; /* SWP */
	bool has_saved_text;		/* something is in the volume's row */
};

/* What a nexus may do under the reservations in force; recomputed whenever they change. */
enum scsi_limit { LIMIT_NONE, LIMIT_WRITE_EXCLUSIVE, LIMIT_EXCLUSIVE_ACCESS, LIMIT_SPC2 };

struct scsi_nexus {
	struct list link; /* target->nexuses */
	struct scsi_target *target;
	atomic_uint refs;
	struct loop *loop;
	char name[PR_NAME_MAX];
	uint16_t tag; /* portal group */
	atomic_uint ua;
	atomic_int limit; /* enum scsi_limit */
	atomic_ullong seen_size;
	/* loop only: */
	bool is_gone;
	struct list tasks; /* in order: prepared, blocked, running */
	unsigned int nordered, nblocked, naborting;
	struct list tmf_waiters; /* struct tmf_visit, wait for naborting == 0 */
	bool is_wake_posted;
	struct loop_task wake_task;
	struct xcopy_result xcopy[SCSI_XCOPY_KEPT];
	unsigned int xcopy_next;
};

enum scsi_task_state { TASK_NONE, TASK_PREPARED, TASK_BLOCKED, TASK_RUNNING };
enum scsi_abort { ABORT_NO, ABORT_OWN, ABORT_OTHER }; /* whose nexus asked for it */

enum scsi_op_flags {
	OP_NO_LUN = 0x01, /* answered for logical units that are not there, too */
	OP_NO_UA = 0x02,  /* does not report unit attentions: INQUIRY, REPORT LUNS, REQUEST SENSE */
	OP_FREE = 0x04,	  /* allowed under every persistent reservation */
	OP_READS = 0x08,  /* allowed under write exclusive ones */
	OP_SPC2_OK = 0x10, /* allowed when another nexus has done RESERVE(6), (10) */
	OP_MEDIUM = 0x20,  /* changes the medium: write protection, and aborts must wait for it */
};

#define SCSI_NO_SA (-1)
#define SCSI_OP_USAGE_MAX 16

struct scsi_op {
	const char *name;
	int16_t sa; /* service action or SCSI_NO_SA */
	uint8_t opcode, len, flags;
	uint8_t timeout_s; /* recommended; nominal is a tenth. In units of 10 s */
	bool (*prepare)(struct scsi_task *t); /* sets want_in, want_out; false: complete */
	bool (*run)(struct scsi_task *t);     /* true: complete */
	uint8_t usage[SCSI_OP_USAGE_MAX];     /* CDB usage data, SPC-4 6.35 */
};

/* opcode.c: the table. find: NULL if unknown; *is_sa_wrong: the opcode is known, its service action is not. */
const struct scsi_op *scsi_op_find(const uint8_t *cdb, unsigned int len, bool *is_sa_wrong);
const struct scsi_op *scsi_op_lookup(uint8_t opcode, int sa, bool *has_sa);
void scsi_op_each(void (*fn)(void *arg, const struct scsi_op *op), void *arg);

/* task.c: life of a task. All on the nexus loop unless said otherwise. */
void scsi_task_complete(struct scsi_task *t); /* a run() that returned false has ended */
/* scsi_task_on_worker - fn(t) on a worker, then the task is complete; _then: then(&t->loop_task) on the loop instead.
 * result: false, for run() to return */
bool scsi_task_on_worker(struct scsi_task *t, void (*fn)(struct scsi_task *t));
bool scsi_task_on_worker_then(
    struct scsi_task *t, void (*fn)(struct scsi_task *t), void (*then)(struct loop_task *w));
bool scsi_is_lun_ours(uint64_t lun);
bool scsi_task_is_stopping(const struct scsi_task *t); /* any: aborted, give up early */
bool scsi_task_vio(struct scsi_task *t, enum cw_vio_op op, uint64_t off, uint64_t len, void *buf,
    bool is_fua, void (*step)(struct scsi_task *t)); /* true: complete, result in t->vio.result */
int scsi_task_call(struct scsi_task *t, enum cw_vio_op op, uint64_t off, uint64_t len, void *buf,
    bool is_fua); /* worker */
/* scsi_abort_tasks - of this nexus, all or with that tag. result: how many */
unsigned int scsi_abort_tasks(struct scsi_nexus *n, enum scsi_abort how, const uint64_t *tag);
void scsi_reply(struct scsi_task *t, const void *data, size_t len);
bool scsi_want_in(struct scsi_task *t, uint64_t alloc, uint64_t max); /* returns true */
bool scsi_may_write(const struct scsi_nexus *n); /* under the reservations in force */
bool scsi_conflict(struct scsi_task *t);	 /* returns false: for prepare() */

/* target.c */
struct workq *scsi_workq(void);
void scsi_limits_update(struct scsi_target *t); /* target->lock held */
void scsi_nexus_ref(struct scsi_nexus *n);
void scsi_nexus_unref(struct scsi_nexus *n); /* any */
struct cw_volume *scsi_volume(const struct scsi_task *t);
uint32_t scsi_block_bytes(const struct scsi_task *t);
uint64_t scsi_blocks(const struct scsi_task *t); /* capacity */
uint64_t scsi_naa(const char *volume_id);
/* scsi_target_find - counted, NULL if there is none in use. any */
struct scsi_target *scsi_target_find(struct cw_volume *v);
/* scsi_target_save - make reservations (if they are to survive) and saved mode values durable. worker, t->change held
 * result: 0 or negative errno: then nothing changed */
int scsi_target_save(
    struct scsi_target *t, const struct pr_state *pr, const struct mode_values *saved);

/* tmf.c */
void scsi_tmf_task_ended(struct scsi_nexus *n);
/* scsi_abort_nexuses - on each nexus for which pick() says so (called with target->lock held): abort its tasks, on
 * its own loop; then done(arg) on the loop of `origin`. any thread */
typedef bool (*scsi_pick)(void *arg, const struct scsi_nexus *n);
void scsi_abort_nexuses(
    struct scsi_nexus *origin, scsi_pick pick, void *pick_arg, void (*done)(void *arg), void *arg);

/* --- commands, by file ------------------------------------------------------------------------- */
/* inquiry.c vpd.c */
bool scsi_prep_inquiry(struct scsi_task *t);
bool scsi_run_inquiry(struct scsi_task *t);
size_t scsi_vpd(struct scsi_task *t, uint8_t page, uint8_t *buf, size_t cap); /* 0: no such page */
/* spc.c */
bool scsi_prep_none(struct scsi_task *t);
bool scsi_run_good(struct scsi_task *t);
bool scsi_prep_report_luns(struct scsi_task *t);
bool scsi_run_report_luns(struct scsi_task *t);
bool scsi_prep_request_sense(struct scsi_task *t);
bool scsi_run_request_sense(struct scsi_task *t);
bool scsi_prep_rtpg(struct scsi_task *t);
bool scsi_run_rtpg(struct scsi_task *t);
bool scsi_prep_start_stop(struct scsi_task *t);
bool scsi_run_start_stop(struct scsi_task *t);
bool scsi_prep_prevent_allow(struct scsi_task *t);
bool scsi_prep_send_diagnostic(struct scsi_task *t);
/* report_ops.c */
bool scsi_prep_report_opcodes(struct scsi_task *t);
bool scsi_run_report_opcodes(struct scsi_task *t);
bool scsi_prep_report_tmfs(struct scsi_task *t);
bool scsi_run_report_tmfs(struct scsi_task *t);
/* mode_cmd.c */
bool scsi_prep_mode_sense(struct scsi_task *t);
bool scsi_run_mode_sense(struct scsi_task *t);
bool scsi_prep_mode_select(struct scsi_task *t);
bool scsi_run_mode_select(struct scsi_task *t);
/* capacity.c */
bool scsi_prep_capacity10(struct scsi_task *t);
bool scsi_run_capacity10(struct scsi_task *t);
bool scsi_prep_capacity16(struct scsi_task *t);
bool scsi_run_capacity16(struct scsi_task *t);
bool scsi_prep_lba_status(struct scsi_task *t);
bool scsi_run_lba_status(struct scsi_task *t);
bool scsi_prep_defects10(struct scsi_task *t);
bool scsi_prep_defects12(struct scsi_task *t);
bool scsi_run_defects(struct scsi_task *t);
/* rw.c */
bool scsi_prep_read(struct scsi_task *t);
bool scsi_run_read(struct scsi_task *t);
bool scsi_prep_write(struct scsi_task *t);
bool scsi_run_write(struct scsi_task *t);
bool scsi_prep_sync(struct scsi_task *t);
bool scsi_run_sync(struct scsi_task *t);
bool scsi_prep_prefetch(struct scsi_task *t);
bool scsi_run_prefetch(struct scsi_task *t);
bool scsi_out_blocks(struct scsi_task *t, uint64_t *len); /* bytes that came; false: refused */
/* verify.c */
bool scsi_prep_verify(struct scsi_task *t);
bool scsi_run_verify(struct scsi_task *t);
bool scsi_prep_write_verify(struct scsi_task *t);
bool scsi_run_write_verify(struct scsi_task *t);
/* caw.c */
bool scsi_prep_caw(struct scsi_task *t);
bool scsi_run_caw(struct scsi_task *t);
bool scsi_run_orwrite(struct scsi_task *t);
/* provision.c */
bool scsi_prep_unmap(struct scsi_task *t);
bool scsi_run_unmap(struct scsi_task *t);
bool scsi_prep_write_same(struct scsi_task *t);
bool scsi_run_write_same(struct scsi_task *t);
/* pr_cmd.c, reserve.c */
bool scsi_prep_pr_in(struct scsi_task *t);
bool scsi_run_pr_in(struct scsi_task *t);
bool scsi_prep_pr_out(struct scsi_task *t);
bool scsi_run_pr_out(struct scsi_task *t);
bool scsi_prep_reserve(struct scsi_task *t);
bool scsi_run_reserve(struct scsi_task *t);
bool scsi_run_release(struct scsi_task *t);
/* xcopy_cmd.c */
bool scsi_prep_xcopy(struct scsi_task *t);
bool scsi_run_xcopy(struct scsi_task *t);
bool scsi_prep_copy_results(struct scsi_task *t);
bool scsi_run_copy_results(struct scsi_task *t);

#endif
