/* SPDX-License-Identifier: Apache-2.0 */
/* objstore_s3.c - clients and stores: configuration, life and death, metrics. */
#include "s3/objstore_s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "s3/s3_int.h"

#define WORKERS 2
#define DEFAULT_CONNECTIONS 32
#define DEFAULT_TRIES 8
#define DEFAULT_TIMEOUT_S 60
#define CONNECT_TIMEOUT_MS 10000

/* ---- running something on the loop and waiting for it ---- */

struct visit {
	struct loop_task task;
	void (*fn)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_over;
};

static void
visit_run(struct loop_task *t)
{
	struct visit *v = container_of(t, struct visit, task);

	v->fn(v->arg);
	pthread_mutex_lock(&v->lock);
	v->is_over = true;
	pthread_cond_signal(&v->cond);
	pthread_mutex_unlock(&v->lock);
}

static void
on_loop(struct s3_client *c, void (*fn)(void *arg), void *arg)
{
	struct visit v = {.task.fn = visit_run, .fn = fn, .arg = arg};

	CW_ASSERT(!loop_is_current(c->loop));
	pthread_mutex_init(&v.lock, NULL);
	pthread_cond_init(&v.cond, NULL);
	loop_post(c->loop, &v.task);
	pthread_mutex_lock(&v.lock);
	while (!v.is_over)
		pthread_cond_wait(&v.cond, &v.lock);
	pthread_mutex_unlock(&v.lock);
	pthread_cond_destroy(&v.cond);
	pthread_mutex_destroy(&v.lock);
}

/* ---- client ---- */

int
s3_client_new(struct s3_client **out)
{
	struct s3_client *c = xcalloc(1, sizeof(*c));
	int err;

	*out = NULL;
	err = loop_new("s3", 0, &c->loop);
	err = err < 0 ? err : workq_new("s3-work", WORKERS, &c->workq);
	err = err < 0 ? err : s3_http_new(c->loop, &c->http);
	err = err < 0 ? err : loop_start(c->loop);
	if (err < 0) {
		s3_http_free(c->http);
		workq_free(c->workq);
		loop_free(c->loop);
		free(c);
		return err;
	}
	*out = c;
	return 0;
}

void
s3_client_free(struct s3_client *c)
{
	if (c == NULL)
		return;
	loop_join(c->loop);
	s3_http_free(c->http);
	workq_free(c->workq);
	loop_free(c->loop);
	free(c);
}

/* ---- store: configuration ---- */

static char *
dup_or_null(const char *s)
{
	return s != NULL && s[0] != '\0' ? xstrdup(s) : NULL;
}

/* set_sse_c - the key's MD5 goes with it. */
static int
set_sse_c(struct s3_store *s, const char **why)
{
	uint8_t key[64], md5[MD5_LEN];
	char *base64;

	if (s->conf.sse_c_key_base64 == NULL)
		return 0;
	if (strlen(s->conf.sse_c_key_base64) > 64 ||
	    digest_base64_decode(s->conf.sse_c_key_base64, key, sizeof(key)) != 32) {
		*why = "SSE-C key must be 32 bytes in base64";
		return -EINVAL;
	}
	digest_md5(key, 32, md5);
	explicit_bzero(key, sizeof(key));
	base64 = xmalloc(4 * ((MD5_LEN + 2) / 3) + 1);
	digest_base64(md5, sizeof(md5), base64);
	s->sse_c_md5 = base64;
	return 0;
}

