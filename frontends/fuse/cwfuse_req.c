/* SPDX-License-Identifier: Apache-2.0 */
/* cwfuse_req.c - the life of one request: from the kernel to the core and back. */
#include <string.h>

#include "frontends/fuse/cwfuse_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/metrics.h"

#define RETRY_FIRST_MS 20
#define RETRY_MAX_MS 1000
/* Small, so that an `ls` or a compiler's stdio does not ask for more than it needs; large enough that
 * stdio gathers small writes, each of which is a round trip. */
#define STAT_BLKSIZE (128 * 1024)

static void op_done(struct cw_op *op);

static uint64_t
ino_of(const struct cwfuse_session *s, fuse_ino_t nodeid)
{
	return nodeid == FUSE_ROOT_ID ? s->root_ino : nodeid;
}

static const char *const op_label[CW_OP_MAX] = {
    [CW_GETATTR] = "op=\"getattr\"",
    [CW_SETATTR] = "op=\"setattr\"",
    [CW_LOOKUP] = "op=\"lookup\"",
    [CW_ACCESS] = "op=\"access\"",
    [CW_READLINK] = "op=\"readlink\"",
    [CW_READ] = "op=\"read\"",
    [CW_WRITE] = "op=\"write\"",
    [CW_CREATE] = "op=\"create\"",
    [CW_MKDIR] = "op=\"mkdir\"",
    [CW_SYMLINK] = "op=\"symlink\"",
    [CW_REMOVE] = "op=\"unlink\"",
    [CW_RMDIR] = "op=\"rmdir\"",
    [CW_RENAME] = "op=\"rename\"",
    [CW_READDIR] = "op=\"readdir\"",
    [CW_STATFS] = "op=\"statfs\"",
    [CW_COMMIT] = "op=\"fsync\"",
    [CW_OPEN] = "op=\"open\"",
    [CW_RELEASE] = "op=\"release\"",
};

static struct metric *latency[CW_OP_MAX];
static pthread_once_t latency_once = PTHREAD_ONCE_INIT;

static void
register_latency(void)
{
	for (int i = 0; i < CW_OP_MAX; i++)
		latency[i] = metrics_histogram("causeway_fuse_request_seconds", op_label[i],
		    "Time from a FUSE request to its answer");
}

struct cwfuse_req *
cwfuse_begin(fuse_req_t req, fuse_ino_t ino, enum cw_opcode code)
{
	struct cwfuse_req *r = cwfuse_req_here();
	struct cwfuse_session *s = r->s;

	r->req = req;
	r->delay_ms = 0;
	r->started_ns = clock_mono_ns();
	r->code = code;
	pthread_once(&latency_once, register_latency);
	memset(&r->op, 0, sizeof(r->op));
	r->share = cw_share_find(s->share_id);
	if (r->share == NULL) {
		cwfuse_reply_err(r, -ESTALE);
		return NULL;
	}
	cwfuse_cred(s, req, &r->op.cred);
	cwfuse_next(r, code, ino_of(s, ino));
	return r;
}

void
cwfuse_as_opener(struct cwfuse_req *r)
{
	memset(&r->op.cred, 0, sizeof(r->op.cred));
}

void
cwfuse_next(struct cwfuse_req *r, enum cw_opcode code, uint64_t ino)
{
	struct cw_cred cred = r->op.cred;

	memset(&r->op, 0, sizeof(r->op));
	r->op.cred = cred;
	r->op.code = code;
	r->op.share = r->share;
	r->op.holder = &r->s->holder;
	r->op.ino = ino;
	r->op.done = op_done;
	r->op.ctx = r;
}

