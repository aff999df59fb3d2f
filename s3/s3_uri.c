/* SPDX-License-Identifier: Apache-2.0 */
/* s3_uri.c - percent-encoding as SigV4 wants it: RFC 3986 unreserved stays, upper-case hex. */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_sign.h"

/* is_unreserved - RFC 3986 section 2.3; not isalnum(), which asks the locale. */
static bool
is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '~';
}

static int
hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

char *
s3_uri_encode(const char *s, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t len = strlen(s);
	char *out = xmalloc(3 * len + 1);
	char *o = out;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (is_unreserved(c) || (keep_slash && c == '/')) {
			*o++ = (char)c;
			continue;
		}
		*o++ = '%';
		*o++ = digits[c >> 4];
		*o++ = digits[c & 15];
	}
	*o = '\0';
	return out;
}

char *
s3_uri_decode(const char *s, size_t len)
{
	char *out = xmalloc(len + 1);
	char *o = out;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)s[i];

		if (c == '%') {
			int hi = len - i > 2 ? hex_value((unsigned char)s[i + 1]) : -1;
			int lo = len - i > 2 ? hex_value((unsigned char)s[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				goto malformed;
			c = hi << 4 | lo;
			i += 2;
		}
		if (c == '\0')
			goto malformed;
		*o++ = (char)c;
	}
	*o = '\0';
	return out;
malformed:
	free(out);
	return NULL;
}
