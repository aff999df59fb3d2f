/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_http.c - libcurl's multi interface on our epoll loop; the only user of curl.h.
 *
 * The socket interface is used, not curl_multi_perform(): with hundreds of transfers a wake-up costs
 * what is ready, not what exists.  Handles are kept per pool with their lasting options set, so a
 * request sets a handful.  Bodies are given as CURLOPT_POSTFIELDS whatever the method: a small one
 * then leaves in one segment with its headers, and no read callback stands in between.
 *
 * curl repeats a request by itself when a kept connection turns out dead before the first byte of
 * the answer.  That is a lost reply to a write: the pre-request callback counts how often a request
 * began, and was_repeated tells.
 */
#include "s3/s3_http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define IDLE_CONNECTIONS 128
#define IDLE_HANDLES 64
#define HEADERS_MAX 96
#define BUFFER_SMALL (16 * 1024L)
#define BUFFER_RECEIVE (256 * 1024L)
#define BUFFER_SEND (512 * 1024L)

struct s3_http {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer timer;
};

struct http_socket {
	struct loop_fd fd;
	struct s3_http *http;
	bool is_added;
};

struct http_handle {
	struct list link; /* in the pool's idle list */
	struct s3_http_pool *pool;
	CURL *easy;
	struct s3_http_xfer *xfer;
	struct strbuf lines; /* header lines, each with its NUL */
	struct curl_slist nodes[HEADERS_MAX];
	unsigned int starts; /* how often the request began to leave */
	uint64_t started_ns;
	char error[CURL_ERROR_SIZE];
};

struct s3_http_pool {
	struct s3_http *http;
	char *ca_file, *proxy;
	bool insecure_tls;
	unsigned int timeout_s, connect_timeout_ms;
	struct list idle;
	unsigned int nidle;
};

/* ---- sockets and time ---- */

static void reap(struct s3_http *h);

static void
act(struct s3_http *h, curl_socket_t fd, int mask)
{
	int running;

	curl_multi_socket_action(h->multi, fd, mask, &running);
	reap(h);
}

static void
socket_ready(struct loop_fd *f, uint32_t events)
{
	struct http_socket *s = container_of(f, struct http_socket, fd);
	int mask = 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP))
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	act(s->http, f->fd, mask);
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct http_socket *s = socket_ctx;
	struct s3_http *h = ctx;
	uint32_t events = 0;
	int err;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s != NULL) {
			loop_del(h->loop, &s->fd);
			free(s);
		}
		return 0;
	}
	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		s->fd = (struct loop_fd){.fd = fd, .cb = socket_ready};
		s->http = h;
		curl_multi_assign(h->multi, fd, s);
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	err = s->is_added ? loop_mod(h->loop, &s->fd, events) : loop_add(h->loop, &s->fd, events);
	s->is_added = true;
	if (err < 0)
		log_err("s3.http", "epoll-failed", "fd=%d err=\"%s\"", fd, err_str(err));
	return 0;
}

static int
on_timer(CURLM *multi, long ms, void *ctx)
{
	struct s3_http *h = ctx;

	(void)multi;
	if (ms < 0)
		loop_timer_cancel(&h->timer);
	else
		loop_timer_set(h->loop, &h->timer, (uint64_t)ms);
	return 0;
}

static void
timer_due(struct loop_timer *t)
{
	act(container_of(t, struct s3_http, timer), CURL_SOCKET_TIMEOUT, 0);
}

/* ---- handles ---- */

static size_t
on_header(char *data, size_t size, size_t n, void *ctx)
{
	struct http_handle *e = ctx;
	size_t len = size * n, bare = len;

	while (bare > 0 && (data[bare - 1] == '\r' || data[bare - 1] == '\n'))
		bare--;
	if (e->xfer != NULL && bare > 0)
		e->xfer->header(e->xfer, data, bare);
	return len;
}

static size_t
on_data(char *data, size_t size, size_t n, void *ctx)
{
	struct http_handle *e = ctx;
	size_t len = size * n;

	return e->xfer != NULL && e->xfer->data(e->xfer, data, len) ? len : 0;
}

static int
on_start(void *ctx, char *to, char *from, int to_port, int from_port)
{
	struct http_handle *e = ctx;

	(void)to;
	(void)from;
	(void)to_port;
	(void)from_port;
	e->starts++;
	return CURL_PREREQFUNC_OK;
}

