/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/scsi/xcopy.h"

#include <string.h>

#include "frontends/scsi/bytes.h"
#include "frontends/scsi/sense.h"

#define TYPE_IDENTIFICATION 0xe4
#define TYPE_BLOCK_TO_BLOCK 0x02

static unsigned int
decode_target(const uint8_t *p, struct xcopy_target *out)
{
	if (p[0] != TYPE_IDENTIFICATION)
		return ASC_TARGET_TYPE;
	if ((p[1] & 0x1f) !=
	    0) /* block device; LU ID TYPE and NUL are obsolete and not looked at */
		return ASC_INVALID_FIELD_IN_LIST;
	out->code_set = p[4] & 0x0f;
	out->type = p[5] & 0x0f;
	out->len = p[7];
	if (out->len > sizeof(out->id) || (p[5] & 0x30) != 0) /* of the logical unit */
		return ASC_INVALID_FIELD_IN_LIST;
	memcpy(out->id, p + 8, out->len);
	out->block_bytes = scsi_get24(p + 29);
	return 0;
}

static unsigned int
decode_segment(const uint8_t *p, size_t left, struct xcopy_segment *out)
{
	if (p[0] != TYPE_BLOCK_TO_BLOCK)
		return ASC_SEGMENT_TYPE;
	if (left < XCOPY_B2B_LEN)
		return ASC_PARAMETER_LIST_LENGTH;
	if (scsi_get16(p + 2) != XCOPY_B2B_LEN - 4)
		return ASC_INVALID_FIELD_IN_LIST;
	out->is_by_destination = (p[1] & 2) != 0;
	out->from = scsi_get16(p + 4);
	out->to = scsi_get16(p + 6);
	out->blocks = scsi_get16(p + 10);
	out->from_lba = scsi_get64(p + 12);
	out->to_lba = scsi_get64(p + 20);
	return 0;
}

unsigned int
xcopy_decode(const uint8_t *list, size_t len, struct xcopy_list *out)
{
	size_t targets, segments;
	const uint8_t *p;
	unsigned int asc = 0;
	uint8_t usage;

	memset(out, 0, sizeof(*out));
	if (len < XCOPY_HEADER)
		return ASC_PARAMETER_LIST_LENGTH;
	out->list_id = list[0];
	usage = list[1] >> 3 & 3;
	out->is_kept = usage == 0;
	targets = scsi_get16(list + 2);
	segments = scsi_get32(list + 8);
	if (usage == 1 || (usage == 3 && out->list_id != 0) ||
	    scsi_get32(list + 12) != 0) /* no inline data */
		return ASC_INVALID_FIELD_IN_LIST;
	if (targets % XCOPY_TARGET_LEN != 0)
		return ASC_PARAMETER_LIST_LENGTH;
	if (segments > XCOPY_MAX_LIST || targets + segments > XCOPY_MAX_LIST ||
	    len < XCOPY_HEADER + targets + segments)
		return ASC_PARAMETER_LIST_LENGTH;
	if (targets / XCOPY_TARGET_LEN > XCOPY_MAX_TARGETS)
		return ASC_TOO_MANY_TARGETS;
	p = list + XCOPY_HEADER;
	for (; asc == 0 && out->ntargets < targets / XCOPY_TARGET_LEN; p += XCOPY_TARGET_LEN)
		asc = decode_target(p, &out->target[out->ntargets++]);
	for (; asc == 0 && segments > 0; segments -= XCOPY_B2B_LEN, p += XCOPY_B2B_LEN) {
		if (out->nsegments == XCOPY_MAX_SEGMENTS)
			return ASC_TOO_MANY_SEGMENTS;
		asc = decode_segment(p, segments, &out->segment[out->nsegments++]);
	}
	return asc;
}
