/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nfs3_dir.c - READDIR and READDIRPLUS.  Entries are encoded straight into the reply while the gateway
 * walks the directory.  Cookies are the gateway's and stay valid while entries come and go, so the
 * cookie verifier is a constant.
 */
#include "frontends/nfs/nfs3.h"

#define COOKIE_VERF 0x4341555345574159ull
/* record mark, RPC header, status; then what counts towards count and maxcount: */
#define HEADERS_LEN (4 + RPC_ACCEPTED_LEN + 4)
#define RESOK_HEAD_LEN (4 + NFS3_ATTR_LEN + NFS3_COOKIEVERFSIZE)
#define RESOK_TAIL_LEN 8u /* end of list, eof */

static size_t
padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static bool
emit_entry(struct cw_op *op, const struct cw_dirent *e)
{
	struct nfs_call *call = op->ctx;
	struct be_writer *w = &call->entries;

	if (be_room(w) < 4 + 8 + 4 + padded(e->name_len) + 8)
		return false;
	be_put_u32(w, 1);
	be_put_u64(w, e->ino);
	rpc_put_opaque(w, e->name, (uint32_t)e->name_len);
	be_put_u64(w, e->cookie);
	return true;
}

static bool
emit_entry_plus(struct cw_op *op, const struct cw_dirent *e)
{
	struct nfs_call *call = op->ctx;
	struct be_writer *w = &call->entries;
	uint32_t dir_bytes = 8 + 4 + (uint32_t)padded(e->name_len) + 8;
	size_t attr_len = e->attr != NULL ? NFS3_ATTR_LEN : 0;

	if (be_room(w) < 4 + dir_bytes + 4 + attr_len + 4 + 4 + FH_LEN)
		return false;
	/* the first entry goes out even if dircount is too small for it: maxcount is the hard limit */
	if (call->dir_bytes > 0 && call->dir_bytes + dir_bytes > call->args.dircount)
		return false;
	call->dir_bytes += dir_bytes;
	be_put_u32(w, 1);
	be_put_u64(w, e->ino);
	rpc_put_opaque(w, e->name, (uint32_t)e->name_len);
	be_put_u64(w, e->cookie);
	nfs3_put_post_op_attr(w, e->attr);
	be_put_u32(w, 1);
	/* every node of a share has the share's generation */
	nfs3_put_fh(w, call, e->ino, e->attr != NULL ? e->attr->gen : op->gen);
	return true;
}

static void
emit_reset(struct cw_op *op)
{
	struct nfs_call *call = op->ctx;

	call->entries.p = call->entries.start;
	call->dir_bytes = 0;
}

static enum nfs3_stat
prepare_dir(struct nfs_call *call, bool is_plus)
{
	const struct nfs3_args *a = &call->args;
	struct cw_op *op = &call->op;
	uint32_t count = a->count > NFS3_IO_MAX ? NFS3_IO_MAX : a->count;
	uint8_t *region;

	if (a->cookie != 0 && a->verf != COOKIE_VERF)
		return NFS3ERR_BAD_COOKIE;
	if (count < RESOK_HEAD_LEN + RESOK_TAIL_LEN)
		return NFS3ERR_TOOSMALL;
	count &= ~3u;
	region = rpc_req_reserve(&call->rpc, HEADERS_LEN + count);
	call->body_off = HEADERS_LEN + RESOK_HEAD_LEN;
	be_writer_init(
	    &call->entries, region + call->body_off, count - RESOK_HEAD_LEN - RESOK_TAIL_LEN);
	call->dir_bytes = 0;
	op->code = CW_READDIR;
	op->cookie = a->cookie;
	op->want_attrs = op->is_bulk = is_plus;
	op->emit = is_plus ? emit_entry_plus : emit_entry;
	op->emit_reset = emit_reset;
	return NFS3_OK;
}

static void
encode_dir(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	struct be_writer *entries = &call->entries;

	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	if (stat != NFS3_OK)
		return;
	be_put_u64(w, COOKIE_VERF);
	entries->end += RESOK_TAIL_LEN;
	be_put_u32(entries, 0);
	be_put_u32(entries, call->op.eof);
	call->body_len = (uint32_t)be_written(entries);
}

/* READDIR. RFC 1813 3.3.16: IO ACCES NOTDIR BAD_COOKIE TOOSMALL STALE BADHANDLE SERVERFAULT; JUKEBOX */
enum nfs3_stat
nfs3_prepare_readdir(struct nfs_call *call)
{
	return prepare_dir(call, false);
}

void
nfs3_encode_readdir(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	encode_dir(call, stat, w);
}

/* READDIRPLUS. RFC 1813 3.3.17: IO ACCES NOTDIR BAD_COOKIE TOOSMALL STALE BADHANDLE NOTSUPP
 * SERVERFAULT; JUKEBOX */
enum nfs3_stat
nfs3_prepare_readdirplus(struct nfs_call *call)
{
	return prepare_dir(call, true);
}

void
nfs3_encode_readdirplus(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	encode_dir(call, stat, w);
}
