/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/scsi/ua.h"

#include "frontends/scsi/scsi_int.h"

static const unsigned int asc_of[UA_MAX] = {
    [UA_POWER_ON] = ASC_RESET,
    [UA_LUN_RESET] = ASC_LUN_RESET,
    [UA_COMMANDS_CLEARED] = ASC_COMMANDS_CLEARED,
    [UA_REGISTRATIONS_PREEMPTED] = ASC_REGISTRATIONS_PREEMPTED,
    [UA_RESERVATIONS_PREEMPTED] = ASC_RESERVATIONS_PREEMPTED,
    [UA_RESERVATIONS_RELEASED] = ASC_RESERVATIONS_RELEASED,
    [UA_MODE_CHANGED] = ASC_MODE_CHANGED,
    [UA_CAPACITY_CHANGED] = ASC_CAPACITY_CHANGED,
};

void
scsi_ua_raise(struct scsi_nexus *n, enum scsi_ua ua)
{
	if (ua < UA_MAX)
		atomic_fetch_or(&n->ua, 1u << ua);
}

unsigned int
scsi_ua_take(struct scsi_nexus *n)
{
	unsigned int set = atomic_load_explicit(&n->ua, memory_order_relaxed);
	int first;

	if (set == 0)
		return 0;
	first = __builtin_ctz(set);
	atomic_fetch_and(&n->ua, ~(1u << first));
	return asc_of[first];
}
