/* SPDX-License-Identifier: Apache-2.0 */
/* nfs3_call.c - what all NFS procedures share, from arguments to reply. */
#include <stdlib.h>

#include "frontends/nfs/nfs3.h"
#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define CHECKSUMMED 256u
#define HEADERS_MAX 256u

#define PROC(x, class_, cached)                                                                    \
	{                                                                                          \
#x, class_, cached, nfs3_prepare_##x, nfs3_encode_##x                              \
	}

const struct nfs3_proc nfs3_procs[NFS3PROC_MAX] = {
    [NFS3PROC_NULL] = {"null", NFS3_META, false, NULL, NULL},
    [NFS3PROC_GETATTR] = PROC(getattr, NFS3_META, false),
    [NFS3PROC_SETATTR] = PROC(setattr, NFS3_CHANGE, true),
    [NFS3PROC_LOOKUP] = PROC(lookup, NFS3_META, false),
    [NFS3PROC_ACCESS] = PROC(access, NFS3_META, false),
    [NFS3PROC_READLINK] = PROC(readlink, NFS3_META, false),
    [NFS3PROC_READ] = PROC(read, NFS3_DATA_READ, false),
    [NFS3PROC_WRITE] = PROC(write, NFS3_DATA_WRITE, true),
    [NFS3PROC_CREATE] = PROC(create, NFS3_CHANGE, true),
    [NFS3PROC_MKDIR] = PROC(mkdir, NFS3_CHANGE, true),
    [NFS3PROC_SYMLINK] = PROC(symlink, NFS3_CHANGE, true),
    [NFS3PROC_MKNOD] = PROC(mknod, NFS3_META, false),
    [NFS3PROC_REMOVE] = PROC(remove, NFS3_CHANGE, true),
    [NFS3PROC_RMDIR] = PROC(rmdir, NFS3_CHANGE, true),
    [NFS3PROC_RENAME] = PROC(rename, NFS3_CHANGE, true),
    [NFS3PROC_LINK] = PROC(link, NFS3_META, false),
    [NFS3PROC_READDIR] = PROC(readdir, NFS3_DIR, false),
    [NFS3PROC_READDIRPLUS] = PROC(readdirplus, NFS3_DIR, false),
    [NFS3PROC_FSSTAT] = PROC(fsstat, NFS3_META, false),
    [NFS3PROC_FSINFO] = PROC(fsinfo, NFS3_META, false),
    [NFS3PROC_PATHCONF] = PROC(pathconf, NFS3_META, false),
    [NFS3PROC_COMMIT] = PROC(commit, NFS3_DATA_WRITE, false),
};

static struct {
	struct metric *ops[NFS3PROC_MAX], *seconds[NFS3_CLASS_MAX];
	struct metric *garbage, *refused, *replayed, *errors;
} metrics;

void
nfs3_metrics_init(void)
{
	static const char *const classes[] = {"meta", "change", "read", "write", "dir"};

	for (int i = 0; i < NFS3PROC_MAX; i++) {
		char *labels = xasprintf("op=\"%s\"", nfs3_procs[i].name);

		metrics.ops[i] = metrics_counter("nfs_ops_total", labels, "NFS calls answered");
		free(labels);
	}
	for (int i = 0; i < NFS3_CLASS_MAX; i++) {
		char *labels = xasprintf("class=\"%s\"", classes[i]);

		metrics.seconds[i] = metrics_histogram("nfs_op_duration_seconds", labels,
		    "time from receiving an NFS call to its reply");
		free(labels);
	}
	metrics.garbage = metrics_counter("nfs_rejected_total", "reason=\"garbage\"",
	    "NFS calls not run: arguments undecodable, or peer not in the share's client list");
	metrics.refused = metrics_counter("nfs_rejected_total", "reason=\"client\"", NULL);
	metrics.replayed = metrics_counter("nfs_replayed_total", NULL,
	    "repeated NFS calls answered from the duplicate-request cache");
	metrics.errors =
	    metrics_counter("nfs_errors_total", NULL, "NFS calls answered with an error status");
}

/* --- handles ------------------------------------------------------------------------------------ */

enum nfs3_stat
nfs3_get_fh(const struct rpc_opaque *bytes, struct nfs3_object *out)
{
	switch (fh_decode(bytes->data, bytes->len, &out->share_id, &out->ino, &out->gen)) {
	case 0:
		return NFS3_OK;
	case -ESTALE:
		return NFS3ERR_STALE;
	default:
		return NFS3ERR_BADHANDLE;
	}
}

void
nfs3_put_fh(struct be_writer *w, const struct nfs_call *call, uint64_t ino, uint32_t gen)
{
	uint8_t *p;

	be_put_u32(w, FH_LEN);
	p = be_reserve(w, FH_LEN);
	if (p != NULL)
		fh_encode(p, cw_share_id(call->share), ino, gen);
}

