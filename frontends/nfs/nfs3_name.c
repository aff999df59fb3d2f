/* SPDX-License-Identifier: Apache-2.0 */
/* nfs3_name.c - LOOKUP, CREATE, MKDIR, SYMLINK, MKNOD, REMOVE, RMDIR, RENAME, LINK. */
#include <stdlib.h>

#include "frontends/nfs/nfs3.h"
#include "gateway/base/strbuf.h"

enum nfs3_stat
nfs3_take_name(const struct rpc_opaque *name, char out[CW_NAME_MAX + 1])
{
	out[0] = '\0';
	if (name->len == 0)
		return NFS3ERR_INVAL;
	if (name->len > CW_NAME_MAX)
		return NFS3ERR_NAMETOOLONG;
	if (memchr(name->data, '\0', name->len) != NULL)
		return NFS3ERR_INVAL;
	memcpy(out, name->data, name->len);
	out[name->len] = '\0';
	return NFS3_OK;
}

static enum nfs3_stat
prepare_named(struct nfs_call *call, enum cw_opcode code)
{
	call->op.code = code;
	call->op.name = call->name;
	return nfs3_take_name(&call->args.name, call->name);
}

/* LOOKUP. RFC 1813 3.3.3: IO NOENT ACCES NOTDIR NAMETOOLONG STALE BADHANDLE SERVERFAULT; INVAL,
 * JUKEBOX */
enum nfs3_stat
nfs3_prepare_lookup(struct nfs_call *call)
{
	return prepare_named(call, CW_LOOKUP);
}

void
nfs3_encode_lookup(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	const struct cw_wcc *dir = &call->op.wcc[0];

	if (stat == NFS3_OK) {
		nfs3_put_fh(w, call, call->op.attr.ino, call->op.attr.gen);
		nfs3_put_post_op_attr(w, &call->op.attr);
	}
	nfs3_put_post_op_attr(w, dir->has_post ? &dir->post : NULL);
}

static void
encode_made(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	if (stat == NFS3_OK) {
		nfs3_put_post_op_fh(w, call);
		nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	}
	nfs3_put_wcc(w, &call->op.wcc[0]);
}

/* CREATE. RFC 1813 3.3.8: IO ACCES EXIST NOTDIR NOSPC ROFS NAMETOOLONG DQUOT STALE BADHANDLE NOTSUPP
 * SERVERFAULT; INVAL, JUKEBOX */
enum nfs3_stat
nfs3_prepare_create(struct nfs_call *call)
{
	static const enum cw_create_mode modes[] = {
	    CW_CREATE_UNCHECKED, CW_CREATE_GUARDED, CW_CREATE_EXCLUSIVE};

	call->op.sattr = call->args.sattr;
	call->op.create_mode = modes[call->args.create_mode];
	call->op.verf = call->args.verf;
	if (call->args.is_bad_time)
		return NFS3ERR_INVAL;
	return prepare_named(call, CW_CREATE);
}

void
nfs3_encode_create(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	encode_made(call, stat, w);
}

/* MKDIR. RFC 1813 3.3.9: IO ACCES EXIST NOTDIR NOSPC ROFS NAMETOOLONG DQUOT STALE BADHANDLE NOTSUPP
 * SERVERFAULT; INVAL, JUKEBOX */
enum nfs3_stat
nfs3_prepare_mkdir(struct nfs_call *call)
{
	call->op.sattr = call->args.sattr;
	if (call->args.is_bad_time)
		return NFS3ERR_INVAL;
	return prepare_named(call, CW_MKDIR);
}

void
nfs3_encode_mkdir(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	encode_made(call, stat, w);
}

/* SYMLINK. RFC 1813 3.3.10: IO ACCES EXIST NOTDIR NOSPC ROFS NAMETOOLONG DQUOT STALE BADHANDLE
 * NOTSUPP SERVERFAULT; INVAL, JUKEBOX */
