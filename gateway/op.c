/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op.c - running ops: submit, park, re-run, commit, complete.
 *
 *   submit -> run -> result                          answered on the submitter's stack
 *                 -> OP_PENDING  -> op_rerun -> run  the bucket (or a busy file) was asked
 *                                -> op_delay -> run  it holds something else: decided in a moment
 *                                -> op_fail
 *                 -> OP_DURABLE  -> cache_commit     answered by the committer
 *                 -> OP_IO       -> cache_read/write inline, or answered by the cache's threads
 *
 * Whoever moves an op on owns it: after parking it or starting its I/O nothing here touches it again.
 */
#include "gateway/op.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/op_int.h"
#include "gateway/reply.h"
#include "gateway/share_int.h"

static const struct op_kind {
	int (*run)(struct cw_op *op);
	const char *name;
} kinds[CW_OP_MAX] = {
    [CW_GETATTR] = {op_getattr, "getattr"},
    [CW_SETATTR] = {op_setattr, "setattr"},
    [CW_LOOKUP] = {op_lookup, "lookup"},
    [CW_ACCESS] = {op_access, "access"},
    [CW_READLINK] = {op_readlink, "readlink"},
    [CW_READ] = {op_read_begin, "read"},
    [CW_WRITE] = {op_write_begin, "write"},
    [CW_CREATE] = {op_create, "create"},
    [CW_MKDIR] = {op_mkdir, "mkdir"},
    [CW_SYMLINK] = {op_symlink, "symlink"},
    [CW_REMOVE] = {op_remove, "remove"},
    [CW_RMDIR] = {op_rmdir, "rmdir"},
    [CW_RENAME] = {op_rename, "rename"},
    [CW_READDIR] = {op_readdir, "readdir"},
    [CW_STATFS] = {op_statfs, "statfs"},
    [CW_COMMIT] = {op_commit, "commit"},
    [CW_OPEN] = {op_open, "open"},
    [CW_RELEASE] = {op_release, "release"},
};

#define DELAY_FIRST_MS 10
#define DELAY_DOUBLINGS 5
#define DELAYS_NS (10ull * 1000000000) /* then the client shall know that it takes longer */

static bool op_run(struct cw_op *op);

/* --- metrics ----------------------------------------------------------------------------------- */

static pthread_once_t metrics_once = PTHREAD_ONCE_INIT;
static struct metric *op_count[CW_OP_MAX], *op_errors[CW_OP_MAX], *op_parked[CW_OP_MAX];

static void
metrics_make(void)
{
	char label[32];
	unsigned int i;

	for (i = 0; i < CW_OP_MAX; i++) {
		snprintf(label, sizeof(label), "op=\"%s\"", kinds[i].name);
		op_count[i] =
		    metrics_counter("causeway_ops_total", label, "File operations completed");
		op_errors[i] = metrics_counter(
		    "causeway_op_errors_total", label, "File operations that failed");
		op_parked[i] = metrics_histogram("causeway_op_wait_seconds", label,
		    "Time of file operations that could not be answered from memory at once");
	}
}

static void
op_account(const struct cw_op *op)
{
	metric_add(op_count[op->code], 1);
	if (op->result < 0)
		metric_add(op_errors[op->code], 1);
}

/* --- completion -------------------------------------------------------------------------------- */

static void
op_task_done(struct loop_task *t)
{
	struct cw_op *op = container_of(t, struct cw_op, task);

	op->done(op);
}

static void
op_work_done(struct work *w)
{
	struct cw_op *op = container_of(w, struct cw_op, work);

	op->done(op);
}

/* op_complete - hand an op back that did not complete on its submitter's stack. may_call: no lock is
 * held, so done() may be called right here when the op has no loop. */
static void
op_complete(struct cw_op *op, int result, bool may_call)
{
	struct cw_share *s = op->share;
	struct workq *q = cache_workq(s->env.cache);

	op->result = result;
	op_account(op);
	metric_observe_ns(op_parked[op->code], clock_mono_ns() - op->started_ns);
	if (op->loop != NULL) {
		op->task.fn = op_task_done;
		loop_post(op->loop, &op->task);
	} else if (may_call) {
		op->done(op);
	} else {
		op->work.fn = op_work_done;
		workq_submit(q, &op->work);
	}
	share_op_end(s);
}

void
op_fail(struct cw_op *op, int err)
{
	op_complete(op, err, false);
}

/* --- waiting for a commit ---------------------------------------------------------------------- */

static void
op_committed(struct cache_waiter *w, int err)
{
	struct cw_op *op = container_of(w, struct cw_op, waiter);

	if (op->code == CW_COMMIT) /* the verifier as it is after the commit: see op_commit() */
		op->write_verf = cw_share_write_verf(op->share);
	err = err < 0 ? err : op->pending_result;
	if (!recall_wait(op, err))
		op_complete(op, err, true);
}

void
op_recalled(struct cw_op *op)
{
	op_complete(op, op->pending_result, false);
}

/* op_commit_wait - the op is complete once all that was changed up to now is durable. Any lock state. */
static void
op_commit_wait(struct cw_op *op)
{
	op->waiter.done = op_committed;
	op->pending_result = 0;
	cache_commit(op->share->space, &op->waiter);
}

/* --- running ----------------------------------------------------------------------------------- */

