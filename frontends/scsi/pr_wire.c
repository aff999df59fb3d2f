/* SPDX-License-Identifier: Apache-2.0 */
/* pr_wire.c - parameter lists of PERSISTENT RESERVE OUT, answers of PERSISTENT RESERVE IN. Pure. */
#include <string.h>

#include "frontends/scsi/bytes.h"
#include "frontends/scsi/pr.h"
#include "frontends/scsi/sense.h"

#define LIST_BASIC 24
#define TRANSPORT_ISCSI 5
#define TRANSPORT_ID_MIN 24

/* One iSCSI TransportID with ISID (SPC-4 7.6.4.6: FORMAT CODE 01b). result: its bytes, 0 = not understood */
static size_t
decode_transport_id(const uint8_t *p, size_t len, char name[PR_NAME_MAX])
{
	size_t n, text;

	if (len < 4 || p[0] != (0x40 | TRANSPORT_ISCSI))
		return 0;
	n = 4 + (size_t)scsi_get16(p + 2);
	if (n > len || n < TRANSPORT_ID_MIN || n % 4 != 0)
		return 0;
	text = strnlen((const char *)p + 4, n - 4);
	if (text == 0 || text >= PR_NAME_MAX || text == n - 4)
		return 0;
	for (size_t i = 0; i < text;
	     i++) { /* UTF-8, no blanks: it becomes a word in a line of text */
		if (p[4 + i] <= ' ' || p[4 + i] == 0x7f)
			return 0;
	}
	memset(name, 0, PR_NAME_MAX);
	memcpy(name, p + 4, text);
	return n;
}

static unsigned int
decode_move(const uint8_t *list, size_t len, struct pr_request *out)
{
	size_t id_len;

	if (len < LIST_BASIC)
		return ASC_PARAMETER_LIST_LENGTH;
	out->is_unreg = (list[17] & 2) != 0;
	out->is_aptpl = (list[17] & 1) != 0;
	out->move_port = scsi_get16(list + 18);
	id_len = scsi_get32(list + 20);
	if (id_len != len - LIST_BASIC)
		return ASC_PARAMETER_LIST_LENGTH;
	if (decode_transport_id(list + LIST_BASIC, id_len, out->spec[0]) != id_len ||
	    out->move_port == 0)
		return ASC_INVALID_FIELD_IN_LIST;
	out->nspec = 1;
	return 0;
}

static unsigned int
decode_spec_i_pt(const uint8_t *list, size_t len, struct pr_request *out)
{
	const uint8_t *p = list + LIST_BASIC + 4;
	size_t left, n;

	if (len < LIST_BASIC + 4 || scsi_get32(list + LIST_BASIC) != len - LIST_BASIC - 4)
		return ASC_PARAMETER_LIST_LENGTH;
	for (left = len - LIST_BASIC - 4; left > 0; left -= n, p += n) {
		if (out->nspec == PR_SPEC_MAX)
			return ASC_NO_REGISTRATION_RESOURCES;
		n = decode_transport_id(p, left, out->spec[out->nspec]);
		if (n == 0)
			return ASC_INVALID_FIELD_IN_LIST;
		out->nspec++;
	}
	return 0;
}

unsigned int
pr_request_decode(const uint8_t cdb[10], const uint8_t *list, size_t len, struct pr_request *out)
{
	memset(out, 0, sizeof(*out));
	out->action = (enum pr_action)(cdb[1] & 0x1f);
	out->scope = cdb[2] >> 4;
	out->type = cdb[2] & 0x0f;
	if (out->action >= PR_ACTION_MAX)
		return ASC_INVALID_FIELD_IN_CDB;
	if (len < LIST_BASIC)
		return ASC_PARAMETER_LIST_LENGTH;
	out->key = scsi_get64(list);
	out->new_key = scsi_get64(list + 8);
	if (out->action == PR_REGISTER_MOVE)
		return decode_move(list, len, out);
	if (out->action == PR_REGISTER || out->action == PR_REGISTER_IGNORE) {
		out->is_spec_i_pt = (list[20] & 8) != 0;
		out->is_all_ports = (list[20] & 4) != 0;
		out->is_aptpl = (list[20] & 1) != 0;
	}
	if (out->is_spec_i_pt)
		return decode_spec_i_pt(list, len, out);
	return len == LIST_BASIC ? 0 : ASC_PARAMETER_LIST_LENGTH;
}

/* --- PERSISTENT RESERVE IN ---------------------------------------------------------------------- */

static uint8_t *
header(const struct pr_state *s, uint8_t *out)
{
	scsi_put32(out, s->generation);
	return out + 8;
}

static size_t
finish(uint8_t *out, const uint8_t *end)
{
	size_t n = (size_t)(end - out);

	scsi_put32(out + 4, (uint32_t)(n - 8));
	return n;
}

/* 6.15.2 */
size_t
pr_read_keys(const struct pr_state *s, uint8_t *out, size_t cap)
{
	uint8_t *p;

	if (cap < PR_IN_MAX)
		return 0;
	p = header(s, out);
	for (int i = 0; i < s->n; i++, p += 8)
		scsi_put64(p, s->regs[i].key);
	return finish(out, p);
}

/* 6.15.3 */
size_t
pr_read_reservation(const struct pr_state *s, uint8_t *out, size_t cap)
{
	uint8_t *p;

	if (cap < PR_IN_MAX)
		return 0;
	p = header(s, out);
	if (s->type != PR_NONE) {
		memset(p, 0, 16);
		scsi_put64(p, s->holder >= 0 ? s->regs[s->holder].key : 0);
		p[13] = (uint8_t)s->type; /* scope 0: the logical unit */
		p += 16;
	}
	return finish(out, p);
}

/* 6.15.4 */
size_t
pr_report_capabilities(const struct pr_state *s, uint8_t *out, size_t cap)
{
	if (cap < 8)
		return 0;
	memset(out, 0, 8);
	scsi_put16(out, 8);
	out[2] = 0x10 | 0x08 | 0x04 | 0x01;	/* CRH, SIP_C, ATP_C, PTPL_C */
	out[3] = (uint8_t)(0x80 | s->is_aptpl); /* TMV, PTPL_A */
	out[4] = 0xea;				/* WR_EX_AR, EX_AC_RO, WR_EX_RO, EX_AC, WR_EX */
	out[5] = 0x01;				/* EX_AC_AR */
	return 8;
}

/* 6.15.5 */
size_t
pr_read_full_status(const struct pr_state *s, uint8_t *out, size_t cap)
{
	uint8_t *p;

	if (cap < PR_IN_MAX)
		return 0;
	p = header(s, out);
	for (int i = 0; i < s->n; i++) {
		const struct pr_reg *r = &s->regs[i];
		size_t text = strlen(r->name), id = (4 + text + 1 + 3) & ~(size_t)3;

		if (id < TRANSPORT_ID_MIN)
			id = TRANSPORT_ID_MIN;
		memset(p, 0, 24 + id);
		scsi_put64(p, r->key);
		p[12] = r->is_all_ports ? 2 : 0;
		if (pr_is_holder(s, i)) {
			p[12] |= 1;
			p[13] = (uint8_t)s->type;
		}
		scsi_put16(p + 18, r->is_all_ports ? 0 : r->port);
		scsi_put32(p + 20, (uint32_t)id);
		p[24] = 0x40 | TRANSPORT_ISCSI;
		scsi_put16(p + 26, (uint16_t)(id - 4));
		memcpy(p + 28, r->name, text);
		p += 24 + id;
	}
	return finish(out, p);
}
