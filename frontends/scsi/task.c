/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.c - the life of a task.
 *
 *   NONE -prepare-> PREPARED -execute-> RUNNING -> NONE
 *                      |  `-execute-> BLOCKED -(its turn)-> RUNNING
 *                      `-abandon, abort-> NONE
 *
 * SIMPLE tasks run side by side; an ORDERED one waits for all before it, and those behind wait for it; HEAD OF
 * QUEUE waits for nobody (SAM-5 8.6).  Reservations are looked at twice: when the command arrives, and when it
 * starts, since Data-Out may have taken long and a write of an ousted node must not land (SPC-4 5.13.1).
 */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/scsi_int.h"
#include "gateway/base/log.h"

/* --- answers ------------------------------------------------------------------------------------ */

void
scsi_reply(struct scsi_task *t, const void *data, size_t len)
{
	if (len > t->want_in)
		len = (size_t)t->want_in;
	t->in_full = len;
	t->in_len = (uint32_t)(len < t->in_cap ? len : t->in_cap);
	if (t->in_len > 0)
		memcpy(t->in, data, t->in_len);
	t->status = SCSI_GOOD;
}

bool
scsi_want_in(struct scsi_task *t, uint64_t alloc, uint64_t max)
{
	t->want_in = alloc < max ? alloc : max;
	return true;
}

bool
scsi_conflict(struct scsi_task *t)
{
	t->status = SCSI_RESERVATION_CONFLICT;
	t->sense_len = 0;
	return false;
}

static bool
may_run(const struct scsi_op *op, const struct scsi_nexus *n)
{
	switch (atomic_load_explicit(&n->limit, memory_order_acquire)) {
	case LIMIT_NONE:
		return true;
	case LIMIT_WRITE_EXCLUSIVE:
		return (op->flags & (OP_FREE | OP_READS)) != 0;
	case LIMIT_EXCLUSIVE_ACCESS:
		return (op->flags & OP_FREE) != 0;
	default:
		return (op->flags & OP_SPC2_OK) != 0;
	}
}

bool
scsi_may_write(const struct scsi_nexus *n)
{
	return atomic_load_explicit(&n->limit, memory_order_acquire) == LIMIT_NONE;
}

/* --- prepare ------------------------------------------------------------------------------------ */

bool
scsi_is_lun_ours(uint64_t lun)
{
	/* LUN 0, peripheral or flat addressing (SAM-5 4.7) */
	return lun == 0 || lun == 0x4000000000000000ull;
}