static void
set_lasting_options(struct http_handle *e, const struct s3_http_pool *p)
{
	CURL *c = e->easy;

	curl_easy_setopt(c, CURLOPT_PRIVATE, e);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, e->error);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver's thread */
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L); /* "a/../b" is a key */
	curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_SEND);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "causeway");
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)p->connect_timeout_ms);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)p->timeout_s);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, e);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, e);
	curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_start);
	curl_easy_setopt(c, CURLOPT_PREREQDATA, e);
	if (p->ca_file != NULL)
		curl_easy_setopt(c, CURLOPT_CAINFO, p->ca_file);
	if (p->proxy != NULL)
		curl_easy_setopt(c, CURLOPT_PROXY, p->proxy);
	if (p->insecure_tls) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static struct http_handle *
handle_get(struct s3_http_pool *p)
{
	struct http_handle *e;

	if (!list_empty(&p->idle)) {
		e = container_of(p->idle.next, struct http_handle, link);
		list_del(&e->link);
		p->nidle--;
		return e;
	}
	e = xcalloc(1, sizeof(*e));
	e->pool = p;
	list_init(&e->link);
	e->easy = curl_easy_init();
	CW_ASSERT(e->easy != NULL); /* as xcalloc() does */
	set_lasting_options(e, p);
	return e;
}

static void
handle_free(struct http_handle *e)
{
	curl_easy_cleanup(e->easy);
	strbuf_free(&e->lines);
	free(e);
}

/* handle_put - take e off the engine and keep it for the next. */
static void
handle_put(struct http_handle *e)
{
	struct s3_http_pool *p = e->pool;

	curl_multi_remove_handle(p->http->multi, e->easy);
	e->xfer = NULL;
	if (p->nidle >= IDLE_HANDLES) {
		handle_free(e);
		return;
	}
	list_add_head(&p->idle, &e->link);
	p->nidle++;
}

/* ---- transfers ---- */

/* set_headers - lines "name: value", and those that curl would add taken away. */
static void
set_headers(struct http_handle *e, const struct s3_http_xfer *x)
{
	static char no_expect[] = "Expect:", no_type[] = "Content-Type:", no_accept[] = "Accept:";
	size_t at[HEADERS_MAX], n = 0;
	bool has_type = false;

	strbuf_reset(&e->lines);
	for (; n < x->nheaders && n < HEADERS_MAX - 3; n++) {
		at[n] = e->lines.len;
		strbuf_addf(&e->lines, "%s: %s", x->headers[n].name, x->headers[n].value);
		strbuf_addc(&e->lines, '\0');
		has_type |= strcmp(x->headers[n].name, "content-type") == 0;
	}
	for (size_t i = 0; i < n; i++)
		e->nodes[i].data = e->lines.s + at[i];
	e->nodes[n++].data = no_expect;
	e->nodes[n++].data = no_accept;
	if (!has_type)
		e->nodes[n++].data = no_type;
	for (size_t i = 0; i < n; i++)
		e->nodes[i].next = i + 1 < n ? &e->nodes[i + 1] : NULL;
	curl_easy_setopt(e->easy, CURLOPT_HTTPHEADER, e->nodes);
}

static void
set_method(struct http_handle *e, const struct s3_http_xfer *x)
{
	CURL *c = e->easy;

	if (x->has_body) {
		curl_easy_setopt(c, CURLOPT_POST, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body_len);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, x->body_len > 0 ? x->body : "");
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, x->method);
	} else if (strcmp(x->method, "HEAD") == 0) {
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, NULL);
	} else {
		curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, x->method);
	}
}

