/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_ops.c - ops of chunks, seals and redo rows as bytes in a record of the commit log, and back; and which of
 * many need not be done because later ones undo them.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/index_int.h"

/* One op: head, words, and for a redo row the block. Codes are of the format, see FORMAT.md. */
struct op_head {
	uint8_t code, nwords;
	uint16_t zero;
	uint32_t nbytes;
};

#define WORDS_MAX 11

static const struct {
	enum index_op op;
	uint8_t nwords;
	uint16_t nbytes;
} codes[] = {
    [1] = {OP_PUT_CHUNK, 11, 0},
    [2] = {OP_DEL_CHUNK, 1, 0},
    [3] = {OP_DEL_FILE_CHUNKS, 2, 0},
    [4] = {OP_PUT_SEAL, 3, 0},
    [5] = {OP_DEL_SEAL, 1, 0},
    [6] = {OP_PUT_REDO, 3, REDO_BLOCK},
    [7] = {OP_CLEAR_REDO, 1, 0},
    [8] = {OP_CLEAR_REDO_SLOT, 2, 0},
};
#define NCODES (sizeof(codes) / sizeof(codes[0]))

/* code_of - 0: not a kind that goes into the log */
static uint8_t
code_of(enum index_op op)
{
	for (uint8_t i = 1; i < NCODES; i++) {
		if (codes[i].op == op)
			return i;
	}
	return 0;
}

size_t
index_op_len(const struct op *op)
{
	uint8_t code = code_of(op->code);

	return code == 0 ? 0
			 : sizeof(struct op_head) + codes[code].nwords * sizeof(uint64_t) +
			       codes[code].nbytes;
}

static void
to_words(const struct op *op, uint64_t w[WORDS_MAX])
{
	const struct index_chunk *c = &op->u.chunk;

	switch (op->code) {
	case OP_PUT_CHUNK:
		memcpy(w,
		    (uint64_t[]){c->file_id, c->chunk_no, c->space, (uint64_t)c->clean_slot,
			c->clean_mask, (uint64_t)c->sealed_slot, c->sealed_mask,
			(uint64_t)c->dirty_slot, c->dirty_mask, c->sealed_zero, c->dirty_zero},
		    11 * sizeof(*w));
		break;
	case OP_PUT_SEAL:
		w[0] = op->u.seal.file_id;
		w[1] = op->u.seal.space;
		w[2] = op->u.seal.base_limit;
		break;
	case OP_PUT_REDO:
		w[0] = op->u.redo.space;
		w[1] = (uint64_t)op->u.redo.slot;
		w[2] = op->u.redo.block;
		break;
	default:
		w[0] = (uint64_t)op->u.id.a;
		w[1] = (uint64_t)op->u.id.b;
		break;
	}
}

size_t
index_op_encode(const struct op *op, char *out)
{
	uint8_t code = code_of(op->code);
	struct op_head head = {code, codes[code].nwords, 0, codes[code].nbytes};
	uint64_t w[WORDS_MAX];
	size_t n = head.nwords * sizeof(w[0]);

	to_words(op, w);
	memcpy(out, &head, sizeof(head));
	memcpy(out + sizeof(head), w, n);
	if (head.nbytes > 0)
		memcpy(out + sizeof(head) + n, op->u.redo.data, head.nbytes);
	return sizeof(head) + n + head.nbytes;
}

/* from_words - result: false: numbers that cannot be */
static bool
from_words(struct op *op, const uint64_t w[WORDS_MAX])
{
	switch (op->code) {
	case OP_PUT_CHUNK:
		op->u.chunk = (struct index_chunk){.file_id = w[0],
		    .chunk_no = (uint32_t)w[1],
		    .space = (uint32_t)w[2],
		    .clean_slot = (int64_t)w[3],
		    .clean_mask = w[4],
		    .sealed_slot = (int64_t)w[5],
		    .sealed_mask = w[6],
		    .dirty_slot = (int64_t)w[7],
		    .dirty_mask = w[8],
		    .sealed_zero = w[9],
		    .dirty_zero = w[10]};
		return w[0] < 1ull << 36 && w[1] <= CHUNK_NO_MASK && w[2] <= UINT32_MAX;
	case OP_PUT_SEAL:
		op->u.seal = (struct index_seal){w[0], (uint32_t)w[1], w[2]};
		return w[1] <= UINT32_MAX;
	case OP_PUT_REDO:
		op->u.redo.space = (uint32_t)w[0];
		op->u.redo.slot = (int64_t)w[1];
		op->u.redo.block = (uint32_t)w[2];
		return w[0] <= UINT32_MAX && w[1] <= INT32_MAX && w[2] < 64;
	default:
		op->u.id.a = (int64_t)w[0];
		op->u.id.b = (int64_t)w[1];
		return true;
	}
}

