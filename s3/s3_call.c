/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_call.c - the life of one request.
 *
 * submitter: build, hash a small body -> (worker: hash a large one) -> loop: wait for a connection
 * -> sign, transfer -> judge -> done, or rest and wait again.
 *
 * A call is always in exactly one place: on its way to the loop (submitter, worker), in reads or
 * writes, in running, or in resting; s3_call_cancel() knows the last three, and a call that
 * arrives while the store closes is cancelled then.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "s3/s3_int.h"
#include "s3/s3_time.h"
#include "s3/s3_xml.h"

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HASH_HERE_MAX (64u << 10)
#define ERROR_TEXT_MAX (64u << 10)
#define RETRY_AFTER_MAX_MS 20000
#define SKEW_S 300

static void on_header(struct s3_http_xfer *x, const char *line, size_t len);
static bool on_data(struct s3_http_xfer *x, const void *data, size_t len);
static void on_done(struct s3_http_xfer *x);

/* ---- to the loop ---- */

static void
hash_body(struct s3_call *c)
{
	uint8_t digest[SHA256_LEN];

	digest_sha256(c->wire.body, c->wire.body_len, digest);
	digest_hex(digest, sizeof(digest), c->payload_hash);
}

static void
hash_work(struct work *w)
{
	struct s3_call *c = container_of(w, struct s3_call, hash);

	hash_body(c);
	loop_post(c->store->client->loop, &c->arrive);
}

static void
arrive(struct loop_task *t)
{
	struct s3_call *c = container_of(t, struct s3_call, arrive);
	struct s3_store *s = c->store;

	if (s->is_closing || c->build_err < 0) {
		s3_call_finish(c, s->is_closing ? -ECANCELED : c->build_err);
		return;
	}
	s3_queue_add(c);
	s3_queue_pump(s);
}

static void
rested(struct loop_timer *t)
{
	struct s3_call *c = container_of(t, struct s3_call, rest);

	list_del(&c->link);
	s3_queue_add(c);
	s3_queue_pump(c->store);
}

void
s3_call_submit(struct s3_store *s, struct objstore_req *req)
{
	struct s3_call *c = xcalloc(1, sizeof(*c));

	objstorei_begin(req);
	atomic_fetch_add(&s->ncalls, 1);
	c->store = s;
	c->req = req;
	c->is_write = s3_retry_is_write(req->op);
	c->submitted_ns = clock_mono_ns();
	c->arrive.fn = arrive;
	c->hash.fn = hash_work;
	list_init(&c->link);
	loop_timer_init(&c->rest, rested);
	c->xfer.header = on_header;
	c->xfer.data = on_data;
	c->xfer.done = on_done;
	c->build_err = s3_wire_build(&s->req_conf, req, &c->wire);
	if (c->build_err == 0 && c->wire.body_len == 0) {
		memcpy(c->payload_hash, EMPTY_SHA256, sizeof(EMPTY_SHA256));
	} else if (c->build_err == 0 && s->is_wire_safe) {
		objstorei_copy(c->payload_hash, sizeof(c->payload_hash), "UNSIGNED-PAYLOAD");
	} else if (c->build_err == 0 && c->wire.body_len > HASH_HERE_MAX) {
		workq_submit(s->client->workq, &c->hash);
		return;
	} else if (c->build_err == 0) {
		hash_body(c);
	}
	loop_post(s->client->loop, &c->arrive);
}

/* ---- one try ---- */

/* signing_key - derived again only for another day, region or secret. */
static void
refresh_signing_key(struct s3_store *s, const struct s3_creds *keys, const char *amz_date)
{
	if (memcmp(s->key_date, amz_date, 8) == 0 && s->key_generation == keys->generation &&
	    strcmp(s->key_region, s->endpoint.region) == 0)
		return;
	memcpy(s->key_date, amz_date, 8);
	s->key_date[8] = '\0';
	s->key_generation = keys->generation;
	objstorei_copy(s->key_region, sizeof(s->key_region), s->endpoint.region);
	s3_signing_key(keys->secret_key, s->key_date, s->key_region, "s3", s->signing_key);
}

static size_t
expected_bytes(const struct objstore_req *req)
{
	if (req->op == OBJ_LIST)
		return 1u << 20;
	if (req->op != OBJ_GET)
		return 0;
	return req->range_len > 0 && req->range_len < req->buf_cap ? (size_t)req->range_len
								   : req->buf_cap;
}

