/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keypath.c - the escape scheme between keys and file names.
 *
 * '%' is the only special character: a literal one is always written %25, so every other use of it
 * is ours: %XX a byte, %_ an empty segment, a trailing %+ a directory that only continues a long
 * segment, a trailing %f an object whose plain name is taken by a directory.
 */
#include "s3/server/keypath.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A piece of a segment: 240 bytes leave room for the suffix and one more escape within 255. */
#define PIECE_MAX 240

struct out {
	char *p;
	size_t len;
	size_t piece; /* bytes in the current file name */
};

static void
put(struct out *o, const char *s, size_t n)
{
	memcpy(o->p + o->len, s, n);
	o->len += n;
	o->piece += n;
}

static bool
must_escape(unsigned char c)
{
	return c == '%' || c < 0x20 || c == 0x7f;
}

/* Bytes of the character at s, so that a split never cuts a valid UTF-8 sequence. */
static size_t
char_len(const char *s, size_t left)
{
	unsigned char c = (unsigned char)s[0];
	size_t want = c < 0xc2 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 1;
	size_t i;

	if (want > left)
		return 1;
	for (i = 1; i < want; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 1;
	return want;
}

static void
encode_segment(struct out *o, const char *seg, size_t len)
{
	bool dots = (len == 1 && seg[0] == '.') || (len == 2 && memcmp(seg, "..", 2) == 0);
	char esc[4];
	size_t i, n;

	o->piece = 0;
	if (len == 0) {
		put(o, "%_", 2);
		return;
	}
	for (i = 0; i < len; i += n) {
		n = char_len(seg + i, len - i);
		if (o->piece + (n > 3 ? n : 3) > PIECE_MAX) {
			put(o, "%+/", 3);
			o->piece = 0;
		}
		/* The rest of a split segment could be "." or ".." by itself. */
		if (dots || must_escape((unsigned char)seg[i]) ||
		    (i > 0 && o->piece == 0 && seg[i] == '.')) {
			snprintf(esc, sizeof esc, "%%%02x", (unsigned char)seg[i]);
			put(o, esc, 3);
		} else {
			put(o, seg + i, n);
		}
	}
}

int
keypath_encode(const char *key, size_t key_len, bool is_alt, char *out)
{
	struct out o = {.p = out};
	size_t start = 0, i;

	if (key_len == 0 || memchr(key, '\0', key_len) != NULL)
		return -EINVAL;
	if (key_len > KEYPATH_KEY_MAX)
		return -ENAMETOOLONG;
	for (i = 0; i <= key_len; i++) {
		if (i < key_len && key[i] != '/')
			continue;
		encode_segment(&o, key + start, i - start);
		if (i < key_len)
			put(&o, "/", 1);
		start = i + 1;
	}
	if (is_alt)
		put(&o, "%f", 2);
	o.p[o.len] = '\0';
	return (int)o.len;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static int
decode_escapes(const char *path, size_t len, char *key)
{
	size_t i = 0;
	int n = 0;

	while (i < len) {
		if (n >= KEYPATH_KEY_MAX)
			return -EINVAL;
		if (path[i] != '%') {
			key[n++] = path[i++];
		} else if (i + 2 < len && path[i + 1] == '+' && path[i + 2] == '/') {
			i += 3;
		} else if (i + 1 < len && path[i + 1] == '_') {
			i += 2;
		} else if (i + 2 < len && hex_digit(path[i + 1]) >= 0 &&
			   hex_digit(path[i + 2]) >= 0) {
			key[n++] = (char)(hex_digit(path[i + 1]) * 16 + hex_digit(path[i + 2]));
			i += 3;
		} else {
			return -EINVAL;
		}
	}
	return n;
}

int
keypath_decode(const char *path, char *key, bool *is_alt)
{
	char again[KEYPATH_MAX];
	size_t len = strlen(path);
	int n, m;

	*is_alt = len > 2 && path[len - 2] == '%' && path[len - 1] == 'f';
	n = decode_escapes(path, *is_alt ? len - 2 : len, key);
	if (n <= 0)
		return -EINVAL;
	key[n] = '\0';
	/* Only what we would write ourselves counts; it keeps the mapping one to one. */
	m = keypath_encode(key, (size_t)n, *is_alt, again);
	if (m < 0 || (size_t)m != len || memcmp(again, path, len) != 0)
		return -EINVAL;
	return n;
}
