/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of every NFSv3 procedure and of MOUNT: the first byte chooses, the rest is decoded. */
#include <stdlib.h>

#include "frontends/nfs/mount3.h"
#include "frontends/nfs/nfs3_xdr.h"
#include "frontends/nfs/rpcbind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A slice must lie in the bytes it was cut from. */
static void
check(const struct rpc_opaque *o, const uint8_t *mem, size_t len)
{
	if (o->len > 0 && (o->data < mem || o->len > len || o->data + o->len > mem + len))
		abort();
}

static void
walk_path(const struct rpc_opaque *o)
{
	char *path = malloc(o->len + 1u), name[256];
	const char *p = path;

	memcpy(path, o->len > 0 ? (const char *)o->data : "", o->len);
	path[o->len] = '\0';
	while (mount3_next_name(&p, name) > 0)
		;
	free(path);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nfs3_args a;
	struct rpc_opaque path;
	struct be_reader r;
	uint8_t *mem;
	uint32_t proc;

	if (size == 0)
		return 0;
	proc = data[0] % (NFS3PROC_MAX + 2u);
	mem = malloc(size); /* exactly, so that a read past the end is seen */
	memcpy(mem, data + 1, size - 1);
	be_reader_init(&r, mem, size - 1);
	if (proc < NFS3PROC_MAX && nfs3_decode(proc, &r, &a)) {
		check(&a.fh, mem, size - 1);
		check(&a.name, mem, size - 1);
		check(&a.fh2, mem, size - 1);
		check(&a.name2, mem, size - 1);
		check(&a.data, mem, size - 1);
	} else if (proc == NFS3PROC_MAX && mount3_decode_path(&r, &path)) {
		check(&path, mem, size - 1);
		walk_path(&path);
	} else if (proc > NFS3PROC_MAX) {
		if (rpcbind_decode_reply(mem, size - 1, 0x01020304) > 1)
			abort();
	}
	free(mem);
	return 0;
}
