/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_int.h - folder-private: journal, session, request. Only frontends/fuse/ includes it.
 *
 * One mount is one *session*: a libfuse session over a descriptor of /dev/fuse that `causeway mount`
 * opened and keeps open, so that the mount survives the daemon.  The kernel sends a request once; one
 * that the daemon took and never answered would hang its caller for ever.  So requests are received
 * into a *journal*: anonymous memory that the mount helper keeps beside the descriptor.  A restarted
 * daemon gets both back, feeds its new libfuse session the kernel's old INIT and runs what the last
 * one left unanswered.  No kernel feature beyond Linux 4.x is needed.
 *
 *   slot state   who sets it
 *   FREE         slot_put(), after the answer went to the kernel
 *   READING      a session thread before read(); header.len is 0 then, so what a daemon killed
 *                inside read() left is recognised: the kernel either wrote a whole request or nothing
 *   BUSY         the thread after read()
 *   ANSWERING    right before the answer goes out, which lies in the slot then
 *   LOGGED       cwfuse_log_add(): a WRITE, answered, not durable yet (cwfuse_log.c)
 *
 * A request that is BUSY runs a second time.  If the core had done it, only the answer was missing: it is
 * marked replayed, and the ops take "it is there already" and "it is gone already" for success then.
 * One that is ANSWERING must not run again, for its caller may have gone on (an open with O_TRUNC would
 * cut what was written since): the answer that was kept is sent again, which the kernel refuses if it
 * has it.  Long answers (READ, READDIR, READLINK) are not kept: to run these again does no harm.
 */
#ifndef CWFUSE_CWFUSE_INT_H
#define CWFUSE_CWFUSE_INT_H

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "frontends/fuse/cwfuse.h"
#include "gateway/base/list.h"
#include "gateway/op.h"
#include "gateway/recall.h"
#include "gateway/share.h"

#define CWFUSE_SLOTS 64	       /* requests of one mount under way at once */
#define CWFUSE_DATA (1u << 20) /* most bytes in one READ or WRITE */
#define CWFUSE_HEAD 4096u      /* headers in front of the data of a WRITE */
#define CWFUSE_SLOT (CWFUSE_HEAD + CWFUSE_DATA)
#define CWFUSE_ANSWER_MAX 512 /* kept at the end of the slot, behind the data of any WRITE */
#define CWFUSE_INIT_MAX 512
#define CWFUSE_THREADS_MAX 8
#define CWFUSE_JOURNAL_HEAD 8192u
#define CWFUSE_JOURNAL_SIZE (CWFUSE_JOURNAL_HEAD + (size_t)CWFUSE_SLOTS * CWFUSE_SLOT)

enum cwfuse_slot_state {
	CWFUSE_FREE,
	CWFUSE_READING,
	CWFUSE_BUSY,
	CWFUSE_ANSWERING,
	CWFUSE_LOGGED,
	CWFUSE_SLOT_STATE_MAX
};

struct cwfuse_journal { /* start of the shared memory */
	char magic[8];
	uint32_t version, nslots, slot_bytes;
	uint32_t init_len; /* the kernel's INIT request; 0 = not seen yet */
	uint8_t init[CWFUSE_INIT_MAX];
	_Atomic uint32_t state[CWFUSE_SLOTS];
	uint32_t len[CWFUSE_SLOTS];
	uint64_t log_seq[CWFUSE_SLOTS];	    /* LOGGED: order, */
	int64_t log_ctime_ns[CWFUSE_SLOTS]; /* and the file's ctime after the write */
};

struct cwfuse_session;

struct cwfuse_req { /* bound to its slot */
	struct cwfuse_session *s;
	unsigned int slot;
	bool is_replay;
	fuse_req_t req;
	struct cw_share *share;
	struct cw_op op;
	void (*step)(struct cwfuse_req *r); /* what comes when the op is complete */
	struct fuse_file_info fi;
	struct cw_attr open_attr; /* open, create */
	int flags, open_err;
	bool is_create, is_new;
	uint32_t want_access;
	size_t room, used; /* of the directory buffer */
	bool is_plus;
	char name[CW_NAME_MAX + 1];
	struct list retry; /* server->retries */
	uint64_t due_ms, first_ms;
	unsigned int delay_ms;
	uint64_t started_ns;
	uint64_t log_mark, nodeid; /* fsync */
	enum cw_opcode code;	   /* the op it began with, for the latency */
};

struct cwfuse_cred_entry {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	uint64_t until_ms;
	uint32_t ngroups;
	uint32_t groups[CW_GROUPS_MAX];
};

#define CWFUSE_CRED_ENTRIES 64
#define CWFUSE_LOST_MAX 256

struct cwfuse_session {
	struct cwfuse_server *server;
	struct list link; /* server->sessions; server lock */
	int sock;	  /* the mount helper; -1 = gone. Server thread only */
	int fd;		  /* /dev/fuse */
	char share_name[256];
	uint32_t share_id;
	uint64_t root_ino;
	uint32_t epoch; /* in file handles: an open of an earlier session is not released here */
	double timeout_s;
	struct fuse_session *se;
	bool swallow; /* the answer to a re-fed INIT is not for the kernel */
	struct cwfuse_journal *journal;

