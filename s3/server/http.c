/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - one thread per connection, so everything behind may block.
 *
 * A request: begin (headers are there: target, operation, fault, signature, where the body goes),
 * feed (body), finish (run and reply).  An error found at the beginning is answered at once only if
 * the client waits for 100-continue or would send a lot; else the body is read and thrown away first,
 * because a reply in the middle of a body is often lost to a reset.
 */
#include "s3/server/http.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "s3/server/listener.h"
#include "s3/server/stats.h"
#include "s3/server/xml.h"

#define SWALLOW_MAX (8u << 20)
#define CONNECTIONS_MAX 4000
#define IDLE_TIMEOUT_S 60 /* a peer that lost its power never closes */

struct http {
	struct s3d *srv;
	struct MHD_Daemon *daemon;
};

/* A reply body that is slowed down or cut short. */
struct stream {
	struct s3d *srv;
	char *mem;
	int fd;
	uint64_t off, stop_at;
	uint64_t rate, start_ms, sent;
};

static void
interruptible_sleep(struct s3d *srv, uint64_t ms)
{
	uint64_t end = clock_mono_ms() + ms, now;

	while (!atomic_load(&srv->is_stopping) && (now = clock_mono_ms()) < end)
		clock_sleep_ms(end - now > 50 ? 50 : (unsigned int)(end - now));
}

/* Sleep until `bytes` may have passed at rate since start. */
static void
pace(struct s3d *srv, uint64_t start_ms, uint64_t bytes, uint64_t rate)
{
	uint64_t due = start_ms + bytes * 1000 / rate, now = clock_mono_ms();

	if (now < due)
		interruptible_sleep(srv, due - now);
}

static ssize_t
stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = cls;
	size_t n = max;
	ssize_t got;

	if (pos >= s->stop_at)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n > s->stop_at - pos)
		n = (size_t)(s->stop_at - pos);
	if (s->rate > 0) {
		if (n > s->rate / 20 + 1)
			n = (size_t)(s->rate / 20 + 1);
		pace(s->srv, s->start_ms, s->sent, s->rate);
	}
	if (s->mem != NULL) {
		memcpy(buf, s->mem + s->off + pos, n);
		got = (ssize_t)n;
	} else {
		got = pread(s->fd, buf, n, (off_t)(s->off + pos));
	}
	if (got <= 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	s->sent += (uint64_t)got;
	return got;
}

static void
stream_free(void *cls)
{
	struct stream *s = cls;

	if (s->fd >= 0)
		close(s->fd);
	free(s->mem);
	free(s);
}

