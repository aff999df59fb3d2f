/* SPDX-License-Identifier: Apache-2.0 */
/* strbuf.h - growing byte string for building text; NUL-terminated at all times. */
#ifndef CW_BASE_STRBUF_H
#define CW_BASE_STRBUF_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

struct strbuf {
	char *s; /* NULL until the first byte */
	size_t len, cap;
};

#define STRBUF_INIT                                                                                \
	{                                                                                          \
		0                                                                                  \
	}

/* All abort on out of memory (our own limits bound every length). Any thread, one at a time. */
void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) CW_PRINTF(2, 3);
void strbuf_reset(struct strbuf *b);
void strbuf_free(struct strbuf *b);
/* strbuf_take - hand the string to the caller, who frees it; b is empty afterwards. Never NULL. */
char *strbuf_take(struct strbuf *b);
const char *strbuf_str(const struct strbuf *b);

/* xmalloc family: abort on out of memory. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) CW_PRINTF(1, 2);

#endif
