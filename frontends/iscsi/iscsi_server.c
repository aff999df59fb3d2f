/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iscsi_server.c - portals, event loops, start and stop.
 *
 * Connections are dealt out to the loops in turn; one connection, and its session, stays on its loop
 * for life.  Loop 0 also accepts.
 */
#include "frontends/iscsi/iscsi.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frontends/iscsi/session.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define LOOPS_MAX 16u
#define SPIN_US 50u
#define CONNECTIONS_MAX 1024u
#define LOGIN_MS 15000u
#define NOP_MS 30000u
#define SWEEP_MS 1000u
#define LOGOUT_WAIT_S 3 /* LOGOUT_S of session.c, and the sweep after it */
#define END_WAIT_S 3	/* then it is the store that commands wait for */
#define BACKLOG 128
#define ACCEPTS_PER_WAKEUP 32
#define TARGET_THREADS 2

struct worker {
	struct iscsi_worker iscsi;
	struct iscsi_server *server;
	struct loop_task stop_task, close_task;
	struct loop_timer sweep;
	bool is_idle; /* under server->mutex: stopping, and nothing is left */
};

struct listener {
	struct iscsi_server *server;
	struct loop_fd fd;
};

struct iscsi_server {
	struct iscsi_service service;
	struct iscsi_sessions sessions;
	struct worker *workers;
	unsigned int nworkers, next_worker;
	struct listener listeners[ISCSI_PORTALS_MAX];
	unsigned int nlisteners;
	unsigned int max_connections, sweep_ms;
	_Atomic unsigned int nconnections;
	_Atomic size_t buffer_bytes;
	struct metric *connections;
	pthread_mutex_t mutex; /* is_idle of the workers */
	pthread_cond_t idle;
	bool is_started;
};

struct handover { /* an accepted socket on its way to its loop */
	struct loop_task task;
	struct worker *worker;
	int fd;
	union iscsi_addr peer;
};

/* --- connections -------------------------------------------------------------------------------- */

static void
count_connection(struct iscsi_server *s, int n)
{
	unsigned int now = atomic_fetch_add(&s->nconnections, (unsigned int)n) + (unsigned int)n;

	metric_set(s->connections, now);
}

static void
note_idle(struct worker *w)
{
	if (!w->iscsi.draining || w->iscsi.nconns > 0 || w->iscsi.nsessions > 0)
		return;
	pthread_mutex_lock(&w->server->mutex);
	w->is_idle = true;
	pthread_cond_signal(&w->server->idle);
	pthread_mutex_unlock(&w->server->mutex);
}

static void
on_changed(struct iscsi_worker *iscsi)
{
	struct worker *w = iscsi->ctx;

	count_connection(w->server, (int)iscsi->nconns - (int)iscsi->nconns_counted);
	iscsi->nconns_counted = iscsi->nconns;
	note_idle(w);
}

static void
on_handover(struct loop_task *t)
{
	struct handover *h = container_of(t, struct handover, task);
	struct worker *w = h->worker;
	int err;

	if (w->iscsi.draining) {
		close(h->fd);
		err = -ESHUTDOWN;
	} else {
		err = iscsi_conn_new(&w->iscsi, h->fd, &h->peer);
	}
	if (err < 0)
		count_connection(w->server, -1);
	else
		w->iscsi.nconns_counted++;
	free(h);
}

static void
take_connection(struct listener *l, int fd, const union iscsi_addr *peer)
{
	struct iscsi_server *s = l->server;
	struct handover *h;

	if (atomic_load(&s->nconnections) >= s->max_connections) {
		log_warn("iscsi.server", "too-many-connections", "max=%u", s->max_connections);
		close(fd);
		return;
	}
	count_connection(s, 1);
	h = xcalloc(1, sizeof(*h));
	h->task.fn = on_handover;
	h->worker = &s->workers[s->next_worker++ % s->nworkers];
	h->fd = fd;
	h->peer = *peer;
	loop_post(h->worker->iscsi.loop, &h->task);
}

static void
on_accept(struct loop_fd *f, uint32_t events)
{
	struct listener *l = container_of(f, struct listener, fd);

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		union iscsi_addr peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(f->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_connection(l, fd, &peer);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			log_warn("iscsi.server", "accept-failed", "err=\"%s\"", err_str(-errno));
		return;
	}
}

/* --- open --------------------------------------------------------------------------------------- */

