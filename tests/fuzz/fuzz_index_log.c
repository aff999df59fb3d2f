/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the ops of a record of the commit log; what is understood survives a round trip, and leaving out
 * what later ops undo leaves no two for one chunk or block. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache/index_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* check_undone - of two rows for one chunk the earlier is. */
static void
check_undone(const struct index_txn *t)
{
	bool *undone = index_undone(t, NULL, 0);

	for (size_t i = 0; i < t->nops; i++) {
		const struct index_chunk *a = &t->ops[i].u.chunk;

		for (size_t k = i + 1; t->ops[i].code == OP_PUT_CHUNK && k < t->nops && k < i + 64;
		     k++) {
			const struct index_chunk *b = &t->ops[k].u.chunk;

			if (t->ops[k].code == OP_PUT_CHUNK && a->file_id == b->file_id &&
			    a->chunk_no == b->chunk_no && !undone[i])
				abort();
		}
	}
	free(undone);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct index_txn *t = index_txn_new();
	char *again = malloc(size + 1), *p = again;

	if (index_ops_decode((const char *)data, size, t)) {
		for (size_t i = 0; i < t->nops; i++) {
			if (index_op_len(&t->ops[i]) > size - (size_t)(p - again))
				abort();
			p += index_op_encode(&t->ops[i], p);
		}
		if ((size_t)(p - again) != size || memcmp(again, data, size) != 0)
			abort();
	}
	check_undone(t);
	index_txn_free(t);
	free(again);
	return 0;
}
