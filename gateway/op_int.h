/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_int.h - folder-private: the parts that the code of each op is made of.
 *
 * An op's function runs locked and returns a result, or one of the two codes below.  It changes
 * nothing before everything it needs is present, because an op that had to wait is run from its start.
 */
#ifndef GATEWAY_OP_INT_H
#define GATEWAY_OP_INT_H

#include "gateway/node.h"

#define OP_PENDING 1 /* parked: whoever holds it now runs it again or completes it */
#define OP_DURABLE 2 /* applied: complete when the commit that takes the change is durable */

#define OP_FILE_MAX (5ull << 40) /* what one object may hold */
#define OP_IO_MAX ((1u << 20) + 4096)

/* op_node - the node of a handle. 0 or -ESTALE */
int op_node(struct cw_op *op, uint64_t ino, uint32_t gen, struct node **out);
/* op_node_meta - the same, with its attributes known. 0, -ESTALE or OP_PENDING */
int op_node_meta(struct cw_op *op, uint64_t ino, uint32_t gen, struct node **out);
/* op_dir - the same for a directory. -ENOTDIR too */
int op_dir(struct cw_op *op, uint64_t ino, uint32_t gen, struct node **out);
/* op_need_meta - 0, or OP_PENDING: op is parked until n's attributes are there. */
int op_need_meta(struct cw_op *op, struct node *n);
/* op_find - the child called name of a directory whose names are known by then, its attributes too.
 * result: 0 with *out NULL when there is none, OP_PENDING */
int op_find(struct cw_op *op, struct node *dir, const char *name, struct node **out);
/* op_name_check - may this be the name of an entry? 0, -EINVAL, -ENAMETOOLONG; "." and ".." are -EEXIST */
int op_name_check(const char *name);
/* op_writable - -EROFS on a read-only share. */
int op_writable(const struct cw_op *op);

/* op_wcc_begin - n as it was; op_wcc_end - as it is now. */
void op_wcc_begin(struct cw_op *op, unsigned int i, const struct node *n);
void op_wcc_end(struct cw_op *op, unsigned int i, const struct node *n);
void op_set_attr(struct cw_op *op, const struct node *n);

/* What changed, told to the row and to the reconciler. */
void op_data_changed(struct cw_share *s, struct node *n);
void op_attr_changed(struct cw_share *s, struct node *n);
/* op_entries_changed - a directory got or lost an entry: times, and the duty to store them. */
void op_entries_changed(struct cw_share *s, struct node *dir);

/* op_truncate - set the size of a regular file, times and set-id bits with it.
 * result: 0, OP_PENDING (parked until its I/O is through), -EIO */
int op_truncate(struct cw_op *op, struct node *n, uint64_t size);

/* sattr_apply - set everything but the size; the caller checked that c may. result: anything set? */
bool sattr_apply(struct node *n, const struct cw_sattr *a, const struct cw_cred *c);

/* recalls_begin, recalls_end - what changes between them in this locked section is op's doing. */
void recalls_begin(struct cw_op *op);
void recalls_end(struct cw_op *op);
/* recall_wait - op, whose result this is, caused recalls that are not done: park it; op_recalled() comes then.
 * Any lock state. result: was it parked? */
bool recall_wait(struct cw_op *op, int result);
/* op_recalled - complete such an op. unlocked */
void op_recalled(struct cw_op *op);

/* --- one function an op; all locked --------------------------------------------------------------- */
int op_getattr(struct cw_op *op);
int op_setattr(struct cw_op *op);
int op_lookup(struct cw_op *op);
int op_access(struct cw_op *op);
int op_readlink(struct cw_op *op);
int op_statfs(struct cw_op *op);
int op_create(struct cw_op *op);
int op_mkdir(struct cw_op *op);
int op_symlink(struct cw_op *op);
int op_remove(struct cw_op *op);
int op_rmdir(struct cw_op *op);
int op_rename(struct cw_op *op);
int op_readdir(struct cw_op *op);
int op_commit(struct cw_op *op);
int op_open(struct cw_op *op);
int op_release(struct cw_op *op);
/* op_answer_again - instead of all of these: op was done before a restart. */
int op_answer_again(struct cw_op *op);
/* op_read_begin, op_write_begin - check and fill op->io. result: 0: nothing to move, complete;
 * negative; OP_PENDING; OP_IO: the I/O is to be submitted, with op->node held */
#define OP_IO 3
int op_read_begin(struct cw_op *op);
int op_write_begin(struct cw_op *op);
/* op_io_result - what a finished I/O means for its op. locked; lets op->node go.
 * result: as an op's function, and OP_RERUN, OP_DELAY: see op_delay() */
#define OP_RERUN 4
#define OP_DELAY 5
int op_io_result(struct cw_op *op, int result);
/* op_io_done - op->io.done of both. */
void op_io_done(struct cw_io *io);

#endif
