/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/iscsi/pdu.h"

#include <string.h>

#include "gateway/base/be.h"

static uint32_t
get24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void
iscsi_pdu_lengths(const uint8_t *bhs, uint32_t *ahs_len, uint32_t *data_len)
{
	*ahs_len = bhs[4] * 4u;
	*data_len = get24(bhs + 5);
}

/* 11.2.2: length (2 bytes, of what follows the type byte), type, content, padding */
static int
decode_ahs(const uint8_t *ahs, struct iscsi_pdu *out)
{
	uint32_t at = 0;

	while (at < out->ahs_len) {
		uint32_t len, whole;

		if (out->ahs_len - at < 4)
			return -ISCSI_REJECT_BAD_FIELD;
		len = get16(ahs + at);
		whole = iscsi_padded(3 + len);
		if (len < 1 || whole > out->ahs_len - at)
			return -ISCSI_REJECT_BAD_FIELD;
		if (ahs[at + 2] == ISCSI_AHS_EXTENDED_CDB) {
			/* a reserved byte, then the CDB from byte 16 on */
			if (out->cmd.cdb_len != 16 || len - 1 > ISCSI_CDB_MAX - 16)
				return -ISCSI_REJECT_BAD_FIELD;
			memcpy(out->cmd.cdb + 16, ahs + at + 4, len - 1);
			out->cmd.cdb_len = (uint16_t)(16 + len - 1);
		} else if (ahs[at + 2] != ISCSI_AHS_BIDI_READ_LEN) {
			return -ISCSI_REJECT_BAD_FIELD;
		}
		at += whole;
	}
	return 0;
}

static int
decode_command(const uint8_t *b, const uint8_t *ahs, struct iscsi_pdu *out)
{
	out->cmd.is_read = b[1] & ISCSI_CMD_READ;
	out->cmd.is_write = b[1] & ISCSI_CMD_WRITE;
	out->cmd.attr = b[1] & ISCSI_CMD_ATTR_MASK;
	out->cmd.edtl = get32(b + 20);
	out->cmd.cdb_len = 16;
	memcpy(out->cmd.cdb, b + 32, 16);
	/* 11.3.1: W must be 1 when data or unsolicited data is announced (F = 0) */
	if ((!out->is_final || out->data_len > 0) && !out->cmd.is_write)
		return -ISCSI_REJECT_PROTOCOL;
	return decode_ahs(ahs, out);
}

static void
decode_login(const uint8_t *b, struct iscsi_pdu *out)
{
	out->is_immediate = true;
	out->is_continued = b[1] & ISCSI_CONTINUE;
	out->login.csg = b[1] >> 2 & 3;
	out->login.nsg = b[1] & 3;
	out->login.version_max = b[2];
	out->login.version_min = b[3];
	memcpy(out->login.isid, b + 8, ISCSI_ISID_LEN);
	out->login.tsih = get16(b + 14);
	out->login.cid = get16(b + 20);
}

int
iscsi_pdu_decode(const uint8_t *b, const uint8_t *ahs, struct iscsi_pdu *out)
{
	out->opcode = b[0] & ISCSI_OPCODE_MASK;
	out->is_immediate = b[0] & ISCSI_IMMEDIATE;
	out->is_final = b[1] & ISCSI_FINAL;
	out->is_continued = false;
	iscsi_pdu_lengths(b, &out->ahs_len, &out->data_len);
	out->lun = (uint64_t)get32(b + 8) << 32 | get32(b + 12);
	out->itt = get32(b + 16);
	out->cmd_sn = get32(b + 24);
	out->exp_stat_sn = get32(b + 28);
	switch (out->opcode) {
	case ISCSI_SCSI_COMMAND:
		return decode_command(b, ahs, out);
	case ISCSI_DATA_OUT:
		out->data.ttt = get32(b + 20);
		out->data.data_sn = get32(b + 36);
		out->data.offset = get32(b + 40);
		break;
	case ISCSI_TMF_REQUEST:
		out->tmf.function = b[1] & 0x7f;
		out->tmf.ref_tag = get32(b + 20);
		out->tmf.ref_cmd_sn = get32(b + 32);
		break;
	case ISCSI_LOGIN_REQUEST:
		decode_login(b, out);
		break;
	case ISCSI_TEXT_REQUEST:
		out->is_continued = b[1] & ISCSI_CONTINUE;
		out->text.ttt = get32(b + 20);
		break;
	case ISCSI_NOP_OUT:
		out->nop.ttt = get32(b + 20);
		break;
	case ISCSI_LOGOUT_REQUEST:
		out->logout.reason = b[1] & 0x7f;
		out->logout.cid = get16(b + 20);
		break;
	case ISCSI_SNACK:
		break;
	default:
		return -ISCSI_REJECT_NOT_SUPPORTED;
	}
	/* 11.2.2: only SCSI commands carry additional headers */
	return out->ahs_len == 0 ? 0 : -ISCSI_REJECT_BAD_FIELD;
}

/* --- answers ------------------------------------------------------------------------------------ */

static void
begin(uint8_t *b, enum iscsi_opcode opcode, uint8_t flags, uint32_t data_len, uint32_t itt,
    const struct iscsi_sn *sn)
{
	memset(b, 0, ISCSI_BHS_LEN);
	b[0] = (uint8_t)opcode;
	b[1] = flags;
	b[5] = (uint8_t)(data_len >> 16);
	put16(b + 6, (uint16_t)data_len);
	be_store_u32(b + 16, itt);
	be_store_u32(b + 24, sn->stat_sn);
	be_store_u32(b + 28, sn->exp_cmd_sn);
	be_store_u32(b + 32, sn->max_cmd_sn);
}

