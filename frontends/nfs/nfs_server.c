/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nfs_server.c - listening sockets, event loops, start and stop.
 *
 * Connections are dealt out to the loops in turn; one connection stays on its loop for life.  Loop 0
 * also accepts.
 */
#include "frontends/nfs/nfs.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frontends/nfs/mount3.h"
#include "frontends/nfs/nfs3.h"
#include "frontends/nfs/rpc_auth.h"
#include "frontends/nfs/rpcbind.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define LOOPS_MAX 16u
#define SPIN_US 50u
#define CONNECTIONS_MAX 1024u
#define DRC_BYTES (32u * 1024 * 1024)
#define DRC_AGE_S 300u
#define STOP_S 3 /* then it is the bucket that calls wait for, and their clients ask again */
#define SWEEP_MS 10000
#define BACKLOG 128
#define ACCEPTS_PER_WAKEUP 32

struct worker {
	struct rpc_worker rpc;
	struct nfs_server *server;
	struct loop_task stop_task, close_task;
	struct loop_timer sweep;
	bool is_idle; /* under server->mutex: stopping, and no connection is left */
};

struct listener {
	struct nfs_server *server;
	struct loop_fd fd;
	uint16_t port;
	enum nfs_port_tag tag;
};

struct nfs_server {
	struct nfs_service service;
	struct worker *workers;
	unsigned int nworkers, next_worker;
	struct listener listeners[2];
	unsigned int nlisteners;
	unsigned int max_connections;
	_Atomic unsigned int nconnections;
	_Atomic size_t buffer_bytes;
	struct rpcbind *rpcbind;
	struct metric *connections, *rx_bytes, *tx_bytes;
	pthread_mutex_t mutex; /* is_idle of the workers */
	pthread_cond_t idle;
	bool is_started;
};

struct handover { /* an accepted socket on its way to its loop */
	struct loop_task task;
	struct worker *worker;
	int fd;
	union rpc_peer peer;
	enum nfs_port_tag tag;
};

/* --- calls -------------------------------------------------------------------------------------- */

static void
on_nfs_call(struct nfs_call *call)
{
	struct rpc_req *req = &call->rpc;
	enum rpc_auth_stat auth;
	struct cw_cred claimed;

	if (req->h.vers != NFS3_VERSION) {
		rpc_reply_accepted(req, RPC_PROG_MISMATCH, NFS3_VERSION, NFS3_VERSION);
		return;
	}
	if (req->h.proc >= NFS3PROC_MAX) {
		rpc_reply_accepted(req, RPC_PROC_UNAVAIL, 0, 0);
		return;
	}
	if (req->h.proc == NFS3PROC_NULL) {
		rpc_reply_accepted(req, RPC_SUCCESS, 0, 0);
		return;
	}
	auth = rpc_auth_decode(&req->h, &claimed);
	if (auth != RPC_AUTH_OK) {
		rpc_reply_auth_error(req, auth);
		return;
	}
	nfs3_call(call, &claimed);
}

static void
on_mount_call(struct nfs_call *call)
{
	struct rpc_req *req = &call->rpc;

	if (req->h.vers != MOUNT_VERSION)
		rpc_reply_accepted(req, RPC_PROG_MISMATCH, MOUNT_VERSION, MOUNT_VERSION);
	else if (req->h.proc >= MOUNTPROC3_MAX)
		rpc_reply_accepted(req, RPC_PROC_UNAVAIL, 0, 0);
	else
		mount3_call(call);
}

static void
on_call(struct rpc_req *req)
{
	struct nfs_call *call = container_of(req, struct nfs_call, rpc);

	if (req->h.prog == NFS3_PROGRAM && rpc_conn_tag(req->conn) == NFS_PORT_ALL)
		on_nfs_call(call);
	else if (req->h.prog == MOUNT_PROGRAM)
		on_mount_call(call);
	else
		rpc_reply_accepted(req, RPC_PROG_UNAVAIL, 0, 0);
}

