/* SPDX-License-Identifier: Apache-2.0 */
/*
 * param.c - the table of operational keys (RFC 7143 section 13) and the result functions of 6.2.2.
 */
#include "frontends/iscsi/param.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum kind {
	KIND_DIGEST,  /* list; CRC32C or None, in the initiator's order */
	KIND_OR,      /* boolean, result is OR */
	KIND_AND,     /* boolean, result is AND */
	KIND_MIN,     /* number, the smaller one */
	KIND_MAX,     /* number, the greater one */
	KIND_DECLARE, /* number, no answer */
	KIND_LIST,    /* list; only `only` is supported */
	KIND_FIXED,   /* always answered with `only` (obsolete keys, 13.25) */
};

static const struct param {
	const char *name;
	enum kind kind;
	bool is_irrelevant; /* in a discovery session */
	uint32_t low, high, ours;
	size_t at; /* in struct iscsi_params; NOWHERE: not kept, we hold to `ours` */
	const char *only;
} params[] = {
#define NOWHERE ((size_t)-1)
#define AT(field) offsetof(struct iscsi_params, field)
    {"HeaderDigest", KIND_DIGEST, false, 0, 0, 0, AT(has_header_digest), NULL},
    {"DataDigest", KIND_DIGEST, false, 0, 0, 0, AT(has_data_digest), NULL},
    {"MaxConnections", KIND_MIN, true, 1, 65535, 1, NOWHERE, NULL},
    {"InitialR2T", KIND_OR, true, 0, 0, false, AT(initial_r2t), NULL},
    {"ImmediateData", KIND_AND, true, 0, 0, true, AT(immediate_data), NULL},
    {"MaxRecvDataSegmentLength", KIND_DECLARE, false, 512, 0xffffff, 0, AT(peer_segment), NULL},
    {"MaxBurstLength", KIND_MIN, true, 512, 0xffffff, ISCSI_OUR_MAX_BURST, AT(max_burst), NULL},
    {"FirstBurstLength", KIND_MIN, true, 512, 0xffffff, ISCSI_OUR_FIRST_BURST, AT(first_burst),
	NULL},
    {"DefaultTime2Wait", KIND_MAX, false, 0, 3600, 0, AT(time2wait), NULL},
    {"DefaultTime2Retain", KIND_MIN, false, 0, 3600, 0, AT(time2retain), NULL},
    {"MaxOutstandingR2T", KIND_MIN, true, 1, 65535, ISCSI_OUR_R2TS, AT(max_r2ts), NULL},
    {"DataPDUInOrder", KIND_OR, true, 0, 0, true, NOWHERE, NULL},
    {"DataSequenceInOrder", KIND_OR, true, 0, 0, true, NOWHERE, NULL},
    {"ErrorRecoveryLevel", KIND_MIN, false, 0, 2, 0, NOWHERE, NULL},
    {"TaskReporting", KIND_LIST, true, 0, 0, 0, NOWHERE, "RFC3720"},
    {"iSCSIProtocolLevel", KIND_MIN, false, 0, 31, 1, NOWHERE, NULL}, /* RFC 7144 7.1.1 */
    {"IFMarker", KIND_FIXED, false, 0, 0, 0, NOWHERE, "No"},
    {"OFMarker", KIND_FIXED, false, 0, 0, 0, NOWHERE, "No"},
    {"IFMarkInt", KIND_FIXED, false, 0, 0, 0, NOWHERE, "Reject"},
    {"OFMarkInt", KIND_FIXED, false, 0, 0, 0, NOWHERE, "Reject"},
#undef AT
};
#define PARAMS (sizeof(params) / sizeof(params[0]))

_Static_assert(PARAMS <= 32, "the keys seen are bits of 32");

void
iscsi_params_init(struct iscsi_params *p)
{
	*p = (struct iscsi_params){.initial_r2t = true,
	    .immediate_data = true,
	    .peer_segment = ISCSI_LOGIN_SEGMENT,
	    .max_burst = 262144,
	    .first_burst = 65536,
	    .max_r2ts = 1,
	    .time2wait = 2,
	    .time2retain = 20};
}

