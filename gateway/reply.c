/* SPDX-License-Identifier: Apache-2.0 */
/* reply.c - requests that were done before a restart, and their answers. */
#include "gateway/reply.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/op_int.h"

#define KNOWN_FOR_MS (15u * 60 * 1000)
#define LEN CW_REPLY_TAG_LEN

_Static_assert(CW_REPLY_TAG_LEN == INDEX_REPLY_TAG_LEN, "a tag is what the index takes");

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, LEN);
}

struct loading {
	struct replies *r;
	int64_t now_ns;
	size_t cap;
};

static void
append(uint8_t **tags, size_t *n, size_t *cap, const uint8_t *tag)
{
	if (*n == *cap) {
		*cap = *cap == 0 ? 64 : *cap * 2;
		*tags = xrealloc(*tags, *cap * LEN);
	}
	memcpy(*tags + *n * LEN, tag, LEN);
	(*n)++;
}

static int
load_row(void *arg, const struct index_reply *row)
{
	const int64_t limit_ns = (int64_t)KNOWN_FOR_MS * 1000000;
	struct loading *l = arg;
	size_t i;

	/* The clock may have been set meanwhile: what seems to come from the future counts too. */
	if (row->time_ns < l->now_ns - limit_ns)
		return 0;
	for (i = 0; i < row->ntags; i++)
		append(&l->r->known, &l->r->nknown, &l->cap, row->tags + i * LEN);
	return 0;
}

int
reply_load(struct cw_share *s)
{
	struct loading l = {.r = &s->replies, .now_ns = clock_real_ns()};
	int r = index_each_reply(cache_index(s->env.cache), s->id, load_row, &l);

	if (r < 0)
		return r;
	if (s->replies.nknown > 0)
		qsort(s->replies.known, s->replies.nknown, LEN, compare);
	s->replies.known_until_ms = clock_mono_ms() + KNOWN_FOR_MS;
	return 0;
}

void
reply_free(struct cw_share *s)
{
	free(s->replies.fresh);
	free(s->replies.known);
	memset(&s->replies, 0, sizeof(s->replies));
}

void
reply_add(struct cw_share *s, const uint8_t tag[CW_REPLY_TAG_LEN])
{
	append(&s->replies.fresh, &s->replies.nfresh, &s->replies.cap, tag);
}

void
reply_collect(struct cw_share *s, struct index_txn *txn)
{
	struct replies *r = &s->replies;
	struct index_reply row = {.space = s->id, .tags = r->fresh, .ntags = r->nfresh};

	if (r->nfresh == 0)
		return;
	row.time_ns = clock_real_ns();
	index_txn_add_reply(txn, &row);
	/* Should this commit fail, their senders are told so: they are not offered again. */
	r->nfresh = 0;
}

bool
reply_is_known(struct cw_share *s, const uint8_t tag[CW_REPLY_TAG_LEN])
{
	struct replies *r = &s->replies;

	if (r->nknown == 0)
		return false;
	if (clock_mono_ms() > r->known_until_ms) {
		free(r->known);
		r->known = NULL;
		r->nknown = 0;
		return false;
	}
	return bsearch(tag, r->known, r->nknown, LEN, compare) != NULL;
}

/* --- the answer ---------------------------------------------------------------------------------- */

static uint32_t
type_made(enum cw_opcode code)
{
	switch (code) {
	case CW_CREATE:
		return S_IFREG;
	case CW_MKDIR:
		return S_IFDIR;
	case CW_SYMLINK:
		return S_IFLNK;
	default:
		return 0;
	}
}

static void
show_made(struct cw_op *op, struct node *dir)
{
	struct node *n = node_child(op->share, dir, op->name, strlen(op->name));

	if (n != NULL && (n->mode & S_IFMT) == type_made(op->code) &&
	    !(n->flags & NODE_META_UNKNOWN))
		op_set_attr(op, n);
}

/* op_answer_again - nothing is changed and the bucket is not asked: what the op made or left is in the
 * tree, or somebody has removed it since, which does not make it undone. locked */
int
op_answer_again(struct cw_op *op)
{
	struct node *n;

	log_info("gateway.op", "answered-again", "share=%u op=%d ino=%llu", op->share->id,
	    (int)op->code, (unsigned long long)op->ino);
	if (op_node(op, op->ino, op->gen, &n) == 0) {
		op_wcc_end(op, 0, n);
		if (type_made(op->code) != 0 && S_ISDIR(n->mode))
			show_made(op, n);
	}
	if (op->code == CW_RENAME && op_node(op, op->ino2, op->gen2, &n) == 0)
		op_wcc_end(op, 1, n);
	return 0;
}
