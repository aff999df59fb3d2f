/* SPDX-License-Identifier: Apache-2.0 */
/* reserve.c - RESERVE, RELEASE (SPC-2 7.21), beside persistent reservations (SPC-4 5.13.3: CRH = 1). */
#include "frontends/scsi/scsi_int.h"

bool
scsi_prep_reserve(struct scsi_task *t)
{
	if ((t->cdb[1] & 0x11) != 0) /* third party, extents: obsolete */
		return scsi_refuse_cdb(t, 1);
	return true;
}

/* With persistent reservations about: GOOD and nothing happens for those who may write as registrants, otherwise a conflict.
 * result: true: such a case, status set */
static bool
is_persistent_case(struct scsi_task *t)
{
	const struct scsi_nexus *n = t->nexus;
	const struct pr_state *pr = n->target->pr;
	int reg = pr_find(pr, n->name, n->tag);

	if (pr->n == 0)
		return false;
	if (pr->type == PR_NONE || reg < 0 || !pr_may_write(pr, reg))
		scsi_conflict(t);
	return true;
}

bool
scsi_run_reserve(struct scsi_task *t)
{
	struct scsi_target *target = t->nexus->target;

	pthread_mutex_lock(&target->lock);
	if (!is_persistent_case(t)) {
		if (target->spc2_holder != NULL && target->spc2_holder != t->nexus)
			scsi_conflict(t);
		else
			target->spc2_holder = t->nexus;
		scsi_limits_update(target);
	}
	pthread_mutex_unlock(&target->lock);
	return true;
}

bool
scsi_run_release(struct scsi_task *t)
{
	struct scsi_target *target = t->nexus->target;

	pthread_mutex_lock(&target->lock);
	if (!is_persistent_case(t) && target->spc2_holder == t->nexus) {
		target->spc2_holder = NULL;
		scsi_limits_update(target);
	}
	pthread_mutex_unlock(&target->lock);
	return true;
}
