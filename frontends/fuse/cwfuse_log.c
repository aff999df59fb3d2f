/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_log.c - writes that were answered and are not durable yet.
 *
 * An NFS client keeps what it wrote until COMMIT and sends it again when the write verifier changes.
 * The kernel's FUSE does not: once WRITE is answered the data is ours alone, and a killed daemon takes
 * with it what its index did not hold yet.  So a WRITE's slot stays in the journal, LOGGED, until a
 * commit that began after it has succeeded; commits are started by size, number and age of the log.
 *
 * Replay.  Was a logged write lost?  Commits are consistent cuts and each change of a file raises its
 * ctime, so the write is in the index exactly if the file's ctime is not older than what the write's
 * own answer said.  A write that is in is left alone: others may have written over it since.
 */
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/fuse/cwfuse_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"

#define LOG_COMMIT_SLOTS (CWFUSE_SLOTS / 4) /* a commit is started at so many, */
#define LOG_COMMIT_BYTES (16u << 20)	    /* at so many bytes, */
#define LOG_COMMIT_MS 500		    /* or after so long */
#define REPLAY_PAUSE_MS 50

static bool
is_full(const struct cwfuse_session *s)
{
	return s->nlogged >= LOG_COMMIT_SLOTS || s->log_bytes >= LOG_COMMIT_BYTES;
}

void
cwfuse_log_reserve(struct cwfuse_req *r, int64_t ctime_ns)
{
	struct cwfuse_session *s = r->s;

	pthread_mutex_lock(&s->lock);
	s->journal->log_ctime_ns[r->slot] = ctime_ns;
	s->journal->log_seq[r->slot] = ++s->log_seq;
	pthread_mutex_unlock(&s->lock);
}

void
cwfuse_log_add(struct cwfuse_session *s, unsigned int slot)
{
	bool is_first, is_due;

	pthread_mutex_lock(&s->lock);
	atomic_store(&s->journal->state[slot], CWFUSE_LOGGED);
	is_first = s->nlogged++ == 0;
	if (is_first)
		s->log_since_ms = clock_mono_ms();
	s->log_bytes += s->journal->len[slot];
	is_due = is_full(s);
	pthread_mutex_unlock(&s->lock);
	if (is_due)
		cwfuse_log_commit(s);
	else if (is_first)
		cwfuse_server_wake(s->server);
}

uint64_t
cwfuse_log_mark(struct cwfuse_session *s)
{
	uint64_t seq;

	pthread_mutex_lock(&s->lock);
	seq = s->log_seq;
	pthread_mutex_unlock(&s->lock);
	return seq;
}

static void
remember_lost(struct cwfuse_session *s, uint64_t nodeid)
{
	for (unsigned int i = 0; i < s->nlost; i++)
		if (s->lost[i] == nodeid)
			return;
	if (s->nlost < CWFUSE_LOST_MAX)
		s->lost[s->nlost++] = nodeid;
	else
		s->is_all_lost = true;
}

static uint64_t
nodeid_of(struct cwfuse_journal *j, unsigned int slot)
{
	struct fuse_in_header head;

	memcpy(&head, cwfuse_journal_slot(j, slot), sizeof(head));
	return head.nodeid;
}

void
cwfuse_log_committed(struct cwfuse_session *s, uint64_t nodeid, uint64_t mark, bool is_lost)
{
	struct cwfuse_journal *j = s->journal;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < CWFUSE_SLOTS && s->nlogged > 0; i++) {
		if (atomic_load(&j->state[i]) != CWFUSE_LOGGED || j->log_seq[i] > mark ||
		    nodeid_of(j, i) != nodeid)
			continue;
		if (is_lost)
			remember_lost(s, nodeid);
		s->nlogged--;
		s->log_bytes -= j->len[i];
		atomic_store(&j->state[i], CWFUSE_FREE);
		s->free[s->nfree++] = i;
	}
	s->log_since_ms = clock_mono_ms();
	pthread_cond_broadcast(&s->slot_freed);
	pthread_mutex_unlock(&s->lock);
}

bool
cwfuse_log_was_lost(struct cwfuse_session *s, uint64_t nodeid)
{
	bool is_lost;

	pthread_mutex_lock(&s->lock);
	is_lost = s->is_all_lost;
	for (unsigned int i = 0; i < s->nlost; i++) {
		if (s->lost[i] != nodeid)
			continue;
		s->lost[i] = s->lost[--s->nlost];
		is_lost = true;
		break;
	}
	pthread_mutex_unlock(&s->lock);
	return is_lost;
}

/* --- commits of our own -------------------------------------------------------------------------- */

/* The LOGGED slot with the lowest number in (above, mark], or -1. locked, or before threads run */
static int
next_logged(struct cwfuse_session *s, uint64_t above, uint64_t mark)
{
	struct cwfuse_journal *j = s->journal;
	int best = -1;

	for (unsigned int i = 0; i < CWFUSE_SLOTS; i++)
		if (atomic_load(&j->state[i]) == CWFUSE_LOGGED && j->log_seq[i] > above &&
		    j->log_seq[i] <= mark && (best < 0 || j->log_seq[i] < j->log_seq[best]))
			best = (int)i;
	return best;
}

/* Take the next file of the round, or end it. Nothing of s may be touched once false was returned: the
 * session may be freed then. */
static bool
next_commit(struct cwfuse_session *s, bool is_failed)
{
	int slot;

	pthread_mutex_lock(&s->lock);
	slot = is_failed ? -1 : next_logged(s, 0, s->commit_mark);
	if (slot < 0 && !is_failed && is_full(s) && !atomic_load(&s->stopping)) {
		s->commit_mark = s->log_seq; /* filled up meanwhile: another round */
		slot = next_logged(s, 0, s->commit_mark);
	}
	if (slot >= 0)
		s->commit_nodeid = nodeid_of(s->journal, (unsigned int)slot);
	else
		atomic_store(&s->is_committing, false);
	pthread_mutex_unlock(&s->lock);
	return slot >= 0;
}