/* --- connections -------------------------------------------------------------------------------- */

static void
count_connection(struct nfs_server *s, int n)
{
	unsigned int now = atomic_fetch_add(&s->nconnections, (unsigned int)n) + (unsigned int)n;

	metric_set(s->connections, now);
}

static void
note_idle(struct worker *w)
{
	if (!w->rpc.draining || w->rpc.nconns > 0)
		return;
	pthread_mutex_lock(&w->server->mutex);
	w->is_idle = true;
	pthread_cond_signal(&w->server->idle);
	pthread_mutex_unlock(&w->server->mutex);
}

static void
on_connection_gone(struct rpc_worker *rpc)
{
	struct worker *w = rpc->ctx;

	count_connection(w->server, -1);
	note_idle(w);
}

static void
on_handover(struct loop_task *t)
{
	struct handover *h = container_of(t, struct handover, task);
	struct worker *w = h->worker;
	int err;

	if (w->rpc.draining) {
		close(h->fd);
		err = -ESHUTDOWN;
	} else {
		err = rpc_conn_new(&w->rpc, &w->server->service.rpc, h->fd, &h->peer, h->tag);
	}
	if (err < 0)
		count_connection(w->server, -1);
	free(h);
}

static void
take_connection(struct listener *l, int fd, const union rpc_peer *peer)
{
	struct nfs_server *s = l->server;
	struct handover *h;

	if (atomic_load(&s->nconnections) >= s->max_connections) {
		log_warn("nfs.server", "too-many-connections", "max=%u", s->max_connections);
		close(fd);
		return;
	}
	count_connection(s, 1);
	h = xcalloc(1, sizeof(*h));
	h->task.fn = on_handover;
	h->worker = &s->workers[s->next_worker++ % s->nworkers];
	h->fd = fd;
	h->peer = *peer;
	h->tag = l->tag;
	loop_post(h->worker->rpc.loop, &h->task);
}

static void
on_accept(struct loop_fd *f, uint32_t events)
{
	struct listener *l = container_of(f, struct listener, fd);

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		union rpc_peer peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(f->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_connection(l, fd, &peer);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			log_warn("nfs.server", "accept-failed", "err=\"%s\"", err_str(-errno));
		return;
	}
}

/* --- open --------------------------------------------------------------------------------------- */

/* "host:port" or "[v6]:port" in two. */
static int
split_address(const char *text, char *host, size_t host_cap, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t len;

	if (colon == NULL || colon[1] == '\0')
		return -EINVAL;
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= host_cap)
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	*port = colon + 1;
	return 0;
}

static int
bind_socket(const struct addrinfo *ai, int *out)
{
	int one = 1, err = 0;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static int
add_listener(struct nfs_server *s, const char *address, enum nfs_port_tag tag)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
	struct listener *l = &s->listeners[s->nlisteners];
	struct addrinfo *ai;
	union rpc_peer self = {0};
	socklen_t len = sizeof(self);
	const char *port;
	char host[64];
	int err;

	err = split_address(address, host, sizeof(host), &port);
	if (err == 0 && getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, &ai) != 0)
		err = -EINVAL;
	if (err < 0)
		return err;
	err = bind_socket(ai, &l->fd.fd);
	freeaddrinfo(ai);
	if (err < 0)
		return err;
	s->nlisteners++;
	l->server = s;
	l->fd.cb = on_accept;
	l->tag = tag;
	if (getsockname(l->fd.fd, &self.sa, &len) < 0)
		return -errno;
	l->port = ntohs(self.in.sin_port); /* at the same place for IPv6 */
	return 0;
}

static void
on_sweep(struct loop_timer *t)
{
	struct worker *w = container_of(t, struct worker, sweep);

	rpc_worker_sweep(&w->rpc);
	loop_timer_set(w->rpc.loop, &w->sweep, SWEEP_MS);
}