/* "host:port" or "[v6]:port" to a socket address */
static int
resolve(const char *text, struct addrinfo **out)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
	const char *colon = strrchr(text, ':');
	size_t len = colon == NULL ? 0 : (size_t)(colon - text);
	char host[64];

	if (colon == NULL || colon[1] == '\0')
		return -EINVAL;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	return getaddrinfo(len == 0 ? NULL : host, colon + 1, &hints, out) == 0 ? 0 : -EINVAL;
}

static bool
is_any_address(const union iscsi_addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
	return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
}

static int
listen_on(const struct addrinfo *ai, int *out)
{
	int one = 1, err;
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
add_portal(struct iscsi_server *s, const char *address)
{
	struct listener *l = &s->listeners[s->nlisteners];
	struct iscsi_portal *p = &s->service.portals[s->nlisteners];
	socklen_t len = sizeof(p->addr);
	struct addrinfo *ai;
	int err = resolve(address, &ai);

	if (err < 0)
		return err;
	err = listen_on(ai, &l->fd.fd);
	freeaddrinfo(ai);
	if (err < 0)
		return err;
	s->nlisteners++;
	s->service.nportals++;
	l->server = s;
	l->fd.cb = on_accept;
	if (getsockname(l->fd.fd, &p->addr.sa, &len) < 0)
		return -errno;
	p->is_any = is_any_address(&p->addr);
	return 0;
}

static void
on_sweep(struct loop_timer *t)
{
	struct worker *w = container_of(t, struct worker, sweep);

	iscsi_worker_sweep(&w->iscsi);
	loop_timer_set(w->iscsi.loop, &w->sweep, w->server->sweep_ms);
}

static void
on_stop_task(struct loop_task *t)
{
	struct worker *w = container_of(t, struct worker, stop_task);
	struct iscsi_server *s = w->server;

	for (unsigned int i = 0; w == &s->workers[0] && i < s->nlisteners; i++) {
		loop_del(w->iscsi.loop, &s->listeners[i].fd);
		close(s->listeners[i].fd.fd); /* who logs in again shall not be let in here */
		s->listeners[i].fd.fd = -1;
	}
	iscsi_worker_drain(&w->iscsi);
	note_idle(w);
}

static void
on_close_task(struct loop_task *t)
{
	struct worker *w = container_of(t, struct worker, close_task);

	iscsi_worker_close_all(&w->iscsi);
}

static int
open_worker(struct iscsi_server *s, struct worker *w, unsigned int spin_us)
{
	char name[16];

	w->server = s;
	w->iscsi.service = &s->service;
	w->iscsi.pool.in_use_bytes = &s->buffer_bytes;
	w->iscsi.changed = on_changed;
	w->iscsi.ctx = w;
	list_init(&w->iscsi.conns);
	w->stop_task.fn = on_stop_task;
	w->close_task.fn = on_close_task;
	loop_timer_init(&w->sweep, on_sweep);
	snprintf(name, sizeof(name), "iscsi-%u", (unsigned int)(w - s->workers) % LOOPS_MAX);
	return loop_new(name, spin_us, &w->iscsi.loop);
}

static void
server_free(struct iscsi_server *s)
{
	for (unsigned int i = 0; i < s->nlisteners; i++) {
		if (s->listeners[i].fd.fd >= 0)
			close(s->listeners[i].fd.fd);
	}
	if (s->service.workq != NULL)
		workq_free(s->service.workq);
	for (unsigned int i = 0; i < s->nworkers; i++) {
		iscsi_worker_free(&s->workers[i].iscsi);
		loop_free(s->workers[i].iscsi.loop);
	}
	iscsi_sessions_destroy(&s->sessions);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->mutex);
	free(s->workers);
	free(s);
}

static unsigned int
or_default(unsigned int value, unsigned int otherwise)
{
	return value > 0 ? value : otherwise;
}

