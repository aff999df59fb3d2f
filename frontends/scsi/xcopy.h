/* SPDX-License-Identifier: Apache-2.0 */
/* xcopy.h - the parameter list of EXTENDED COPY(LID1). Pure. */
#ifndef SCSI_XCOPY_H
#define SCSI_XCOPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frontends/scsi/limits.h"

#define XCOPY_HEADER 16
#define XCOPY_TARGET_LEN 32
#define XCOPY_B2B_LEN 28

struct xcopy_target { /* identification descriptor CSCD, E4h */
	uint8_t code_set, type, len;
	uint8_t id[20];
	uint32_t block_bytes; /* as the initiator sees it; 0 = not said */
};

struct xcopy_segment {	   /* block to block, 02h */
	uint16_t from, to; /* indices of targets, unchecked */
	uint16_t blocks;
	bool is_by_destination; /* DC: blocks are those of the destination */
	uint64_t from_lba, to_lba;
};

struct xcopy_list {
	uint8_t list_id;
	bool is_kept; /* the result can be asked for: LIST ID USAGE 00b */
	unsigned int ntargets, nsegments;
	struct xcopy_target target[XCOPY_MAX_TARGETS];
	struct xcopy_segment segment[XCOPY_MAX_SEGMENTS];
};

/* xcopy_decode - result: 0, or an additional sense code (ILLEGAL REQUEST)
 * source: SPC-4 6.4 */
unsigned int xcopy_decode(const uint8_t *list, size_t len, struct xcopy_list *out);

#endif
