/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_io.c - ops on content: READ WRITE COMMIT OPEN RELEASE.
 *
 * A READ that the cache holds runs through on the submitter's stack: check under the lock, cache_read(),
 * account under the lock; nothing is allocated.  The node is held (nrefs) while the lock is let go.
 *
 * The write verifier in the answer to a WRITE is the one from before its bytes were taken, in the answer
 * to a COMMIT the one from after the commit: so whatever a failed fsync lost lies between two answers
 * with different verifiers, and the client sends it again.
 */
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/strbuf.h"
#include "gateway/op_int.h"
#include "gateway/perm.h"

#define PRECONDITION_RUNS 4
#define ATIME_LAZY_NS (24ll * 3600 * 1000000000)

static int
file_begin(struct cw_op *op, struct node **out)
{
	struct node *n;
	int r = op_node_meta(op, op->ino, op->gen, &n);

	if (r != 0)
		return r;
	*out = n;
	if (S_ISDIR(n->mode))
		return -EISDIR;
	return S_ISREG(n->mode) ? 0 : -EINVAL;
}

static void
io_fill(struct cw_op *op, struct node *n, enum cw_io_op code, uint32_t count)
{
	struct cw_io *io = &op->io;

	memset(io, 0, sizeof(*io));
	io->op = code;
	io->flags = op->loop != NULL ? CW_IO_NOWAIT : 0;
	io->file = node_file(op->share, n);
	io->off = op->offset;
	io->len = count;
	io->buf = op->buf;
	io->size = n->size;
	op->base_gen = io->file->base_gen;
	io->done = op_io_done;
	io->ctx = op;
	op->node = n;
	node_ref(n);
}

/* --- READ -------------------------------------------------------------------------------------- */

/* touch_atime - as relatime does: only when older than the last change, or than a day. In memory and, at
 * some time, in the row; the bucket hears of it with the next real change. */
static void
touch_atime(struct cw_share *s, struct node *n)
{
	int64_t now;

	if (n->atime_ns > n->mtime_ns && n->atime_ns > n->ctime_ns &&
	    n->atime_ns > (now = clock_real_ns()) - ATIME_LAZY_NS)
		return;
	now = clock_real_ns();
	if (now <= n->mtime_ns)
		now = n->mtime_ns + 1;
	if (now <= n->ctime_ns)
		now = n->ctime_ns + 1;
	n->atime_ns = now;
	node_changed(s, n);
}

/* wait_for_facts - a read met another object than the tree knows: wait until it is known what is there. */
static bool
wait_for_facts(struct cw_op *op, struct node *n)
{
	if (op->stage == 0 || !(n->flags & NODE_HEADING))
		return false;
	if (n->head_waiters == NULL) {
		n->head_waiters = xmalloc(sizeof(*n->head_waiters));
		list_init(n->head_waiters);
	}
	list_add_tail(n->head_waiters, &op->link);
	return true;
}

/* read_send - the cache has it all: what the answer says is settled before its data goes. The file may
 * have become shorter since the lock was let go, but not its data, which is pinned: then the answer is
 * made the other way, when all is read. */
static uint32_t
read_send(struct cw_io *io, struct iovec *iov, unsigned int n)
{
	struct cw_op *op = io->ctx;
	struct node *node = op->node;
	uint32_t taken;
	bool fits;

	share_lock(op->share);
	fits = op->offset + io->len <= node->size;
	op->count_done = io->len;
	op->eof = op->offset + io->len >= node->size;
	op_set_attr(op, node);
	share_unlock(op->share);
	if (!fits)
		return 0;
	taken = op->send(op, iov, n);
	op->is_sent = taken > 0;
	return taken;
}

int
op_read_begin(struct cw_op *op)
{
	uint32_t count = op->count < OP_IO_MAX ? op->count : OP_IO_MAX;
	struct node *n = NULL;
	int r = file_begin(op, &n);

	if (r != 0)
		return r;
	op_set_attr(op, n);
	r = perm_check_io(n, &op->cred, CW_MAY_READ, op->is_owner_ok);
	if (r < 0)
		return r;
	if (wait_for_facts(op, n))
		return OP_PENDING;
	if (op->offset >= n->size) {
		op->eof = true;
		return 0;
	}
	if (count > n->size - op->offset)
		count = (uint32_t)(n->size - op->offset);
	if (count == 0)
		return 0;
	io_fill(op, n, CW_IO_READ, count);
	if (op->send != NULL &&
	    (op->loop == NULL || op->runs == 1)) { /* still inside cw_submit() */
		op->io.send = read_send;
		op->io.flags |= op->loop == NULL ? CW_IO_SEND_ANY : 0;
	}
	return OP_IO;
}

/* base_changed - an I/O met another object than the tree knows. Without a duty of ours the new facts are
 * on their way: run again. With one, the reconciler is deciding whose object stays, or finds that it is
 * an upload of ours whose answer got lost (at the last stop, say): that is waited for. */
static int
base_changed(struct cw_op *op, const struct node *n)
{
	op->stage++;
	if (n->dirty_since_ns != 0 && !(n->flags & NODE_REMOVED))
		return OP_DELAY;
	return op->stage < PRECONDITION_RUNS ? OP_RERUN : -EIO;
}

