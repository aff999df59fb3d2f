/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pr.h - persistent reservations as a value: registrations, the reservation, and what each service action of
 * PERSISTENT RESERVE OUT makes of them (SPC-4 5.13, 6.16).  Pure: no locks, no nexuses, no I/O.
 *
 * A registration belongs to an I_T nexus: initiator port name and relative target port.  It outlives the session.
 * Invariants (pr_check): keys are not 0; no two registrations of one nexus; a reservation that is not of the
 * all-registrants types has a holder among the registrations; one of those types has a registration at all.
 */
#ifndef SCSI_PR_H
#define SCSI_PR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frontends/scsi/ua.h"

#define PR_REGS_MAX 128
#define PR_NAME_MAX 248	 /* iSCSI name (223), ",i,0x" and 12 digits, NUL */
#define PR_SPEC_MAX 16	 /* TransportIDs in one parameter list */
#define PR_LIST_MAX 8192 /* bytes of a parameter list */

enum pr_type { /* SPC-4 6.15.3.4 */
	PR_NONE = 0,
	PR_WRITE_EXCLUSIVE = 1,
	PR_EXCLUSIVE_ACCESS = 3,
	PR_WRITE_EXCLUSIVE_RO = 5, /* registrants only */
	PR_EXCLUSIVE_ACCESS_RO = 6,
	PR_WRITE_EXCLUSIVE_AR = 7, /* all registrants */
	PR_EXCLUSIVE_ACCESS_AR = 8,
};

enum pr_action { /* SPC-4 6.16.2 */
	PR_REGISTER,
	PR_RESERVE,
	PR_RELEASE,
	PR_CLEAR,
	PR_PREEMPT,
	PR_PREEMPT_ABORT,
	PR_REGISTER_IGNORE,
	PR_REGISTER_MOVE,
	PR_ACTION_MAX
};

struct pr_reg {
	uint64_t key;
	uint16_t port;	   /* relative target port */
	bool is_all_ports; /* ALL_TG_PT: through every target port */
	char name[PR_NAME_MAX];
};

struct pr_state {
	uint32_t generation;
	bool is_aptpl; /* survives power loss */
	enum pr_type type;
	int holder; /* index; of the all-registrants types -1 */
	int n;
	struct pr_reg regs[PR_REGS_MAX];
};

struct pr_who {
	const char *name;
	uint16_t port;
};

struct pr_request {
	enum pr_action action;
	uint8_t scope, type;
	uint64_t key, new_key;
	bool is_spec_i_pt, is_all_ports, is_aptpl, is_unreg;
	uint16_t move_port;
	unsigned int nspec; /* SPEC_I_PT: whom else to register; REGISTER AND MOVE: the one */
	char spec[PR_SPEC_MAX][PR_NAME_MAX];
};

/* Consequences for the registrations of the state before, by index there. */
struct pr_effects {
	uint8_t ua[PR_REGS_MAX]; /* enum scsi_ua */
	bool is_aborted[PR_REGS_MAX];
	bool has_changed, has_abort;
};

enum pr_verdict {
	PR_OK,
	PR_CONFLICT,
	PR_INVALID_LIST,
	PR_INVALID_CDB,
	PR_INVALID_RELEASE,
	PR_NO_ROOM
};

/* pr_find - index of the registration of a nexus or -1. */
int pr_find(const struct pr_state *s, const char *name, uint16_t port);
bool pr_is_holder(const struct pr_state *s, int reg);
bool pr_type_is_valid(uint8_t type);
bool pr_type_is_all_registrants(enum pr_type type);
/* pr_may_read, _write - does the reservation let this nexus do such commands? reg: pr_find(), -1 = not registered */
bool pr_may_read(const struct pr_state *s, int reg);
bool pr_may_write(const struct pr_state *s, int reg);
bool pr_check(const struct pr_state *s);

/* pr_request_decode - CDB and parameter list of PERSISTENT RESERVE OUT.
 * result: 0, or an additional sense code (ILLEGAL REQUEST) */
unsigned int pr_request_decode(
    const uint8_t cdb[10], const uint8_t *list, size_t len, struct pr_request *out);
/* pr_apply - what `who` asks, done to *s. On another verdict than PR_OK *s is unchanged. */
enum pr_verdict pr_apply(struct pr_state *s, const struct pr_request *r, const struct pr_who *who,
    struct pr_effects *fx);

/* PERSISTENT RESERVE IN, SPC-4 6.15: the whole answer; result: bytes, at most cap (PR_IN_MAX does). */
#define PR_IN_MAX (8 + PR_REGS_MAX * (24 + 4 + PR_NAME_MAX + 4))
size_t pr_read_keys(const struct pr_state *s, uint8_t *out, size_t cap);
size_t pr_read_reservation(const struct pr_state *s, uint8_t *out, size_t cap);
size_t pr_report_capabilities(const struct pr_state *s, uint8_t *out, size_t cap);
size_t pr_read_full_status(const struct pr_state *s, uint8_t *out, size_t cap);

/* Text that is kept in the index (pr_text.c); the format is in DESIGN.md.
 * pr_text_print: malloced. pr_text_parse: result 0 or -EINVAL (then *s is empty). Lines that it does not
 * know are passed over. */
char *pr_text_print(const struct pr_state *s);
int pr_text_parse(const char *text, struct pr_state *s);

#endif