void
s3_call_start(struct s3_call *c, const struct s3_creds *keys, int64_t now_s)
{
	struct s3_store *s = c->store;
	struct s3_wire_keys k = {.access_key = keys->access_key,
	    .signing_key = s->signing_key,
	    .region = s->endpoint.region,
	    .payload_hash = c->payload_hash,
	    .amz_date = c->amz_date};

	s3_time_amz(now_s, c->amz_date);
	refresh_signing_key(s, keys, c->amz_date);
	c->generation = keys->generation;
	free(c->access_token);
	c->access_token = keys->session_token != NULL ? xstrdup(keys->session_token) : NULL;
	k.session_token = c->access_token;
	s3_wire_signed_free(&c->signed_);
	/* cannot fail: headers and query were built and checked by us */
	CW_ASSERT(s3_wire_sign(&c->wire, &s->endpoint, &k, &c->signed_) == 0);
	c->tries++;
	c->req->got = 0;
	c->req->http_status = 0;
	c->req->error_code[0] = '\0';
	memset(&c->resp, 0, sizeof(c->resp));
	strbuf_reset(&c->text);
	c->xfer.method = c->wire.method;
	c->xfer.url = c->signed_.url;
	c->xfer.headers = c->signed_.headers;
	c->xfer.nheaders = c->signed_.nheaders;
	c->xfer.body = c->wire.body;
	c->xfer.body_len = c->wire.body_len;
	c->xfer.has_body = c->wire.has_body;
	c->xfer.is_fresh = c->is_fresh;
	c->xfer.expect_bytes = expected_bytes(c->req);
	s3_http_start(s->pool, &c->xfer);
}

static void
on_header(struct s3_http_xfer *x, const char *line, size_t len)
{
	struct s3_call *c = container_of(x, struct s3_call, xfer);
	struct objstore_req *req = c->req;

	if (req->want_meta && req->meta == NULL)
		req->meta = xcalloc(1, sizeof(*req->meta));
	s3_resp_header(&c->resp, line, len, req->want_meta ? req->meta : NULL);
}

static bool
on_data(struct s3_http_xfer *x, const void *data, size_t len)
{
	struct s3_call *c = container_of(x, struct s3_call, xfer);
	struct objstore_req *req = c->req;
	bool is_ok = c->resp.status >= 200 && c->resp.status < 300;

	if (is_ok && req->op == OBJ_GET) {
		if (len > req->buf_cap - req->got)
			return false;
		memcpy((char *)req->buf + req->got, data, len);
		req->got += len;
		return true;
	}
	if (c->text.len + len > (is_ok ? S3_XML_MAX : ERROR_TEXT_MAX))
		return false;
	strbuf_add(&c->text, data, len);
	return true;
}

/* ---- what came of it ---- */

static struct s3_verdict
judge(struct s3_call *c, char code[64])
{
	struct s3_outcome o = {.op = c->req->op,
	    .is_conditional = objstorei_is_conditional(c->req),
	    .net = c->xfer.net,
	    .was_sent = c->xfer.was_sent,
	    .status = c->xfer.status,
	    .code = code};
	struct s3_verdict v;
	int err = 0;

	code[0] = '\0';
	if (o.net == S3_NET_OK && o.status >= 200 && o.status < 300)
		err = s3_answer_take(c, code);
	else if (o.net == S3_NET_OK)
		s3_answer_error(c, code);
	if (err < 0)
		o.net = S3_NET_MALFORMED;
	v = s3_retry_judge(&o);
	if (err == -ERR_PRECONDITION)
		v = (struct s3_verdict){.err = err, .action = S3_DONE};
	return v;
}

/* fix - take over what the answer says is wrong with our request; once each.
 * result: is it worth another try? */
static bool
fix(struct s3_call *c, enum s3_action action)
{
	struct s3_store *s = c->store;
	int64_t local_s = clock_real_ns() / 1000000000;

	switch (action) {
	case S3_FIX_CLOCK:
		if (c->fixed_clock || c->resp.date_s == 0)
			return false;
		c->fixed_clock = true;
		s->clock_offset_s = c->resp.date_s - local_s;
		log_warn("s3.store", "clock-differs", "store=%s offset_s=%lld", s->label,
		    (long long)s->clock_offset_s);
		return true;
	case S3_FIX_CREDENTIALS:
		if (c->fixed_credentials)
			return false;
		c->fixed_credentials = true;
		return s3_cred_refused(s->cred, c->generation);
	case S3_FIX_REGION:
		if (c->fixed_region || c->resp.region[0] == '\0')
			return false;
		c->fixed_region = true;
		s3_store_adopt_region(s, c->resp.region);
		return true;
	default:
		return false;
	}
}