void
s3_http_start(struct s3_http_pool *p, struct s3_http_xfer *x)
{
	struct http_handle *e = handle_get(p);

	x->net = S3_NET_OK;
	x->status = 0;
	x->was_sent = x->was_repeated = false;
	x->bytes_up = x->bytes_down = x->ns = 0;
	x->error[0] = '\0';
	x->impl = e;
	e->xfer = x;
	e->starts = 0;
	e->error[0] = '\0';
	e->started_ns = clock_mono_ns();
	curl_easy_setopt(e->easy, CURLOPT_URL, x->url);
	curl_easy_setopt(e->easy, CURLOPT_FRESH_CONNECT, x->is_fresh ? 1L : 0L);
	curl_easy_setopt(e->easy, CURLOPT_BUFFERSIZE,
	    x->expect_bytes > (size_t)BUFFER_SMALL ? BUFFER_RECEIVE : BUFFER_SMALL);
	set_method(e, x);
	set_headers(e, x);
	CW_ASSERT(curl_multi_add_handle(p->http->multi, e->easy) == CURLM_OK);
}

static enum s3_net
net_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return S3_NET_OK;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_INTERFACE_FAILED:
		return S3_NET_UNREACHABLE;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return S3_NET_TLS;
	case CURLE_OPERATION_TIMEDOUT:
		return S3_NET_TIMEOUT;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
	case CURLE_BAD_CONTENT_ENCODING:
		return S3_NET_MALFORMED;
	case CURLE_WRITE_ERROR:
		return S3_NET_TOO_BIG;
	default:
		return S3_NET_LOST;
	}
}

static void
finish(struct http_handle *e, CURLcode code)
{
	struct s3_http_xfer *x = e->xfer;
	curl_off_t up = 0, down = 0;
	long status = 0;

	curl_easy_getinfo(e->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(e->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(e->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	x->net = net_of(code);
	if (x->net == S3_NET_TIMEOUT && e->starts == 0)
		x->net = S3_NET_UNREACHABLE;
	x->status = (int)status;
	x->was_sent = e->starts > 0;
	x->was_repeated = e->starts > 1;
	x->bytes_up = (uint64_t)up;
	x->bytes_down = (uint64_t)down;
	x->ns = clock_mono_ns() - e->started_ns;
	if (code != CURLE_OK) {
		const char *text = e->error[0] != '\0' ? e->error : curl_easy_strerror(code);
		size_t len = strcspn(text, "\r\n");

		if (len >= sizeof(x->error))
			len = sizeof(x->error) - 1;
		memcpy(x->error, text, len);
		x->error[len] = '\0';
	}
	x->impl = NULL;
	handle_put(e);
	x->done(x);
}

/* reap - finish what ended. Never inside a callback of curl's. */
static void
reap(struct s3_http *h)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
		struct http_handle *e = NULL;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &e);
		finish(e, code);
	}
}

void
s3_http_cancel(struct s3_http_xfer *x)
{
	struct http_handle *e = x->impl;

	if (e == NULL)
		return;
	x->was_sent = e->starts > 0;
	x->impl = NULL;
	handle_put(e);
}

/* ---- engine and pools ---- */

static void
global_init(void)
{
	CW_ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

int
s3_http_new(struct loop *loop, struct s3_http **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct s3_http *h = xcalloc(1, sizeof(*h));

	*out = NULL;
	pthread_once(&once, global_init);
	h->loop = loop;
	loop_timer_init(&h->timer, timer_due);
	h->multi = curl_multi_init();
	if (h->multi == NULL) {
		free(h);
		return -ENOMEM;
	}
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
	*out = h;
	return 0;
}

void
s3_http_free(struct s3_http *h)
{
	if (h == NULL)
		return;
	curl_multi_cleanup(h->multi);
	loop_timer_cancel(&h->timer);
	free(h);
}

struct s3_http_pool *
s3_http_pool_new(struct s3_http *h, const struct s3_http_conf *conf)
{
	struct s3_http_pool *p = xcalloc(1, sizeof(*p));

	p->http = h;
	p->ca_file = conf->ca_file != NULL ? xstrdup(conf->ca_file) : NULL;
	p->proxy = conf->proxy != NULL ? xstrdup(conf->proxy) : NULL;
	p->insecure_tls = conf->insecure_tls;
	p->timeout_s = conf->timeout_s;
	p->connect_timeout_ms = conf->connect_timeout_ms;
	list_init(&p->idle);
	return p;
}

void
s3_http_pool_free(struct s3_http_pool *p)
{
	while (!list_empty(&p->idle)) {
		struct http_handle *e = container_of(p->idle.next, struct http_handle, link);

		list_del(&e->link);
		handle_free(e);
	}
	free(p->ca_file);
	free(p->proxy);
	free(p);
}
