/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/iscsi/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/digest.h"

void
iscsi_text_init(struct iscsi_text *t, char *text, size_t len)
{
	t->p = text;
	t->end = text + len;
	t->nkeys = 0;
}

/* 6.1: a key-name of letters, digits and ".-+@_", extension keys have '#' too */
static bool
is_key(const char *key, size_t len)
{
	if (len == 0 || len >= ISCSI_KEY_MAX || !isalpha((unsigned char)key[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)key[i]) && strchr(".-+@_#", key[i]) == NULL)
			return false;
	}
	return true;
}

int
iscsi_text_next(struct iscsi_text *t, const char **key, const char **value)
{
	char *pair, *eq;

	*key = *value = NULL;
	while (t->p < t->end && *t->p == '\0')
		t->p++; /* padding that was counted as text, as some initiators do */
	if (t->p >= t->end)
		return 0;
	pair = t->p;
	t->p += strnlen(pair, (size_t)(t->end - pair));
	*t->p++ = '\0'; /* the caller's NUL at the latest */
	eq = strchr(pair, '=');
	if (eq == NULL || !is_key(pair, (size_t)(eq - pair)) || ++t->nkeys > ISCSI_TEXT_KEYS_MAX)
		return -EPROTO;
	*eq = '\0';
	*key = pair;
	*value = eq + 1;
	return 1;
}

void
iscsi_text_put(struct strbuf *out, const char *key, const char *value)
{
	strbuf_adds(out, key);
	strbuf_addc(out, '=');
	strbuf_adds(out, value);
	strbuf_addc(out, '\0');
}

void
iscsi_text_put_number(struct strbuf *out, const char *key, uint32_t value)
{
	strbuf_addf(out, "%s=%u", key, value);
	strbuf_addc(out, '\0');
}

int
iscsi_text_number(const char *value, uint32_t *out)
{
	bool is_hex = value[0] == '0' && (value[1] == 'x' || value[1] == 'X');
	const char *digits = is_hex ? value + 2 : value;
	unsigned long long v;
	char *end;

	*out = 0;
	if (!(is_hex ? isxdigit((unsigned char)digits[0]) : isdigit((unsigned char)digits[0])))
		return -EINVAL;
	errno = 0;
	v = strtoull(digits, &end, is_hex ? 16 : 10);
	if (*end != '\0' || errno != 0 || v > UINT32_MAX)
		return -EINVAL;
	*out = (uint32_t)v;
	return 0;
}

int
iscsi_text_binary(const char *value, uint8_t *out, size_t cap)
{
	size_t len = strlen(value);
	int n;

	if (len < 3 || value[0] != '0')
		return -EINVAL;
	if (value[1] == 'x' || value[1] == 'X') {
		char first[3] = {'0', value[2], '\0'};

		if (len % 2 == 0)
			return digest_hex_decode(value + 2, out, cap);
		/* an odd count of digits: the leading zero was left out */
		if (cap < 1 || digest_hex_decode(first, out, 1) < 0)
			return -EINVAL;
		n = len == 3 ? 0 : digest_hex_decode(value + 3, out + 1, cap - 1);
		return n < 0 ? n : n + 1;
	}
	if (value[1] == 'b' || value[1] == 'B')
		return digest_base64_decode(value + 2, out, cap);
	return -EINVAL;
}

bool
iscsi_text_in_list(const char *list, const char *what)
{
	size_t len = strlen(what);

	for (const char *p = list; p != NULL; p = strchr(p, ',')) {
		p += *p == ',';
		if (strncmp(p, what, len) == 0 && (p[len] == ',' || p[len] == '\0'))
			return true;
	}
	return false;
}
