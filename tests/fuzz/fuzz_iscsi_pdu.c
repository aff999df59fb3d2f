/* SPDX-License-Identifier: Apache-2.0 */
/* A PDU's header with its additional header segments, of exactly the length that it says. */
#include <stdlib.h>
#include <string.h>

#include "frontends/iscsi/pdu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t ahs_len, data_len;
	struct iscsi_pdu p;
	uint8_t *ahs;
	int r;

	if (size < ISCSI_BHS_LEN)
		return 0;
	iscsi_pdu_lengths(data, &ahs_len, &data_len);
	if (ahs_len > ISCSI_AHS_MAX || data_len > 0xffffff || size - ISCSI_BHS_LEN < ahs_len)
		return 0;
	ahs = malloc(ahs_len + 1);
	memcpy(ahs, data + ISCSI_BHS_LEN, ahs_len);
	ahs = realloc(ahs, ahs_len == 0 ? 1 : ahs_len);
	r = iscsi_pdu_decode(data, ahs, &p);
	if (r == 0 && p.opcode == ISCSI_SCSI_COMMAND &&
	    (p.cmd.cdb_len < 16 || p.cmd.cdb_len > ISCSI_CDB_MAX))
		abort();
	if (r < -255 || r > 0 || p.ahs_len != ahs_len || p.data_len != data_len)
		abort();
	free(ahs);
	return 0;
}
