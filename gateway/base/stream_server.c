/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/stream_server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define SPIN_US 50u
#define CONNECTIONS_MAX 1024u
#define ACCEPTS_PER_WAKEUP 32

struct listener {
	struct stream_server *server;
	struct loop_fd fd; /* fd.fd is -1 once closed */
	union inet_addr addr;
	unsigned int tag;
};

struct stream_server {
	struct stream_conf conf;
	char *workers; /* nworkers of conf.worker_size bytes */
	unsigned int nworkers, next_worker;
	struct listener listeners[STREAM_LISTENERS_MAX];
	unsigned int nlisteners;
	_Atomic unsigned int nconnections; /* and those on their way to a loop */
	pthread_mutex_t mutex;		   /* is_idle of the workers */
	pthread_cond_t idle;
	bool is_started;
};

struct handover { /* an accepted socket on its way to its loop */
	struct loop_task task;
	struct stream_worker *worker;
	int fd;
	union inet_addr peer;
	unsigned int tag;
};

/* --- connections -------------------------------------------------------------------------------- */

static void
count_connection(struct stream_server *s, int n)
{
	unsigned int now = atomic_fetch_add(&s->nconnections, (unsigned int)n) + (unsigned int)n;

	metric_set(s->conf.connections, now);
}

static void
note_idle(struct stream_worker *w)
{
	if (!w->draining || w->nheld > 0)
		return;
	pthread_mutex_lock(&w->server->mutex);
	w->is_idle = true;
	pthread_cond_signal(&w->server->idle);
	pthread_mutex_unlock(&w->server->mutex);
}

void
stream_worker_hold(struct stream_worker *w)
{
	w->nheld++;
}

void
stream_worker_release(struct stream_worker *w)
{
	w->nheld--;
	note_idle(w);
}

void
stream_worker_gone(struct stream_worker *w)
{
	count_connection(w->server, -1);
	stream_worker_release(w);
}

static void
on_handover(struct loop_task *t)
{
	struct handover *h = container_of(t, struct handover, task);
	struct stream_worker *w = h->worker;

	if (w->draining) {
		close(h->fd);
		count_connection(w->server, -1);
	} else {
		stream_worker_hold(w);
		if (w->server->conf.ops->open(w, h->fd, &h->peer, h->tag) < 0)
			stream_worker_gone(w);
	}
	free(h);
}

static void
take_connection(struct listener *l, int fd, const union inet_addr *peer)
{
	struct stream_server *s = l->server;
	struct handover *h;

	if (atomic_load(&s->nconnections) >= s->conf.max_connections) {
		log_warn(s->conf.log, "too-many-connections", "max=%u", s->conf.max_connections);
		close(fd);
		return;
	}
	count_connection(s, 1);
	h = xcalloc(1, sizeof(*h));
	h->task.fn = on_handover;
	h->worker = stream_server_worker(s, s->next_worker++ % s->nworkers);
	h->fd = fd;
	h->peer = *peer;
	h->tag = l->tag;
	loop_post(h->worker->loop, &h->task);
}

static void
on_accept(struct loop_fd *f, uint32_t events)
{
	struct listener *l = container_of(f, struct listener, fd);

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		union inet_addr peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(f->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_connection(l, fd, &peer);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			log_warn(
			    l->server->conf.log, "accept-failed", "err=\"%s\"", err_str(-errno));
		return;
	}
}

/* --- open --------------------------------------------------------------------------------------- */

static void
on_sweep(struct loop_timer *t)
{
	struct stream_worker *w = container_of(t, struct stream_worker, sweep);

	w->server->conf.ops->sweep(w);
	loop_timer_set(w->loop, &w->sweep, w->server->conf.sweep_ms);
}

static void
on_stop_task(struct loop_task *t)
{
	struct stream_worker *w = container_of(t, struct stream_worker, stop_task);
	struct stream_server *s = w->server;

	for (unsigned int i = 0; w == stream_server_worker(s, 0) && i < s->nlisteners; i++) {
		if (s->listeners[i].fd.fd < 0)
			continue;
		loop_del(w->loop, &s->listeners[i].fd);
		close(s->listeners[i].fd.fd); /* who comes again shall not come in here */
		s->listeners[i].fd.fd = -1;
	}
	w->draining = true;
	s->conf.ops->drain(w);
	note_idle(w);
}

static void
on_close_task(struct loop_task *t)
{
	struct stream_worker *w = container_of(t, struct stream_worker, close_task);

	w->server->conf.ops->close_all(w);
}

