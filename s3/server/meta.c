/* SPDX-License-Identifier: Apache-2.0 */
/* meta.c - object metadata as lines of text, so that `getfattr` shows something readable. */
#include "s3/server/meta.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_sign.h"

static const char magic[] = "causeway-s3d 1";

static const char *const sclasses[] = {"STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING",
    "ONEZONE_IA", "REDUCED_REDUNDANCY", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"};

#define NSCLASSES (sizeof sclasses / sizeof sclasses[0])

int
meta_sclass(const char *name)
{
	size_t i;

	if (name == NULL)
		return 0;
	for (i = 0; i < NSCLASSES; i++)
		if (strcmp(sclasses[i], name) == 0)
			return (int)i;
	return -EINVAL;
}

const char *
meta_sclass_name(unsigned int i)
{
	return sclasses[i < NSCLASSES ? i : 0];
}

bool
meta_is_archived(const struct objmeta *m)
{
	const char *c = meta_get(m, "x-amz-storage-class");

	return c != NULL && (strcmp(c, "GLACIER") == 0 || strcmp(c, "DEEP_ARCHIVE") == 0);
}

void
meta_free(struct objmeta *m)
{
	size_t i;

	for (i = 0; i < m->nheaders; i++) {
		free(m->headers[i].name);
		free(m->headers[i].value);
	}
	free(m->headers);
	memset(m, 0, sizeof *m);
}

void
meta_copy(struct objmeta *to, const struct objmeta *from)
{
	size_t i;

	*to = *from;
	to->headers = NULL;
	to->nheaders = 0;
	for (i = 0; i < from->nheaders; i++)
		meta_set(to, from->headers[i].name, from->headers[i].value);
}

void
meta_set(struct objmeta *m, const char *name, const char *value)
{
	struct kv *h = NULL;
	size_t i;

	for (i = 0; i < m->nheaders && h == NULL; i++)
		if (strcmp(m->headers[i].name, name) == 0)
			h = &m->headers[i];
	if (value == NULL) {
		if (h == NULL)
			return;
		free(h->name);
		free(h->value);
		*h = m->headers[--m->nheaders];
		return;
	}
	if (h != NULL) {
		free(h->value);
		h->value = xstrdup(value);
		return;
	}
	m->headers = xrealloc(m->headers, (m->nheaders + 1) * sizeof *m->headers);
	m->headers[m->nheaders].name = xstrdup(name);
	m->headers[m->nheaders].value = xstrdup(value);
	m->nheaders++;
}

const char *
meta_get(const struct objmeta *m, const char *name)
{
	size_t i;

	for (i = 0; i < m->nheaders; i++)
		if (strcmp(m->headers[i].name, name) == 0)
			return m->headers[i].value;
	return NULL;
}

char *
meta_encode(const struct objmeta *m, const char *key, size_t *len)
{
	struct strbuf b = STRBUF_INIT;
	char *enc;
	size_t i;

	strbuf_addf(&b,
	    "%s\netag %s\nsize %" PRIu64 "\nmtime %" PRId64 "\nfile-mtime %" PRId64 "\n", magic,
	    m->etag, m->size, m->mtime_ns, m->file_mtime_ns);
	if (key != NULL) {
		enc = s3_uri_encode(key, true);
		strbuf_addf(&b, "key %s\n", enc);
		free(enc);
	}
	for (i = 0; i < m->nheaders; i++)
		strbuf_addf(&b, "h %s %s\n", m->headers[i].name, m->headers[i].value);
	*len = b.len;
	return strbuf_take(&b);
}

static int
decode_header(struct objmeta *m, char *text)
{
	char *space = strchr(text, ' ');

	if (space == NULL || space == text)
		return -EINVAL;
	*space = '\0';
	meta_set(m, text, space + 1);
	return 0;
}

static int
decode_line(struct objmeta *m, char *line, char **key)
{
	char *value = strchr(line, ' '), *end;
	int64_t n;

	if (value == NULL)
		return -EINVAL;
	*value++ = '\0';
	if (strcmp(line, "h") == 0)
		return decode_header(m, value);
	if (strcmp(line, "key") == 0) {
		if (key == NULL)
			return 0;
		free(*key);
		*key = s3_uri_decode(value, strlen(value));
		return *key != NULL ? 0 : -EINVAL;
	}
	if (strcmp(line, "etag") == 0) {
		if (strlen(value) >= sizeof m->etag)
			return -EINVAL;
		memcpy(m->etag, value, strlen(value) + 1);
		return 0;
	}
	errno = 0;
	n = strtoll(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0')
		return -EINVAL;
	if (strcmp(line, "size") == 0 && n >= 0)
		m->size = (uint64_t)n;
	else if (strcmp(line, "mtime") == 0)
		m->mtime_ns = n;
	else if (strcmp(line, "file-mtime") == 0)
		m->file_mtime_ns = n;
	else
		return -EINVAL;
	return 0;
}

int
meta_decode(const char *text, size_t len, struct objmeta *m, char **key)
{
	char *copy = xstrndup(text, len), *line, *next;
	int err = -EINVAL;

	memset(m, 0, sizeof *m);
	if (key != NULL)
		*key = NULL;
	if (strlen(copy) != len || len < sizeof magic || copy[len - 1] != '\n')
		goto out;
	copy[len - 1] = '\0';
	for (line = copy, err = 0; line != NULL && err == 0; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		if (line == copy)
			err = strcmp(line, magic) == 0 ? 0 : -EINVAL;
		else
			err = decode_line(m, line, key);
	}
	if (err == 0 && m->etag[0] == '\0')
		err = -EINVAL;
out:
	if (err != 0) {
		meta_free(m);
		if (key != NULL) {
			free(*key);
			*key = NULL;
		}
	}
	free(copy);
	return err;
}