static void
put_lun(uint8_t *b, uint64_t lun)
{
	be_store_u32(b + 8, (uint32_t)(lun >> 32));
	be_store_u32(b + 12, (uint32_t)lun);
}

void
iscsi_put_data_in(uint8_t *b, const struct iscsi_data_in *d, const struct iscsi_sn *sn)
{
	uint8_t flags = d->is_final ? ISCSI_FINAL : 0;

	if (d->has_status)
		flags |= ISCSI_DATA_IN_STATUS | d->residual_flags;
	begin(b, ISCSI_DATA_IN, flags, d->data_len, d->itt, sn);
	b[3] = d->has_status ? d->status : 0;
	be_store_u32(b + 20, ISCSI_NO_TAG);
	if (!d->has_status)
		be_store_u32(b + 24, 0); /* 11.7.4: StatSN only with S */
	be_store_u32(b + 36, d->data_sn);
	be_store_u32(b + 40, d->offset);
	be_store_u32(b + 44, d->has_status ? d->residual : 0);
}

void
iscsi_put_scsi_response(uint8_t *b, uint32_t itt, uint8_t status, uint8_t residual_flags,
    uint32_t residual, uint32_t exp_data_sn, uint32_t data_len, const struct iscsi_sn *sn)
{
	begin(b, ISCSI_SCSI_RESPONSE, ISCSI_FINAL | residual_flags, data_len, itt, sn);
	b[3] = status;
	be_store_u32(b + 36, exp_data_sn);
	be_store_u32(b + 44, residual);
}

void
iscsi_put_r2t(uint8_t *b, uint64_t lun, uint32_t itt, uint32_t ttt, uint32_t r2t_sn,
    uint32_t offset, uint32_t len, const struct iscsi_sn *sn)
{
	begin(b, ISCSI_R2T, ISCSI_FINAL, 0, itt, sn);
	put_lun(b, lun);
	be_store_u32(b + 20, ttt);
	be_store_u32(b + 36, r2t_sn);
	be_store_u32(b + 40, offset);
	be_store_u32(b + 44, len);
}

void
iscsi_put_tmf_response(
    uint8_t *b, uint32_t itt, enum iscsi_tmf_response r, const struct iscsi_sn *sn)
{
	begin(b, ISCSI_TMF_RESPONSE, ISCSI_FINAL, 0, itt, sn);
	b[2] = (uint8_t)r;
}

void
iscsi_put_nop_in(uint8_t *b, uint64_t lun, uint32_t itt, uint32_t ttt, uint32_t data_len,
    const struct iscsi_sn *sn)
{
	begin(b, ISCSI_NOP_IN, ISCSI_FINAL, data_len, itt, sn);
	put_lun(b, lun);
	be_store_u32(b + 20, ttt);
}

void
iscsi_put_text_response(uint8_t *b, const struct iscsi_pdu *req, bool is_final, bool is_continued,
    uint32_t ttt, uint32_t data_len, const struct iscsi_sn *sn)
{
	uint8_t flags = (is_final ? ISCSI_FINAL : 0) | (is_continued ? ISCSI_CONTINUE : 0);

	begin(b, ISCSI_TEXT_RESPONSE, flags, data_len, req->itt, sn);
	put_lun(b, req->lun);
	be_store_u32(b + 20, ttt);
}

void
iscsi_put_login_response(uint8_t *b, const struct iscsi_pdu *req, uint16_t tsih, bool is_transit,
    bool is_continued, enum iscsi_login_status status, uint32_t data_len, const struct iscsi_sn *sn)
{
	uint8_t flags = (uint8_t)(req->login.csg << 2);

	if (is_transit)
		flags |= ISCSI_FINAL | req->login.nsg;
	if (is_continued)
		flags |= ISCSI_CONTINUE;
	begin(b, ISCSI_LOGIN_RESPONSE, flags, data_len, req->itt, sn);
	b[2] = b[3] = ISCSI_VERSION;
	memcpy(b + 8, req->login.isid, ISCSI_ISID_LEN);
	put16(b + 14, tsih);
	put16(b + 36, (uint16_t)status);
}

void
iscsi_put_logout_response(
    uint8_t *b, uint32_t itt, enum iscsi_logout_response r, const struct iscsi_sn *sn)
{
	begin(b, ISCSI_LOGOUT_RESPONSE, ISCSI_FINAL, 0, itt, sn);
	b[2] = (uint8_t)r;
}

void
iscsi_put_async(uint8_t *b, enum iscsi_async_event event, uint16_t p1, uint16_t p2, uint16_t p3,
    const struct iscsi_sn *sn)
{
	begin(b, ISCSI_ASYNC_MESSAGE, ISCSI_FINAL, 0, ISCSI_NO_TAG, sn);
	b[36] = (uint8_t)event;
	put16(b + 38, p1);
	put16(b + 40, p2);
	put16(b + 42, p3);
}

void
iscsi_put_reject(uint8_t *b, enum iscsi_reject_reason reason, const struct iscsi_sn *sn)
{
	begin(b, ISCSI_REJECT, ISCSI_FINAL, ISCSI_BHS_LEN, ISCSI_NO_TAG, sn);
	b[2] = (uint8_t)reason;
}