static void
on_stop_task(struct loop_task *t)
{
	struct worker *w = container_of(t, struct worker, stop_task);
	struct nfs_server *s = w->server;

	for (unsigned int i = 0; w == &s->workers[0] && i < s->nlisteners; i++)
		loop_del(w->rpc.loop, &s->listeners[i].fd);
	loop_timer_cancel(&w->sweep);
	rpc_worker_drain(&w->rpc);
	note_idle(w);
}

static void
on_close_task(struct loop_task *t)
{
	struct worker *w = container_of(t, struct worker, close_task);

	rpc_worker_close_all(&w->rpc);
}

static int
open_worker(struct nfs_server *s, struct worker *w, unsigned int spin_us)
{
	char name[16];

	w->server = s;
	w->rpc.pool.in_use_bytes = &s->buffer_bytes;
	w->rpc.gone = on_connection_gone;
	w->rpc.ctx = w;
	w->rpc.rx_bytes = s->rx_bytes;
	w->rpc.tx_bytes = s->tx_bytes;
	list_init(&w->rpc.conns);
	w->stop_task.fn = on_stop_task;
	w->close_task.fn = on_close_task;
	loop_timer_init(&w->sweep, on_sweep);
	snprintf(name, sizeof(name), "nfs-%u", (unsigned int)(w - s->workers) % LOOPS_MAX);
	return loop_new(name, spin_us, &w->rpc.loop);
}

static void
server_free(struct nfs_server *s)
{
	for (unsigned int i = 0; i < s->nlisteners; i++) {
		if (s->listeners[i].fd.fd >= 0)
			close(s->listeners[i].fd.fd);
	}
	for (unsigned int i = 0; i < s->nworkers; i++) {
		rpc_worker_free(&s->workers[i].rpc);
		loop_free(s->workers[i].rpc.loop);
	}
	rpcbind_free(s->rpcbind);
	drc_free(s->service.drc);
	mount_table_free(s->service.mounts);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->mutex);
	free(s->workers);
	free(s);
}

static unsigned int
default_loops(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
}

static void
open_common(struct nfs_server *s, const struct nfs_server_conf *conf)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->mutex, NULL);
	s->max_connections = conf->max_connections > 0 ? conf->max_connections : CONNECTIONS_MAX;
	s->service.rpc.req_size = sizeof(struct nfs_call);
	s->service.rpc.call = on_call;
	s->service.drc = drc_new(DRC_BYTES, DRC_AGE_S);
	s->service.mounts = mount_table_new();
	nfs3_metrics_init();
	s->connections = metrics_gauge("nfs_connections", NULL, "open NFS and MOUNT connections");
	s->rx_bytes = metrics_counter("nfs_received_bytes_total", NULL, "bytes from NFS clients");
	s->tx_bytes = metrics_counter("nfs_sent_bytes_total", NULL, "bytes to NFS clients");
}

int
nfs_server_open(const struct nfs_server_conf *conf, struct nfs_server **out)
{
	struct nfs_server *s = xcalloc(1, sizeof(*s));
	unsigned int n = conf->loops > 0 ? conf->loops : default_loops();
	int err;

	*out = NULL;
	open_common(s, conf);
	n = n > LOOPS_MAX ? LOOPS_MAX : n;
	s->workers = xcalloc(n, sizeof(*s->workers));
	err = add_listener(s, conf->listen, NFS_PORT_ALL);
	if (err == 0 && conf->mount_listen != NULL)
		err = add_listener(s, conf->mount_listen, NFS_PORT_MOUNT);
	for (unsigned int i = 0; err == 0 && i < n; i++) {
		err = open_worker(s, &s->workers[i], conf->spin_us > 0 ? conf->spin_us : SPIN_US);
		if (err == 0)
			s->nworkers++;
	}
	if (err < 0) {
		server_free(s);
		return err;
	}
	if (conf->register_rpcbind) {
		int r = rpcbind_open(&s->rpcbind);

		if (r < 0)
			log_warn("nfs.rpcbind", "no-socket", "err=\"%s\"", err_str(r));
	}
	*out = s;
	return 0;
}