void
nfs3_put_post_op_fh(struct be_writer *w, const struct nfs_call *call)
{
	be_put_u32(w, call->op.has_attr);
	if (call->op.has_attr)
		nfs3_put_fh(w, call, call->op.attr.ino, call->op.attr.gen);
}

const struct cw_attr *
nfs3_op_attr(const struct nfs_call *call)
{
	return call->op.has_attr ? &call->op.attr : NULL;
}

/* --- life of a call ----------------------------------------------------------------------------- */

void
nfs_call_init(struct nfs_call *call)
{
	call->proc = NULL;
	call->share = NULL;
	call->refusal = NFS3_OK;
	call->drc = NULL;
	call->body_off = call->body_len = 0;
	call->path_rest = NULL;
	call->text = NULL;
	memset(&call->op, 0, sizeof(call->op));
}

void
nfs_call_release(struct nfs_call *call)
{
	if (call->share != NULL)
		cw_share_put(call->share);
	call->share = NULL;
	free(call->text);
	call->text = NULL;
}

static const struct nfs_service *
service_of(const struct nfs_call *call)
{
	return container_of(rpc_conn_service(call->rpc.conn), const struct nfs_service, rpc);
}

uint32_t
nfs3_put_headers(struct nfs_call *call)
{
	uint8_t headers[HEADERS_MAX];
	struct be_writer w;
	uint32_t len;

	be_writer_init(&w, headers, sizeof(headers));
	rpc_encode_accepted(&w, call->rpc.h.xid, RPC_SUCCESS, 0, 0);
	be_put_u32(&w, NFS3_OK);
	call->proc->encode(call, NFS3_OK, &w);
	len = (uint32_t)be_written(&w);
	CW_ASSERT(!w.bad && len + 4 <= call->body_off);
	memcpy(call->rpc.region->data + call->rpc.region_off + call->body_off - len, headers, len);
	return len;
}

/* Results with a payload that lies in the call's region, or was sent: the headers are right before it. */
static void
reply_with_body(struct nfs_call *call)
{
	uint32_t len = nfs3_put_headers(call);

	nfs_call_release(call);
	rpc_reply_region(&call->rpc, call->body_off - len, len + call->body_len);
}

static void
reply(struct nfs_call *call, enum nfs3_stat stat)
{
	struct be_writer w;

	rpc_reply_begin(&call->rpc, &w);
	rpc_encode_accepted(&w, call->rpc.h.xid, RPC_SUCCESS, 0, 0);
	be_put_u32(&w, stat);
	call->proc->encode(call, stat, &w);
	if (call->drc != NULL)
		drc_end(service_of(call)->drc, call->drc, w.start, (uint32_t)be_written(&w),
		    stat != NFS3ERR_JUKEBOX);
	nfs_call_release(call);
	rpc_reply_end(&call->rpc, &w);
}

static void
finish(struct nfs_call *call, enum nfs3_stat stat)
{
	bool is_dir = call->proc->class == NFS3_DIR;

	if (stat == NFS3_OK)
		stat = call->refusal;
	if (stat == NFS3_OK && is_dir && !call->op.eof && be_written(&call->entries) == 0)
		stat = NFS3ERR_TOOSMALL;
	metric_add(metrics.ops[call->rpc.h.proc], 1);
	if (stat != NFS3_OK)
		metric_add(metrics.errors, 1);
	metric_observe_ns(metrics.seconds[call->proc->class], clock_mono_ns() - call->rpc.start_ns);
	if (stat != NFS3_OK && call->rpc.sent > 0) {
		nfs_call_release(call);
		rpc_conn_close(call->rpc.conn, "cannot read what a reply begun needs");
		rpc_req_drop(&call->rpc);
		return;
	}
	if (stat == NFS3_OK && call->rpc.region != NULL)
		reply_with_body(call);
	else
		reply(call, stat);
}

static void
op_done(struct cw_op *op)
{
	finish(op->ctx, nfs3_status(op->result));
}

/* Handle -> share, and what the share's settings say about this caller. */
static enum nfs3_stat
take_target(struct nfs_call *call, const struct cw_cred *claimed)
{
	const struct sockaddr *peer = &rpc_conn_peer(call->rpc.conn)->sa;
	struct cw_op *op = &call->op;
	enum nfs3_stat stat;
	struct nfs3_object obj;

	stat = nfs3_get_fh(&call->args.fh, &obj);
	if (stat != NFS3_OK)
		return stat;
	op->ino = obj.ino;
	op->gen = obj.gen;
	op->share = call->share = cw_share_find(obj.share_id);
	if (call->share == NULL)
		return NFS3ERR_STALE;
	if (!cw_export_allows(call->share, peer)) {
		metric_add(metrics.refused, 1);
		log_warn("nfs.call", "client-refused", "peer=%s share=%u op=%s",
		    rpc_conn_name(call->rpc.conn), obj.share_id, call->proc->name);
		return NFS3ERR_ACCES;
	}
	cw_export_squash(call->share, claimed, &op->cred);
	return NFS3_OK;
}

