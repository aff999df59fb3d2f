/* SPDX-License-Identifier: Apache-2.0 */
/* sync_util.c - requests that wait, trouble with the store, events. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

/* --- requests, trouble, events ------------------------------------------------------------------ */

int
sync_call(struct sync *y, struct objstore_req *req)
{
	if (__atomic_load_n(&y->closing, __ATOMIC_SEQ_CST)) {
		req->result = -ECANCELED;
		return req->result;
	}
	if (req->max_tries == 0)
		req->max_tries = SYNC_TRIES;
	return objstore_call(share_store(y->s), req);
}

struct batch {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	unsigned int pending;
};

static void
batch_done(struct objstore_req *req)
{
	struct batch *b = req->ctx;

	pthread_mutex_lock(&b->mutex);
	b->pending--;
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->mutex);
}

static void
batch_wait(struct batch *b, unsigned int below)
{
	pthread_mutex_lock(&b->mutex);
	while (b->pending >= below)
		pthread_cond_wait(&b->cond, &b->mutex);
	pthread_mutex_unlock(&b->mutex);
}

void
sync_call_many(struct sync *y, struct objstore_req *reqs, size_t n, unsigned int width)
{
	struct batch b = {.pending = 0};
	size_t i;

	pthread_mutex_init(&b.mutex, NULL);
	pthread_cond_init(&b.cond, NULL);
	for (i = 0; i < n; i++) {
		batch_wait(&b, width);
		if (__atomic_load_n(&y->closing, __ATOMIC_SEQ_CST)) {
			reqs[i].result = -ECANCELED;
			continue;
		}
		reqs[i].done = batch_done;
		reqs[i].ctx = &b;
		if (reqs[i].max_tries == 0)
			reqs[i].max_tries = SYNC_TRIES;
		pthread_mutex_lock(&b.mutex);
		b.pending++;
		pthread_mutex_unlock(&b.mutex);
		objstore_submit(share_store(y->s), &reqs[i]);
	}
	batch_wait(&b, 1);
	pthread_cond_destroy(&b.cond);
	pthread_mutex_destroy(&b.mutex);
}

bool
sync_is_ours(const struct sync *y, const struct meta_facts *m, const char *key)
{
	return m->has_origin && strcmp(m->origin_id, y->s->env.appliance_id) == 0 &&
	       m->origin_gen == index_incarnation(cache_index(y->s->env.cache)) &&
	       m->origin_key_crc == digest_crc32c(0, key, strlen(key));
}

bool
sync_trouble(struct sync *y, int err)
{
	bool is_first;

	if (err != -ERR_OFFLINE && err != -ERR_CREDENTIALS && err != -ERR_NO_BUCKET &&
	    err != -ERR_CLOCK_SKEW)
		return false;
	share_lock(y->s);
	is_first = !y->unavailable;
	snprintf(y->reason, sizeof(y->reason), "%s", err_str(err));
	y->unavailable = true;
	if (is_first) {
		y->probe_tries = 0;
		y->probe_at_ms = clock_mono_ms() + sync_jitter_ms(0);
		sync_kick(y);
	}
	share_unlock(y->s);
	if (is_first)
		log_err("gateway.sync", "store-unavailable",
		    "share=%s bucket=%s err=\"%s\": will keep trying", y->s->conf.name,
		    y->s->conf.bucket, err_str(err));
	return true;
}

/* utf8_len - length of the sequence at p, 0 if it is none (RFC 3629). */
static unsigned int
utf8_len(const unsigned char *p)
{
	unsigned int n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2, i;

	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static void
json_string(struct strbuf *b, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	strbuf_addc(b, '"');
	while (*p != '\0') {
		unsigned int n = *p < 0x80 ? 1 : utf8_len(p);

		if (n == 0) {
			strbuf_adds(b, "\\ufffd"); /* names are bytes, JSON is not */
			n = 1;
		} else if (*p < 0x20 || *p == 0x7f) {
			strbuf_addf(b, "\\u%04x", *p);
		} else {
			if (*p == '"' || *p == '\\')
				strbuf_addc(b, '\\');
			strbuf_add(b, p, n);
		}
		p += n;
	}
	strbuf_addc(b, '"');
}

void
sync_event(struct cw_share *s, const char *type, ...)
{
	struct strbuf b = STRBUF_INIT;
	const char *name, *value;
	va_list ap;

	if (s->env.event == NULL)
		return;
	strbuf_addc(&b, '{');
	va_start(ap, type);
	while ((name = va_arg(ap, const char *)) != NULL) {
		value = va_arg(ap, const char *);
		if (b.len > 1)
			strbuf_addc(&b, ',');
		json_string(&b, name + (name[0] == '#'));
		strbuf_addc(&b, ':');
		if (name[0] == '#')
			strbuf_adds(&b, value);
		else
			json_string(&b, value);
	}
	va_end(ap);
	strbuf_addc(&b, '}');
	s->env.event(s->env.event_arg, s, type, strbuf_str(&b));
	strbuf_free(&b);
}
