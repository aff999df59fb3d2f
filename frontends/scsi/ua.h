/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ua.h - unit attention conditions: per nexus a set, told one by one, the most important first.
 *
 * Raised from any thread, taken on the nexus loop.  Equal conditions are one (SPC-4 5.7).
 */
#ifndef SCSI_UA_H
#define SCSI_UA_H

#include <stdbool.h>

struct scsi_nexus;
struct scsi_task;

enum scsi_ua { /* in order of precedence */
	UA_POWER_ON,
	UA_LUN_RESET,
	UA_COMMANDS_CLEARED,
	UA_REGISTRATIONS_PREEMPTED,
	UA_RESERVATIONS_PREEMPTED,
	UA_RESERVATIONS_RELEASED,
	UA_MODE_CHANGED,
	UA_CAPACITY_CHANGED,
	UA_MAX,
	UA_NONE = UA_MAX
};

void scsi_ua_raise(struct scsi_nexus *n, enum scsi_ua ua); /* any; UA_NONE: nothing */
/* scsi_ua_take - the next one, forgotten by this. result: additional sense code, 0 if there is none */
unsigned int scsi_ua_take(struct scsi_nexus *n);

#endif
