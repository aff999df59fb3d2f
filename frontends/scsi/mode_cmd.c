/* SPDX-License-Identifier: Apache-2.0 */
/* mode_cmd.c - MODE SENSE, MODE SELECT (SPC-4 6.10 to 6.14). */
#include <string.h>

#include "frontends/scsi/scsi_int.h"

#define SENSE_MAX (8 + 16 + MODE_PAGES_MAX)

static bool
is_10(const struct scsi_task *t)
{
	return t->op->len == 10;
}

bool
scsi_prep_mode_sense(struct scsi_task *t)
{
	uint8_t scratch[MODE_PAGES_MAX];
	const struct mode_values any = MODE_DEFAULT;

	if (mode_pages(t->cdb[2] & 0x3f, t->cdb[3], MODE_CURRENT, &any, scratch) == 0)
		return scsi_refuse_cdb(t, t->cdb[3] != 0 && t->cdb[3] != 0xff ? 3 : 2);
	return scsi_want_in(t, is_10(t) ? scsi_get16(t->cdb + 7) : t->cdb[4], SENSE_MAX);
}

/* SBC-3 6.5.2: short (with MODE SENSE(6) the only one) and long block descriptor */
static size_t
put_descriptor(struct scsi_task *t, bool is_long, uint8_t *p)
{
	uint64_t blocks = scsi_blocks(t);

	if (is_long) {
		memset(p, 0, 16);
		scsi_put64(p, blocks);
		scsi_put32(p + 12, scsi_block_bytes(t));
		return 16;
	}
	memset(p, 0, 8);
	scsi_put32(p, blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX);
	scsi_put24(p + 5, scsi_block_bytes(t));
	return 8;
}

bool
scsi_run_mode_sense(struct scsi_task *t)
{
	struct scsi_target *target = t->nexus->target;
	enum mode_pc pc = (enum mode_pc)(t->cdb[2] >> 6);
	bool has_desc = (t->cdb[1] & 8) == 0, is_long = is_10(t) && (t->cdb[1] & 0x10) != 0;
	uint8_t buf[SENSE_MAX] = {0}, parameter = 0x10; /* DPOFUA */
	size_t head = is_10(t) ? 8 : 4, desc = 0, len;
	struct mode_values v;

	pthread_mutex_lock(&target->lock);
	v = pc == MODE_SAVED ? target->saved : target->mode;
	pthread_mutex_unlock(&target->lock);
	if (v.is_swp || cw_volume_conf(target->volume)->is_read_only)
		parameter |= 0x80; /* WP */
	if (has_desc)
		desc = put_descriptor(t, is_long, buf + head);
	len = head + desc;
	len += mode_pages(t->cdb[2] & 0x3f, t->cdb[3], pc, &v, buf + len);
	if (is_10(t)) {
		scsi_put16(buf, (uint16_t)(len - 2));
		buf[3] = parameter;
		buf[4] = is_long;
		scsi_put16(buf + 6, (uint16_t)desc);
	} else {
		buf[0] = (uint8_t)(len - 1);
		buf[2] = parameter;
		buf[3] = (uint8_t)desc;
	}
	scsi_reply(t, buf, len);
	return true;
}

/* --- MODE SELECT ------------------------------------------------------------------------------------- */

bool
scsi_prep_mode_select(struct scsi_task *t)
{
	if ((t->cdb[1] & 0x10) == 0) /* PF: pages as the standard has them */
		return scsi_refuse_cdb(t, 1);
	t->want_out = is_10(t) ? scsi_get16(t->cdb + 7) : t->cdb[4];
	return true;
}

static void
tell_others(struct scsi_target *target, const struct scsi_nexus *me)
{
	struct list *l;

	list_for_each(l, &target->nexuses)
	{
		struct scsi_nexus *n = container_of(l, struct scsi_nexus, link);

		if (n != me)
			scsi_ua_raise(n, UA_MODE_CHANGED);
	}
}

static void
change(struct scsi_task *t, const struct mode_values *new, bool is_saved)
{
	struct scsi_target *target = t->nexus->target;
	int err = 0;

	if (is_saved)
		err = scsi_target_save(target, target->pr, new);
	if (err < 0) {
		scsi_result(t, err, true);
		return;
	}
	pthread_mutex_lock(&target->lock);
	target->mode = *new;
	if (is_saved)
		target->saved = *new;
	atomic_store(&target->is_write_through, !new->is_wce);
	atomic_store(&target->is_write_protected, new->is_swp);
	tell_others(target, t->nexus);
	pthread_mutex_unlock(&target->lock);
}

static void
mode_select(struct scsi_task *t)
{
	struct scsi_target *target = t->nexus->target;
	struct mode_values now, new;
	unsigned int asc, byte;

	pthread_mutex_lock(&target->change);
	pthread_mutex_lock(&target->lock);
	now = target->mode;
	pthread_mutex_unlock(&target->lock);
	asc = mode_select_decode(
	    t->out, t->out_len, is_10(t), scsi_blocks(t), scsi_block_bytes(t), &now, &new, &byte);
	if (asc == ASC_INVALID_FIELD_IN_LIST)
		scsi_sense_list(t, byte);
	else if (asc != 0)
		scsi_sense(t, KEY_ILLEGAL_REQUEST, asc);
	else if (new.is_wce != now.is_wce && !new.is_wce &&
		 scsi_task_call(t, CW_VIO_SYNC, 0, 0, NULL, false) < 0)
		scsi_result(t, t->vio.result,
		    true); /* what was written back till now becomes durable, too */
	else if (memcmp(&new, &now, sizeof(now)) != 0 || (t->cdb[1] & 1) != 0)
		change(t, &new, (t->cdb[1] & 1) != 0);
	pthread_mutex_unlock(&target->change);
}

bool
scsi_run_mode_select(struct scsi_task *t)
{
	if (t->out_len < t->want_out)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	if (t->out_len == 0)
		return true;
	return scsi_task_on_worker(t, mode_select);
}
