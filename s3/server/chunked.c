/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunked.c - aws-chunked as a state machine:
 *   SIZE line -> DATA (size > 0) -> DATA_END line -> SIZE ... -> size 0 -> TRAILER lines -> DONE
 * An empty line ends the trailers.  ERROR is final.
 */
#include "s3/server/chunked.h"

#include <string.h>
#include <strings.h>

enum { ST_SIZE, ST_DATA, ST_DATA_END, ST_TRAILER, ST_DONE, ST_ERROR };

#define CHUNK_SIZE_MAX (UINT64_C(5) << 30)

void
chunked_init(struct chunked *c, const struct chunked_ops *ops, void *ctx)
{
	memset(c, 0, sizeof *c);
	c->ops = ops;
	c->ctx = ctx;
	c->state = ST_SIZE;
}

static int
hex_value(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'a' && ch <= 'f')
		return ch - 'a' + 10;
	if (ch >= 'A' && ch <= 'F')
		return ch - 'A' + 10;
	return -1;
}

static int
size_line(struct chunked *c)
{
	static const char ext[] = "chunk-signature=";
	const char *p = c->line;
	uint64_t size = 0;

	if (hex_value(*p) < 0)
		return -EINVAL;
	for (; hex_value(*p) >= 0; p++) {
		size = size * 16 + (uint64_t)hex_value(*p);
		if (size > CHUNK_SIZE_MAX)
			return -EINVAL;
	}
	c->sig[0] = '\0';
	if (*p == ';') {
		p++;
		if (strncmp(p, ext, sizeof ext - 1) != 0)
			return -EINVAL;
		p += sizeof ext - 1;
		if (strlen(p) != 64)
			return -EINVAL;
		memcpy(c->sig, p, 65);
	} else if (*p != '\0') {
		return -EINVAL;
	}
	c->left = size;
	if (size > 0) {
		c->state = ST_DATA;
		return 0;
	}
	c->state = ST_TRAILER;
	return c->ops->chunk_end(c->ctx, c->sig);
}

static int
trailer_line(struct chunked *c)
{
	char *colon, *value, *end;

	if (c->line[0] == '\0') {
		c->state = ST_DONE;
		return 0;
	}
	if (++c->trailers > CHUNKED_TRAILERS_MAX)
		return -EINVAL;
	colon = strchr(c->line, ':');
	if (colon == NULL || colon == c->line)
		return -EINVAL;
	*colon = '\0';
	for (value = colon + 1; *value == ' '; value++)
		;
	for (end = value + strlen(value); end > value && end[-1] == ' '; end--)
		;
	*end = '\0';
	return c->ops->trailer(c->ctx, c->line, value);
}

static int
line_done(struct chunked *c)
{
	/* Lines end in CRLF; some clients end trailers with a bare LF. */
	if (c->line_len > 0 && c->line[c->line_len - 1] == '\r')
		c->line_len--;
	c->line[c->line_len] = '\0';
	if (memchr(c->line, '\0', c->line_len) != NULL)
		return -EINVAL;
	c->line_len = 0;
	switch (c->state) {
	case ST_SIZE:
		return size_line(c);
	case ST_DATA_END:
		c->state = ST_SIZE;
		return c->line[0] == '\0' ? 0 : -EINVAL;
	default:
		return trailer_line(c);
	}
}

static int
feed_data(struct chunked *c, const char **p, size_t *n)
{
	size_t take = *n < c->left ? *n : (size_t)c->left;
	int err = c->ops->data(c->ctx, *p, take);

	if (err != 0)
		return err;
	*p += take;
	*n -= take;
	c->left -= take;
	if (c->left > 0)
		return 0;
	c->state = ST_DATA_END;
	return c->ops->chunk_end(c->ctx, c->sig);
}

static int
feed_line(struct chunked *c, const char **p, size_t *n)
{
	const char *nl = memchr(*p, '\n', *n);
	size_t take = nl != NULL ? (size_t)(nl - *p) : *n;

	if (take > CHUNKED_LINE_MAX - 1 - c->line_len)
		return -EINVAL;
	memcpy(c->line + c->line_len, *p, take);
	c->line_len += take;
	*p += take;
	*n -= take;
	if (nl == NULL)
		return 0;
	(*p)++;
	(*n)--;
	return line_done(c);
}

int
chunked_feed(struct chunked *c, const void *data, size_t n)
{
	const char *p = data;
	int err = 0;

	while (n > 0 && err == 0) {
		if (c->state == ST_DONE || c->state == ST_ERROR)
			err = -EINVAL;
		else if (c->state == ST_DATA)
			err = feed_data(c, &p, &n);
		else
			err = feed_line(c, &p, &n);
	}
	if (err != 0)
		c->state = ST_ERROR;
	return err;
}

bool
chunked_is_done(const struct chunked *c)
{
	return c->state == ST_DONE;
}