static void
keep_bool(struct iscsi_params *p, const struct param *d, bool v)
{
	if (d->at != NOWHERE)
		memcpy((char *)p + d->at, &v, sizeof(v));
}

static void
keep_number(struct iscsi_params *p, const struct param *d, uint32_t v)
{
	if (d->at != NOWHERE)
		memcpy((char *)p + d->at, &v, sizeof(v));
}

/* The first of the initiator's list that we know. */
static enum iscsi_param_result
offer_digest(
    struct iscsi_params *p, const struct param *d, const char *value, struct strbuf *answer)
{
	const char *v = value;

	for (;;) {
		size_t len = strcspn(v, ",");

		if ((len == 6 && memcmp(v, "CRC32C", 6) == 0) ||
		    (len == 4 && memcmp(v, "None", 4) == 0)) {
			keep_bool(p, d, len == 6);
			iscsi_text_put(answer, d->name, len == 6 ? "CRC32C" : "None");
			return ISCSI_PARAM_DONE;
		}
		if (v[len] == '\0')
			break;
		v += len + 1;
	}
	iscsi_text_put(answer, d->name, "Reject");
	return ISCSI_PARAM_DONE;
}

static enum iscsi_param_result
offer_bool(struct iscsi_params *p, const struct param *d, const char *value, struct strbuf *answer)
{
	bool is_yes = strcmp(value, "Yes") == 0, v;

	if (!is_yes && strcmp(value, "No") != 0) {
		iscsi_text_put(answer, d->name, "Reject");
		return ISCSI_PARAM_BAD;
	}
	v = d->kind == KIND_OR ? is_yes || d->ours : is_yes && d->ours;
	keep_bool(p, d, v);
	iscsi_text_put(answer, d->name, v ? "Yes" : "No");
	return ISCSI_PARAM_DONE;
}

static enum iscsi_param_result
offer_number(
    struct iscsi_params *p, const struct param *d, const char *value, struct strbuf *answer)
{
	uint32_t v;

	if (iscsi_text_number(value, &v) < 0 || v < d->low || v > d->high) {
		iscsi_text_put(answer, d->name, "Reject");
		return ISCSI_PARAM_BAD;
	}
	if (d->kind == KIND_MIN && v > d->ours)
		v = d->ours;
	if (d->kind == KIND_MAX && v < d->ours)
		v = d->ours;
	keep_number(p, d, v);
	if (d->kind != KIND_DECLARE)
		iscsi_text_put_number(answer, d->name, v);
	return ISCSI_PARAM_DONE;
}

enum iscsi_param_result
iscsi_param_offer(struct iscsi_params *p, uint32_t *seen, bool is_discovery, const char *key,
    const char *value, struct strbuf *answer)
{
	const struct param *d = NULL;

	for (size_t i = 0; i < PARAMS && d == NULL; i++) {
		if (strcmp(params[i].name, key) == 0)
			d = &params[i];
	}
	if (d == NULL)
		return ISCSI_PARAM_UNKNOWN;
	if (*seen & 1u << (d - params))
		return ISCSI_PARAM_REPEATED;
	*seen |= 1u << (d - params);
	if (is_discovery && d->is_irrelevant) {
		iscsi_text_put(answer, d->name, "Irrelevant");
		return ISCSI_PARAM_DONE;
	}
	switch (d->kind) {
	case KIND_DIGEST:
		return offer_digest(p, d, value, answer);
	case KIND_OR:
	case KIND_AND:
		return offer_bool(p, d, value, answer);
	case KIND_MIN:
	case KIND_MAX:
	case KIND_DECLARE:
		return offer_number(p, d, value, answer);
	case KIND_LIST:
		iscsi_text_put(
		    answer, d->name, iscsi_text_in_list(value, d->only) ? d->only : "Reject");
		return ISCSI_PARAM_DONE;
	case KIND_FIXED:
		iscsi_text_put(answer, d->name, d->only);
		return ISCSI_PARAM_DONE;
	}
	return ISCSI_PARAM_BAD;
}

bool
iscsi_param_declare_segment(struct iscsi_params *p, const char *value)
{
	uint32_t v;

	if (iscsi_text_number(value, &v) < 0 || v < 512 || v > 0xffffff)
		return false;
	p->peer_segment = v;
	return true;
}
