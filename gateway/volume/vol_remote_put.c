/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_put.c - an epoch goes to the bucket: its runs are cut into parts, each part is a log
 * object; a few of them are under way at a time; the last, the commit, goes when all others are there.
 *
 * A part that was planned keeps its seq and is the same bytes whenever it is built again, so an error
 * leaves nothing behind that a later call does not continue.  After a restart seqs are new, and what
 * the life before had committed is adopted.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

#define PART_EXTENTS 32768u /* zeros take no frames: bound the header */
#define BODY_BYTES_MAX (128u << 20)

/* ---- bodies of all volumes together: bounded ---- */

static pthread_mutex_t body_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t body_cond = PTHREAD_COND_INITIALIZER;
static size_t body_bytes;

static void
body_get(size_t n)
{
	pthread_mutex_lock(&body_lock);
	while (body_bytes > 0 && body_bytes + n > BODY_BYTES_MAX)
		pthread_cond_wait(&body_cond, &body_lock);
	body_bytes += n;
	pthread_mutex_unlock(&body_lock);
}

static void
body_put(size_t n)
{
	pthread_mutex_lock(&body_lock);
	body_bytes -= n;
	pthread_cond_broadcast(&body_cond);
	pthread_mutex_unlock(&body_lock);
}

/* ---- planning ---- */

void
voli_pending_free(struct vol_pending *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->nparts; i++)
		vol_log_free(&p->parts[i].log);
	free(p->parts);
	vol_update_free(p->update);
	free(p);
}

static bool
runs_are_good(const struct vol_run *runs, size_t n, uint64_t size)
{
	uint64_t end = 0;

	for (size_t i = 0; i < n; i++) {
		if (runs[i].off < end || runs[i].len == 0 || runs[i].off % VOL_BLOCK != 0 ||
		    runs[i].len % VOL_BLOCK != 0 || runs[i].off > size ||
		    runs[i].len > size - runs[i].off)
			return false;
		end = runs[i].off + runs[i].len;
	}
	return true;
}

struct cursor {
	const struct vol_run *runs;
	size_t nruns, run;
	uint64_t off; /* in the run */
};

/* next_extent - cut one off. result: false at the end */
static bool
next_extent(struct cursor *c, struct vol_extent *e)
{
	const struct vol_run *run;
	uint64_t left, most;

	if (c->run == c->nruns)
		return false;
	run = &c->runs[c->run];
	left = run->len - c->off;
	most = run->is_zero ? (uint64_t)UINT32_MAX << VOL_BLOCK_SHIFT : VOL_FRAME_BYTES;
	left = left < most ? left : most;
	*e = (struct vol_extent){.block = (run->off + c->off) >> VOL_BLOCK_SHIFT,
	    .nblocks = (uint32_t)(left >> VOL_BLOCK_SHIFT),
	    .kind = run->is_zero ? VOL_ZERO : VOL_DATA};
	c->off += left;
	if (c->off == run->len) {
		c->run++;
		c->off = 0;
	}
	return true;
}

/* plan_part - the next part's extents; what is in them comes when it is built. */
static int
plan_part(struct vol_remote *r, struct vol_pending *p, struct cursor *c)
{
	struct vol_part part = {.run = c->run, .off = c->off};
	struct vol_log *l = &part.log;
	uint64_t data = 0;
	uint32_t cap = 0;
	struct vol_extent e;
	int err = voli_seq(r, &l->seq);

	if (err < 0)
		return err;
	while (data < r->tune.object_bytes && l->nextents < PART_EXTENTS && next_extent(c, &e)) {
		if (l->nextents == cap) {
			cap = cap > 0 ? 2 * cap : 16;
			l->extents = xrealloc(l->extents, cap * sizeof(*l->extents));
		}
		data += e.kind == VOL_DATA ? (uint64_t)e.nblocks << VOL_BLOCK_SHIFT : 0;
		l->extents[l->nextents++] = e;
	}
	memcpy(l->uuid, r->info.uuid, VOL_UUID_LEN);
	l->term = r->term;
	l->flags = r->info.has_key ? VOL_LOG_SEALED : 0;
	l->epoch = p->at.epoch;
	l->size_bytes = p->at.size_bytes;
	l->time_ns = p->at.time_ns;
	if (p->nparts == p->cap) {
		p->cap = p->cap > 0 ? 2 * p->cap : 8;
		p->parts = xrealloc(p->parts, p->cap * sizeof(*p->parts));
	}
	p->parts[p->nparts++] = part;
	p->is_planned = c->run == c->nruns;
	return 0;
}