static int
set_conf(struct s3_store *s, const struct s3_store_conf *conf, const char **why)
{
	int err;

	s->conf = *conf;
	s->conf.endpoint = dup_or_null(conf->endpoint);
	s->conf.bucket = dup_or_null(conf->bucket);
	s->conf.ca_file = dup_or_null(conf->ca_file);
	s->conf.proxy = conf->proxy != NULL ? xstrdup(conf->proxy) : NULL;
	s->conf.sse_c_key_base64 = dup_or_null(conf->sse_c_key_base64);
	s->conf.metrics_label = dup_or_null(conf->metrics_label);
	s->conf.region = NULL; /* lives in the endpoint, where it may change */
	memset(&s->conf.cred, 0, sizeof(s->conf.cred)); /* lives in s3_cred */
	s->max_tries = conf->max_tries > 0 ? conf->max_tries : DEFAULT_TRIES;
	s->max_connections =
	    conf->max_connections > 0 ? conf->max_connections : DEFAULT_CONNECTIONS;
	s->limit = s->threshold = s->max_connections;
	err = s3_endpoint_parse(
	    s->conf.endpoint, conf->region, s->conf.bucket, conf->path_style, &s->endpoint, why);
	err = err < 0 ? err : set_sse_c(s, why);
	if (err < 0)
		return err;
	s->is_wire_safe = conf->unsigned_payload || strcmp(s->endpoint.scheme, "https") == 0 ||
			  s->endpoint.is_loopback;
	s->label = xasprintf("%s@%s", s->conf.bucket, s->endpoint.authority);
	s->base.label = s->label;
	s->req_conf = (struct s3_req_conf){.bucket = s->conf.bucket,
	    .sse_c_key_base64 = s->conf.sse_c_key_base64,
	    .sse_c_key_md5_base64 = s->sse_c_md5,
	    .requester_pays = conf->requester_pays,
	    .is_foreign = !s->endpoint.is_aws};
	if (s->endpoint.is_aws && strcmp(s->endpoint.region, "us-east-1") != 0)
		s->req_conf.location = s->location = xstrdup(s->endpoint.region);
	return 0;
}