static int
add_worker(struct stream_server *s)
{
	struct stream_worker *w =
	    (struct stream_worker *)(void *)(s->workers + s->nworkers * s->conf.worker_size);
	char name[16];
	int err;

	w->server = s;
	w->stop_task.fn = on_stop_task;
	w->close_task.fn = on_close_task;
	loop_timer_init(&w->sweep, on_sweep);
	snprintf(name, sizeof(name), "%s-%u", s->conf.name, s->nworkers % STREAM_LOOPS_MAX);
	err = loop_new(name, s->conf.spin_us, &w->loop);
	if (err == 0)
		s->nworkers++;
	return err;
}

static unsigned int
or_default(unsigned int value, unsigned int otherwise)
{
	return value > 0 ? value : otherwise;
}

int
stream_server_new(const struct stream_conf *conf, struct stream_server **out)
{
	struct stream_server *s = xcalloc(1, sizeof(*s));
	unsigned int n = or_default(conf->loops, sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1);
	pthread_condattr_t attr;
	int err = 0;

	*out = NULL;
	s->conf = *conf;
	s->conf.spin_us = or_default(conf->spin_us, SPIN_US);
	s->conf.max_connections = or_default(conf->max_connections, CONNECTIONS_MAX);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->mutex, NULL);
	n = n > STREAM_LOOPS_MAX ? STREAM_LOOPS_MAX : n;
	s->workers = xcalloc(n, conf->worker_size);
	for (unsigned int i = 0; err == 0 && i < n; i++)
		err = add_worker(s);
	if (err < 0) {
		stream_server_free(s);
		return err;
	}
	*out = s;
	return 0;
}

int
stream_server_listen(struct stream_server *s, const char *address, unsigned int tag)
{
	struct listener *l = &s->listeners[s->nlisteners];
	int err;

	CW_ASSERT(s->nlisteners < STREAM_LISTENERS_MAX);
	err = inet_parse(address, &l->addr);
	if (err == 0)
		err = inet_listen(&l->addr);
	if (err < 0)
		return err;
	l->server = s;
	l->fd.fd = err;
	l->fd.cb = on_accept;
	l->tag = tag;
	s->nlisteners++;
	return 0;
}

void
stream_server_free(struct stream_server *s)
{
	if (s == NULL)
		return;
	for (unsigned int i = 0; i < s->nlisteners; i++) {
		if (s->listeners[i].fd.fd >= 0)
			close(s->listeners[i].fd.fd);
	}
	for (unsigned int i = 0; i < s->nworkers; i++)
		loop_free(stream_server_worker(s, i)->loop);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->mutex);
	free(s->workers);
	free(s);
}

struct stream_worker *
stream_server_worker(struct stream_server *s, unsigned int i)
{
	if (i >= s->nworkers)
		return NULL;
	return (struct stream_worker *)(void *)(s->workers + i * s->conf.worker_size);
}

const union inet_addr *
stream_server_address(const struct stream_server *s, unsigned int i)
{
	return i < s->nlisteners ? &s->listeners[i].addr : NULL;
}

/* --- start and stop ----------------------------------------------------------------------------- */

int
stream_server_start(struct stream_server *s)
{
	struct loop *first = stream_server_worker(s, 0)->loop;
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < s->nlisteners; i++)
		err = loop_add(first, &s->listeners[i].fd, EPOLLIN);
	for (unsigned int i = 0; err == 0 && i < s->nworkers; i++) {
		struct stream_worker *w = stream_server_worker(s, i);

		loop_timer_set(w->loop, &w->sweep, s->conf.sweep_ms);
		err = loop_start(w->loop);
	}
	if (err < 0)
		return err;
	s->is_started = true;
	log_info(s->conf.log, "listening", "port=%u portals=%u loops=%u",
	    s->nlisteners == 0 ? 0 : inet_port(&s->listeners[0].addr), s->nlisteners, s->nworkers);
	return 0;
}

static bool
all_idle(struct stream_server *s)
{
	for (unsigned int i = 0; i < s->nworkers; i++) {
		if (!stream_server_worker(s, i)->is_idle)
			return false;
	}
	return true;
}

/* Wait until nothing is left. false: something still is after `seconds`. */
static bool
wait_idle(struct stream_server *s, unsigned int seconds)
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

bool
stream_server_stop(struct stream_server *s, unsigned int drain_s, unsigned int close_s)
{
	bool is_idle = true;

	if (s->is_started) {
		for (unsigned int i = 0; i < s->nworkers; i++) {
			struct stream_worker *w = stream_server_worker(s, i);

			loop_post(w->loop, &w->stop_task);
		}
		is_idle = wait_idle(s, drain_s);
		for (unsigned int i = 0; !is_idle && i < s->nworkers; i++) {
			struct stream_worker *w = stream_server_worker(s, i);

			loop_post(w->loop, &w->close_task);
		}
		is_idle = is_idle || wait_idle(s, close_s);
	}
	for (unsigned int i = 0; is_idle && i < s->nworkers; i++)
		loop_join(stream_server_worker(s, i)->loop);
	return is_idle;
}
