/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tmf.c - task management, and the aborts of PREEMPT AND ABORT.
 *
 * A `sweep` visits nexuses, each on its own loop by a post; a visit ends when no aborted task of its nexus can change
 * the medium any more; the last visit to end posts the result to the loop of whoever asked.
 */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/scsi_int.h"
#include "gateway/base/strbuf.h"

struct sweep {
	atomic_uint npending; /* visits, and one for the starter */
	struct scsi_nexus *origin;
	enum scsi_abort others;
	enum scsi_ua ua;
	bool is_reset;
	void (*done)(void *arg);
	void *arg;
	struct loop_task task;
};

struct visit {
	struct list link; /* nexus->tmf_waiters */
	struct loop_task task;
	struct sweep *sweep;
	struct scsi_nexus *nexus;
};

static void
sweep_done(struct loop_task *w)
{
	struct sweep *s = container_of(w, struct sweep, task);
	struct scsi_nexus *origin = s->origin;

	s->done(s->arg);
	free(s);
	scsi_nexus_unref(origin);
}

static void
sweep_put(struct sweep *s)
{
	if (atomic_fetch_sub(&s->npending, 1) != 1)
		return;
	s->task.fn = sweep_done;
	loop_post(s->origin->loop, &s->task);
}

static void
visit_end(struct visit *v)
{
	scsi_nexus_unref(v->nexus);
	sweep_put(v->sweep);
	free(v);
}

void
scsi_tmf_task_ended(struct scsi_nexus *n)
{
	while (n->naborting == 0 && !list_empty(&n->tmf_waiters)) {
		struct visit *v = container_of(n->tmf_waiters.next, struct visit, link);

		list_del(&v->link);
		visit_end(v);
	}
}

/* On the loop of v->nexus. */
static void
visit(struct loop_task *w)
{
	struct visit *v = container_of(w, struct visit, task);
	struct scsi_nexus *n = v->nexus;
	struct sweep *s = v->sweep;
	unsigned int count;

	if (n->is_gone) {
		visit_end(v);
		return;
	}
	count = scsi_abort_tasks(n, n == s->origin ? ABORT_OWN : s->others, NULL);
	if (s->is_reset)
		memset(n->xcopy, 0, sizeof(n->xcopy));
	if (s->ua != UA_NONE)
		scsi_ua_raise(n, s->ua);
	else if (count > 0 && n != s->origin && s->others == ABORT_OWN)
		scsi_ua_raise(n, UA_COMMANDS_CLEARED); /* nobody told the initiator otherwise */
	if (n->naborting == 0)
		visit_end(v);
	else
		list_add_tail(&n->tmf_waiters, &v->link);
}

static struct visit *
visit_new(struct sweep *s, struct scsi_nexus *n)
{
	struct visit *v = xcalloc(1, sizeof(*v));

	v->sweep = s;
	v->nexus = n;
	v->task.fn = visit;
	list_init(&v->link);
	scsi_nexus_ref(n);
	atomic_fetch_add(&s->npending, 1);
	return v;
}

static struct sweep *
sweep_new(struct scsi_nexus *origin, void (*done)(void *arg), void *arg)
{
	struct sweep *s = xcalloc(1, sizeof(*s));

	atomic_init(&s->npending, 1);
	s->origin = origin;
	s->ua = UA_NONE;
	s->others = ABORT_OTHER;
	s->done = done;
	s->arg = arg;
	scsi_nexus_ref(origin);
	return s;
}

static void
sweep_start(struct sweep *s, scsi_pick pick, void *pick_arg)
{
	struct scsi_target *t = s->origin->target;
	struct visit *here = NULL; /* at once, when this is its loop */
	struct list *l;

	pthread_mutex_lock(&t->lock);
	list_for_each(l, &t->nexuses)
	{
		struct scsi_nexus *n = container_of(l, struct scsi_nexus, link);

		if (!pick(pick_arg, n))
			continue;
		if (n == s->origin && loop_is_current(n->loop))
			here = visit_new(s, n);
		else
			loop_post(n->loop, &visit_new(s, n)->task);
	}
	pthread_mutex_unlock(&t->lock);
	if (here != NULL)
		visit(&here->task);
	sweep_put(s);
}

void
scsi_abort_nexuses(
    struct scsi_nexus *origin, scsi_pick pick, void *pick_arg, void (*done)(void *arg), void *arg)
{
	sweep_start(sweep_new(origin, done, arg), pick, pick_arg);
}

/* --- functions ---------------------------------------------------------------------------------- */

struct tmf {
	enum scsi_tmf_result result;
	void (*done)(void *arg, enum scsi_tmf_result r);
	void *arg;
};

static void
tmf_done(void *arg)
{
	struct tmf *f = arg;

	f->done(f->arg, f->result);
	free(f);
}

static bool
pick_all(void *arg, const struct scsi_nexus *n)
{
	(void)arg;
	(void)n;
	return true;
}

/* SAM-5 6.3.3: what a logical unit reset ends besides tasks. Persistent reservations stay. */
static void
reset_unit(struct scsi_target *t)
{
	pthread_mutex_lock(&t->lock);
	t->spc2_holder = NULL;
	t->mode = t->saved;
	atomic_store(&t->is_write_through, !t->mode.is_wce);
	atomic_store(&t->is_write_protected, t->mode.is_swp);
	scsi_limits_update(t);
	pthread_mutex_unlock(&t->lock);
}

/* The tasks of this nexus alone, at once. */
static void
abort_here(struct scsi_nexus *n, struct sweep *s, const uint64_t *tag, struct tmf *f)
{
	struct visit *v = visit_new(s, n);

	if (scsi_abort_tasks(n, ABORT_OWN, tag) == 0 && tag != NULL)
		f->result = SCSI_TMF_NO_TASK;
	if (n->naborting == 0)
		visit_end(v);
	else
		list_add_tail(&n->tmf_waiters, &v->link);
	sweep_put(s);
}

void
scsi_tmf(struct scsi_nexus *n, enum scsi_tmf what, uint64_t lun, uint64_t tag,
    void (*done)(void *arg, enum scsi_tmf_result r), void *arg)
{
	struct tmf *f = xcalloc(1, sizeof(*f));
	struct sweep *s = sweep_new(n, tmf_done, f);

	f->result = SCSI_TMF_COMPLETE;
	f->done = done;
	f->arg = arg;
	if (what != SCSI_TARGET_RESET && !scsi_is_lun_ours(lun)) {
		f->result = SCSI_TMF_NO_LUN;
		sweep_put(s);
		return;
	}
	switch (what) {
	case SCSI_ABORT_TASK:
		abort_here(n, s, &tag, f);
		return;
	case SCSI_ABORT_TASK_SET:
	case SCSI_CLEAR_TASK_SET: /* TST = 001b: the task set is that of the nexus (SAM-5 7.5) */
		abort_here(n, s, NULL, f);
		return;
	case SCSI_LUN_RESET:
	case SCSI_TARGET_RESET:
		reset_unit(n->target);
		s->ua = UA_LUN_RESET;
		s->is_reset = true;
		sweep_start(s, pick_all, NULL);
		return;
	case SCSI_CLEAR_ACA:
	default:
		f->result = SCSI_TMF_NOT_SUPPORTED;
		sweep_put(s);
		return;
	}
}
