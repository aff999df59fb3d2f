/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - key=value pairs of login and text PDUs. Pure, any thread.
 *
 * Pairs are separated by NUL (RFC 7143 6.1). Bounds (P8): a key has at most 63 characters, there are
 * at most ISCSI_TEXT_KEYS_MAX pairs in a negotiation step of at most ISCSI_TEXT_MAX bytes.
 */
#ifndef ISCSI_TEXT_H
#define ISCSI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"
#include "gateway/base/strbuf.h"

#define ISCSI_KEY_MAX 64u /* with NUL; 6.1 */
#define ISCSI_TEXT_MAX (16u * 1024)
#define ISCSI_TEXT_KEYS_MAX 96u

struct iscsi_text { /* over the caller's bytes, which must have a NUL behind them */
	char *p, *end;
	unsigned int nkeys;
};

void iscsi_text_init(struct iscsi_text *t, char *text, size_t len);
/* iscsi_text_next - the next pair; it is cut in place.
 * result: 1 with key and value (NUL-terminated), 0 at the end, -EPROTO (no '=', bad key, too many) */
int iscsi_text_next(struct iscsi_text *t, const char **key, const char **value) CW_MUST_CHECK;

/* iscsi_text_put - append key=value and its NUL to an answer */
void iscsi_text_put(struct strbuf *out, const char *key, const char *value);
void iscsi_text_put_number(struct strbuf *out, const char *key, uint32_t value);

/* iscsi_text_number - decimal or 0x hexadecimal. result: 0, -EINVAL (also above 2^32-1) */
int iscsi_text_number(const char *value, uint32_t *out) CW_MUST_CHECK;
/* iscsi_text_binary - 0x hexadecimal or 0b base64 (6.1 large-binary-value).
 * result: count of bytes, -EINVAL (also when more than cap) */
int iscsi_text_binary(const char *value, uint8_t *out, size_t cap) CW_MUST_CHECK;
/* iscsi_text_in_list - is `what` one of the comma-separated values? */
bool iscsi_text_in_list(const char *list, const char *what);

#endif