static void
completed(struct cwfuse_req *r)
{
	uint64_t limit_ms = r->op.result < 0 ? cwfuse_wait_ms(r->op.result) : 0;

	if (atomic_load(&r->s->abandoned)) /* stays in the journal for the next daemon */
		return;
	if (limit_ms == 0 || atomic_load(&r->s->gone)) {
		r->step(r);
		return;
	}
	if (r->delay_ms == 0) {
		r->first_ms = clock_mono_ms();
		r->delay_ms = RETRY_FIRST_MS;
	} else if (limit_ms != UINT64_MAX && clock_mono_ms() - r->first_ms > limit_ms) {
		r->step(r);
		return;
	} else if (r->delay_ms < RETRY_MAX_MS) {
		r->delay_ms *= 2;
	}
	cwfuse_server_retry(r->s->server, r);
}

static void
op_done(struct cw_op *op)
{
	completed(op->ctx);
}

static void
run(struct cwfuse_req *r)
{
	if (r->share == NULL) { /* it was deleted between two steps */
		r->op.result = -ESTALE;
		r->step(r);
	} else if (cw_submit(&r->op)) {
		completed(r);
	}
}

void
cwfuse_submit(struct cwfuse_req *r, void (*step)(struct cwfuse_req *r))
{
	r->step = step;
	run(r);
}

void
cwfuse_rerun(struct cwfuse_req *r)
{
	if (fuse_req_interrupted(r->req)) {
		r->op.result = -EINTR;
		r->step(r);
		return;
	}
	/* A share that was closed answers "offline"; it may be another one by now, or none. */
	cw_share_put(r->share);
	r->share = cw_share_find(r->s->share_id);
	r->op.share = r->share;
	run(r);
}

static void
end(struct cwfuse_req *r)
{
	if (r->share != NULL)
		cw_share_put(r->share);
	r->share = NULL;
	metric_observe_ns(latency[r->code], clock_mono_ns() - r->started_ns);
}

void
cwfuse_end(struct cwfuse_req *r)
{
	end(r);
	cwfuse_slot_put(r->s, r->slot);
}

void
cwfuse_end_logged(struct cwfuse_req *r)
{
	end(r);
	r->is_replay = false;
	cwfuse_log_add(r->s, r->slot);
}

void
cwfuse_reply_err(struct cwfuse_req *r, int err)
{
	cwfuse_answering(r);
	fuse_reply_err(r->req, cwfuse_errno(err));
	cwfuse_end(r);
}

static struct timespec
timespec_of(int64_t ns)
{
	struct timespec ts = {ns / 1000000000, ns % 1000000000};

	if (ts.tv_nsec < 0) {
		ts.tv_nsec += 1000000000;
		ts.tv_sec--;
	}
	return ts;
}

void
cwfuse_fill_stat(const struct cw_attr *a, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_dev = a->share_id;
	st->st_ino = a->ino;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_size = (off_t)a->size;
	st->st_blocks = (blkcnt_t)((a->used_bytes + 511) / 512);
	st->st_blksize = STAT_BLKSIZE;
	st->st_atim = timespec_of(a->atime_ns);
	st->st_mtim = timespec_of(a->mtime_ns);
	st->st_ctim = timespec_of(a->ctime_ns);
}

void
cwfuse_fill_entry(
    const struct cwfuse_session *s, const struct cw_attr *a, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = a->ino == s->root_ino ? FUSE_ROOT_ID : a->ino;
	e->generation = a->gen;
	e->attr_timeout = s->timeout_s;
	e->entry_timeout = s->timeout_s;
	cwfuse_fill_stat(a, &e->attr);
}

void
cwfuse_reply_entry(struct cwfuse_req *r, const struct cw_attr *a)
{
	struct fuse_entry_param e;

	cwfuse_fill_entry(r->s, a, &e);
	cwfuse_answering(r);
	fuse_reply_entry(r->req, &e);
	cwfuse_end(r);
}

void
cwfuse_reply_attr(struct cwfuse_req *r, const struct cw_attr *a)
{
	struct stat st;

	cwfuse_fill_stat(a, &st);
	cwfuse_answering(r);
	fuse_reply_attr(r->req, &st, r->s->timeout_s);
	cwfuse_end(r);
}

uint8_t *
cwfuse_data(struct cwfuse_req *r)
{
	return cwfuse_journal_slot(r->s->journal, r->slot) + CWFUSE_HEAD;
}
