/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/scsi/unmap.h"

#include "frontends/scsi/bytes.h"
#include "frontends/scsi/sense.h"

unsigned int
unmap_decode(
    const uint8_t *list, size_t len, uint64_t blocks, struct unmap_extent *out, unsigned int *n)
{
	size_t bytes;
	uint64_t total = 0;

	*n = 0;
	if (len == 0)
		return 0;
	if (len < 8)
		return ASC_PARAMETER_LIST_LENGTH;
	bytes = scsi_get16(list + 2);
	if (bytes > len - 8) /* SBC-3: what was cut off does not count */
		bytes = len - 8;
	if (bytes / 16 > UNMAP_MAX_DESCRIPTORS)
		return ASC_INVALID_FIELD_IN_LIST;
	for (size_t i = 0; i < bytes / 16; i++) {
		const uint8_t *d = list + 8 + 16 * i;
		struct unmap_extent e = {scsi_get64(d), scsi_get32(d + 8)};

		if (e.lba > blocks || e.n > blocks - e.lba)
			return ASC_LBA_OUT_OF_RANGE;
		total += e.n;
		if (total > UNMAP_MAX_BLOCKS)
			return ASC_INVALID_FIELD_IN_LIST;
		out[(*n)++] = e;
	}
	return 0;
}