	pthread_mutex_t lock; /* guards the free slots and the log */
	pthread_cond_t slot_freed;
	unsigned int free[CWFUSE_SLOTS], nfree;
	bool is_ready; /* what the last daemon left is done: all threads may read */
	unsigned int nlogged;
	size_t log_bytes;
	uint64_t log_seq, log_since_ms;
	uint64_t lost[CWFUSE_LOST_MAX]; /* files whose writes a failed commit lost: fsync says so */
	unsigned int nlost;
	bool is_all_lost;
	struct cw_op commit_op;
	uint64_t commit_mark, commit_nodeid; /* of the round under way */
	atomic_bool is_committing, is_replayed;
	unsigned int nparked; /* taken off the retry list for good: the next daemon runs them */
	struct cwfuse_req reqs[CWFUSE_SLOTS];

	pthread_t threads[CWFUSE_THREADS_MAX];
	unsigned int nthreads;
	atomic_uint nrunning;
	atomic_bool stopping;  /* read no more */
	atomic_bool abandoned; /* answer no more: the next daemon will */
	atomic_bool gone;      /* unmounted */

	struct recall_holder holder;
	int lease_fd;	 /* the helper's thread that makes the kernel forget; -1 = none */
	bool can_expire; /* the kernel can be told so */
	atomic_bool lease_gone, lease_timed;
	_Atomic uint64_t lease_from_ms; /* none are given before */

	pthread_mutex_t cred_lock;
	struct cwfuse_cred_entry creds[CWFUSE_CRED_ENTRIES];
};

/* --- cwfuse_journal.c ---------------------------------------------------------------------------- */
/* cwfuse_journal_new - a fresh one in anonymous memory. result: descriptor or negative errno */
int cwfuse_journal_new(struct cwfuse_journal **out) CW_MUST_CHECK;
/* cwfuse_journal_map - one that came back; fd borrowed. -EINVAL if it is not one of ours. */
int cwfuse_journal_map(int fd, struct cwfuse_journal **out) CW_MUST_CHECK;
void cwfuse_journal_unmap(struct cwfuse_journal *j);
/* cwfuse_journal_slot - the memory of slot i. */
uint8_t *cwfuse_journal_slot(struct cwfuse_journal *j, unsigned int i);
/* cwfuse_journal_answer - where slot i keeps its answer, CWFUSE_ANSWER_MAX bytes. */
uint8_t *cwfuse_journal_answer(struct cwfuse_journal *j, unsigned int i);
/* cwfuse_journal_left - length of the request that slot i holds unanswered, 0 = none. */
size_t cwfuse_journal_left(struct cwfuse_journal *j, unsigned int i);

/* --- cwfuse_session.c ---------------------------------------------------------------------------- */
/* cwfuse_session_new - serve a mount.
 * args:   fuse_fd, lease_fd (-1: none) and journal taken (also on error); share borrowed
 * result: 0 and *out, threads run; negative errno. ctx: server thread */
int cwfuse_session_new(struct cwfuse_server *server, struct cw_share *share, int fuse_fd,
    int lease_fd, struct cwfuse_journal *journal, double timeout_s,
    struct cwfuse_session **out) CW_MUST_CHECK;
/* cwfuse_session_halt - read no more requests; the threads end without an event of the kernel's. */
void cwfuse_session_halt(struct cwfuse_session *s);
/* cwfuse_session_idle - are all requests answered? is_synced: and all writes durable? */
bool cwfuse_session_idle(struct cwfuse_session *s, bool is_synced);
/* cwfuse_session_free - after halt; idle. Closes the descriptor. */
void cwfuse_session_free(struct cwfuse_session *s);
void cwfuse_slot_put(struct cwfuse_session *s, unsigned int slot);
/* cwfuse_answering - the next answer of this thread is r's: keep it before it goes out. */
void cwfuse_answering(struct cwfuse_req *r);
/* cwfuse_req_here - the request that this thread is handing to libfuse; the caller takes it over. */
struct cwfuse_req *cwfuse_req_here(void);

/* --- cwfuse_log.c --------------------------------------------------------------------------------- */
/* cwfuse_log_reserve - r, a WRITE, is about to be answered; ctime_ns: the file's after the write. */
void cwfuse_log_reserve(struct cwfuse_req *r, int64_t ctime_ns);
/* cwfuse_log_add - it was answered: its slot stays until the data is durable. Ends r's use of the slot.
 * any thread */