static void
op_reset(struct cw_op *op)
{
	op->has_attr = false;
	op->wcc[0].has_pre = op->wcc[0].has_post = false;
	op->wcc[1].has_pre = op->wcc[1].has_post = false;
	op->count_done = 0;
	op->eof = op->is_sent = false;
	op->node = NULL;
	if (op->runs++ > 0 && op->emit_reset != NULL)
		op->emit_reset(op);
}

/* op_lock - begin a section in which op may change the tree; op_settle() or op_unlock() ends it. */
static void
op_lock(struct cw_op *op)
{
	share_lock(op->share);
	recalls_begin(op);
}

static void
op_unlock(struct cw_op *op)
{
	recalls_end(op);
	share_unlock(op->share);
}

/* op_settle - go on with what running an op gave. locked, unlocks. result: true: op->result is it */
static bool
op_settle(struct cw_op *op, int r)
{
	struct cw_share *s = op->share;

	recalls_end(op);
	if (r == OP_DURABLE) {
		if (op->has_reply_tag)
			reply_add(s, op->reply_tag);
		op_commit_wait(op);
		share_unlock(s);
		return false;
	}
	share_unlock(s);
	if (r == OP_PENDING || recall_wait(op, r))
		return false;
	op->result = r;
	return true;
}

/* op_put_back - what op_io_result() gave, for op_settle(). locked */
static int
op_put_back(struct cw_op *op, int r)
{
	switch (r) {
	case OP_RERUN:
		op_rerun(op);
		return OP_PENDING;
	case OP_DELAY:
		return op_delay(op) ? OP_PENDING : -ERR_OFFLINE;
	default:
		return r;
	}
}

/* op_io - submit op->io, filled by op_read_begin() or op_write_begin(). unlocked */
static bool
op_io(struct cw_op *op)
{
	int r;

	r = op->io.op == CW_IO_READ ? cache_read(&op->io) : cache_write(&op->io);
	if (r == -EINPROGRESS)
		return false;
	op_lock(op);
	r = op_put_back(op, op_io_result(op, r));
	return op_settle(op, r);
}

void
op_io_done(struct cw_io *io)
{
	struct cw_op *op = container_of(io, struct cw_op, io);
	int r;

	op_lock(op);
	r = op_put_back(op, op_io_result(op, io->result));
	if (op_settle(op, r))
		op_complete(op, op->result, true);
}

static bool
op_run(struct cw_op *op)
{
	struct cw_share *s = op->share;
	int r;

	op_reset(op);
	op_lock(op);
	if (s->closing)
		r = -ERR_OFFLINE;
	else if (op->has_reply_tag && reply_is_known(s, op->reply_tag))
		r = op_answer_again(op);
	else
		r = kinds[op->code].run(op);
	if (r == OP_IO) {
		op_unlock(op);
		return op_io(op);
	}
	return op_settle(op, r);
}

bool
cw_submit(struct cw_op *op)
{
	struct cw_share *s = op->share;

	pthread_once(&metrics_once, metrics_make);
	CW_ASSERT(op->code < CW_OP_MAX);
	op->runs = op->stage = op->delays = 0;
	op->recall_seq = 0;
	op->started_ns = clock_mono_ns();
	list_init(&op->link);
	if (!share_op_begin(s)) {
		op_reset(op);
		op->result = -ERR_OFFLINE;
		return true;
	}
	if (!op_run(op))
		return false;
	op_account(op);
	share_op_end(s);
	return true;
}

static void
op_run_again(struct cw_op *op)
{
	if (op_run(op))
		op_complete(op, op->result, true);
}

static void
op_task_run(struct loop_task *t)
{
	op_run_again(container_of(t, struct cw_op, task));
}

static void
op_work_run(struct work *w)
{
	op_run_again(container_of(w, struct cw_op, work));
}

void
op_rerun(struct cw_op *op)
{
	if (op->loop != NULL) {
		op->task.fn = op_task_run;
		loop_post(op->loop, &op->task);
	} else {
		op->work.fn = op_work_run;
		workq_submit(cache_workq(op->share->env.cache), &op->work);
	}
}

static void
op_delay_over(struct loop_timer *t)
{
	op_run_again(container_of(t, struct cw_op, timer));
}

static void
op_delay_begin(struct loop_task *t)
{
	struct cw_op *op = container_of(t, struct cw_op, task);
	unsigned int doublings = op->delays < DELAY_DOUBLINGS ? op->delays : DELAY_DOUBLINGS;

	op->delays++;
	loop_timer_init(&op->timer, op_delay_over);
	loop_timer_set(op->loop, &op->timer, (uint64_t)DELAY_FIRST_MS << doublings);
}

bool
op_delay(struct cw_op *op)
{
	if (op->loop == NULL || clock_mono_ns() - op->started_ns > DELAYS_NS)
		return false;
	op->task.fn = op_delay_begin;
	loop_post(op->loop, &op->task);
	return true;
}

/* --- waiting callers --------------------------------------------------------------------------- */

struct call {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
};

static void
call_done(struct cw_op *op)
{
	struct call *c = op->call;

	pthread_mutex_lock(&c->lock);
	c->is_done = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

int
cw_call(struct cw_op *op)
{
	struct call c = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	op->loop = NULL;
	op->done = call_done;
	op->call = &c;
	if (!cw_submit(op)) {
		pthread_mutex_lock(&c.lock);
		while (!c.is_done)
			pthread_cond_wait(&c.cond, &c.lock);
		pthread_mutex_unlock(&c.lock);
	}
	op->call = NULL;
	pthread_mutex_destroy(&c.lock);
	pthread_cond_destroy(&c.cond);
	return op->result;
}
