/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP stream of RPC records, given in the portions that the first byte says, through record marking,
 * call header, credential and arguments.
 */
#include <stdlib.h>

#include "frontends/nfs/nfs3_xdr.h"
#include "frontends/nfs/rpc_auth.h"
#include "frontends/nfs/rpc_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
take(const uint8_t *data, size_t len)
{
	uint8_t *mem = malloc(len + 1);
	struct rpc_header h;
	struct be_reader r;
	struct nfs3_args a;
	struct cw_cred cred;

	memcpy(mem, data, len);
	be_reader_init(&r, mem, len);
	if (rpc_decode_call(&r, &h) == 0 && h.rpcvers == RPC_VERSION) {
		if (rpc_auth_decode(&h, &cred) == RPC_AUTH_OK &&
		    cred.ngroups > RPC_AUTH_SYS_GROUPS_MAX)
			abort();
		nfs3_decode(h.proc % NFS3PROC_MAX, &r, &a);
	}
	free(mem);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpc_record rec = {0};
	size_t have = 0, start = 0, need, step;
	uint8_t *buf;

	if (size < 2)
		return 0;
	step = data[0] + 1u;
	data++;
	size--;
	buf = malloc(size);
	while (have < size) {
		size_t n = size - have < step ? size - have : step;

		memcpy(buf + have, data + have, n);
		have += n;
		for (;;) {
			enum rpc_record_state s =
			    rpc_record_next(&rec, buf + start, have - start, &need);

			if (s == RPC_RECORD_BAD)
				goto out;
			if (s == RPC_RECORD_NEED) {
				if (need <= have - start)
					abort(); /* no progress: a loop would spin */
				break;
			}
			if (rec.len + 4 > rec.raw || rec.raw > have - start)
				abort();
			take(buf + start + 4, rec.len);
			start += rec.raw;
			memset(&rec, 0, sizeof(rec));
		}
	}
out:
	free(buf);
	return 0;
}