/* result: should the round end early? */
static bool
commit_result(struct cwfuse_session *s)
{
	int err = s->commit_op.result;

	cw_share_put(s->commit_op.share);
	s->commit_op.share = NULL;
	if (err == 0 || err == -ESTALE) { /* ESTALE: removed, nothing can ask for it */
		cwfuse_log_committed(s, s->commit_nodeid, s->commit_mark, false);
		return false;
	}
	if (cwfuse_wait_ms(err) > 0)
		return true;
	log_err("fuse.log", "commit-failed", "share=\"%s\" err=\"%s\": fsync will tell",
	    s->share_name, err_str(err));
	cwfuse_log_committed(s, s->commit_nodeid, s->commit_mark, true);
	return false;
}

static void commit_done(struct cw_op *op);

/* A round: commit each file of the log. The first waits for the disk; what it took along is found
 * durable by the others at once. */
static void
commit_files(struct cwfuse_session *s)
{
	struct cw_op *op = &s->commit_op;
	bool is_failed = false;

	while (next_commit(s, is_failed)) {
		memset(op, 0, sizeof(*op));
		op->code = CW_COMMIT;
		op->share = cw_share_find(s->share_id);
		op->ino = s->commit_nodeid;
		op->done = commit_done;
		op->ctx = s;
		if (op->share == NULL)
			op->result = -ESTALE; /* the share was deleted */
		else if (!cw_submit(op))
			return;
		is_failed = commit_result(s);
	}
}

static void
commit_done(struct cw_op *op)
{
	struct cwfuse_session *s = op->ctx;

	if (!commit_result(s))
		commit_files(s);
	else
		next_commit(s, true);
}

void
cwfuse_log_commit(struct cwfuse_session *s)
{
	/* What was not replayed yet would be found durable, being nowhere. */
	if (!atomic_load(&s->is_replayed) || atomic_exchange(&s->is_committing, true))
		return;
	s->commit_mark = cwfuse_log_mark(s);
	commit_files(s);
}

int
cwfuse_log_tick(struct cwfuse_session *s)
{
	uint64_t age_ms = 0;
	bool is_any, is_due;

	pthread_mutex_lock(&s->lock);
	is_any = s->nlogged > 0 && atomic_load(&s->is_replayed);
	if (is_any)
		age_ms = clock_mono_ms() - s->log_since_ms;
	is_due = is_any && (age_ms >= LOG_COMMIT_MS || atomic_load(&s->gone) || is_full(s));
	pthread_mutex_unlock(&s->lock);
	if (!is_any)
		return -1;
	if (is_due) {
		cwfuse_log_commit(s);
		return LOG_COMMIT_MS;
	}
	return (int)(LOG_COMMIT_MS - age_ms);
}

/* --- after a restart ----------------------------------------------------------------------------- */

static int
call(struct cwfuse_session *s, struct cw_op *op)
{
	int err;

	for (;;) {
		op->share = cw_share_find(s->share_id);
		if (op->share == NULL)
			return -ESTALE;
		err = cw_call(op);
		cw_share_put(op->share);
		if (err >= 0 || cwfuse_wait_ms(err) == 0 || atomic_load(&s->stopping))
			return err;
		clock_sleep_ms(REPLAY_PAUSE_MS);
	}
}

/* result: 1 written again, 0 not needed, or negative errno */
static int
replay(struct cwfuse_session *s, unsigned int slot)
{
	uint8_t *mem = cwfuse_journal_slot(s->journal, slot);
	struct cw_op look = {.code = CW_GETATTR}, w = {.code = CW_WRITE};
	const size_t head_len = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in);
	struct fuse_write_in in;
	int err;

	memcpy(&in, mem + sizeof(struct fuse_in_header), sizeof(in));
	if (s->journal->len[slot] < head_len || s->journal->len[slot] > CWFUSE_SLOT ||
	    in.size > s->journal->len[slot] - head_len)
		return -EINVAL;
	look.ino = w.ino = nodeid_of(s->journal, slot);
	err = call(s, &look);
	if (err == -ESTALE || err == -ENOENT) /* removed since */
		return 0;
	if (err < 0)
		return err;
	if (look.attr.ctime_ns >= s->journal->log_ctime_ns[slot])
		return 0;
	w.offset = in.offset;
	w.count = in.size;
	w.buf = mem + head_len;
	err = call(s, &w);
	return err < 0 ? err : 1;
}

void
cwfuse_log_replay(struct cwfuse_session *s)
{
	unsigned int nwritten = 0, nfailed = 0;
	uint64_t seq = 0;
	int slot, err;

	while ((slot = next_logged(s, seq, UINT64_MAX)) >= 0) {
		seq = s->journal->log_seq[slot];
		err = replay(s, (unsigned int)slot);
		if (err > 0) {
			nwritten++;
		} else if (err < 0 && !atomic_load(&s->stopping)) {
			nfailed++;
			cwfuse_log_committed(
			    s, nodeid_of(s->journal, (unsigned int)slot), seq, true);
		}
	}
	if (atomic_load(&s->stopping)) /* the next daemon finds them again */
		return;
	atomic_store(&s->is_replayed, true);
	if (nwritten > 0 || nfailed > 0)
		log_info("fuse.log", "replayed", "share=\"%s\" writes=%u failed=%u", s->share_name,
		    nwritten, nfailed);
	cwfuse_log_commit(s);
}