enum nfs3_stat
nfs3_prepare_symlink(struct nfs_call *call)
{
	const struct rpc_opaque *target = &call->args.data;

	call->op.sattr = call->args.sattr;
	if (call->args.is_bad_time || target->len == 0 ||
	    memchr(target->data, '\0', target->len) != NULL)
		return NFS3ERR_INVAL;
	if (target->len > CW_SYMLINK_MAX)
		return NFS3ERR_NAMETOOLONG;
	call->text = xstrndup((const char *)target->data, target->len);
	call->op.name2 = call->text;
	return prepare_named(call, CW_SYMLINK);
}

void
nfs3_encode_symlink(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	encode_made(call, stat, w);
}

/* MKNOD. RFC 1813 3.3.11: NOTSUPP (an object has no place for a device), BADTYPE; of the look at the
 * directory: IO STALE BADHANDLE SERVERFAULT ACCES JUKEBOX */
enum nfs3_stat
nfs3_prepare_mknod(struct nfs_call *call)
{
	bool is_node = call->args.type == NF3BLK || call->args.type == NF3CHR ||
		       call->args.type == NF3SOCK || call->args.type == NF3FIFO;

	call->refusal = is_node ? NFS3ERR_NOTSUPP : NFS3ERR_BADTYPE;
	return nfs3_prepare_getattr(call);
}

void
nfs3_encode_mknod(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	(void)stat; /* never OK */
	be_put_u32(w, 0);
	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
}

/* REMOVE. RFC 1813 3.3.12: NOENT IO ACCES NOTDIR NAMETOOLONG ROFS STALE BADHANDLE SERVERFAULT;
 * ISDIR INVAL PERM (sticky), JUKEBOX */
enum nfs3_stat
nfs3_prepare_remove(struct nfs_call *call)
{
	return prepare_named(call, CW_REMOVE);
}

void
nfs3_encode_remove(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	(void)stat;
	nfs3_put_wcc(w, &call->op.wcc[0]);
}

/* RMDIR. RFC 1813 3.3.13: NOENT IO ACCES INVAL EXIST NOTDIR NAMETOOLONG ROFS NOTEMPTY STALE BADHANDLE
 * NOTSUPP SERVERFAULT; PERM (sticky), JUKEBOX */
enum nfs3_stat
nfs3_prepare_rmdir(struct nfs_call *call)
{
	return prepare_named(call, CW_RMDIR);
}

void
nfs3_encode_rmdir(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	(void)stat;
	nfs3_put_wcc(w, &call->op.wcc[0]);
}

/* RENAME. RFC 1813 3.3.14: NOENT IO ACCES EXIST XDEV NOTDIR ISDIR INVAL NOSPC ROFS MLINK NAMETOOLONG
 * NOTEMPTY DQUOT STALE BADHANDLE NOTSUPP SERVERFAULT; PERM (sticky), JUKEBOX */
enum nfs3_stat
nfs3_prepare_rename(struct nfs_call *call)
{
	struct nfs3_object to;
	enum nfs3_stat stat;

	stat = nfs3_get_fh(&call->args.fh2, &to);
	if (stat == NFS3_OK && to.share_id != cw_share_id(call->share))
		stat = NFS3ERR_XDEV;
	if (stat == NFS3_OK)
		stat = nfs3_take_name(&call->args.name2, call->name2);
	if (stat != NFS3_OK)
		return stat;
	call->op.ino2 = to.ino;
	call->op.gen2 = to.gen;
	call->op.name2 = call->name2;
	return prepare_named(call, CW_RENAME);
}

void
nfs3_encode_rename(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	(void)stat;
	nfs3_put_wcc(w, &call->op.wcc[0]);
	nfs3_put_wcc(w, &call->op.wcc[1]);
}

/* LINK. RFC 1813 3.3.15: NOTSUPP (an object has one name); of the look at the file: IO STALE
 * BADHANDLE SERVERFAULT ACCES JUKEBOX */
enum nfs3_stat
nfs3_prepare_link(struct nfs_call *call)
{
	call->refusal = NFS3ERR_NOTSUPP;
	return nfs3_prepare_getattr(call);
}

void
nfs3_encode_link(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	(void)stat; /* never OK */
	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	nfs3_put_wcc(w, NULL);
}
