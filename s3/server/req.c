/* SPDX-License-Identifier: Apache-2.0 */
/* req.c - request target, parameters, headers. */
#include "s3/server/req.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "s3/server/keypath.h"

struct s3d_req *
req_new(struct s3d *srv, const char *uri)
{
	struct s3d_req *rq = xcalloc(1, sizeof *rq);

	rq->srv = srv;
	rq->uri = xstrdup(uri);
	rq->reply.fd = -1;
	rq->reply.status = 200;
	rq->body.tmp.fd = -1;
	snprintf(rq->id, sizeof rq->id, "%016llX",
	    (unsigned long long)atomic_fetch_add(&srv->request_ids, 1));
	return rq;
}

void
req_free(struct s3d_req *rq)
{
	size_t i;

	if (rq == NULL)
		return;
	body_free(&rq->body);
	for (i = 0; i < rq->nparams; i++) {
		free(rq->params[i].name);
		free(rq->params[i].value);
	}
	free(rq->params);
	free(rq->headers);
	free(rq->bucket_name);
	free(rq->key);
	free(rq->uri);
	free(rq->uri_copy);
	strbuf_free(&rq->reply.body);
	if (rq->reply.fd >= 0)
		close(rq->reply.fd);
	for (i = 0; i < rq->reply.nheaders; i++) {
		free(rq->reply.headers[i].name);
		free(rq->reply.headers[i].value);
	}
	free(rq->reply.headers);
	free(rq);
}

const char *
req_header(const struct s3d_req *rq, const char *name)
{
	size_t i;

	for (i = 0; i < rq->nheaders; i++)
		if (strcasecmp(rq->headers[i].name, name) == 0)
			return rq->headers[i].value;
	return NULL;
}

const char *
req_param(const struct s3d_req *rq, const char *name)
{
	size_t i;

	for (i = 0; i < rq->nparams; i++)
		if (strcmp(rq->params[i].name, name) == 0)
			return rq->params[i].value;
	return NULL;
}

int
req_param_uint(const struct s3d_req *rq, const char *name, unsigned int dflt, unsigned int max,
    unsigned int *out)
{
	const char *v = req_param(rq, name);
	unsigned long n;
	char *end;

	*out = dflt;
	if (v == NULL || *v == '\0')
		return 0;
	if (*v < '0' || *v > '9' || strlen(v) > 10)
		return -EINVAL;
	n = strtoul(v, &end, 10);
	if (*end != '\0' || n > 0x7fffffff)
		return -EINVAL;
	*out = n > max ? max : (unsigned int)n;
	return 0;
}

enum s3e
req_fail(struct s3d_req *rq, enum s3e e, const char *text)
{
	rq->err_text = text;
	return e;
}

/* A multi-byte sequence's length, or 0: no overlong forms, no surrogates, nothing over U+10FFFF. */
static size_t
utf8_char(const unsigned char *s)
{
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 ||
		    (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80 ||
		    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

bool
utf8_is_valid(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n;

	while (*s != '\0') {
		n = *s < 0x80 ? 1 : utf8_char(s);
		if (n == 0)
			return false;
		s += n;
	}
	return true;
}

static enum s3e
parse_query(struct s3d_req *rq)
{
	char *copy, *next, *one, *eq;
	enum s3e res = S3E_OK;
	struct param *p;

	if (rq->query == NULL)
		return S3E_OK;
	copy = xstrdup(rq->query);
	for (one = copy; one != NULL && res == S3E_OK; one = next) {
		next = strchr(one, '&');
		if (next != NULL)
			*next++ = '\0';
		if (*one == '\0')
			continue;
		eq = strchr(one, '=');
		if (eq != NULL)
			*eq++ = '\0';
		rq->params = xrealloc(rq->params, (rq->nparams + 1) * sizeof *rq->params);
		p = &rq->params[rq->nparams++];
		p->name = s3_uri_decode(one, strlen(one));
		p->value = s3_uri_decode(eq != NULL ? eq : "", eq != NULL ? strlen(eq) : 0);
		if (p->name == NULL || p->value == NULL || !utf8_is_valid(p->value)) {
			free(p->name);
			free(p->value);
			rq->nparams--;
			res = S3E_InvalidURI;
		}
	}
	free(copy);
	return res;
}

/* "bucket.domain[:port]" names the bucket in the Host header. */
static char *
bucket_of_host(const struct s3d_req *rq)
{
	const char *host = req_header(rq, "Host");
	size_t len, dlen;

	if (rq->srv->domain == NULL || host == NULL)
		return NULL;
	len = strcspn(host, ":");
	dlen = strlen(rq->srv->domain);
	if (len <= dlen + 1 || host[len - dlen - 1] != '.' ||
	    strncasecmp(host + len - dlen, rq->srv->domain, dlen) != 0)
		return NULL;
	return xstrndup(host, len - dlen - 1);
}

enum s3e
req_parse_target(struct s3d_req *rq)
{
	const char *rest, *slash;
	char *p;

	rq->uri_copy = xstrdup(rq->uri);
	p = rq->uri_copy;
	if (strncasecmp(p, "http://", 7) == 0) { /* absolute form, RFC 9112 3.2.2 */
		p = strchr(p + 7, '/');
		if (p == NULL)
			return S3E_InvalidURI;
	}
	if (*p != '/')
		return S3E_InvalidURI;
	rq->raw_path = p;
	rq->query = strchr(p, '?');
	if (rq->query != NULL)
		*rq->query++ = '\0';
	rest = p + 1;
	if (strncmp(rest, "-/", 2) == 0 && bucket_of_host(rq) == NULL) {
		rq->is_admin = true;
		return parse_query(rq);
	}
	rq->bucket_name = bucket_of_host(rq);
	if (rq->bucket_name == NULL && *rest != '\0') {
		slash = strchrnul(rest, '/');
		rq->bucket_name = s3_uri_decode(rest, (size_t)(slash - rest));
		if (rq->bucket_name == NULL)
			return S3E_InvalidURI;
		rest = *slash == '/' ? slash + 1 : slash;
	}
	if (*rest != '\0') {
		rq->key = s3_uri_decode(rest, strlen(rest));
		if (rq->key == NULL || !utf8_is_valid(rq->key))
			return S3E_InvalidURI;
		if (strlen(rq->key) > KEYPATH_KEY_MAX)
			return S3E_KeyTooLongError;
	}
	return parse_query(rq);
}

void
reply_header(struct reply *rp, const char *name, const char *fmt, ...)
{
	char *value;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	rp->headers = xrealloc(rp->headers, (rp->nheaders + 1) * sizeof *rp->headers);
	rp->headers[rp->nheaders].name = xstrdup(name);
	rp->headers[rp->nheaders].value = value;
	rp->nheaders++;
}

void
reply_xml(struct reply *rp)
{
	rp->content_type = "application/xml";
	strbuf_reset(&rp->body);
	strbuf_adds(&rp->body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
}