static int
read_result(struct cw_op *op, struct node *n, int result)
{
	if (result == -ERR_PRECONDITION)
		return base_changed(op, n);
	if (result < 0)
		return result;
	if (op->is_sent) {
		touch_atime(op->share, n);
		return 0;
	}
	/* Another object took the base's place while the bytes were gathered: some may be of the one, some
	 * of the other. (Our own upload changes none, but does not happen often to one read.) */
	if (S_ISREG(n->mode) && n->u.file == op->io.file && n->u.file->base_gen != op->base_gen &&
	    ++op->stage < PRECONDITION_RUNS)
		return OP_RERUN;
	/* The file may have become shorter meanwhile, here or in the bucket. */
	op->count_done = op->io.len;
	if (op->offset + op->io.len > n->size)
		op->count_done = n->size > op->offset ? (uint32_t)(n->size - op->offset) : 0;
	op->eof = op->offset + op->io.len >= n->size;
	touch_atime(op->share, n);
	op_set_attr(op, n);
	return 0;
}

/* --- WRITE ------------------------------------------------------------------------------------- */

/* written - the bytes are in place: the node follows. locked, in the cache's section that made them so,
 * hence the wcc data are of exactly this change. */
static void
written(struct cw_io *io)
{
	struct cw_op *op = io->ctx;
	struct cw_share *s = op->share;
	struct node *n = op->node;

	recalls_begin(op);
	op_wcc_begin(op, 0, n);
	if (io->off + io->len > n->size)
		n->size = io->off + io->len;
	if (op->cred.uid != 0 && (n->mode & (S_ISUID | S_ISGID)))
		n->mode = perm_drop_suid(n->mode);
	node_touch(n, true);
	op_data_changed(s, n);
	if (!(n->flags & NODE_REMOVED) && !s->closing)
		sync_wrote(s, n, io->off, io->len);
	if (op->stable && !(n->flags & NODE_REMOVED) && !s->closing)
		sync_committed(s, n);
	op_wcc_end(op, 0, n);
	op_set_attr(op, n);
	recalls_end(op);
}

/* torn - it failed, but not before some bytes were changed, perhaps. locked */
static void
torn(struct cw_io *io)
{
	struct cw_op *op = io->ctx;

	sync_tore(op->share, op->node, io->off);
}

int
op_write_begin(struct cw_op *op)
{
	struct node *n = NULL;
	int r = file_begin(op, &n);

	if (r == OP_PENDING || r == -ESTALE)
		return r;
	op_wcc_begin(op, 0, n);
	if (r == 0)
		r = op_writable(op);
	if (r == 0)
		r = perm_check_io(n, &op->cred, CW_MAY_WRITE, op->is_owner_ok);
	if (r < 0)
		return r;
	if (op->count > OP_IO_MAX)
		return -EINVAL;
	if (op->offset > OP_FILE_MAX || op->offset + op->count > OP_FILE_MAX)
		return -EFBIG;
	op->write_verf = cw_share_write_verf(op->share);
	if (op->count == 0) {
		op_set_attr(op, n);
		return 0;
	}
	io_fill(op, n, CW_IO_WRITE, op->count);
	op->io.written = written;
	op->io.torn = torn;
	return OP_IO;
}

static int
write_result(struct cw_op *op, const struct node *n, int result)
{
	if (result == -ERR_PRECONDITION)
		return base_changed(op, n);
	if (result < 0)
		return result;
	op->count_done = op->count;
	return op->stable ? OP_DURABLE : 0;
}

int
op_io_result(struct cw_op *op, int result)
{
	struct node *n = op->node;
	int r = op->code == CW_READ ? read_result(op, n, result) : write_result(op, n, result);

	op->node = NULL;
	node_unref(op->share, n);
	return r;
}

/* --- COMMIT, OPEN, RELEASE --------------------------------------------------------------------- */

/* is_durable - is there nothing of n that only memory and page cache know? Sealed blocks may be as
 * un-synced as dirty ones. */
static bool
is_durable(const struct node *n)
{
	const struct cache_file *f = n->u.file;

	if (!list_empty(&n->changed_link))
		return false;
	return f == NULL ||
	       (f->dirty_bytes == 0 && f->sealed_bytes == 0 && !f->has_sealed && f->nwriters == 0);
}

int
op_commit(struct cw_op *op)
{
	struct node *n = NULL;
	int r = file_begin(op, &n);

	if (r == OP_PENDING || r == -ESTALE)
		return r;
	op_wcc_begin(op, 0, n);
	if (r < 0)
		return r;
	op_set_attr(op, n);
	if (n->flags & NODE_REMOVED)
		return 0; /* no crash can ask for it */
	sync_committed(op->share, n);
	op->write_verf = cw_share_write_verf(op->share);
	return is_durable(n) ? 0 : OP_DURABLE;
}

int
op_open(struct cw_op *op)
{
	struct node *n;
	int r = op_node_meta(op, op->ino, op->gen, &n);

	if (r != 0)
		return r;
	if ((op->access & CW_MAY_WRITE) && op_writable(op) < 0)
		return -EROFS;
	r = perm_check(n, &op->cred, op->access & (CW_MAY_READ | CW_MAY_WRITE | CW_MAY_EXEC));
	if (r < 0)
		return r;
	n->nopen++;
	op_set_attr(op, n);
	return 0;
}

int
op_release(struct cw_op *op)
{
	struct node *n;
	int r = op_node(op, op->ino, op->gen, &n);

	if (r < 0)
		return r;
	if (n->nopen > 0 && --n->nopen == 0) {
		sync_committed(op->share, n); /* its writer is done with it */
		node_maybe_free(op->share, n);
	}
	return 0;
}
