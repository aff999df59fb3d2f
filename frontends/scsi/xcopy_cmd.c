/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xcopy_cmd.c - EXTENDED COPY(LID1), RECEIVE COPY RESULTS (SPC-4 6.4, 6.17 to 6.21): block to block, within and between
 * our volumes.  Straight-line code on a worker.  Holes of the source become holes of the destination.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "frontends/scsi/scsi_int.h"
#include "frontends/scsi/xcopy.h"
#include "gateway/base/strbuf.h"

#define PIECE (1u << 20)
#define LIST_MAX (XCOPY_HEADER + XCOPY_MAX_LIST)

/* COPY ABORTED that no code of its own describes: what iscsi-test-cu (ExtendedCopy.ValidSegDescr) expects past the end */
#define ASC_NONE_BUT_ABORTED 0x10000u

#define STATUS_DONE 1	/* SPC-4 table 174: completed without errors */
#define STATUS_FAILED 2 /* with errors */

bool
scsi_prep_xcopy(struct scsi_task *t)
{
	uint32_t len = scsi_get32(t->cdb + 10);

	if (len > 2 * LIST_MAX) /* somewhat too long is for xcopy_decode() to say */
		return scsi_refuse(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	t->want_out = len;
	return true;
}

struct copy_job {
	struct xcopy_list list;
	struct cw_volume *volume[XCOPY_MAX_TARGETS]; /* counted; NULL: none of ours */
	struct xcopy_result result;
	uint8_t *buf;
};

/* --- who is meant ------------------------------------------------------------------------------------------ */

struct search {
	const struct xcopy_target *target;
	struct cw_volume *found;
};

static bool
is_named(const struct xcopy_target *x, const char *volume_id)
{
	char text[sizeof(x->id) + 1];

	if (x->type == 3 && x->len == 8) /* NAA */
		return scsi_get64(x->id) == scsi_naa(volume_id);
	if (x->type != 1 || x->len <= 8 || memcmp(x->id, "Amazon  ", 8) != 0) /* T10 vendor ID */
		return false;
	memcpy(text, x->id + 8, x->len - 8);
	text[x->len - 8] = '\0';
	return strcmp(text, volume_id) == 0;
}

static void
look_at(void *arg, struct cw_volume *v)
{
	struct search *s = arg;

	if (s->found == NULL && is_named(s->target, cw_volume_id(v))) {
		cw_volume_get(v);
		s->found = v;
	}
}

static bool
find_volumes(struct scsi_task *t, struct copy_job *job)
{
	for (unsigned int i = 0; i < job->list.ntargets; i++) {
		struct search s = {&job->list.target[i], NULL};

		if (is_named(s.target, t->nexus->target->serial)) { /* most often it is here */
			s.found = scsi_volume(t);
			cw_volume_get(s.found);
		} else {
			cw_volume_each(look_at, &s);
		}
		job->volume[i] = s.found;
		if (s.found == NULL || s.target->block_bytes == 0 ||
		    s.target->block_bytes == cw_volume_conf(s.found)->block_bytes)
			continue;
		scsi_sense_list(t, XCOPY_HEADER + i * XCOPY_TARGET_LEN + 29);
		return false;
	}
	return true;
}

static bool
is_same_initiator(const struct scsi_nexus *x, const struct scsi_nexus *y)
{
	size_t n = strcspn(x->name, ","); /* the iSCSI name, whatever session */

	return n == strcspn(y->name, ",") && strncasecmp(x->name, y->name, n) == 0;
}

static bool
is_allowed(const struct scsi_nexus *n, bool is_write)
{
	int limit = atomic_load(&n->limit);

	return limit == LIMIT_NONE || (!is_write && limit == LIMIT_WRITE_EXCLUSIVE);
}

/* May this initiator do that to a volume? On its own unit it was checked before.  On another one it must be logged in, too,
 * or a copy would be a way around CHAP; and what its sessions there may do counts. */
static bool
may_use(struct scsi_task *t, struct cw_volume *v, bool is_write)
{
	struct scsi_target *other;
	struct list *l;
	bool ok = false;

	if (is_write && cw_volume_conf(v)->is_read_only)
		return false;
	if (v == scsi_volume(t))
		return true;
	other = scsi_target_find(v);
	if (other == NULL)
		return false;
	pthread_mutex_lock(&other->lock);
	list_for_each(l, &other->nexuses)
	{
		const struct scsi_nexus *n = container_of(l, struct scsi_nexus, link);

		if (is_same_initiator(n, t->nexus) && is_allowed(n, is_write))
			ok = !(is_write && other->mode.is_swp);
	}
	pthread_mutex_unlock(&other->lock);
	scsi_target_put(other);
	return ok;
}

/* --- copying ------------------------------------------------------------------------------------------------ */

static bool
is_write_through(struct scsi_task *t, struct cw_volume *v)
{
	struct scsi_target *other;
	bool yes = true;

	if (v == scsi_volume(t))
		return atomic_load(&t->nexus->target->is_write_through);
	other = scsi_target_find(v);
	if (other != NULL) {
		yes = atomic_load(&other->is_write_through);
		scsi_target_put(other);
	}
	return yes;
}

static int
call(struct scsi_task *t, struct cw_volume *v, enum cw_vio_op op, uint64_t off, uint64_t len,
    void *buf)
{
	struct cw_vio vio = {.op = op, .volume = v, .off = off, .len = len, .buf = buf};

	if (op != CW_VIO_READ)
		vio.is_fua = is_write_through(t, v);
	return cw_volume_call(&vio);
}

struct range {
	struct cw_volume *from, *to;
	uint64_t from_off, to_off, len;
};

/* One piece; *n: how much of len it was. */
static int
copy_piece(struct scsi_task *t, const struct range *r, uint64_t at, uint64_t len, uint8_t *buf)
{
	uint64_t end = r->from_off + at + len;
	int err;

	if (!cw_volume_provisioned(r->from, r->from_off + at, len, &end) &&
	    end >= r->from_off + at + len)
		return call(t, r->to, CW_VIO_ZERO, r->to_off + at, len, NULL);
	err = call(t, r->from, CW_VIO_READ, r->from_off + at, len, buf);
	if (err == 0)
		err = call(t, r->to, CW_VIO_WRITE, r->to_off + at, len, buf);
	return err;
}

/* Backwards when the ranges overlap and the copy goes up. */
static int
copy_range(struct scsi_task *t, const struct range *r, uint8_t *buf)
{
	bool is_backward =
	    r->from == r->to && r->to_off > r->from_off && r->to_off < r->from_off + r->len;
	uint64_t done = 0, n;
	int err = 0;

	for (; done < r->len && err == 0 && !scsi_task_is_stopping(t); done += n) {
		n = r->len - done < PIECE ? r->len - done : PIECE;
		err = copy_piece(t, r, is_backward ? r->len - done - n : done, n, buf);
	}
	return err;
}

/* result: 0, or an additional sense code of COPY ABORTED; an error of a volume is in *err */
static unsigned int
copy_segment(struct scsi_task *t, struct copy_job *job, const struct xcopy_segment *s, int *err)
{
	struct range r = {0};
	uint32_t from_size, to_size;

	*err = 0;
	if (s->from >= job->list.ntargets || s->to >= job->list.ntargets)
		return ASC_UNREACHABLE_COPY_TARGET;
	r.from = job->volume[s->from];
	r.to = job->volume[s->to];
	if (r.from == NULL || r.to == NULL || !may_use(t, r.from, false) || !may_use(t, r.to, true))
		return ASC_UNREACHABLE_COPY_TARGET;
	from_size = cw_volume_conf(r.from)->block_bytes;
	to_size = cw_volume_conf(r.to)->block_bytes;
	r.len = (uint64_t)s->blocks * (s->is_by_destination ? to_size : from_size);
	if (r.len % from_size != 0 || r.len % to_size != 0 || r.len > XCOPY_MAX_SEGMENT_BYTES ||
	    s->from_lba > cw_volume_size(r.from) / from_size ||
	    s->to_lba > cw_volume_size(r.to) / to_size)
		return ASC_NONE_BUT_ABORTED;
	r.from_off = s->from_lba * from_size;
	r.to_off = s->to_lba * to_size;
	if (r.len > cw_volume_size(r.from) - r.from_off || r.len > cw_volume_size(r.to) - r.to_off)
		return ASC_NONE_BUT_ABORTED;
	if (job->buf == NULL)
		job->buf = xmalloc(PIECE);
	*err = copy_range(t, &r, job->buf);
	job->result.blocks_done += (uint32_t)(*err == 0 ? r.len / to_size : 0);
	return 0;
}

static void
run_segments(struct scsi_task *t, struct copy_job *job)
{
	unsigned int asc;
	int err;

	for (unsigned int i = 0; i < job->list.nsegments && !scsi_task_is_stopping(t); i++) {
		asc = copy_segment(t, job, &job->list.segment[i], &err);
		if (asc != 0 || err < 0) {
			if (err < 0)
				scsi_result(t, err, true);
			else
				scsi_sense(t, KEY_COPY_ABORTED, asc & 0xffff);
			scsi_sense_info(t, i);
			return;
		}
		job->result.segments_done++;
	}
}

static void
xcopy(struct scsi_task *t)
{
	struct copy_job *job = t->mem;

	if (find_volumes(t, job))
		run_segments(t, job);
	for (unsigned int i = 0; i < job->list.ntargets; i++) {
		if (job->volume[i] != NULL)
			cw_volume_put(job->volume[i]);
	}
	free(job->buf);
	job->buf = NULL;
}

/* The result can be asked for later, by this nexus. */
static void
xcopy_ended(struct loop_task *w)
{
	struct scsi_task *t = container_of(w, struct scsi_task, loop_task);
	struct copy_job *job = t->mem;
	struct scsi_nexus *n = t->nexus;

	if (job->list.is_kept) {
		for (unsigned int i = 0; i < SCSI_XCOPY_KEPT; i++) {
			if (n->xcopy[i].list_id == job->list.list_id)
				n->xcopy[i].is_used = false;
		}
		job->result.is_used = true;
		job->result.list_id = job->list.list_id;
		job->result.status = t->status == SCSI_GOOD ? STATUS_DONE : STATUS_FAILED;
		n->xcopy[n->xcopy_next++ % SCSI_XCOPY_KEPT] = job->result;
	}
	scsi_task_complete(t);
}

bool
scsi_run_xcopy(struct scsi_task *t)
{
	struct copy_job *job;
	unsigned int asc;

	if (t->out_len < t->want_out)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	if (t->out_len == 0)
		return true; /* no transfer is no error */
	job = t->mem = xcalloc(1, sizeof(*job));
	asc = xcopy_decode(t->out, t->out_len, &job->list);
	if (asc != 0)
		return scsi_fail(t, KEY_ILLEGAL_REQUEST, asc);
	return scsi_task_on_worker_then(t, xcopy, xcopy_ended);
}

/* --- RECEIVE COPY RESULTS ------------------------------------------------------------------------------------ */

bool
scsi_prep_copy_results(struct scsi_task *t)
{
	return scsi_want_in(t, scsi_get32(t->cdb + 10), 64);
}

static void
copy_status(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;
	uint8_t buf[12] = {0};

	for (unsigned int i = 0; i < SCSI_XCOPY_KEPT; i++) {
		struct xcopy_result *r = &n->xcopy[i];

		if (!r->is_used || r->list_id != t->cdb[2])
			continue;
		scsi_put32(buf, 8);
		buf[4] = r->status;
		scsi_put16(buf + 5, r->segments_done);
		buf[7] = 0xf1; /* TRANSFER COUNT in blocks of the destination */
		scsi_put32(buf + 8, r->blocks_done);
		r->is_used = false; /* told once: SPC-4 6.18.2 */
		scsi_reply(t, buf, sizeof(buf));
		return;
	}
	scsi_sense_cdb(t, 2);
}

static void
operating_parameters(struct scsi_task *t)
{
	uint8_t buf[46] = {0};

	scsi_put32(buf, sizeof(buf) - 4);
	buf[4] = 1; /* SNLID: no list identifier needed */
	scsi_put16(buf + 8, XCOPY_MAX_TARGETS);
	scsi_put16(buf + 10, XCOPY_MAX_SEGMENTS);
	scsi_put32(buf + 12, XCOPY_MAX_LIST);
	scsi_put32(buf + 16, XCOPY_MAX_SEGMENT_BYTES);
	scsi_put16(buf + 34, 64); /* copies at once */
	buf[36] = 64;
	buf[37] = 9; /* data segment granularity, log2 */
	buf[43] = 2; /* descriptor types: */
	buf[44] = 0x02;
	buf[45] = 0xe4;
	scsi_reply(t, buf, sizeof(buf));
}

bool
scsi_run_copy_results(struct scsi_task *t)
{
	if (t->op->sa == 0)
		copy_status(t);
	else
		operating_parameters(t);
	return true;
}
