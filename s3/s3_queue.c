/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_queue.c - which call of a store goes on the wire next.
 *
 * Reads go before writes, since a client waits for them, and some connections are kept free of
 * writes, since an 8 MiB upload over a slow line would make the next read wait for seconds.  Writes
 * are not starved: reads may take three quarters while writes wait.
 *
 * The number of transfers at a time adapts: halved when the store says that it is too much or
 * cannot be reached (at most once in 500 ms, since what is under way fails together).  Each success
 * adds one up to the width where it was too much, and from there on `limit` successes do.  A
 * store that was away says nothing about its width: it is back at full width at once.
 */
#include "gateway/base/clock.h"
#include "s3/s3_int.h"

#define CUT_INTERVAL_MS 500

void
s3_queue_add(struct s3_call *c)
{
	list_add_tail(c->is_write ? &c->store->writes : &c->store->reads, &c->link);
}

/* pick - the next call, taken off its list; NULL if none may start. */
static struct s3_call *
pick(struct s3_store *s)
{
	unsigned int limit = (unsigned int)s->limit;
	unsigned int reserve = limit >= 2 ? (limit + 7) / 8 : 0;
	bool has_reads = !list_empty(&s->reads), has_writes = !list_empty(&s->writes);
	unsigned int nreads = s->nrunning - s->nwrites_running;
	struct list *from = NULL;

	if (s->nrunning >= limit)
		return NULL;
	if (has_reads && !(has_writes && limit >= 4 && nreads >= limit - limit / 4))
		from = &s->reads;
	else if (has_writes && s->nwrites_running < limit - reserve)
		from = &s->writes;
	else if (has_reads)
		from = &s->reads;
	if (from == NULL)
		return NULL;
	return container_of(from->next, struct s3_call, link);
}

/* fail_waiting - there are no keys and none are coming. */
static void
fail_waiting(struct s3_store *s, int err)
{
	struct list waiting;

	list_init(&waiting);
	list_splice_tail(&waiting, &s->reads);
	list_splice_tail(&waiting, &s->writes);
	while (!list_empty(&waiting)) {
		struct s3_call *c = container_of(waiting.next, struct s3_call, link);

		list_del(&c->link);
		objstorei_copy(c->req->error_code, sizeof(c->req->error_code), "NoCredentials");
		s3_call_finish(c, err);
	}
}

void
s3_queue_pump(struct s3_store *s)
{
	while (!list_empty(&s->reads) || !list_empty(&s->writes)) {
		int64_t now_s = clock_real_ns() / 1000000000 + s->clock_offset_s;
		const struct s3_creds *keys = s3_cred_get(s->cred, now_s);
		struct s3_call *c;

		if (keys == NULL) {
			/* else s3_cred's changed() pumps again */
			if (s3_cred_error(s->cred) < 0)
				fail_waiting(s, s3_cred_error(s->cred));
			return;
		}
		c = pick(s);
		if (c == NULL)
			return;
		list_del(&c->link);
		list_add_tail(&s->running, &c->link);
		s->nrunning++;
		s->nwrites_running += c->is_write;
		s3_call_start(c, keys, now_s);
	}
}

void
s3_queue_ended(struct s3_call *c, bool is_throttled)
{
	double least = c->store->max_connections >= 2 ? 2 : 1;
	bool was_away = c->xfer.net != S3_NET_OK;
	struct s3_store *s = c->store;
	uint64_t now_ms;

	list_del(&c->link);
	s->nrunning--;
	s->nwrites_running -= c->is_write;
	if (!is_throttled) {
		if (!was_away)
			s->limit += s->limit < s->threshold ? 1 : 1 / s->limit;
		if (s->limit > s->max_connections)
			s->limit = s->max_connections;
		return;
	}
	now_ms = clock_mono_ms();
	metric_add(s->throttled, 1);
	if (now_ms - s->limit_cut_ms < CUT_INTERVAL_MS)
		return;
	s->limit_cut_ms = now_ms;
	s->limit = s->limit / 2 > least ? s->limit / 2 : least;
	s->threshold = was_away ? s->max_connections : s->limit;
}
