/* SPDX-License-Identifier: Apache-2.0 */
/* unmap.h - the parameter list of UNMAP. Pure. */
#ifndef SCSI_UNMAP_H
#define SCSI_UNMAP_H

#include <stddef.h>
#include <stdint.h>

#include "frontends/scsi/limits.h"

struct unmap_extent {
	uint64_t lba;
	uint32_t n;
};

/* unmap_decode - all extents, checked against the capacity before any is used.
 * args:   blocks: capacity; out: UNMAP_MAX_DESCRIPTORS
 * result: 0, or an additional sense code (ILLEGAL REQUEST)
 * source: SBC-3 5.28.2 */
unsigned int unmap_decode(
    const uint8_t *list, size_t len, uint64_t blocks, struct unmap_extent *out, unsigned int *n);

#endif
