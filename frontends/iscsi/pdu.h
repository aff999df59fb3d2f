/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pdu.h - headers of PDUs: bytes to struct and back. Pure functions, any thread.
 */
#ifndef ISCSI_PDU_H
#define ISCSI_PDU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frontends/iscsi/iscsi_format.h"
#include "gateway/base/err.h"

#define ISCSI_CDB_MAX 260u

struct iscsi_pdu { /* what an initiator sent */
	uint8_t opcode;
	bool is_immediate;
	bool is_final;	   /* F, or T in a login request */
	bool is_continued; /* C of login and text requests */
	uint32_t ahs_len, data_len;
	uint64_t lun; /* the 8 bytes, big endian */
	uint32_t itt;
	uint32_t cmd_sn, exp_stat_sn; /* cmd_sn is none in DATA_OUT and SNACK */
	union {
		struct {
			bool is_read, is_write;
			uint8_t attr;
			uint32_t edtl; /* expected data transfer length */
			uint16_t cdb_len;
			uint8_t cdb[ISCSI_CDB_MAX];
		} cmd;
		struct {
			uint32_t ttt, data_sn, offset;
		} data;
		struct {
			uint8_t function;
			uint32_t ref_tag, ref_cmd_sn;
		} tmf;
		struct {
			uint8_t csg, nsg, version_max, version_min;
			uint8_t isid[ISCSI_ISID_LEN];
			uint16_t tsih, cid;
		} login;
		struct {
			uint32_t ttt;
		} text, nop;
		struct {
			uint8_t reason;
			uint16_t cid;
		} logout;
	};
};

/* The counters that every answer carries. */
struct iscsi_sn {
	uint32_t stat_sn, exp_cmd_sn, max_cmd_sn;
};

/* iscsi_pdu_lengths - only how long the header and the data segment are.
 * args: bhs has ISCSI_BHS_LEN bytes */
void iscsi_pdu_lengths(const uint8_t *bhs, uint32_t *ahs_len, uint32_t *data_len);
/* iscsi_pdu_decode - a request's header.
 * args:   bhs of ISCSI_BHS_LEN bytes, ahs of the length that it says
 * result: 0, or the negative of an enum iscsi_reject_reason; opcode, lengths, itt are valid always
 * source: RFC 7143 11.2 to 11.18 */
int iscsi_pdu_decode(const uint8_t *bhs, const uint8_t *ahs, struct iscsi_pdu *out) CW_MUST_CHECK;

/* iscsi_put_* - fill in a header of ISCSI_BHS_LEN bytes. data_len: of the data segment behind it. */
struct iscsi_data_in {
	uint32_t itt, data_sn, offset, data_len;
	bool is_final; /* ends a sequence */
	bool has_status;
	uint8_t status, residual_flags;
	uint32_t residual;
};
void iscsi_put_data_in(uint8_t *b, const struct iscsi_data_in *d, const struct iscsi_sn *sn);
void iscsi_put_scsi_response(uint8_t *b, uint32_t itt, uint8_t status, uint8_t residual_flags,
    uint32_t residual, uint32_t exp_data_sn, uint32_t data_len, const struct iscsi_sn *sn);
/* stat_sn is the next one and not used up */
void iscsi_put_r2t(uint8_t *b, uint64_t lun, uint32_t itt, uint32_t ttt, uint32_t r2t_sn,
    uint32_t offset, uint32_t len, const struct iscsi_sn *sn);
void iscsi_put_tmf_response(
    uint8_t *b, uint32_t itt, enum iscsi_tmf_response r, const struct iscsi_sn *sn);
void iscsi_put_nop_in(uint8_t *b, uint64_t lun, uint32_t itt, uint32_t ttt, uint32_t data_len,
    const struct iscsi_sn *sn);
void iscsi_put_text_response(uint8_t *b, const struct iscsi_pdu *req, bool is_final,
    bool is_continued, uint32_t ttt, uint32_t data_len, const struct iscsi_sn *sn);
void iscsi_put_login_response(uint8_t *b, const struct iscsi_pdu *req, uint16_t tsih,
    bool is_transit, bool is_continued, enum iscsi_login_status status, uint32_t data_len,
    const struct iscsi_sn *sn);
void iscsi_put_logout_response(
    uint8_t *b, uint32_t itt, enum iscsi_logout_response r, const struct iscsi_sn *sn);
void iscsi_put_async(uint8_t *b, enum iscsi_async_event event, uint16_t p1, uint16_t p2,
    uint16_t p3, const struct iscsi_sn *sn);
void iscsi_put_reject(uint8_t *b, enum iscsi_reject_reason reason, const struct iscsi_sn *sn);

static inline uint32_t
iscsi_padded(uint32_t n)
{
	return (n + 3) & ~3u;
}

#endif
