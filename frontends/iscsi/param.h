/* SPDX-License-Identifier: Apache-2.0 */
/*
 * param.h - operational keys: what we offer, what was agreed. Pure, any thread.
 */
#ifndef ISCSI_PARAM_H
#define ISCSI_PARAM_H

#include <stdbool.h>
#include <stdint.h>

#include "frontends/iscsi/text.h"

/* What the reference recommends for initiators is also what we offer. */
#define ISCSI_OUR_SEGMENT (256u * 1024)	    /* MaxRecvDataSegmentLength */
#define ISCSI_OUR_MAX_BURST (1024u * 1024)  /* MaxBurstLength */
#define ISCSI_OUR_FIRST_BURST (256u * 1024) /* FirstBurstLength */
#define ISCSI_OUR_R2TS 8u		    /* MaxOutstandingR2T */
#define ISCSI_LOGIN_SEGMENT 8192u	    /* 13.12: until declared */

struct iscsi_params { /* agreed; starts as the defaults of section 13 */
	bool has_header_digest, has_data_digest;
	bool initial_r2t, immediate_data;
	uint32_t peer_segment; /* the initiator's MaxRecvDataSegmentLength */
	uint32_t max_burst, first_burst, max_r2ts;
	uint32_t time2wait, time2retain;
};

enum iscsi_param_result {
	ISCSI_PARAM_DONE,     /* agreed, or answered as the RFC says */
	ISCSI_PARAM_UNKNOWN,  /* not an operational key: the caller's business */
	ISCSI_PARAM_REPEATED, /* came twice in one negotiation: an error of the initiator (6.3) */
	ISCSI_PARAM_BAD,      /* the value is none at all */
};

void iscsi_params_init(struct iscsi_params *p);
/* iscsi_param_offer - one key of the initiator's.
 * args:   seen: of this negotiation, 0 at first; answer: gets what is to be answered, if anything
 * source: RFC 7143 sections 6.2 and 13 */
enum iscsi_param_result iscsi_param_offer(struct iscsi_params *p, uint32_t *seen, bool is_discovery,
    const char *key, const char *value, struct strbuf *answer);
/* iscsi_param_declare_segment - MaxRecvDataSegmentLength outside of login (13.12: any time).
 * result: false: not a value */
bool iscsi_param_declare_segment(struct iscsi_params *p, const char *value);

#endif