static bool
check_protection(struct scsi_task *t)
{
	struct scsi_target *target = t->nexus->target;

	if (cw_volume_conf(target->volume)->is_read_only)
		return scsi_refuse(t, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	if (atomic_load_explicit(&target->is_write_protected, memory_order_relaxed))
		return scsi_refuse(t, KEY_DATA_PROTECT, ASC_SOFTWARE_WRITE_PROTECTED);
	return true;
}

/* In the order of SAM-5 5.3.3: is it there, what must be told first, may it, is it right. */
static bool
check(struct scsi_task *t)
{
	bool is_sa_wrong;
	const struct scsi_op *op = scsi_op_find(t->cdb, t->cdb_len, &is_sa_wrong);
	unsigned int asc;

	t->op = op;
	if (!scsi_is_lun_ours(t->lun) && (op == NULL || !(op->flags & OP_NO_LUN)))
		return scsi_refuse(t, KEY_ILLEGAL_REQUEST, ASC_NO_LUN);
	if (op == NULL || !(op->flags & OP_NO_UA)) {
		asc = scsi_ua_take(t->nexus);
		if (asc != 0)
			return scsi_refuse(t, KEY_UNIT_ATTENTION, asc);
	}
	if (op == NULL && is_sa_wrong)
		return scsi_refuse_cdb(t, 1);
	if (op == NULL)
		return scsi_refuse(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
	if (t->attr == SCSI_ACA)
		return scsi_refuse(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_MESSAGE);
	if (!may_run(op, t->nexus))
		return scsi_conflict(t);
	if ((t->cdb[op->len - 1] & 4) != 0) /* NACA: there is no ACA here */
		return scsi_refuse_cdb(t, op->len - 1u);
	if ((op->flags & OP_MEDIUM) && !check_protection(t))
		return false;
	return op->prepare(t);
}

bool
scsi_task_prepare(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;

	t->status = SCSI_GOOD;
	t->sense_len = 0;
	t->in_len = 0;
	t->in_full = 0;
	t->want_in = 0;
	t->want_out = 0;
	t->is_aborted = false;
	t->state = TASK_NONE;
	t->abort = ABORT_NO;
	t->mem = NULL;
	t->off = 0;
	t->len = 0;
	if (!check(t)) {
		t->want_in = 0;
		t->want_out = 0;
		return false;
	}
	t->state = TASK_PREPARED;
	if (t->attr == SCSI_HEAD_OF_QUEUE)
		list_add_head(&n->tasks, &t->link);
	else
		list_add_tail(&n->tasks, &t->link);
	if (t->attr == SCSI_ORDERED)
		n->nordered++;
	return true;
}

/* --- the end of a task -------------------------------------------------------------------------- */

static void start_blocked(struct loop_task *w);

/* Out of the task set. The caller calls done() or returns true. */
static void
leave(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;
	uint8_t state = t->state;

	list_del(&t->link);
	t->state = TASK_NONE;
	free(t->mem);
	t->mem = NULL;
	if (t->attr == SCSI_ORDERED)
		n->nordered--;
	if (state == TASK_BLOCKED)
		n->nblocked--;
	if (t->abort != ABORT_NO) {
		t->in_len = 0;
		t->in_full = 0;
		t->sense_len = 0;
		t->status = SCSI_TASK_ABORTED;
		t->is_aborted = t->abort == ABORT_OWN;
		if (state == TASK_RUNNING && (t->op->flags & OP_MEDIUM)) {
			n->naborting--;
			scsi_tmf_task_ended(n);
		}
	}
	if (n->nblocked > 0 && !n->is_wake_posted) {
		n->is_wake_posted = true;
		n->wake_task.fn = start_blocked;
		scsi_nexus_ref(n);
		loop_post(n->loop, &n->wake_task);
	}
}

void
scsi_task_complete(struct scsi_task *t)
{
	leave(t);
	t->done(t);
}

/* --- execute ------------------------------------------------------------------------------------ */

static bool
is_its_turn(const struct scsi_task *t)
{
	const struct scsi_nexus *n = t->nexus;
	const struct list *l;

	if (t->attr == SCSI_HEAD_OF_QUEUE || n->nordered == 0)
		return true;
	if (t->attr == SCSI_ORDERED)
		return n->tasks.next == &t->link;
	for (l = t->link.prev; l != &n->tasks; l = l->prev) {
		if (container_of(l, const struct scsi_task, link)->attr == SCSI_ORDERED)
			return false;
	}
	return true;
}

/* result: true: complete, but still in the task set */
static bool
start(struct scsi_task *t)
{
	t->state = TASK_RUNNING;
	if (!may_run(t->op, t->nexus)) {
		scsi_conflict(t);
		return true;
	}
	return t->op->run(t);
}

bool
scsi_task_execute(struct scsi_task *t)
{
	CW_ASSERT(t->state == TASK_PREPARED);
	if (!is_its_turn(t)) {
		t->state = TASK_BLOCKED;
		t->nexus->nblocked++;
		return false;
	}
	if (!start(t))
		return false;
	leave(t);
	return true;
}

void
scsi_task_abandon(struct scsi_task *t)
{
	CW_ASSERT(t->state == TASK_PREPARED);
	leave(t);
}

static struct scsi_task *
next_in_turn(struct scsi_nexus *n)
{
	struct list *l;

	list_for_each(l, &n->tasks)
	{
		struct scsi_task *t = container_of(l, struct scsi_task, link);

		if (t->state == TASK_BLOCKED && is_its_turn(t))
			return t;
	}
	return NULL;
}

static void
start_blocked(struct loop_task *w)
{
	struct scsi_nexus *n = container_of(w, struct scsi_nexus, wake_task);
	struct scsi_task *t;

	n->is_wake_posted = false;
	while (n->nblocked > 0 && (t = next_in_turn(n)) != NULL) {
		n->nblocked--;
		if (start(t))
			scsi_task_complete(t);
	}
	scsi_nexus_unref(n);
}

/* --- abort -------------------------------------------------------------------------------------- */

unsigned int
scsi_abort_tasks(struct scsi_nexus *n, enum scsi_abort how, const uint64_t *tag)
{
	struct list *l, *tmp, ended;
	unsigned int count = 0;

	list_init(&ended);
	list_for_each_safe(l, tmp, &n->tasks)
	{
		struct scsi_task *t = container_of(l, struct scsi_task, link);

		if (tag != NULL && t->tag != *tag)
			continue;
		count++;
		if (t->abort != ABORT_NO)
			continue;
		__atomic_store_n(&t->abort, (uint8_t)how, __ATOMIC_RELAXED);
		if (t->state == TASK_RUNNING) {
			if (t->op->flags & OP_MEDIUM)
				n->naborting++;
			continue;
		}
		list_del(&t->link);
		list_add_tail(&ended, &t->link);
	}
	while (!list_empty(&ended)) /* done() may free the task */
		scsi_task_complete(container_of(ended.next, struct scsi_task, link));
	return count;
}

bool
scsi_task_is_stopping(const struct scsi_task *t)
{
	return __atomic_load_n(&t->abort, __ATOMIC_RELAXED) != ABORT_NO;
}

/* --- running elsewhere -------------------------------------------------------------------------- */

static void
back_on_loop(struct loop_task *w)
{
	scsi_task_complete(container_of(w, struct scsi_task, loop_task));
}

static void
on_worker(struct work *w)
{
	struct scsi_task *t = container_of(w, struct scsi_task, work);

	t->step(t);
	loop_post(t->nexus->loop, &t->loop_task);
}

bool
scsi_task_on_worker_then(
    struct scsi_task *t, void (*fn)(struct scsi_task *t), void (*then)(struct loop_task *w))
{
	t->step = fn;
	t->work.fn = on_worker;
	t->loop_task.fn = then;
	workq_submit(scsi_workq(), &t->work);
	return false;
}

bool
scsi_task_on_worker(struct scsi_task *t, void (*fn)(struct scsi_task *t))
{
	return scsi_task_on_worker_then(t, fn, back_on_loop);
}

static void
fill(struct scsi_task *t, enum cw_vio_op op, uint64_t off, uint64_t len, void *buf, bool is_fua)
{
	struct cw_vio *v = &t->vio;

	v->op = op;
	v->volume = t->nexus->target->volume;
	v->off = off;
	v->len = len;
	v->buf = buf;
	v->is_fua = is_fua;
	v->ctx = t;
	v->send = NULL;
	v->result = 0;
}

static void
vio_done(struct cw_vio *v)
{
	struct scsi_task *t = v->ctx;

	t->step(t);
}

static uint32_t
vio_send(struct cw_vio *v, struct iovec *iov, unsigned int n)
{
	struct scsi_task *t = v->ctx;

	return t->send(t, iov, n);
}

bool
scsi_task_vio(struct scsi_task *t, enum cw_vio_op op, uint64_t off, uint64_t len, void *buf,
    bool is_fua, void (*step)(struct scsi_task *t))
{
	fill(t, op, off, len, buf, is_fua);
	t->vio.loop = t->nexus->loop;
	t->vio.done = vio_done;
	if (op == CW_VIO_READ && buf == t->in && t->send != NULL)
		t->vio.send = vio_send;
	t->step = step;
	return cw_volume_submit(&t->vio);
}

int
scsi_task_call(
    struct scsi_task *t, enum cw_vio_op op, uint64_t off, uint64_t len, void *buf, bool is_fua)
{
	fill(t, op, off, len, buf, is_fua);
	t->vio.loop = NULL;
	return cw_volume_call(&t->vio);
}