/* --- start and stop ----------------------------------------------------------------------------- */

static void
announce(struct nfs_server *s)
{
	const struct listener *nfs = &s->listeners[0], *mount = &s->listeners[s->nlisteners - 1];
	int err;

	if (s->rpcbind == NULL)
		return;
	err = rpcbind_set(s->rpcbind, NFS3_PROGRAM, NFS3_VERSION, nfs->port);
	if (err == 0)
		err = rpcbind_set(s->rpcbind, MOUNT_PROGRAM, MOUNT_VERSION, mount->port);
	if (err == 0) {
		log_info("nfs.rpcbind", "registered", "nfs=%u mount=%u", nfs->port, mount->port);
		return;
	}
	if (err == -ECONNREFUSED)
		log_info("nfs.rpcbind", "none", "next=\"mount with port=%u,mountport=%u\"",
		    nfs->port, mount->port);
	else
		log_warn("nfs.rpcbind", "failed", "err=\"%s\"", err_str(err));
	rpcbind_free(s->rpcbind);
	s->rpcbind = NULL;
}

int
nfs_server_start(struct nfs_server *s)
{
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < s->nlisteners; i++)
		err = loop_add(s->workers[0].rpc.loop, &s->listeners[i].fd, EPOLLIN);
	for (unsigned int i = 0; err == 0 && i < s->nworkers; i++) {
		loop_timer_set(s->workers[i].rpc.loop, &s->workers[i].sweep, SWEEP_MS);
		err = loop_start(s->workers[i].rpc.loop);
	}
	if (err < 0)
		return err;
	s->is_started = true;
	log_info("nfs.server", "listening", "port=%u loops=%u", s->listeners[0].port, s->nworkers);
	announce(s);
	return 0;
}

uint16_t
nfs_server_port(const struct nfs_server *s)
{
	return s->listeners[0].port;
}

static bool
all_idle(const struct nfs_server *s)
{
	for (unsigned int i = 0; i < s->nworkers; i++) {
		if (!s->workers[i].is_idle)
			return false;
	}
	return true;
}

/* Wait until no connection is left. false: some still are after `seconds`. */
static bool
wait_idle(struct nfs_server *s, int seconds)
{
	struct timespec until;
	bool ok;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&s->mutex);
	while (!(ok = all_idle(s))) {
		if (pthread_cond_timedwait(&s->idle, &s->mutex, &until) == ETIMEDOUT)
			break;
	}
	pthread_mutex_unlock(&s->mutex);
	return ok;
}

void
nfs_server_stop(struct nfs_server *s)
{
	bool is_idle = true;

	if (s == NULL)
		return;
	if (s->rpcbind != NULL && s->is_started &&
	    (rpcbind_unset(s->rpcbind, NFS3_PROGRAM, NFS3_VERSION) < 0 ||
		rpcbind_unset(s->rpcbind, MOUNT_PROGRAM, MOUNT_VERSION) < 0))
		log_warn("nfs.rpcbind", "not-unregistered", "next=\"stop anyway\"");
	if (s->is_started) {
		for (unsigned int i = 0; i < s->nworkers; i++)
			loop_post(s->workers[i].rpc.loop, &s->workers[i].stop_task);
		is_idle = wait_idle(s, STOP_S);
		for (unsigned int i = 0; !is_idle && i < s->nworkers; i++)
			loop_post(s->workers[i].rpc.loop, &s->workers[i].close_task);
		is_idle = is_idle || wait_idle(s, 1);
	}
	if (!is_idle) {
		/* Calls wait for the store. Their completions will still come to our loops, so these
		 * must outlive us; the process is about to end. */
		log_warn("nfs.server", "calls-left", "next=\"their clients ask again\"");
		return;
	}
	for (unsigned int i = 0; i < s->nworkers; i++)
		loop_join(s->workers[i].rpc.loop);
	server_free(s);
}