/* name_all - make the last part the commit: it names the epoch's objects. */
static void
name_all(struct vol_remote *r, struct vol_pending *p)
{
	struct vol_log *l = &p->parts[p->nparts - 1].log;
	size_t n = r->nmoved + p->nparts;

	free(l->ranges);
	l->ranges = xcalloc(n, sizeof(*l->ranges));
	l->nranges = 0;
	for (size_t i = 0; i < n; i++) { /* seqs ascend: moved ones came first */
		uint64_t seq = i < r->nmoved ? r->moved[i].seq : p->parts[i - r->nmoved].log.seq;
		struct vol_range *last = l->nranges > 0 ? &l->ranges[l->nranges - 1] : NULL;

		if (last != NULL && last->seq + last->count == seq)
			last->count++;
		else
			l->ranges[l->nranges++] = (struct vol_range){seq, 1};
	}
	l->flags |= VOL_LOG_COMMIT;
	l->prev_seq = r->im.at.seq;
	l->prev_term = r->im.at.term;
}

/* ---- building and sending ---- */

struct sender;

struct send_slot {
	struct sender *sender;
	struct objstore_req req;
	char key[VOL_KEY_MAX];
	uint8_t *body;
	size_t cap;
	size_t part;
	bool is_busy;
	bool is_put; /* came to its end; the worker has not noted it yet */
};

struct sender {
	struct vol_remote *r;
	struct vol_pending *p;
	int (*read)(void *arg, uint64_t off, uint32_t len, void *buf);
	void *arg;
	struct vol_coder *coder;
	uint8_t *plain;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct send_slot *slots;
	unsigned int nslots, busy;
	int err;
};

/* build - the bytes of a part. */
static int
build(struct sender *s, struct send_slot *slot, struct vol_log *l)
{
	uint8_t object_key[32], *k = NULL, *to;
	uint64_t cap = vol_log_header_bytes(l->nextents, 0, l->nranges);
	int err = 0;

	l->header_bytes = (uint32_t)cap;
	if (s->r->info.has_key) {
		k = object_key;
		vol_object_key(s->r->key, l->uuid, l->term, l->seq, object_key);
	}
	for (uint32_t i = 0; i < l->nextents; i++)
		if (l->extents[i].kind == VOL_DATA)
			cap += ((uint64_t)l->extents[i].nblocks << VOL_BLOCK_SHIFT) + 16;
	body_get(cap);
	slot->cap = cap;
	slot->body = xmalloc(cap);
	to = slot->body + l->header_bytes;
	for (uint32_t i = 0; err == 0 && i < l->nextents; i++) {
		struct vol_extent *e = &l->extents[i];
		/* what stays as it is need not be copied */
		uint8_t *plain = k == NULL && !s->p->is_compressed ? to : s->plain;

		if (e->kind != VOL_DATA)
			continue;
		err = s->read(
		    s->arg, e->block << VOL_BLOCK_SHIFT, e->nblocks << VOL_BLOCK_SHIFT, plain);
		if (err < 0)
			break;
		e->stored_off = (uint32_t)(to - slot->body);
		vol_frame_encode(s->coder, k, s->p->is_compressed, e, plain, to);
		to += e->stored_len;
	}
	l->object_bytes = (uint64_t)(to - slot->body);
	if (err == 0)
		vol_log_encode(l, slot->body);
	return err < 0 ? err : 0;
}

static void
slot_free_body(struct send_slot *slot)
{
	if (slot->body == NULL)
		return;
	free(slot->body);
	slot->body = NULL;
	body_put(slot->cap);
}