static void
on_first_answered(struct loop_task *t)
{
	struct drc_waiter *w = container_of(t, struct drc_waiter, task);
	struct nfs_call *call = container_of(w, struct nfs_call, waiter);
	void *bytes = w->reply;

	if (bytes != NULL)
		rpc_reply_bytes(&call->rpc, bytes, w->reply_len);
	else
		rpc_req_drop(&call->rpc);
	free(bytes);
}

static void
key_of(const struct nfs_call *call, struct drc_key *key)
{
	const union inet_addr *peer = rpc_conn_peer(call->rpc.conn);
	uint32_t len = call->rpc.record_len;

	memset(key, 0, sizeof(*key));
	if (peer->sa.sa_family == AF_INET6)
		memcpy(key->addr, &peer->in6.sin6_addr, 16);
	else
		memcpy(key->addr, &peer->in.sin_addr, 4);
	key->xid = call->rpc.h.xid;
	key->proc = call->rpc.h.proc;
	key->len = len;
	/* with the credential: another user's call is another call */
	key->checksum = digest_crc32c(0, call->rpc.record, len < CHECKSUMMED ? len : CHECKSUMMED);
}

/* Is this call to be run? If not it was taken care of. */
static bool
is_first_time(struct nfs_call *call)
{
	struct drc_key key;
	uint32_t len;
	void *bytes;

	key_of(call, &key);
	call->waiter.loop = rpc_conn_loop(call->rpc.conn);
	call->waiter.task.fn = on_first_answered;
	call->waiter.reply = NULL;
	call->waiter.origin = rpc_conn_id(call->rpc.conn);
	switch (drc_begin(service_of(call)->drc, &key, &call->waiter, &call->drc, &bytes, &len)) {
	case DRC_NEW:
		return true;
	case DRC_REPLAY:
		metric_add(metrics.replayed, 1);
		rpc_reply_bytes(&call->rpc, bytes, len);
		free(bytes);
		return false;
	case DRC_DROP:
		rpc_req_drop(&call->rpc);
		return false;
	case DRC_WAIT: /* may have been answered already on another thread: hands off */
		return false;
	}
	return true;
}

/* Must it not run again after a restart, which empties the duplicate-request cache? EXCLUSIVE creates know
 * themselves again, the rest does the same thing twice. */
static bool
needs_tag(const struct cw_op *op)
{
	switch (op->code) {
	case CW_CREATE:
		return op->create_mode == CW_CREATE_GUARDED;
	case CW_SETATTR:
		return op->has_guard;
	case CW_MKDIR:
	case CW_SYMLINK:
	case CW_REMOVE:
	case CW_RMDIR:
	case CW_RENAME:
		return true;
	default:
		return false;
	}
}

/* The same for the same bytes of the same peer, whatever its port. */
static void
put_tag(struct nfs_call *call)
{
	struct cw_op *op = &call->op;
	struct drc_key key;
	struct be_writer w;

	key_of(call, &key);
	be_writer_init(&w, op->reply_tag, sizeof(op->reply_tag));
	be_put_u32(&w, key.xid);
	be_put_u32(&w, key.checksum);
	be_put_u32(&w, digest_crc32c(0, &key, sizeof(key)));
	be_put_u32(&w, digest_crc32c(~key.xid, call->rpc.record, call->rpc.record_len));
	op->has_reply_tag = true;
}

void
nfs3_call(struct nfs_call *call, const struct cw_cred *claimed)
{
	enum nfs3_procnum proc = call->rpc.h.proc;
	struct cw_op *op = &call->op;
	enum nfs3_stat stat;

	nfs_call_init(call);
	call->proc = &nfs3_procs[proc];
	if (!nfs3_decode(proc, &call->rpc.args, &call->args)) {
		metric_add(metrics.garbage, 1);
		log_warn("nfs.call", "garbage-args", "peer=%s op=%s len=%u",
		    rpc_conn_name(call->rpc.conn), call->proc->name, call->rpc.record_len);
		rpc_reply_accepted(&call->rpc, RPC_GARBAGE_ARGS, 0, 0);
		return;
	}
	if (call->proc->is_cached && !is_first_time(call))
		return;
	stat = take_target(call, claimed);
	if (stat == NFS3_OK)
		stat = call->proc->prepare(call);
	if (stat == NFS3_OK) {
		op->loop = rpc_conn_loop(call->rpc.conn);
		op->done = op_done;
		op->ctx = call;
		if (needs_tag(op))
			put_tag(call);
		if (!cw_submit(op))
			return;
		stat = nfs3_status(op->result);
	}
	finish(call, stat);
}