/* refine_silent - an answer to HEAD has no body and so no code: see whether the clock or the keys
 * may be what is wrong. */
static enum s3_action
refine_silent(const struct s3_call *c, const char *code)
{
	int64_t now_s = clock_real_ns() / 1000000000 + c->store->clock_offset_s;
	int64_t skew_s = c->resp.date_s - now_s;

	if (c->xfer.net != S3_NET_OK || code[0] != '\0' ||
	    (c->xfer.status != 400 && c->xfer.status != 403))
		return S3_DONE;
	if (c->resp.region[0] != '\0' && strcmp(c->resp.region, c->store->endpoint.region) != 0)
		return S3_FIX_REGION;
	if (c->resp.date_s != 0 && (skew_s > SKEW_S || skew_s < -SKEW_S))
		return S3_FIX_CLOCK;
	return S3_FIX_CREDENTIALS;
}

static void
rest(struct s3_call *c, bool is_fresh)
{
	struct s3_store *s = c->store;
	unsigned int ms, after_ms = c->resp.retry_after_s * 1000;
	uint32_t random;

	random_bytes(&random, sizeof(random));
	ms = s3_retry_delay_ms(c->tries, random);
	if (after_ms > RETRY_AFTER_MAX_MS)
		after_ms = RETRY_AFTER_MAX_MS;
	if (after_ms > ms)
		ms = after_ms;
	c->is_fresh = is_fresh;
	list_add_tail(&s->resting, &c->link);
	loop_timer_set(s->client->loop, &c->rest, ms);
}

static void
on_done(struct s3_http_xfer *x)
{
	struct s3_call *c = container_of(x, struct s3_call, xfer);
	struct s3_store *s = c->store;
	unsigned int max_tries = c->req->max_tries > 0 ? c->req->max_tries : s->max_tries;
	char code[64];
	struct s3_verdict v = judge(c, code);

	c->req->http_status = x->status;
	objstorei_copy(c->req->error_code, sizeof(c->req->error_code), code);
	if (v.maybe_applied || (x->was_repeated && c->is_write))
		c->req->maybe_applied = true;
	s3_store_count(s, c, v.err < 0);
	s3_queue_ended(c, v.is_throttled);
	if (v.action == S3_DONE && v.err < 0)
		v.action = refine_silent(c, code);
	if (v.action == S3_RETRY || v.action == S3_RETRY_FRESH) {
		log_debug("s3.call", "try-failed",
		    "store=%s op=%s key=%s try=%u status=%d code=%s err=\"%s\" transport=\"%s\"",
		    s->label, objstore_op_name(c->req->op), c->req->key != NULL ? c->req->key : "",
		    c->tries, x->status, code, err_str(v.err), x->error);
		if (c->tries < max_tries) {
			objstorei_forget(c->req);
			rest(c, v.action == S3_RETRY_FRESH);
			s3_queue_pump(s);
			return;
		}
	} else if (v.action != S3_DONE && fix(c, v.action)) {
		s3_queue_add(c);
		s3_queue_pump(s);
		return;
	}
	s3_call_finish(c, v.err);
	s3_queue_pump(s);
}

/* ---- the end ---- */

void
s3_call_finish(struct s3_call *c, int err)
{
	struct objstore_req *req = c->req;
	struct s3_store *s = c->store;

	if (err < 0 && err != -ENOENT && err != -ERR_PRECONDITION && err != -ECANCELED)
		log_warn("s3.call", "failed",
		    "store=%s op=%s key=%s tries=%u status=%d code=%s err=\"%s\" transport=\"%s\"",
		    s->label, objstore_op_name(req->op), req->key != NULL ? req->key : "", c->tries,
		    req->http_status, req->error_code, err_str(err), c->xfer.error);
	req->result = err;
	req->impl = NULL;
	s3_wire_free(&c->wire);
	s3_wire_signed_free(&c->signed_);
	strbuf_free(&c->text);
	free(c->access_token);
	free(c);
	req->done(req);
	s3_store_call_gone(s);
}

void
s3_call_cancel(struct s3_call *c)
{
	s3_http_cancel(&c->xfer);
	loop_timer_cancel(&c->rest);
	list_del(&c->link);
	if (c->xfer.was_sent && c->is_write)
		c->req->maybe_applied = true;
	s3_call_finish(c, -ECANCELED);
}