static void
sent(struct objstore_req *req)
{
	struct send_slot *slot = req->ctx;
	struct sender *s = slot->sender;

	slot_free_body(slot);
	pthread_mutex_lock(&s->lock);
	if (req->result == 0)
		slot->is_put = true; /* the parts are the worker's: it may be moving them */
	else if (s->err == 0)
		s->err = req->result;
	slot->is_busy = false;
	s->busy--;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* wait_below - until fewer than n parts are under way; note which came to their end.
 * result: the first error so far */
static int
wait_below(struct sender *s, unsigned int n)
{
	int err;

	pthread_mutex_lock(&s->lock);
	while (s->busy >= n)
		pthread_cond_wait(&s->cond, &s->lock);
	for (unsigned int i = 0; i < s->nslots; i++) {
		if (s->slots[i].is_put)
			s->p->parts[s->slots[i].part].is_put = true;
		s->slots[i].is_put = false;
	}
	err = s->err;
	pthread_mutex_unlock(&s->lock);
	return err;
}

static int
send_part(struct sender *s, size_t part)
{
	struct vol_remote *r = s->r;
	struct vol_log *l = &s->p->parts[part].log;
	struct send_slot *slot = s->slots;
	int err = wait_below(s, s->nslots);

	if (err < 0)
		return err;
	pthread_mutex_lock(&s->lock);
	while (slot->is_busy)
		slot++;
	pthread_mutex_unlock(&s->lock);
	objstore_req_clear(&slot->req);
	err = build(s, slot, l);
	if (err < 0) {
		slot_free_body(slot);
		return err;
	}
	vol_key_log(slot->key, r->prefix, r->id, l->term, l->seq);
	slot->part = part;
	slot->req = (struct objstore_req){.op = OBJ_PUT,
	    .key = slot->key,
	    .body = slot->body,
	    .body_len = l->object_bytes,
	    .done = sent,
	    .ctx = slot};
	voli_uploaded(r, l->object_bytes, false);
	pthread_mutex_lock(&s->lock);
	slot->is_busy = true;
	s->busy++;
	pthread_mutex_unlock(&s->lock);
	objstore_submit(r->store, &slot->req);
	return 0;
}

static int
send_all(struct sender *s, struct cursor *c)
{
	struct vol_pending *p = s->p;
	int err = 0;

	for (size_t i = 0; err == 0; i++) {
		bool is_last;

		if (i == p->nparts) {
			if (p->is_planned)
				break;
			err = plan_part(s->r, p, c);
			if (err < 0)
				break;
		}
		is_last = p->is_planned && i + 1 == p->nparts;
		if (p->parts[i].is_put)
			continue;
		if (is_last) {
			err = wait_below(s, 1);
			if (err < 0)
				break;
			name_all(s->r, p);
		}
		err = send_part(s, i);
	}
	if (err == 0)
		err = wait_below(s, 1);
	else
		(void)wait_below(s, 1);
	return err;
}

static int
upload(struct vol_remote *r, const struct vol_run *runs, size_t nruns,
    int (*read)(void *arg, uint64_t off, uint32_t len, void *buf), void *arg)
{
	struct sender s = {.r = r,
	    .p = r->pending,
	    .read = read,
	    .arg = arg,
	    .lock = PTHREAD_MUTEX_INITIALIZER,
	    .cond = PTHREAD_COND_INITIALIZER};
	struct cursor c = {.runs = runs, .nruns = nruns};
	int err;

	if (s.p->nparts > 0) { /* planning goes on behind the last planned extent */
		const struct vol_part *last = &s.p->parts[s.p->nparts - 1];
		struct vol_extent e;

		c.run = last->run;
		c.off = last->off;
		for (uint32_t i = 0; i < last->log.nextents; i++)
			(void)next_extent(&c, &e);
	}
	s.nslots = r->tune.width;
	s.slots = xcalloc(s.nslots, sizeof(*s.slots));
	for (unsigned int i = 0; i < s.nslots; i++)
		s.slots[i].sender = &s;
	s.coder = vol_coder_new();
	s.plain = xmalloc(VOL_FRAME_BYTES);
	err = send_all(&s, &c);
	for (unsigned int i = 0; i < s.nslots; i++)
		objstore_req_clear(&s.slots[i].req);
	free(s.slots);
	free(s.plain);
	vol_coder_free(s.coder);
	pthread_mutex_destroy(&s.lock);
	pthread_cond_destroy(&s.cond);
	return err;
}

/* ---- the epoch is in the bucket ---- */

/* settle - build the next image and journal it. is_journaled: the journal has it already */
static int
settle(struct vol_remote *r, const struct vol_log *const *logs, size_t n, bool is_journaled)
{
	struct vol_pending *p = r->pending;
	const char *why;
	int err;

	if (p->update == NULL) {
		err = vol_update_new(&r->im, logs, n, &p->update, &why);
		if (err < 0) {
			log_err("gateway.volume", "epoch-unfit",
			    "volume=%s epoch=%" PRIu64 " why=\"%s\"", r->id, p->at.epoch, why);
			return err;
		}
	}
	if (!is_journaled) {
		err = voli_local_epoch(r, logs, n);
		if (err < 0)
			return err;
	}
	p->bytes = 0;
	for (size_t i = 0; i < n; i++)
		p->bytes += logs[i]->object_bytes;
	p->is_uploaded = true;
	return 0;
}

static int
settle_parts(struct vol_remote *r)
{
	struct vol_pending *p = r->pending;
	size_t n = r->nmoved + p->nparts;
	const struct vol_log **logs = xcalloc(n, sizeof(*logs));
	int err;

	for (size_t i = 0; i < n; i++)
		logs[i] = i < r->nmoved ? &r->moved[i] : &p->parts[i - r->nmoved].log;
	err = settle(r, logs, n, false);
	free(logs);
	r->epoch_bytes = 0;
	for (size_t i = 0; i < p->nparts; i++)
		r->epoch_bytes += p->parts[i].log.object_bytes;
	return err;
}

/* ---- adopting what the life before uploaded ---- */

static bool
is_ours(const struct vol_remote *r, const struct vol_log *l, const struct vol_point *at)
{
	return vol_log_is_commit(l) && l->epoch == at->epoch && l->time_ns == at->time_ns &&
	       l->size_bytes == at->size_bytes && l->prev_term == r->im.at.term &&
	       l->prev_seq == r->im.at.seq;
}

/* adopt_from - the epoch whose commit is logs[commit], if all it names is there. */
static int
adopt_from(struct vol_remote *r, struct vol_log *logs, size_t n, size_t commit, bool is_journaled)
{
	const struct vol_log **refs = xcalloc(n, sizeof(*refs));
	size_t nrefs = 0;
	int err = -ENOENT;

	for (size_t i = 0; i < n; i++)
		if (logs[i].term == logs[commit].term && logs[i].header_bytes != 0 &&
		    vol_commit_covers(&logs[commit], logs[i].seq))
			refs[nrefs++] = &logs[i];
	if (nrefs == vol_commit_count(&logs[commit])) {
		err = voli_owner_check(r);
		if (err == 0)
			err = settle(r, refs, nrefs, is_journaled);
	}
	free(refs);
	if (err == 0)
		log_info("gateway.volume", "epoch-adopted",
		    "volume=%s epoch=%" PRIu64 " objects=%zu", r->id, r->pending->at.epoch, nrefs);
	return err;
}

static int
adopt_journal(struct vol_remote *r)
{
	for (size_t i = r->nnext; i-- > 0;)
		if (is_ours(r, &r->next[i], &r->pending->at))
			return adopt_from(r, r->next, r->nnext, i, true);
	return -ENOENT;
}

static int
adopt_bucket(struct vol_remote *r)
{
	struct vol_names names;
	struct vol_place pl;
	struct vol_log *logs;
	const char **bad;
	int err;

	(void)voli_place(r, 0, &pl);
	/* nothing at or behind the first seq of this incarnation is of the life before */
	err = vol_list_names(
	    &pl, "log/", r->term, r->im.at.term == r->term ? r->im.at.seq + 1 : 0, &names);
	if (err < 0)
		return err;
	logs = xcalloc(names.n + 1, sizeof(*logs));
	bad = xcalloc(names.n + 1, sizeof(*bad));
	err = vol_read_logs(&pl, names.v, names.n, logs, bad, NULL);
	if (err == 0) {
		err = -ENOENT;
		for (size_t i = names.n; err == -ENOENT && i-- > 0;)
			if (is_ours(r, &logs[i], &r->pending->at))
				err = adopt_from(r, logs, names.n, i, false);
		if (names.n > 0)
			r->is_sweep_due = true;
	}
	for (size_t i = 0; i < names.n; i++)
		vol_log_free(&logs[i]);
	free(logs);
	free(bad);
	vol_names_free(&names);
	return err;
}

/* adopt - result: 0, -ENOENT (it has to be uploaded), errors */
static int
adopt(struct vol_remote *r)
{
	int err;

	if (!r->is_adopt_due)
		return -ENOENT;
	err = adopt_journal(r);
	if (err == -ENOENT || err == -ERR_CHECKSUM)
		err = adopt_bucket(r);
	if (err == 0 || err == -ENOENT)
		r->is_adopt_due = false;
	return err;
}

/* ---- public ---- */

static int
begin(struct vol_remote *r, uint64_t epoch, uint64_t size_bytes, int64_t time_ns)
{
	struct vol_pending *p = r->pending;

	if (p != NULL)
		return p->at.epoch == epoch && p->at.size_bytes == size_bytes &&
			       p->at.time_ns == time_ns
			   ? 0
			   : -EINVAL;
	if (epoch != r->im.at.epoch + 1 || size_bytes < r->im.at.size_bytes ||
	    size_bytes % VOL_BLOCK != 0 || size_bytes > VOL_SIZE_MAX)
		return -EINVAL;
	p = r->pending = xcalloc(1, sizeof(*p));
	p->at = (struct vol_point){
	    .epoch = epoch, .size_bytes = size_bytes, .time_ns = time_ns, .term = r->term};
	p->is_compressed = r->is_compressed;
	return 0;
}

static int
put_epoch(struct vol_remote *r, const struct vol_run *runs, size_t nruns,
    int (*read)(void *arg, uint64_t off, uint32_t len, void *buf), void *arg)
{
	struct vol_pending *p = r->pending;
	int err = p->nparts == 0 ? voli_owner_check(r) : 0;

	if (err < 0 || p->is_uploaded)
		return err;
	if (p->nparts == 0) {
		err = adopt(r);
		if (err != -ENOENT)
			return err;
	}
	err = upload(r, runs, nruns, read, arg);
	/* who takes over lists the log after he became the owner: if it is still us, he finds this
	 * commit */
	if (err == 0)
		err = voli_owner_check(r);
	return err == 0 ? settle_parts(r) : err;
}

int
vol_remote_put_epoch(struct vol_remote *r, uint64_t epoch, uint64_t size_bytes, int64_t time_ns,
    const struct vol_run *runs, size_t nruns,
    int (*read)(void *arg, uint64_t off, uint32_t len, void *buf), void *arg)
{
	int err;

	if (!runs_are_good(runs, nruns, size_bytes))
		return -EINVAL;
	pthread_mutex_lock(&r->work);
	voli_done_with(r);
	if (!r->is_owner) {
		err = -ESTALE;
	} else if (r->pending == NULL && epoch == r->im.at.epoch && time_ns == r->im.at.time_ns) {
		err = 0; /* it is at that epoch already */
	} else {
		err = begin(r, epoch, size_bytes, time_ns);
		if (err == 0 && !r->pending->is_uploaded)
			err = put_epoch(r, runs, nruns, read, arg);
	}
	if (err == -ESTALE) { /* nothing of this epoch counts any more */
		voli_pending_free(r->pending);
		r->pending = NULL;
	}
	pthread_mutex_unlock(&r->work);
	return err;
}

void
vol_remote_apply(struct vol_remote *r, uint64_t epoch)
{
	struct vol_pending *p;

	pthread_mutex_lock(&r->lock);
	p = r->pending;
	if (p == NULL) {
		CW_ASSERT(epoch == r->im.at.epoch);
		pthread_mutex_unlock(&r->lock);
		return;
	}
	CW_ASSERT(p->is_uploaded && p->at.epoch == epoch);
	vol_update_apply(p->update);
	r->spent = p;
	r->pending = NULL;
	pthread_mutex_unlock(&r->lock);
}
