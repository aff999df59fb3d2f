/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/rpc_record.h"

#include <stdbool.h>
#include <string.h>

#include "gateway/base/be.h"

enum rpc_record_state
rpc_record_next(struct rpc_record *r, uint8_t *buf, size_t have, size_t *need)
{
	for (;;) {
		struct be_reader in;
		uint32_t mark, len;
		bool is_last;

		*need = r->raw + 4;
		if (have < *need)
			return RPC_RECORD_NEED;
		be_reader_init(&in, buf + r->raw, 4);
		mark = be_u32(&in);
		len = mark & 0x7fffffffu;
		is_last = (mark & 0x80000000u) != 0;
		if (len > RPC_RECORD_MAX - r->len || r->nfragments >= RPC_FRAGMENTS_MAX)
			return RPC_RECORD_BAD;
		*need += len;
		if (have < *need)
			return RPC_RECORD_NEED;
		if (r->nfragments > 0 && len > 0)
			memmove(buf + 4 + r->len, buf + r->raw + 4, len);
		r->nfragments++;
		r->len += len;
		r->raw += 4 + (size_t)len;
		if (is_last)
			return RPC_RECORD_READY;
	}
}
