/* SPDX-License-Identifier: Apache-2.0 */
/* spc.c - the small commands of SPC-4, and START STOP UNIT of SBC-3. */
#include <string.h>

#include "frontends/scsi/scsi_int.h"

bool
scsi_prep_none(struct scsi_task *t)
{
	(void)t;
	return true;
}

bool
scsi_run_good(struct scsi_task *t)
{
	(void)t;
	return true;
}

/* --- REPORT LUNS, SPC-4 6.33 ------------------------------------------------------------------------ */

bool
scsi_prep_report_luns(struct scsi_task *t)
{
	uint32_t alloc = scsi_get32(t->cdb + 6);

	if (t->cdb[2] > 2 && (t->cdb[2] < 0x10 || t->cdb[2] > 0x12))
		return scsi_refuse_cdb(t, 2);
	if (alloc < 16)
		return scsi_refuse_cdb(t, 6);
	return scsi_want_in(t, alloc, 16);
}

bool
scsi_run_report_luns(struct scsi_task *t)
{
	bool has_unit = t->cdb[2] != 1; /* 1: well known units only */
	uint8_t buf[16] = {0};

	if (has_unit)
		scsi_put32(buf, 8);
	scsi_reply(t, buf, has_unit ? 16 : 8);
	return true;
}

/* --- REQUEST SENSE, SPC-4 6.39 ----------------------------------------------------------------------- */

bool
scsi_prep_request_sense(struct scsi_task *t)
{
	return scsi_want_in(t, t->cdb[4], SENSE_FIXED_LEN);
}

bool
scsi_run_request_sense(struct scsi_task *t)
{
	uint8_t buf[SENSE_FIXED_LEN], desc[8] = {0x72};
	unsigned int asc;

	if (!scsi_is_lun_ours(t->lun)) {
		scsi_sense_fixed(buf, KEY_ILLEGAL_REQUEST, ASC_NO_LUN);
	} else {
		asc = scsi_ua_take(t->nexus); /* told by this */
		scsi_sense_fixed(buf, asc != 0 ? KEY_UNIT_ATTENTION : KEY_NO_SENSE, asc);
	}
	if ((t->cdb[1] & 1) == 0) {
		scsi_reply(t, buf, sizeof(buf));
		return true;
	}
	desc[1] = buf[2]; /* DESC: descriptor format, without descriptors */
	memcpy(desc + 2, buf + 12, 2);
	scsi_reply(t, desc, sizeof(desc));
	return true;
}

/* --- REPORT TARGET PORT GROUPS, SPC-4 6.37 ------------------------------------------------------------ */

#define GROUPS_MAX 32

bool
scsi_prep_rtpg(struct scsi_task *t)
{
	uint8_t format = t->cdb[1] >> 5;

	if (format > 1)
		return scsi_refuse_cdb(t, 1);
	return scsi_want_in(t, scsi_get32(t->cdb + 6), 8 + 12 * GROUPS_MAX);
}

/* The portal groups that have a session, ascending. */
static unsigned int
list_groups(struct scsi_target *target, uint16_t tags[GROUPS_MAX])
{
	unsigned int n = 0, at;
	struct list *l;

	pthread_mutex_lock(&target->lock);
	list_for_each(l, &target->nexuses)
	{
		uint16_t tag = container_of(l, struct scsi_nexus, link)->tag;

		for (at = 0; at < n && tags[at] < tag; at++)
			;
		if (n == GROUPS_MAX || (at < n && tags[at] == tag))
			continue;
		memmove(tags + at + 1, tags + at, (n - at) * sizeof(tags[0]));
		tags[at] = tag;
		n++;
	}
	pthread_mutex_unlock(&target->lock);
	return n;
}

bool
scsi_run_rtpg(struct scsi_task *t)
{
	uint8_t buf[8 + 12 * GROUPS_MAX] = {0}, *p = buf + 4;
	uint16_t tags[GROUPS_MAX];
	unsigned int n = list_groups(t->nexus->target, tags);

	if (t->cdb[1] >> 5 == 1) {
		p[0] = 0x10; /* extended header; transition time unknown */
		p += 4;
	}
	for (unsigned int i = 0; i < n; i++, p += 12) {
		p[0] = 0;    /* active/optimized */
		p[1] = 0x01; /* AO_SUP */
		scsi_put16(p + 2, tags[i]);
		p[5] = 0; /* no status */
		p[7] = 1; /* ports */
		scsi_put16(p + 10, tags[i]);
	}
	scsi_put32(buf, (uint32_t)(p - buf) - 4);
	scsi_reply(t, buf, (size_t)(p - buf));
	return true;
}

/* --- START STOP UNIT, SBC-3 5.25; PREVENT ALLOW, SPC-4 6.15; SEND DIAGNOSTIC, 6.42 --------------------- */

/* There is nothing to stop or eject: several initiators may use the unit, and one that shuts down must not take it from the
 * others.  What remains is that stopping flushes. */
bool
scsi_prep_start_stop(struct scsi_task *t)
{
	bool is_start = (t->cdb[4] & 1) != 0, is_loej = (t->cdb[4] & 2) != 0;

	if ((t->cdb[4] >> 4) != 0 ||
	    (is_loej && !is_start)) /* no power conditions, nothing to eject */
		return scsi_refuse_cdb(t, 4);
	if (!is_start && !scsi_may_write(t->nexus))
		return scsi_conflict(t);
	return true;
}

bool
scsi_run_start_stop(struct scsi_task *t)
{
	bool is_start = (t->cdb[4] & 1) != 0, is_no_flush = (t->cdb[4] & 4) != 0;

	return is_start || is_no_flush ? true : scsi_run_sync(t);
}

/* The medium cannot be removed: accepted, without effect. */
bool
scsi_prep_prevent_allow(struct scsi_task *t)
{
	if ((t->cdb[4] & 3) != 0 && !scsi_may_write(t->nexus))
		return scsi_conflict(t);
	return true;
}

bool
scsi_prep_send_diagnostic(struct scsi_task *t)
{
	bool is_self_test = (t->cdb[1] & 4) != 0;

	if ((t->cdb[1] & ~4) != 0 || !is_self_test) /* the default self-test alone */
		return scsi_refuse_cdb(t, 1);
	if (scsi_get16(t->cdb + 3) != 0)
		return scsi_refuse_cdb(t, 3);
	return true;
}