static ssize_t
no_body(void *cls, uint64_t pos, char *buf, size_t max)
{
	(void)cls;
	(void)pos;
	(void)buf;
	(void)max;
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *
slow_response(struct s3d_req *rq, uint64_t len)
{
	struct reply *rp = &rq->reply;
	struct stream *s = xcalloc(1, sizeof *s);

	s->srv = rq->srv;
	s->fd = rp->fd;
	s->off = rp->fd >= 0 ? rp->off : 0;
	s->mem = rp->fd >= 0 ? NULL : strbuf_take(&rp->body);
	s->stop_at = rq->fault.action == FAULT_TORN ? (uint64_t)((double)len * rq->fault.at) : len;
	s->rate = rq->fault.bytes_per_s;
	s->start_ms = clock_mono_ms();
	rp->fd = -1;
	return MHD_create_response_from_callback(len, 65536, stream_read, s, stream_free);
}

static struct MHD_Response *
make_response(struct s3d_req *rq, uint64_t len)
{
	struct reply *rp = &rq->reply;
	struct MHD_Response *r;

	if (rq->is_head)
		return MHD_create_response_from_callback(len, 1024, no_body, NULL, NULL);
	if (len > 0 && (rq->fault.action == FAULT_TORN || rq->fault.bytes_per_s > 0))
		return slow_response(rq, len);
	if (rp->fd >= 0) {
		r = MHD_create_response_from_fd_at_offset64(len, rp->fd, rp->off);
		if (r != NULL)
			rp->fd = -1;
		return r;
	}
	return MHD_create_response_from_buffer(
	    (size_t)len, strbuf_take(&rp->body), MHD_RESPMEM_MUST_FREE);
}

/* The library refuses empty values and tabs; blanks around a value are no part of it (RFC 9110 5.5). */
static void
add_header(struct MHD_Response *r, const char *name, char *value)
{
	char *tab;

	while ((tab = strchr(value, '\t')) != NULL)
		*tab = ' ';
	MHD_add_response_header(r, name, value[0] != '\0' ? value : " ");
}

static enum MHD_Result
send_reply(struct s3d_req *rq, bool must_close)
{
	struct reply *rp = &rq->reply;
	uint64_t len = rp->fd >= 0 || (rq->is_head && rp->len > 0) ? rp->len : rp->body.len;
	struct MHD_Response *r;
	enum MHD_Result res;
	size_t i;

	if (!rq->is_admin) /* who asks does not change the answer */
		stats_count(rq->srv->stats, rq->op, rp->status, rq->fault.action != FAULT_NONE,
		    rq->body.got, rq->is_head ? 0 : len);
	r = make_response(rq, len);
	if (r == NULL)
		return MHD_NO;
	for (i = 0; i < rp->nheaders; i++)
		add_header(r, rp->headers[i].name, rp->headers[i].value);
	if (rp->content_type != NULL)
		MHD_add_response_header(r, "Content-Type", rp->content_type);
	MHD_add_response_header(r, "Server", "causeway-s3d");
	MHD_add_response_header(r, "x-amz-request-id", rq->id);
	if (must_close)
		MHD_add_response_header(r, "Connection", "close");
	res = MHD_queue_response(rq->conn, (unsigned int)rp->status, r);
	MHD_destroy_response(r);
	return res;
}

/* The reply of an error replaces whatever the operation had begun. */
static void
error_reply(struct s3d_req *rq, int status, const char *code, const char *text)
{
	struct reply *rp = &rq->reply;

	if (rp->fd >= 0)
		close(rp->fd);
	rp->fd = -1;
	rp->len = 0;
	rp->status = status;
	strbuf_reset(&rp->body);
	if (rq->is_head || status == 304)
		return;
	reply_xml(rp);
	strbuf_adds(&rp->body, "<Error>");
	xml_element(&rp->body, "Code", code);
	xml_element(&rp->body, "Message", text);
	if (rq->bucket_name != NULL)
		xml_element(&rp->body, "BucketName", rq->bucket_name);
	if (rq->key != NULL)
		xml_element(&rp->body, "Key", rq->key);
	if (strcmp(code, "AuthorizationHeaderMalformed") == 0)
		xml_element(&rp->body, "Region", rq->srv->region);
	xml_element(&rp->body, "RequestId", rq->id);
	strbuf_adds(&rp->body, "</Error>");
}

static enum MHD_Result
reply_error(struct s3d_req *rq, bool must_close)
{
	const struct s3err_info *i = s3err_info(rq->err);

	error_reply(rq, i->status, i->code, rq->err_text != NULL ? rq->err_text : i->text);
	return send_reply(rq, must_close);
}

static enum MHD_Result
drop(struct s3d_req *rq)
{
	stats_count(rq->srv->stats, rq->op, 0, true, rq->body.got, 0);
	return MHD_NO;
}

static enum MHD_Result
collect_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct s3d_req *rq = cls;

	(void)kind;
	rq->headers = xrealloc(rq->headers, (rq->nheaders + 1) * sizeof *rq->headers);
	rq->headers[rq->nheaders].name = name;
	rq->headers[rq->nheaders].value = value != NULL ? value : "";
	rq->nheaders++;
	return MHD_YES;
}

static enum s3e
read_length(struct s3d_req *rq)
{
	const char *len = req_header(rq, "Content-Length");
	char *end;

	rq->has_expect = req_header(rq, "Expect") != NULL;
	if (len == NULL)
		return S3E_OK;
	errno = 0;
	rq->content_length = strtoull(len, &end, 10);
	if (errno != 0 || *end != '\0' || *len < '0' || *len > '9')
		return S3E_InvalidArgument;
	rq->has_content_length = true;
	return S3E_OK;
}

static enum body_kind
kind_of_body(const struct s3d_req *rq)
{
	switch (rq->op) {
	case OP_PutObject:
	case OP_UploadPart:
		return BODY_FILE;
	case OP_CreateBucket:
	case OP_DeleteObjects:
	case OP_CompleteMultipartUpload:
	case OP_PutObjectAcl:
		return BODY_MEMORY;
	default:
		return BODY_DISCARD;
	}
}

static void
decide_fault(struct s3d_req *rq)
{
	static const char *const classes[] = {"read", "write", "list"};

	faults_decide(rq->srv->faults, op_name(rq->op), classes[op_class_of(rq->op)],
	    rq->bucket_name, rq->key, &rq->fault);
	if (rq->fault.latency_ms > 0)
		interruptible_sleep(rq->srv, rq->fault.latency_ms);
	if (rq->fault.action == FAULT_REFUSE)
		listener_refuse(rq->srv->listener, rq->fault.refuse_ms);
}

static bool
is_loopback(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *i =
	    MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr_in *in;
	const struct sockaddr_in6 *in6;

	if (i == NULL || i->client_addr == NULL)
		return false;
	in = (const struct sockaddr_in *)(const void *)i->client_addr;
	in6 = (const struct sockaddr_in6 *)(const void *)i->client_addr;
	if (in->sin_family == AF_INET)
		return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
	return in6->sin6_family == AF_INET6 &&
	       (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
		   (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127));
}

static enum s3e
begin_admin(struct s3d_req *rq)
{
	if (!rq->srv->has_admin || !is_loopback(rq->conn))
		return S3E_AccessDenied;
	snprintf(rq->auth.payload_hash, sizeof rq->auth.payload_hash, "UNSIGNED-PAYLOAD");
	return body_begin(rq, BODY_MEMORY);
}