void cwfuse_log_add(struct cwfuse_session *s, unsigned int slot);
/* cwfuse_log_mark - what a commit that is submitted now will cover. */
uint64_t cwfuse_log_mark(struct cwfuse_session *s);
/* cwfuse_log_committed - a file's writes up to mark are durable, or lost. any thread */
void cwfuse_log_committed(struct cwfuse_session *s, uint64_t nodeid, uint64_t mark, bool is_lost);
/* cwfuse_log_was_lost - did a commit fail over writes to this file since its last fsync? */
bool cwfuse_log_was_lost(struct cwfuse_session *s, uint64_t nodeid);
/* cwfuse_log_commit - start a commit unless one is under way. any thread */
void cwfuse_log_commit(struct cwfuse_session *s);
/* cwfuse_log_tick - commit what is due. result: milliseconds until the next call, -1 = none needed */
int cwfuse_log_tick(struct cwfuse_session *s);
/* cwfuse_log_replay - do again what a killed daemon lost. first thread, before anything is read */
void cwfuse_log_replay(struct cwfuse_session *s);

/* --- cwfuse_lease.c ------------------------------------------------------------------------------- */
/* cwfuse_lease_open - fd, taken: the helper's end of recalls, or -1. server thread */
void cwfuse_lease_open(struct cwfuse_session *s, int fd);
/* cwfuse_lease_close - give no more, and let nobody wait for this mount. The descriptor is the session's. */
void cwfuse_lease_close(struct cwfuse_session *s);
/* cwfuse_lease_may_give - may the kernel keep what it is told now? any thread */
bool cwfuse_lease_may_give(const struct cwfuse_session *s);
/* cwfuse_lease_heard - s->lease_fd can be read. server thread */
void cwfuse_lease_heard(struct cwfuse_session *s);
/* cwfuse_lease_tick - give up on what has run out. result: milliseconds until the next call, -1 = none needed */
int cwfuse_lease_tick(struct cwfuse_session *s);

/* --- cwfuse_server.c ----------------------------------------------------------------------------- */
/* cwfuse_server_retry - run r's op again in a while. any thread */
void cwfuse_server_retry(struct cwfuse_server *server, struct cwfuse_req *r);
/* cwfuse_server_note_lease - the next daemon will know that this one gave leases. result: false: none may be
 * given. any thread */
bool cwfuse_server_note_lease(struct cwfuse_server *server);
/* cwfuse_server_wake - a session ended. any thread */
void cwfuse_server_wake(struct cwfuse_server *server);

/* --- cwfuse_req.c -------------------------------------------------------------------------------- */
/* cwfuse_begin - fill in a request for an op on ino with the caller's credentials.
 * result: NULL when it was answered with an error already */
struct cwfuse_req *cwfuse_begin(fuse_req_t req, fuse_ino_t ino, enum cw_opcode code);
/* cwfuse_as_opener - what open(2) allowed needs no second check: run as the superuser. */
void cwfuse_as_opener(struct cwfuse_req *r);
/* cwfuse_submit - run r->op, then step(r). */
void cwfuse_submit(struct cwfuse_req *r, void (*step)(struct cwfuse_req *r));
/* cwfuse_next - reset r->op to another op on ino; credentials are kept. */
void cwfuse_next(struct cwfuse_req *r, enum cw_opcode code, uint64_t ino);
/* cwfuse_rerun - the server's timer: submit again, or give up when interrupted. */
void cwfuse_rerun(struct cwfuse_req *r);
/* cwfuse_end - r was answered. */
void cwfuse_end(struct cwfuse_req *r);
/* cwfuse_end_logged - the same for a WRITE that is not durable yet. */
void cwfuse_end_logged(struct cwfuse_req *r);
/* Answers: all end r. err is 0 or negative. */
void cwfuse_reply_err(struct cwfuse_req *r, int err);
void cwfuse_reply_entry(struct cwfuse_req *r, const struct cw_attr *a);
void cwfuse_reply_attr(struct cwfuse_req *r, const struct cw_attr *a);
uint8_t *cwfuse_data(struct cwfuse_req *r); /* CWFUSE_DATA bytes for an answer; not for WRITE */
void cwfuse_fill_stat(const struct cw_attr *a, struct stat *st);
void cwfuse_fill_entry(
    const struct cwfuse_session *s, const struct cw_attr *a, struct fuse_entry_param *e);

/* --- cwfuse_cred.c ------------------------------------------------------------------------------- */
/* cwfuse_cred - user, group and supplementary groups of the caller; groups are kept for a second. */
void cwfuse_cred(struct cwfuse_session *s, fuse_req_t req, struct cw_cred *out);

/* --- cwfuse_ops.c, cwfuse_open.c ------------------------------------------------------------------ */
extern const struct fuse_lowlevel_ops cwfuse_ops;
void cwfuse_op_create(
    fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *fi);
void cwfuse_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void cwfuse_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void cwfuse_op_read(
    fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void cwfuse_op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
    struct fuse_file_info *fi);
void cwfuse_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* --- cwfuse_status.c ------------------------------------------------------------------------------ */
/* cwfuse_errno - what the kernel is told for a result of the core.
 * args:   err 0 or negative
 * result: 0 or a positive errno
 * ctx:    any thread. source: fuse_reply_err(3): "error value, or zero" */
int cwfuse_errno(int err);
/* cwfuse_wait_ms - is err a "not now", and for how long in all is the op tried again before the caller
 * gets it? result: 0 = not at all; UINT64_MAX = for ever */
uint64_t cwfuse_wait_ms(int err);

#endif
