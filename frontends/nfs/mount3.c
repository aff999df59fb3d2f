/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount3.c - MOUNT: "/share" and any directory below it, "/share/a/b".  The walk is a chain of LOOKUPs
 * with the rights of root: who may come in at all is the client list's matter, who may read is checked
 * on every NFS call.
 *
 * DUMP shows the last mounts that were made and not taken back; nothing depends on it.
 */
#include "frontends/nfs/mount3.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "frontends/nfs/nfs3.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define MOUNTS_SHOWN 256u
#define LIST_REPLY_MAX (256u * 1024)

struct mount_entry {
	char host[INET6_ADDRSTRLEN];
	char *path;
};

struct mount_table {
	pthread_mutex_t mutex;
	struct mount_entry entries[MOUNTS_SHOWN]; /* oldest first */
	unsigned int n;
};

struct mount_table *
mount_table_new(void)
{
	struct mount_table *t = xcalloc(1, sizeof(*t));

	pthread_mutex_init(&t->mutex, NULL);
	return t;
}

static void
drop_entry(struct mount_table *t, unsigned int i)
{
	free(t->entries[i].path);
	memmove(&t->entries[i], &t->entries[i + 1], (--t->n - i) * sizeof(t->entries[0]));
}

void
mount_table_free(struct mount_table *t)
{
	if (t == NULL)
		return;
	while (t->n > 0)
		drop_entry(t, t->n - 1);
	pthread_mutex_destroy(&t->mutex);
	free(t);
}

static void
host_of(const struct nfs_call *call, char host[INET6_ADDRSTRLEN])
{
	const union inet_addr *peer = rpc_conn_peer(call->rpc.conn);

	host[0] = '\0';
	if (peer->sa.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &peer->in6.sin6_addr, host, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET, &peer->in.sin_addr, host, INET6_ADDRSTRLEN);
}

/* Forget the peer's mounts of path, or all of them when path is NULL. */
static void
table_remove(struct mount_table *t, const char *host, const char *path)
{
	pthread_mutex_lock(&t->mutex);
	for (unsigned int i = t->n; i-- > 0;) {
		if (strcmp(t->entries[i].host, host) == 0 &&
		    (path == NULL || strcmp(t->entries[i].path, path) == 0))
			drop_entry(t, i);
	}
	pthread_mutex_unlock(&t->mutex);
}

static void
table_add(struct mount_table *t, const char *host, const char *path)
{
	table_remove(t, host, path);
	pthread_mutex_lock(&t->mutex);
	if (t->n == MOUNTS_SHOWN)
		drop_entry(t, 0);
	snprintf(t->entries[t->n].host, sizeof(t->entries[0].host), "%s", host);
	t->entries[t->n++].path = xstrdup(path);
	pthread_mutex_unlock(&t->mutex);
}

static struct mount_table *
table_of(const struct nfs_call *call)
{
	return container_of(rpc_conn_service(call->rpc.conn), const struct nfs_service, rpc)
	    ->mounts;
}

/* --- MNT ---------------------------------------------------------------------------------------- */

static void
reply_mnt(struct nfs_call *call, enum mount3_stat stat)
{
	char host[INET6_ADDRSTRLEN];
	struct be_writer w;

	host_of(call, host);
	rpc_reply_begin(&call->rpc, &w);
	rpc_encode_accepted(&w, call->rpc.h.xid, RPC_SUCCESS, 0, 0);
	be_put_u32(&w, stat);
	if (stat == MNT3_OK) {
		nfs3_put_fh(&w, call, call->op.ino, call->op.gen);
		be_put_u32(&w, 1);
		be_put_u32(&w, RPC_AUTH_SYS);
		table_add(table_of(call), host, call->text);
		log_info("nfs.mount", "mounted", "peer=%s path=\"%s\"", host, call->text);
	} else {
		log_warn("nfs.mount", "refused", "peer=%s path=\"%s\" status=%d", host,
		    call->text == NULL ? "" : call->text, (int)stat);
	}
	nfs_call_release(call);
	rpc_reply_end(&call->rpc, &w);
}

static void walk(struct nfs_call *call);

/* A LOOKUP of the walk is there: go down. false: the walk is over and answered. */
static bool
step_down(struct nfs_call *call)
{
	if (call->op.result < 0) {
		reply_mnt(call, mount3_status(call->op.result));
		return false;
	}
	if (!S_ISDIR(call->op.attr.mode)) {
		reply_mnt(call, MNT3ERR_NOTDIR);
		return false;
	}
	call->op.ino = call->op.attr.ino;
	call->op.gen = call->op.attr.gen;
	return true;
}

static void
on_step(struct cw_op *op)
{
	struct nfs_call *call = op->ctx;

	if (step_down(call))
		walk(call);
}

static void
walk(struct nfs_call *call)
{
	for (;;) {
		uint64_t ino = call->op.ino;
		uint32_t gen = call->op.gen;
		int len = mount3_next_name(&call->path_rest, call->name);

		if (len <= 0) {
			reply_mnt(call, mount3_status(len));
			return;
		}
		memset(&call->op, 0, sizeof(call->op));
		call->op.code = CW_LOOKUP;
		call->op.share = call->share;
		call->op.ino = ino;
		call->op.gen = gen;
		call->op.name = call->name;
		call->op.loop = rpc_conn_loop(call->rpc.conn);
		call->op.done = on_step;
		call->op.ctx = call;
		if (!cw_submit(&call->op) || !step_down(call))
			return;
	}
}