/* Everything that can be said before the body. */
static enum s3e
begin(struct s3d_req *rq)
{
	enum s3e e;

	MHD_get_connection_values(rq->conn, MHD_HEADER_KIND, collect_header, rq);
	e = read_length(rq);
	if (e == S3E_OK)
		e = req_parse_target(rq);
	if (e != S3E_OK)
		return e;
	if (rq->is_admin)
		return begin_admin(rq);
	e = route(rq);
	if (e != S3E_OK && e != S3E_MethodNotAllowed && e != S3E_NotImplemented)
		return e;
	if (e == S3E_OK)
		decide_fault(rq);
	if (rq->fault.action != FAULT_NONE && rq->fault.action != FAULT_LOST_REPLY &&
	    rq->fault.action != FAULT_TORN)
		return S3E_OK;
	/* Nobody unknown learns what exists here, not even which operations. */
	rq->err = auth_check(rq);
	if (rq->err != S3E_OK)
		return rq->err;
	return e == S3E_OK ? body_begin(rq, kind_of_body(rq)) : e;
}

static enum MHD_Result
first_call(struct s3d_req *rq)
{
	bool has_body = rq->content_length > 0 || req_header(rq, "Transfer-Encoding") != NULL;

	if (rq->fault.action == FAULT_DROP || rq->fault.action == FAULT_REFUSE)
		return drop(rq);
	if (!rq->is_admin && listener_is_refusing(rq->srv->listener))
		return drop(rq);
	if (rq->fault.action == FAULT_STATUS && rq->err == S3E_OK)
		rq->err = S3E_ServiceUnavailable;
	if (rq->err == S3E_OK || !has_body)
		return MHD_YES;
	if (rq->has_expect || rq->content_length > SWALLOW_MAX) {
		if (rq->fault.action == FAULT_STATUS) {
			error_reply(rq, rq->fault.status, rq->fault.code, "Injected fault");
			return send_reply(rq, true);
		}
		return reply_error(rq, true);
	}
	return MHD_YES;
}

static enum MHD_Result
finish(struct s3d_req *rq)
{
	if (rq->fault.action == FAULT_STATUS) {
		error_reply(rq, rq->fault.status, rq->fault.code, "Injected fault");
		return send_reply(rq, false);
	}
	if (rq->err == S3E_OK)
		rq->err = body_end(rq);
	if (rq->err == S3E_OK)
		rq->err = rq->is_admin ? admin_run(rq) : op_run(rq);
	if (rq->fault.action == FAULT_LOST_REPLY)
		return drop(rq);
	if (rq->fault.action == FAULT_TORN && rq->err == S3E_OK && rq->reply.len == 0 &&
	    rq->reply.body.len == 0)
		return drop(rq);
	return rq->err == S3E_OK ? send_reply(rq, false) : reply_error(rq, false);
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **con_cls)
{
	struct s3d_req *rq = *con_cls;

	(void)cls;
	(void)url;
	(void)version;
	if (!rq->has_begun) {
		rq->has_begun = true;
		rq->conn = conn;
		snprintf(rq->method, sizeof rq->method, "%s", method);
		rq->is_head = strcmp(method, "HEAD") == 0;
		rq->err = begin(rq);
		return first_call(rq);
	}
	if (*size > 0) {
		if (rq->err == S3E_OK) {
			body_feed(rq, data, *size);
			if (rq->fault.bytes_per_s > 0)
				interruptible_sleep(rq->srv, *size * 1000 / rq->fault.bytes_per_s);
		}
		*size = 0;
		return MHD_YES;
	}
	return finish(rq);
}

static void *
on_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
	(void)conn;
	return req_new(cls, uri);
}

static void
on_completed(
    void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
	(void)cls;
	(void)conn;
	(void)why;
	req_free(*con_cls);
	*con_cls = NULL;
}

/* The target is decoded by req.c, once, from what is on the wire. */
static size_t
keep_escaped(void *cls, struct MHD_Connection *conn, char *s)
{
	(void)cls;
	(void)conn;
	return strlen(s);
}

int
http_start(struct s3d *srv, struct http **out)
{
	struct http *h = xcalloc(1, sizeof *h);

	h->srv = srv;
	h->daemon =
	    MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
				 MHD_USE_POLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC,
		0, NULL, NULL, on_request, srv, MHD_OPTION_URI_LOG_CALLBACK, on_uri, srv,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, srv, MHD_OPTION_UNESCAPE_CALLBACK,
		keep_escaped, srv, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(192 * 1024),
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_TIMEOUT_S,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)(512 * 1024), MHD_OPTION_END);
	if (h->daemon == NULL) {
		free(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

void
http_add(void *http, int fd, const struct sockaddr *addr, socklen_t len)
{
	struct http *h = http;

	stats_connection(h->srv->stats);
	/* On failure (too many connections) the library closes fd. */
	if (MHD_add_connection(h->daemon, fd, addr, len) != MHD_YES)
		log_warn("s3d.http", "connection-refused", "err=\"%s\"", err_str(-errno));
}

void
http_stop(struct http *h)
{
	if (h == NULL)
		return;
	MHD_stop_daemon(h->daemon);
	free(h);
}
