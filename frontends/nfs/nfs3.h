/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nfs3.h - folder-private: a call of NFS or MOUNT from its arguments to its reply.
 *
 * Every NFS procedure is a row of a table: prepare() turns the arguments into a struct cw_op,
 * the gateway runs it, encode() writes the results.  What they share - handle, export and squash
 * checks, the duplicate-request cache, metrics - is nfs3_call.c.
 */
#ifndef NFS_NFS3_H
#define NFS_NFS3_H

#include "frontends/nfs/drc.h"
#include "frontends/nfs/nfs3_xdr.h"
#include "frontends/nfs/rpc_conn.h"
#include "gateway/fh.h"
#include "gateway/op.h"
#include "gateway/share.h"

struct mount_table;

struct nfs_service { /* one a server */
	struct rpc_service rpc;
	struct drc *drc;
	struct mount_table *mounts;
};

enum nfs_port_tag { NFS_PORT_ALL, NFS_PORT_MOUNT };

struct nfs3_proc;

struct nfs_call {
	struct rpc_req rpc; /* first */
	const struct nfs3_proc *proc;
	struct nfs3_args args;
	struct cw_share *share; /* referenced */
	enum nfs3_stat refusal; /* answer when the op went well: MKNOD, LINK */
	struct drc_entry *drc;
	struct drc_waiter waiter;
	/* replies in a region: READ, READLINK, READDIR, READDIRPLUS */
	uint32_t body_off;	  /* where the payload starts; the headers end here */
	uint32_t body_len;	  /* set by encode, with padding */
	struct be_writer entries; /* READDIR */
	uint32_t dir_bytes;	  /* READDIRPLUS: against dircount */
	/* MNT */
	const char *path_rest;
	char *text; /* malloc'd: symlink target, mount path */
	struct cw_op op;
	char name[CW_NAME_MAX + 1], name2[CW_NAME_MAX + 1];
};

enum nfs3_class {
	NFS3_META,
	NFS3_CHANGE,
	NFS3_DATA_READ,
	NFS3_DATA_WRITE,
	NFS3_DIR,
	NFS3_CLASS_MAX
};

struct nfs3_proc {
	const char *name;
	enum nfs3_class class;
	bool is_cached; /* by the duplicate-request cache */
	/* prepare - fill call->op (cleared; share, ino, gen and cred are set) from call->args.
	 * result: NFS3_OK: submit it; else the status to answer with */
	enum nfs3_stat (*prepare)(struct nfs_call *call);
	/* encode - the results behind the status word, for OK and for errors. Whatever of call->op was
	 * not filled in is zero. */
	void (*encode)(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w);
};

extern const struct nfs3_proc nfs3_procs[NFS3PROC_MAX]; /* NULL has no functions */

/* nfs3_call - run an NFS call whose credential is was decoded to claimed. loop */
void nfs3_call(struct nfs_call *call, const struct cw_cred *claimed);
/* mount3_call - the same for MOUNT, which asks for nobody's credential. loop */
void mount3_call(struct nfs_call *call);

/* nfs3_metrics_init - register the metrics; before the first call. */
void nfs3_metrics_init(void);

/* nfs_call_init - make call's own fields fresh; rpc is not touched. */
void nfs_call_init(struct nfs_call *call);
/* nfs_call_release - what the call holds besides its rpc part; before the reply. */
void nfs_call_release(struct nfs_call *call);

/* nfs3_put_headers - RPC and NFS results of a call whose payload has a place in its region, right before
 * that place; sets body_len. result: their length */
uint32_t nfs3_put_headers(struct nfs_call *call);

struct mount_table *mount_table_new(void);
void mount_table_free(struct mount_table *t);

struct nfs3_object { /* what a handle names */
	uint32_t share_id;
	uint64_t ino;
	uint32_t gen;
};

/* nfs3_get_fh - decode a handle. result: NFS3_OK; BADHANDLE not one of ours; STALE too old */
enum nfs3_stat nfs3_get_fh(const struct rpc_opaque *bytes, struct nfs3_object *out);
/* nfs3_put_fh - nfs_fh3 of an object in call's share. */
void nfs3_put_fh(struct be_writer *w, const struct nfs_call *call, uint64_t ino, uint32_t gen);
/* nfs3_put_post_op_fh - post_op_fh3 of the object an op made. */
void nfs3_put_post_op_fh(struct be_writer *w, const struct nfs_call *call);
/* nfs3_op_attr - the op's attributes or NULL. */
const struct cw_attr *nfs3_op_attr(const struct nfs_call *call);
/* nfs3_take_name - NUL-terminated copy of a filename3. OK, INVAL (empty or holds NUL), NAMETOOLONG */
enum nfs3_stat nfs3_take_name(const struct rpc_opaque *name, char out[CW_NAME_MAX + 1]);

/* The procedures, by noun: nfs3_attr.c, nfs3_name.c, nfs3_read.c, nfs3_write.c, nfs3_dir.c */
#define NFS3_HANDLER(x)                                                                            \
	enum nfs3_stat nfs3_prepare_##x(struct nfs_call *call);                                    \
	void nfs3_encode_##x(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
NFS3_HANDLER(getattr);
NFS3_HANDLER(setattr);
NFS3_HANDLER(access);
NFS3_HANDLER(fsstat);
NFS3_HANDLER(fsinfo);
NFS3_HANDLER(pathconf);
NFS3_HANDLER(lookup);
NFS3_HANDLER(create);
NFS3_HANDLER(mkdir);
NFS3_HANDLER(symlink);
NFS3_HANDLER(mknod);
NFS3_HANDLER(remove);
NFS3_HANDLER(rmdir);
NFS3_HANDLER(rename);
NFS3_HANDLER(link);
NFS3_HANDLER(readlink);
NFS3_HANDLER(read);
NFS3_HANDLER(write);
NFS3_HANDLER(commit);
NFS3_HANDLER(readdir);
NFS3_HANDLER(readdirplus);

#endif