static void
mnt(struct nfs_call *call)
{
	int len;

	call->path_rest = call->text;
	len = mount3_next_name(&call->path_rest, call->name);
	if (len < 0) {
		reply_mnt(call, MNT3ERR_NAMETOOLONG);
		return;
	}
	call->share = len == 0 ? NULL : cw_share_by_name(call->name);
	if (call->share == NULL) {
		reply_mnt(call, MNT3ERR_NOENT);
		return;
	}
	if (!cw_export_allows(call->share, &rpc_conn_peer(call->rpc.conn)->sa)) {
		reply_mnt(call, MNT3ERR_ACCES);
		return;
	}
	call->op.ino = cw_share_root(call->share);
	call->op.gen = cw_share_root_gen(call->share);
	walk(call);
}

/* --- DUMP, EXPORT -------------------------------------------------------------------------------- */

static void
reply_list(struct nfs_call *call, struct be_writer *list)
{
	uint32_t len = (uint32_t)be_written(list);
	struct be_writer w;

	be_writer_init(&w, rpc_req_reserve(&call->rpc, 4 + RPC_ACCEPTED_LEN + len),
	    4 + RPC_ACCEPTED_LEN + len);
	be_put_u32(&w, 0); /* room for the record mark */
	rpc_encode_accepted(&w, call->rpc.h.xid, RPC_SUCCESS, 0, 0);
	be_put_bytes(&w, list->start, len);
	nfs_call_release(call);
	rpc_reply_region(&call->rpc, 4, RPC_ACCEPTED_LEN + len);
}

static void
dump(struct nfs_call *call)
{
	struct mount_table *t = table_of(call);
	void *mem = xmalloc(LIST_REPLY_MAX);
	struct be_writer w;

	be_writer_init(&w, mem, LIST_REPLY_MAX - 4);
	pthread_mutex_lock(&t->mutex);
	for (unsigned int i = 0; i < t->n; i++) {
		const struct mount_entry *e = &t->entries[i];

		if (be_room(&w) < 16 + sizeof(e->host) + MOUNT_PATH_MAX)
			break;
		be_put_u32(&w, 1);
		rpc_put_opaque(&w, e->host, (uint32_t)strlen(e->host));
		rpc_put_opaque(&w, e->path, (uint32_t)strlen(e->path));
	}
	pthread_mutex_unlock(&t->mutex);
	w.end += 4;
	be_put_u32(&w, 0);
	reply_list(call, &w);
	free(mem);
}

static void
put_group(struct be_writer *w, const struct cw_client_net *net)
{
	char addr[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 8];

	inet_ntop(net->is_v6 ? AF_INET6 : AF_INET, net->addr, addr, sizeof(addr));
	snprintf(text, sizeof(text), "%s/%u", addr, net->prefix_bits);
	be_put_u32(w, 1);
	rpc_put_opaque(w, text, (uint32_t)strlen(text));
}

static void
put_export(void *arg, struct cw_share *s)
{
	const struct cw_share_conf *conf = cw_share_conf(s);
	struct be_writer *w = arg, before = *w;
	char dir[CW_NAME_MAX + 2];

	snprintf(dir, sizeof(dir), "/%s", conf->name);
	be_put_u32(w, 1);
	rpc_put_opaque(w, dir, (uint32_t)strlen(dir));
	for (size_t i = 0; i < conf->nclients; i++)
		put_group(w, &conf->clients[i]);
	be_put_u32(w, 0);
	if (w->bad)
		*w = before; /* the list has reached its bound */
}

static void
export_list(struct nfs_call *call)
{
	void *mem = xmalloc(LIST_REPLY_MAX);
	struct be_writer w;

	be_writer_init(&w, mem, LIST_REPLY_MAX - 4);
	cw_share_each(put_export, &w);
	w.end += 4;
	be_put_u32(&w, 0);
	reply_list(call, &w);
	free(mem);
}

/* --- all ---------------------------------------------------------------------------------------- */

static void
umnt(struct nfs_call *call)
{
	char host[INET6_ADDRSTRLEN];

	host_of(call, host);
	table_remove(table_of(call), host, call->text); /* UMNTALL has no path: NULL */
	log_info("nfs.mount", "unmounted", "peer=%s path=\"%s\"", host,
	    call->text == NULL ? "*" : call->text);
	nfs_call_release(call);
	rpc_reply_accepted(&call->rpc, RPC_SUCCESS, 0, 0);
}

void
mount3_call(struct nfs_call *call)
{
	enum mount3_procnum proc = call->rpc.h.proc;
	struct rpc_opaque path;

	nfs_call_init(call);
	if (proc == MOUNTPROC3_MNT || proc == MOUNTPROC3_UMNT) {
		if (!mount3_decode_path(&call->rpc.args, &path)) {
			rpc_reply_accepted(&call->rpc, RPC_GARBAGE_ARGS, 0, 0);
			return;
		}
		call->text = xstrndup(path.len > 0 ? (const char *)path.data : "", path.len);
	}
	switch (proc) {
	case MOUNTPROC3_MNT:
		mnt(call);
		break;
	case MOUNTPROC3_DUMP:
		dump(call);
		break;
	case MOUNTPROC3_UMNT:
	case MOUNTPROC3_UMNTALL:
		umnt(call);
		break;
	case MOUNTPROC3_EXPORT:
		export_list(call);
		break;
	case MOUNTPROC3_NULL:
	case MOUNTPROC3_MAX:
		rpc_reply_accepted(&call->rpc, RPC_SUCCESS, 0, 0);
		break;
	}
}
