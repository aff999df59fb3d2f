/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_http.c - HTTP by libmicrohttpd: collect a request, route it, send the reply.
 *
 * Handlers may wait for the disk (a commit), so a small pool of threads serves the connections.
 * Paths and queries are taken as sent: the signature is over those bytes.
 */
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "gateway/api/api.h"
#include "gateway/api/api_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/inet.h"
#include "gateway/base/log.h"

#define THREADS 4
#define CONNECTIONS_MAX 256
#define IDLE_S 60
#define HEADER_MEMORY 32768

struct api_server {
	int fd;
	struct MHD_Daemon *daemon;
	struct api_auth *auth;
	struct api_keyring *keyring;
	_Atomic(struct control *) control;
};

struct exchange { /* one request while its body arrives */
	struct strbuf body;
	bool is_too_large;
};

/* --- pieces --------------------------------------------------------------------------------------- */

const char *
api_header(const struct api_request *r, const char *name)
{
	for (size_t i = 0; i < r->nheaders; i++)
		if (strcasecmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	return NULL;
}

char *
api_query(const char *query, const char *name)
{
	size_t len = strlen(name);

	while (*query != '\0') {
		size_t n = strcspn(query, "&");

		if (n >= len && strncmp(query, name, len) == 0 && (n == len || query[len] == '='))
			return n == len ? xstrdup("") : s3_uri_decode(query + len + 1, n - len - 1);
		query += n + (query[n] == '&');
	}
	return NULL;
}

int
api_server_open(const char *listen, const char *credentials, struct api_server **out)
{
	union inet_addr addr;
	struct api_server *s;
	int fd = inet_resolve(listen, &addr);

	*out = NULL;
	if (fd == 0)
		fd = inet_listen(&addr);
	if (fd < 0)
		return fd;
	s = xcalloc(1, sizeof(*s));
	s->fd = fd;
	s->auth = api_auth_new(credentials);
	s->keyring = api_keyring_new();
	*out = s;
	return 0;
}

/* --- routing -------------------------------------------------------------------------------------- */

static void
reply_text(struct api_reply *out, int status, const char *text)
{
	out->status = status;
	out->content_type = "text/plain; charset=utf-8";
	strbuf_adds(&out->body, text);
}

static void
not_allowed(struct api_reply *out, const char *allow)
{
	reply_text(out, 405, "method not allowed\n");
	out->allow = allow;
}

static void
service_unavailable(struct api_reply *out)
{
	struct control_error e = {.type = "ServiceUnavailableError", .code = "ServiceUnavailable"};

	snprintf(e.message, sizeof(e.message), "The gateway is starting or stopping.");
	api_reply_error(out, &e);
}

static bool
is_authentic(struct api_server *s, const struct api_request *r, struct api_reply *out)
{
	struct control_error e = {0};

	if (api_auth_check(s->auth, r, "storagegateway", clock_real_ns() / 1000000000, &e) == 0)
		return true;
	log_warn("gateway.api", "refused", "type=%s path=%.100s", e.type, r->path);
	api_reply_error(out, &e);
	return false;
}

/* A form is for EC2; everything else on this port is JSON. */
static bool
is_form(const struct api_request *r)
{
	const char *type = api_header(r, "content-type");

	return type != NULL && strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0 &&
	       api_header(r, "x-amz-target") == NULL;
}

static void
route_ec2(
    struct api_server *s, struct control *c, const struct api_request *r, struct api_reply *out)
{
	struct control_error e = {0};

	if (api_auth_check(s->auth, r, "ec2", clock_real_ns() / 1000000000, &e) < 0) {
		log_warn("gateway.api", "refused", "type=%s service=ec2", e.type);
		api_ec2_error(out, 401, "AuthFailure", e.message);
	} else if (c == NULL) {
		api_ec2_error(out, 503, "Unavailable", "The gateway is starting or stopping.");
	} else {
		api_ec2(c, r, out);
	}
}

static void
route_root(struct api_server *s, struct control *c, const struct api_request *r, bool is_get,
    struct api_reply *out)
{
	const char *target = api_header(r, "x-amz-target");
	char *region;

	if (is_get) {
		region = api_query(r->query, "activationRegion");
		if (region != NULL)
			api_activation_reply(s->keyring, r, out);
		else
			reply_text(out, 200,
			    "Causeway " CONTROL_VERSION "\n"
			    "This port speaks the AWS Storage Gateway API.\n"
			    "GET /?activationRegion=REGION&gatewayType=FILE_S3 starts an "
			    "activation.\n");
		free(region);
	} else if (strcmp(r->method, "POST") != 0) {
		not_allowed(out, "GET, POST");
	} else if (is_form(r)) {
		route_ec2(s, c, r, out);
	} else if (is_authentic(s, r, out)) {
		if (c == NULL)
			service_unavailable(out);
		else
			api_dispatch(
			    c, s->keyring, target != NULL ? target : "", r->body, r->body_len, out);
	}
}

static void
route(struct api_server *s, const struct api_request *r, struct api_reply *out)
{
	struct control *c = atomic_load(&s->control);
	bool is_get = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;

	if (strcmp(r->path, "/") == 0) {
		route_root(s, c, r, is_get, out);
	} else if (strcmp(r->path, "/healthz") == 0) {
		if (!is_get)
			not_allowed(out, "GET");
		else
			reply_text(
			    out, c != NULL ? 200 : 503, c != NULL ? "ok\n" : "not serving\n");
	} else if (strcmp(r->path, "/metrics") == 0) {
		if (!is_get)
			not_allowed(out, "GET");
		else if (c == NULL)
			reply_text(out, 503, "not serving\n");
		else
			api_metrics(c, out);
	} else if (strncmp(r->path, "/v1/", 4) == 0) {
		if (!is_authentic(s, r, out))
			return;
		if (c == NULL)
			service_unavailable(out);
		else
			api_v1(c, r, out);
	} else {
		reply_text(out, 404, "not found\n");
	}
}

/* --- libmicrohttpd --------------------------------------------------------------------------------- */

static enum MHD_Result
send_reply(struct MHD_Connection *connection, struct api_reply *reply)
{
	struct MHD_Response *response;
	char id[CONTROL_UUID_LEN];
	enum MHD_Result r;
	size_t len = reply->body.len;
	char *text = strbuf_take(&reply->body);

	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(text);
		free(reply->location);
		return MHD_NO;
	}
	control_uuid(id);
	MHD_add_response_header(response, "x-amzn-RequestId", id);
	MHD_add_response_header(response, "Content-Type", reply->content_type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	if (reply->location != NULL)
		MHD_add_response_header(response, "Location", reply->location);
	if (reply->allow != NULL)
		MHD_add_response_header(response, "Allow", reply->allow);
	r = MHD_queue_response(connection, (unsigned int)reply->status, response);
	MHD_destroy_response(response);
	free(reply->location);
	return r;
}

static enum MHD_Result
take_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct api_request *r = arg;

	(void)kind;
	if (r->nheaders < API_HEADERS_MAX)
		r->headers[r->nheaders++] =
		    (struct s3_header){.name = name, .value = value != NULL ? value : ""};
	return MHD_YES;
}

