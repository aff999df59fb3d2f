/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pr_cmd.c - PERSISTENT RESERVE IN, OUT (SPC-4 6.15, 6.16).
 *
 * A change is made on a copy; if it is to survive power loss the copy is made durable; then it takes the place of what
 * was, the limits of all nexuses with it.  So nobody sees a reservation that a power cut could take back.
 */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/scsi_int.h"
#include "gateway/base/strbuf.h"

bool
scsi_prep_pr_in(struct scsi_task *t)
{
	return scsi_want_in(t, scsi_get16(t->cdb + 7), PR_IN_MAX);
}

bool
scsi_run_pr_in(struct scsi_task *t)
{
	static size_t (*const answer[])(const struct pr_state *s, uint8_t *out, size_t cap) = {
	    pr_read_keys, pr_read_reservation, pr_report_capabilities, pr_read_full_status};
	struct scsi_target *target = t->nexus->target;
	uint8_t *buf = xmalloc(PR_IN_MAX);
	size_t len = 0;
	bool is_reserved;

	pthread_mutex_lock(&target->lock);
	is_reserved = target->spc2_holder != NULL;
	if (!is_reserved)
		len = answer[t->op->sa](target->pr, buf, PR_IN_MAX);
	pthread_mutex_unlock(&target->lock);
	if (is_reserved)
		scsi_conflict(t);
	else
		scsi_reply(t, buf, len);
	free(buf);
	return true;
}

bool
scsi_prep_pr_out(struct scsi_task *t)
{
	uint32_t len = scsi_get32(t->cdb + 5);

	if (len > PR_LIST_MAX)
		return scsi_refuse(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	t->want_out = len;
	return true;
}

/* --- PERSISTENT RESERVE OUT ------------------------------------------------------------------------------- */

struct pr_job {
	struct pr_request request;
	struct pr_effects fx;
	struct pr_state *old; /* replaced: effects are by its indices */
};

static void
fail_with(struct scsi_task *t, enum pr_verdict v)
{
	static const unsigned int asc[] = {
	    [PR_INVALID_LIST] = ASC_INVALID_FIELD_IN_LIST,
	    [PR_INVALID_CDB] = ASC_INVALID_FIELD_IN_CDB,
	    [PR_INVALID_RELEASE] = ASC_INVALID_RELEASE,
	    [PR_NO_ROOM] = ASC_NO_REGISTRATION_RESOURCES,
	};

	if (v == PR_CONFLICT)
		scsi_conflict(t);
	else
		scsi_sense(t, KEY_ILLEGAL_REQUEST, asc[v]);
}

/* New state in place of the old one; everybody is told. */
static void
install(struct scsi_target *target, struct pr_state *new, struct pr_job *job)
{
	struct list *l;

	pthread_mutex_lock(&target->lock);
	job->old = target->pr;
	target->pr = new;
	scsi_limits_update(target);
	list_for_each(l, &target->nexuses)
	{
		struct scsi_nexus *n = container_of(l, struct scsi_nexus, link);
		int reg = pr_find(job->old, n->name, n->tag);

		if (reg >= 0)
			scsi_ua_raise(n, (enum scsi_ua)job->fx.ua[reg]);
	}
	pthread_mutex_unlock(&target->lock);
}

static void
pr_out(struct scsi_task *t)
{
	struct scsi_target *target = t->nexus->target;
	const struct pr_who who = {t->nexus->name, t->nexus->tag};
	struct pr_job *job = t->mem;
	struct pr_state *new = xmalloc(sizeof(*new));
	enum pr_verdict v;
	int err = 0;

	pthread_mutex_lock(&target->change);
	*new = *target->pr;
	v = pr_apply(new, &job->request, &who, &job->fx);
	if (v == PR_OK && job->fx.has_changed)
		err = scsi_target_save(target, new, &target->saved);
	if (v != PR_OK)
		fail_with(t, v);
	else if (err < 0)
		scsi_result(t, err, true);
	else if (job->fx.has_changed) {
		install(target, new, job);
		new = NULL;
	}
	pthread_mutex_unlock(&target->change);
	free(new);
}

static bool
pick_preempted(void *arg, const struct scsi_nexus *n)
{
	const struct pr_job *job = arg;
	int reg = pr_find(job->old, n->name, n->tag);

	return reg >= 0 && job->fx.is_aborted[reg];
}

/* The end, on the loop: once those that were preempted and aborted can write no more (SPC-4 5.13.11.4.5). */
static void
ended(void *arg)
{
	struct scsi_task *t = arg;
	struct pr_job *job = t->mem;

	free(job->old);
	job->old = NULL;
	scsi_task_complete(t);
}

static void
pr_out_ended(struct loop_task *w)
{
	struct scsi_task *t = container_of(w, struct scsi_task, loop_task);
	struct pr_job *job = t->mem;

	if (job->old != NULL && job->fx.has_abort)
		scsi_abort_nexuses(t->nexus, pick_preempted, job, ended, t);
	else
		ended(t);
}

bool
scsi_run_pr_out(struct scsi_task *t)
{
	struct scsi_target *target = t->nexus->target;
	struct pr_job *job;
	unsigned int asc;
	bool is_reserved;

	pthread_mutex_lock(&target->lock);
	is_reserved = target->spc2_holder != NULL;
	pthread_mutex_unlock(&target->lock);
	if (is_reserved) {
		scsi_conflict(t);
		return true;
	}
	if (t->out_len < t->want_out)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	job = t->mem = xcalloc(1, sizeof(*job));
	asc = pr_request_decode(t->cdb, t->out, t->out_len, &job->request);
	if (asc != 0)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, asc);
	return scsi_task_on_worker_then(t, pr_out, pr_out_ended);
}