bool
index_ops_decode(const char *p, size_t len, struct index_txn *out)
{
	while (len > 0) {
		struct op op = {0};
		struct op_head head;
		uint64_t w[WORDS_MAX] = {0};
		size_t n;

		if (len < sizeof(head))
			return false;
		memcpy(&head, p, sizeof(head));
		if (head.code == 0 || head.code >= NCODES || head.zero != 0 ||
		    head.nwords != codes[head.code].nwords ||
		    head.nbytes != codes[head.code].nbytes)
			return false;
		n = sizeof(head) + head.nwords * sizeof(w[0]);
		if (len < n + head.nbytes)
			return false;
		memcpy(w, p + sizeof(head), n - sizeof(head));
		op.code = codes[head.code].op;
		if (!from_words(&op, w))
			return false;
		op.u.redo.data = op.code == OP_PUT_REDO ? p + n : op.u.redo.data;
		index_copy_op(out, &op);
		p += n + head.nbytes;
		len -= n + head.nbytes;
	}
	return true;
}

/* --- what later ops undo ----------------------------------------------------------------------------------- */

struct key {
	uint64_t a, b;
};

struct keys { /* a set: open hash, a key of zeros is free */
	struct key *v;
	size_t cap;
};

#define KEY_CHUNK 1ull
#define KEY_BLOCK 2ull
#define KEY_SLOT 3ull
#define KEY_SPACE 4ull

/* keys_find - the place of k, or the free one for it. */
static struct key *
keys_find(const struct keys *s, uint64_t a, uint64_t b)
{
	size_t i =
	    (size_t)((a * 0x9e3779b97f4a7c15ull ^ b) * 0xbf58476d1ce4e5b9ull >> 20) & (s->cap - 1);

	while (s->v[i].a != 0 && (s->v[i].a != a || s->v[i].b != b))
		i = (i + 1) & (s->cap - 1);
	return &s->v[i];
}

static bool
keys_has(const struct keys *s, uint64_t kind, uint64_t space, uint64_t b)
{
	return keys_find(s, kind | space << 8, b)->a != 0;
}

/* keys_add - result: it was there already */
static bool
keys_add(struct keys *s, uint64_t kind, uint64_t space, uint64_t b)
{
	struct key *k = keys_find(s, kind | space << 8, b);

	if (k->a != 0)
		return true;
	k->a = kind | space << 8;
	k->b = b;
	return false;
}

/* is_undone - by those behind it, which are in the set; it joins them. */
static bool
is_undone(struct keys *s, const struct op *op)
{
	const struct redo_row *r = &op->u.redo;
	uint64_t space = (uint64_t)op->u.id.a, slot = (uint64_t)op->u.id.b;

	switch (op->code) {
	case OP_PUT_CHUNK:
		return keys_add(
		    s, KEY_CHUNK, 0, op->u.chunk.file_id << CHUNK_NO_BITS | op->u.chunk.chunk_no);
	case OP_DEL_CHUNK:
		return keys_add(s, KEY_CHUNK, 0, (uint64_t)op->u.id.a);
	case OP_PUT_REDO:
		return keys_has(s, KEY_SPACE, r->space, 0) ||
		       keys_has(s, KEY_SLOT, r->space, (uint64_t)r->slot) ||
		       keys_add(s, KEY_BLOCK, r->space, (uint64_t)r->slot << 6 | r->block);
	case OP_CLEAR_REDO:
		return keys_add(s, KEY_SPACE, space, 0);
	case OP_CLEAR_REDO_SLOT:
		return keys_has(s, KEY_SPACE, space, 0) || keys_add(s, KEY_SLOT, space, slot);
	default:
		return false;
	}
}

bool *
index_undone(const struct index_txn *t, struct index_txn *const *later, size_t nlater)
{
	bool *undone = xcalloc(t->nops + 1, sizeof(*undone));
	struct keys s = {.cap = 64};
	size_t n = t->nops;

	for (size_t i = 0; i < nlater; i++)
		n += later[i]->nops;
	while (s.cap < n * 2)
		s.cap *= 2;
	s.v = xcalloc(s.cap, sizeof(*s.v));
	for (size_t i = nlater; i-- > 0;) {
		for (size_t k = later[i]->nops; k-- > 0;)
			(void)is_undone(&s, &later[i]->ops[k]);
	}
	for (size_t i = t->nops; i-- > 0;)
		undone[i] = is_undone(&s, &t->ops[i]);
	free(s.v);
	return undone;
}