static enum MHD_Result
take_argument(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct strbuf *query = arg;

	(void)kind;
	strbuf_addf(query, "%s%s", query->len > 0 ? "&" : "", name);
	if (value != NULL)
		strbuf_addf(query, "=%s", value);
	return MHD_YES;
}

/* Leave %XX as it is. */
static size_t
keep_encoded(void *arg, struct MHD_Connection *connection, char *s)
{
	(void)arg;
	(void)connection;
	return strlen(s);
}

static enum MHD_Result
answer(struct api_server *s, struct MHD_Connection *connection, const char *path,
    const char *method, struct exchange *x)
{
	struct api_request *r = xcalloc(1, sizeof(*r));
	struct api_reply reply = {.status = 500, .content_type = "text/plain; charset=utf-8"};
	struct strbuf query = STRBUF_INIT;
	enum MHD_Result result;

	r->method = method;
	r->path = path;
	r->body = strbuf_str(&x->body);
	r->body_len = x->body.len;
	MHD_get_connection_values(connection, MHD_HEADER_KIND, take_header, r);
	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, take_argument, &query);
	r->query = strbuf_str(&query);
	if (x->is_too_large)
		reply_text(&reply, 413, "the body is larger than 1 MiB\n");
	else
		route(s, r, &reply);
	result = send_reply(connection, &reply);
	strbuf_free(&query);
	free(r);
	return result;
}

static enum MHD_Result
handle(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
    const char *version, const char *data, size_t *size, void **state)
{
	struct exchange *x = *state;

	(void)version;
	if (x == NULL) { /* headers are here, the body is not */
		*state = xcalloc(1, sizeof(*x));
		return MHD_YES;
	}
	if (*size > 0) {
		if (x->body.len + *size > API_BODY_MAX) {
			x->is_too_large = true;
			strbuf_free(&x->body);
		}
		if (!x->is_too_large)
			strbuf_add(&x->body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	return answer(arg, connection, path, method, x);
}

static void
completed(
    void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *state;

	(void)arg;
	(void)connection;
	(void)why;
	if (x == NULL)
		return;
	strbuf_free(&x->body);
	free(x);
	*state = NULL;
}

static void
log_library(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	(void)arg;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vsnprintf(text, sizeof(text), fmt, ap);
#pragma GCC diagnostic pop
	text[strcspn(text, "\n")] = '\0';
	log_debug("gateway.api", "http", "text=\"%s\"", text);
}

int
api_server_start(struct api_server *s)
{
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL,
	    NULL, handle, s, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
	    MHD_OPTION_LISTEN_SOCKET, s->fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned int)THREADS,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    (size_t)HEADER_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_END);
	if (s->daemon == NULL)
		return errno != 0 ? -errno : -EIO;
	s->fd = -1; /* the library's now */
	return 0;
}

void
api_server_ready(struct api_server *s, struct control *control)
{
	atomic_store(&s->control, control);
}

void
api_server_stop(struct api_server *s)
{
	if (s == NULL)
		return;
	atomic_store(&s->control, NULL);
	if (s->daemon != NULL)
		MHD_stop_daemon(s->daemon);
	if (s->fd >= 0)
		close(s->fd);
	api_auth_free(s->auth);
	api_keyring_free(s->keyring);
	free(s);
}