static void
open_common(struct iscsi_server *s, const struct iscsi_server_conf *conf)
{
	struct iscsi_service *v = &s->service;
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->mutex, NULL);
	iscsi_sessions_init(&s->sessions);
	v->sessions = &s->sessions;
	v->login_ms = or_default(conf->login_ms, LOGIN_MS);
	v->nop_ms = or_default(conf->nop_ms, NOP_MS);
	v->nop_timeout_ms = or_default(conf->nop_timeout_ms, NOP_MS);
	s->max_connections = or_default(conf->max_connections, CONNECTIONS_MAX);
	s->sweep_ms = SWEEP_MS;
	if (s->sweep_ms > v->nop_ms)
		s->sweep_ms = v->nop_ms;
	if (s->sweep_ms > v->login_ms)
		s->sweep_ms = v->login_ms;
	s->connections = metrics_gauge("iscsi_connections", NULL, "open iSCSI connections");
	v->nsessions = metrics_gauge("iscsi_sessions", NULL, "initiators logged in to volumes");
	v->rx_bytes = metrics_counter("iscsi_received_bytes_total", NULL, "bytes from initiators");
	v->tx_bytes = metrics_counter("iscsi_sent_bytes_total", NULL, "bytes to initiators");
	v->commands = metrics_counter("iscsi_commands_total", NULL, "SCSI commands");
	v->rejects = metrics_counter("iscsi_rejects_total", NULL, "PDUs answered with Reject");
}

int
iscsi_server_open(const struct iscsi_server_conf *conf, struct iscsi_server **out)
{
	struct iscsi_server *s = xcalloc(1, sizeof(*s));
	unsigned int n = or_default(conf->loops, sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1);
	int err = conf->listen[0] == NULL ? -EINVAL : 0;

	*out = NULL;
	open_common(s, conf);
	n = n > LOOPS_MAX ? LOOPS_MAX : n;
	s->workers = xcalloc(n, sizeof(*s->workers));
	for (unsigned int i = 0; err == 0 && i < ISCSI_PORTALS_MAX && conf->listen[i] != NULL; i++)
		err = add_portal(s, conf->listen[i]);
	for (unsigned int i = 0; err == 0 && i < n; i++) {
		err = open_worker(s, &s->workers[i], or_default(conf->spin_us, SPIN_US));
		if (err == 0)
			s->nworkers++;
	}
	if (err < 0) {
		server_free(s);
		return err;
	}
	*out = s;
	return 0;
}

/* --- start and stop ----------------------------------------------------------------------------- */

int
iscsi_server_start(struct iscsi_server *s)
{
	int err = workq_new("iscsi-target", TARGET_THREADS, &s->service.workq);

	for (unsigned int i = 0; err == 0 && i < s->nlisteners; i++)
		err = loop_add(s->workers[0].iscsi.loop, &s->listeners[i].fd, EPOLLIN);
	for (unsigned int i = 0; err == 0 && i < s->nworkers; i++) {
		loop_timer_set(s->workers[i].iscsi.loop, &s->workers[i].sweep, s->sweep_ms);
		err = loop_start(s->workers[i].iscsi.loop);
	}
	if (err < 0)
		return err;
	s->is_started = true;
	log_info("iscsi.server", "listening", "port=%u portals=%u loops=%u", iscsi_server_port(s),
	    s->nlisteners, s->nworkers);
	return 0;
}

uint16_t
iscsi_server_port(const struct iscsi_server *s)
{
	return ntohs(s->service.portals[0].addr.in.sin_port); /* at the same place for IPv6 */
}

static bool
all_idle(const struct iscsi_server *s)
{
	for (unsigned int i = 0; i < s->nworkers; i++) {
		if (!s->workers[i].is_idle)
			return false;
	}
	return true;
}

/* Wait until no session is left. false: some still are after `seconds`. */
static bool
wait_idle(struct iscsi_server *s, int seconds)
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
iscsi_server_stop(struct iscsi_server *s)
{
	bool is_idle = true;

	if (s == NULL)
		return;
	if (s->is_started) {
		for (unsigned int i = 0; i < s->nworkers; i++)
			loop_post(s->workers[i].iscsi.loop, &s->workers[i].stop_task);
		is_idle = wait_idle(s, LOGOUT_WAIT_S);
		for (unsigned int i = 0; !is_idle && i < s->nworkers; i++)
			loop_post(s->workers[i].iscsi.loop, &s->workers[i].close_task);
		is_idle = is_idle || wait_idle(s, END_WAIT_S);
	}
	if (!is_idle) {
		/* Commands wait for the store. Their completions will still come to our loops, so
		 * these must outlive us; the process is about to end. */
		log_warn("iscsi.server", "commands-left", "next=\"their initiators ask again\"");
		return;
	}
	for (unsigned int i = 0; i < s->nworkers; i++)
		loop_join(s->workers[i].iscsi.loop);
	server_free(s);
	scsi_stop();
}
