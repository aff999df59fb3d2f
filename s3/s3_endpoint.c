/* SPDX-License-Identifier: Apache-2.0 */
/* s3_endpoint.c - endpoint URLs and the two ways of naming a bucket. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_req.h"

/* is_bucket_name - 3 to 63 of [a-z0-9.-]; old and foreign stores also had [A-Z_]. What matters here
 * is that nothing in it means anything in a URL. */
static bool
is_bucket_name(const char *s)
{
	size_t len = strlen(s);

	return len >= 3 && len <= 255 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
		   len &&
	       strstr(s, "..") == NULL && s[0] != '.' && s[0] != '-';
}

static bool
is_region(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len < 64 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == len;
}

/* is_host - a name or address with an optional port; an IPv6 address in brackets. */
static bool
is_host(const char *host, size_t len, bool *is_address)
{
	const char *end = host + len, *port;
	char text[256];
	size_t name_len;
	uint8_t addr[16];

	*is_address = false;
	if (len == 0 || len >= sizeof(text))
		return false;
	if (host[0] == '[') {
		const char *close = memchr(host, ']', len);

		if (close == NULL)
			return false;
		memcpy(text, host + 1, (size_t)(close - host - 1));
		text[close - host - 1] = '\0';
		if (inet_pton(AF_INET6, text, addr) != 1)
			return false;
		*is_address = true;
		port = close + 1;
	} else {
		port = memchr(host, ':', len);
		port = port != NULL ? port : end;
		name_len = (size_t)(port - host);
		memcpy(text, host, name_len);
		text[name_len] = '\0';
		*is_address = inet_pton(AF_INET, text, addr) == 1;
		if (name_len == 0 ||
		    strspn(text,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") !=
			name_len)
			return false;
	}
	if (port == end)
		return true;
	if (*port != ':' || end - port < 2 || end - port > 6)
		return false;
	for (const char *p = port + 1; p < end; p++)
		if (*p < '0' || *p > '9')
			return false;
	return strtol(port + 1, NULL, 10) <= 65535 && strtol(port + 1, NULL, 10) > 0;
}

static void
aws_endpoint(struct s3_endpoint *e)
{
	const char *cn = strncmp(e->region, "cn-", 3) == 0 ? ".cn" : "";

	e->scheme = xstrdup("https");
	if (e->is_virtual)
		e->authority = xasprintf("%s.s3.%s.amazonaws.com%s", e->bucket, e->region, cn);
	else
		e->authority = xasprintf("s3.%s.amazonaws.com%s", e->region, cn);
}

/* drop_default_port - clients leave ":80" and ":443" out of the Host header. */
static size_t
drop_default_port(const char *host, size_t len, const char *port)
{
	size_t plen = strlen(port);

	return len > plen && memcmp(host + len - plen, port, plen) == 0 ? len - plen : len;
}

int
s3_endpoint_parse(const char *url, const char *region, const char *bucket, bool path_style,
    struct s3_endpoint *out, const char **why)
{
	bool is_https = url == NULL || strncmp(url, "https://", 8) == 0, is_address = false;
	const char *host;
	size_t len;

	memset(out, 0, sizeof(*out));
	region = region != NULL && region[0] != '\0' ? region : "us-east-1";
	if (bucket == NULL || !is_bucket_name(bucket)) {
		*why = "not a bucket name";
		return -EINVAL;
	}
	if (!is_region(region)) {
		*why = "not a region";
		return -EINVAL;
	}
	out->bucket = xstrdup(bucket);
	out->region = xstrdup(region);
	out->is_virtual = !path_style && !(is_https && strchr(bucket, '.') != NULL);
	if (url == NULL) {
		out->is_aws = true;
		aws_endpoint(out);
		return 0;
	}
	host = url + (is_https ? 8 : 7);
	if (!is_https && strncmp(url, "http://", 7) != 0) {
		*why = "endpoint must begin with http:// or https://";
		goto bad;
	}
	len = strcspn(host, "/?#@");
	if (host[len] != '\0' && strcmp(host + len, "/") != 0) {
		*why = "endpoint must have no path, query or user";
		goto bad;
	}
	if (!is_host(host, len, &is_address)) {
		*why = "endpoint's host or port is malformed";
		goto bad;
	}
	out->is_loopback =
	    is_address && (strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0);
	len = drop_default_port(host, len, is_https ? ":443" : ":80");
	if (is_address)
		out->is_virtual = false;
	out->scheme = xstrdup(is_https ? "https" : "http");
	out->authority =
	    out->is_virtual ? xasprintf("%s.%.*s", bucket, (int)len, host) : xstrndup(host, len);
	return 0;
bad:
	s3_endpoint_free(out);
	return -EINVAL;
}

void
s3_endpoint_free(struct s3_endpoint *e)
{
	free(e->scheme);
	free(e->authority);
	free(e->bucket);
	free(e->region);
	memset(e, 0, sizeof(*e));
}
