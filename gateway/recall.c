/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recall.c - leases of attributes and names: who is told of a change, and who waits until it is heard.
 *
 * A client's leases last RECALL_LEASE_MS from when it reads the answer; RUN_OUT_MS after it was given one has
 * run out.  So that is how long others wait for a client that does not say that it has forgotten, and
 * one that was given nothing for so long is not asked.
 * That also ends the circle of two mounts, each changing a directory that it has locked and waiting for
 * the other one to forget a name in it.
 */
#include "gateway/recall.h"

#include <pthread.h>

#include "gateway/base/clock.h"
#include "gateway/node.h"
#include "gateway/op_int.h"

#define RUN_OUT_MS (2 * RECALL_LEASE_MS)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* taken inside a share's lock */
static struct list holders = LIST_INIT(holders);
static struct list waiters = LIST_INIT(waiters); /* cw_op */
static uint64_t last_seq;

static bool
has_run_out(const struct recall_holder *h, uint64_t now)
{
	return now > h->given_ms + RUN_OUT_MS;
}

/* is_heard - has everybody but op's own holder done what op caused? locked */
static bool
is_heard(const struct cw_op *op)
{
	uint64_t now = clock_mono_ms();
	struct list *p;

	list_for_each(p, &holders)
	{
		const struct recall_holder *h = container_of(p, struct recall_holder, link);

		if (h->share_id == op->share->id && h != op->holder && h->done < h->asked &&
		    h->done < op->recall_seq && !has_run_out(h, now))
			return false;
	}
	return true;
}

/* take_heard - move the ops that need wait no more to `out`. locked */
static void
take_heard(struct list *out)
{
	struct list *p, *tmp;

	list_init(out);
	list_for_each_safe(p, tmp, &waiters)
	{
		if (!is_heard(container_of(p, struct cw_op, link)))
			continue;
		list_del(p);
		list_add_tail(out, p);
	}
}

static void
complete(struct list *ops)
{
	while (!list_empty(ops)) {
		struct cw_op *op = container_of(ops->next, struct cw_op, link);

		list_del(&op->link);
		op_recalled(op);
	}
}

void
recall_join(struct recall_holder *h)
{
	pthread_mutex_lock(&lock);
	h->asked = h->done = h->mark = 0;
	h->given_ms = 0;
	list_add_tail(&holders, &h->link);
	pthread_mutex_unlock(&lock);
}

void
recall_leave(struct recall_holder *h)
{
	struct list ready;

	pthread_mutex_lock(&lock);
	list_del(&h->link);
	take_heard(&ready);
	pthread_mutex_unlock(&lock);
	complete(&ready);
}

void
recall_done(struct recall_holder *h, uint64_t seq)
{
	struct list ready;

	pthread_mutex_lock(&lock);
	if (seq > h->done && seq <= h->asked)
		h->done = seq;
	take_heard(&ready);
	pthread_mutex_unlock(&lock);
	complete(&ready);
}

int
recall_tick(struct recall_holder *h, uint64_t *late)
{
	uint64_t now = clock_mono_ms();
	int wait_ms = RECALL_LEASE_MS;

	*late = 0;
	pthread_mutex_lock(&lock);
	if (h->done == h->asked) {
		h->mark = 0;
		wait_ms = -1;
	} else if (has_run_out(h, now)) {
		*late = h->asked;
	} else if (h->mark == 0 || now >= h->mark_ms + RUN_OUT_MS) {
		*late = h->mark > h->done ? h->mark : 0;
		h->mark = h->asked;
		h->mark_ms = now;
	}
	pthread_mutex_unlock(&lock);
	return wait_ms;
}

void
recall_node(struct cw_share *s, struct node *n)
{
	uint64_t dir = n->parent != NULL ? n->parent->ino : 0, now = clock_mono_ms();
	struct list *p;

	/* Who changes it forgets by itself, but still holds what the next change makes wrong. */
	if (s->recall_by == NULL)
		n->flags &= ~(uint32_t)NODE_LEASED;
	pthread_mutex_lock(&lock);
	last_seq++;
	list_for_each(p, &holders)
	{
		struct recall_holder *h = container_of(p, struct recall_holder, link);

		if (h->share_id != s->id || h == s->recall_by || has_run_out(h, now))
			continue;
		h->asked = s->recall_asked = last_seq;
		h->recall(h, last_seq, dir, dir != 0 ? n->name : NULL, n->ino);
	}
	pthread_mutex_unlock(&lock);
}

void
recalls_begin(struct cw_op *op)
{
	op->share->recall_by = op->holder;
	op->share->recall_seq = 0;
}

void
recalls_end(struct cw_op *op)
{
	if (op->share->recall_seq > 0)
		op->recall_seq = op->share->recall_seq;
	op->share->recall_by = NULL;
}

bool
recall_wait(struct cw_op *op, int result)
{
	bool must_wait;

	/* A READ changes an access time at most; and what it sent already can wait for nothing. */
	if (op->recall_seq == 0 || op->code == CW_READ)
		return false;
	pthread_mutex_lock(&lock);
	must_wait = !is_heard(op);
	if (must_wait) {
		op->pending_result = result;
		list_add_tail(&waiters, &op->link);
	}
	pthread_mutex_unlock(&lock);
	return must_wait;
}