static void
store_free(struct s3_store *s)
{
	s3_cred_free(s->cred);
	if (s->pool != NULL)
		s3_http_pool_free(s->pool);
	s3_endpoint_free(&s->endpoint);
	explicit_bzero(s->signing_key, sizeof(s->signing_key));
	if (s->conf.sse_c_key_base64 != NULL)
		explicit_bzero(s->conf.sse_c_key_base64, strlen(s->conf.sse_c_key_base64));
	free(s->conf.endpoint);
	free(s->conf.bucket);
	free(s->conf.ca_file);
	free(s->conf.proxy);
	free(s->conf.sse_c_key_base64);
	free(s->conf.metrics_label);
	free(s->sse_c_md5);
	free(s->location);
	free(s->label);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- metrics ---- */

/* labels - metrics_label of the configuration and one of ours. */
static char *
labels(const struct s3_store *s, const char *name, const char *value)
{
	const char *own = s->conf.metrics_label != NULL ? s->conf.metrics_label : "";

	return xasprintf("%s%s%s=\"%s\"", own, own[0] != '\0' ? "," : "", name, value);
}

static struct metric *
counter(const struct s3_store *s, const char *metric, const char *name, const char *value,
    const char *help)
{
	char *text = labels(s, name, value);
	struct metric *m = metrics_counter(metric, text, help);

	free(text);
	return m;
}

static void
make_metrics(struct s3_store *s)
{
	s->bytes_up = counter(s, "s3_bytes_total", "dir", "up", "Bytes of bodies to and from S3");
	s->bytes_down =
	    counter(s, "s3_bytes_total", "dir", "down", "Bytes of bodies to and from S3");
	s->throttled = metrics_counter("s3_throttled_total", s->conf.metrics_label,
	    "Answers of S3 that asked to slow down, and failed connections");
}

static struct s3_metrics *
metrics_of(struct s3_store *s, enum objstore_opcode op)
{
	struct s3_metrics *m = &s->metrics[op];
	const char *class = objstore_op_name(op);
	char *text;

	if (m->requests != NULL)
		return m;
	m->requests = counter(s, "s3_requests_total", "class", class, "Requests sent to S3");
	m->errors =
	    counter(s, "s3_errors_total", "class", class, "Requests to S3 that failed, each try");
	text = labels(s, "class", class);
	m->seconds = metrics_histogram("s3_request_seconds", text, "Time of one request to S3");
	free(text);
	return m;
}

void
s3_store_count(struct s3_store *s, const struct s3_call *c, bool is_error)
{
	struct s3_metrics *m = metrics_of(s, c->req->op);

	metric_add(m->requests, 1);
	if (is_error)
		metric_add(m->errors, 1);
	metric_observe_ns(m->seconds, c->xfer.ns);
	metric_add(s->bytes_up, (int64_t)c->xfer.bytes_up);
	metric_add(s->bytes_down, (int64_t)c->xfer.bytes_down);
}

/* ---- store: life ---- */

void
s3_store_adopt_region(struct s3_store *s, const char *region)
{
	struct s3_endpoint moved;
	const char *why;

	if (strcmp(region, s->endpoint.region) == 0)
		return;
	if (s3_endpoint_parse(
		s->conf.endpoint, region, s->conf.bucket, s->conf.path_style, &moved, &why) < 0) {
		log_warn("s3.store", "bad-region", "store=%s why=\"%s\"", s->label, why);
		return;
	}
	log_info("s3.store", "region-changed", "store=%s from=%s to=%s", s->label,
	    s->endpoint.region, region);
	s3_endpoint_free(&s->endpoint);
	s->endpoint = moved;
}

void
s3_store_call_gone(struct s3_store *s)
{
	if (atomic_fetch_sub(&s->ncalls, 1) != 1 || !s->is_closing)
		return;
	pthread_mutex_lock(&s->lock);
	s->is_idle = true;
	pthread_cond_signal(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

static void
keys_changed(void *ctx)
{
	s3_queue_pump(ctx);
}

static void
cancel_list(struct list *l)
{
	while (!list_empty(l))
		s3_call_cancel(container_of(l->next, struct s3_call, link));
}

static void
close_calls(void *arg)
{
	struct s3_store *s = arg;

	s->is_closing = true;
	s3_cred_stop(s->cred);
	/* one more, so that the last of the others is not taken for the last of all */
	atomic_fetch_add(&s->ncalls, 1);
	cancel_list(&s->reads);
	cancel_list(&s->writes);
	cancel_list(&s->resting);
	cancel_list(&s->running);
	s3_store_call_gone(s);
}

static void
close_rest(void *arg)
{
	store_free(arg);
}

static void
nothing(void *arg)
{
	(void)arg;
}

static void
store_close(struct objstore *base)
{
	struct s3_store *s = container_of(base, struct s3_store, base);
	struct s3_client *client = s->client;

	on_loop(client, close_calls, s);
	pthread_mutex_lock(&s->lock);
	while (!s->is_idle)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
	/* a file of credentials may still be read; its task then comes by the loop */
	workq_drain(client->workq);
	on_loop(client, nothing, NULL);
	on_loop(client, close_rest, s);
}

static void
store_submit(struct objstore *base, struct objstore_req *req)
{
	s3_call_submit(container_of(base, struct s3_store, base), req);
}

static const struct objstore_ops s3_ops = {.submit = store_submit, .close = store_close};

int
objstore_s3_new(struct s3_client *c, const struct s3_store_conf *conf, struct objstore **out,
    char *err_text, size_t err_cap)
{
	struct s3_store *s = xcalloc(1, sizeof(*s));
	struct s3_cred_env env = {
	    .loop = c->loop, .workq = c->workq, .http = c->http, .changed = keys_changed, .ctx = s};
	struct s3_http_conf http = {.connect_timeout_ms = CONNECT_TIMEOUT_MS};
	const char *why = "";
	int err;

	*out = NULL;
	s->base.ops = &s3_ops;
	s->client = c;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->idle, NULL);
	list_init(&s->reads);
	list_init(&s->writes);
	list_init(&s->running);
	list_init(&s->resting);
	err = set_conf(s, conf, &why);
	err = err < 0 ? err : s3_cred_new(&conf->cred, &env, &s->cred, &why);
	if (err < 0) {
		snprintf(err_text, err_cap, "%s", why);
		store_free(s);
		return err;
	}
	http.ca_file = s->conf.ca_file;
	http.proxy = s->conf.proxy;
	http.insecure_tls = s->conf.insecure_tls;
	http.timeout_s = conf->timeout_s > 0 ? conf->timeout_s : DEFAULT_TIMEOUT_S;
	s->pool = s3_http_pool_new(c->http, &http);
	make_metrics(s);
	*out = &s->base;
	return 0;
}
