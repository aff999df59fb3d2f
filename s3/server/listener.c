/* SPDX-License-Identifier: Apache-2.0 */
/* listener.c - accept loop with pauses. */
#include "s3/server/listener.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/inet.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

struct listener {
	pthread_mutex_t lock; /* guards fd against listener_refuse() */
	bool is_shut;	      /* fd was shut down and has to be closed; under lock */
	int fd;		      /* -1 while refusing; opened and closed by the thread once it runs */
	int wake_fd;
	union inet_addr addr;
	pthread_t thread;
	bool has_thread;
	atomic_bool is_stopping;
	atomic_uint_fast64_t refuse_until_ms;
	void (*on_conn)(void *ctx, int fd, const struct sockaddr *addr, socklen_t len);
	void *ctx;
};

static int
open_socket(struct listener *l)
{
	int fd = inet_listen(&l->addr);

	l->fd = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

int
listener_open(const char *text, struct listener **out, char *bound, size_t bound_cap,
    char *err_text, size_t cap)
{
	struct listener *l = xcalloc(1, sizeof *l);
	int err;

	*out = NULL;
	l->fd = -1;
	pthread_mutex_init(&l->lock, NULL);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = l->wake_fd < 0 ? -errno : inet_resolve(text, &l->addr);
	if (err == -EINVAL)
		snprintf(err_text, cap, "--listen wants ADDR:PORT, not \"%s\"", text);
	if (err == 0)
		err = open_socket(l);
	if (err != 0) {
		if (err != -EINVAL)
			snprintf(err_text, cap, "cannot listen on %s: %s", text, err_str(err));
		listener_close(l);
		return err;
	}
	inet_text(&l->addr, bound, bound_cap);
	*out = l;
	return 0;
}

static void
accept_all(struct listener *l)
{
	struct sockaddr_storage peer;
	socklen_t len;
	int one = 1, fd;

	for (;;) {
		len = sizeof peer;
		fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
		if (fd < 0 && errno == EMFILE)
			clock_sleep_ms(10);
		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		l->on_conn(l->ctx, fd, (struct sockaddr *)&peer, len);
	}
}

/* Follow what is wished: closed while refusing, open otherwise. How long until that changes, ms. */
static int
adjust(struct listener *l)
{
	uint64_t now = clock_mono_ms(), until = atomic_load(&l->refuse_until_ms);
	int timeout = -1, err;

	pthread_mutex_lock(&l->lock);
	if (l->fd >= 0 && (l->is_shut || now < until)) {
		close(l->fd);
		l->fd = -1;
	}
	l->is_shut = false;
	if (now < until) {
		timeout = until - now > 1000 ? 1000 : (int)(until - now);
	} else if (l->fd < 0 && (err = open_socket(l)) != 0) {
		log_warn("s3d.listener", "reopen-failed", "err=\"%s\"", err_str(err));
		timeout = 100;
	}
	pthread_mutex_unlock(&l->lock);
	return timeout;
}

static void *
run(void *arg)
{
	struct listener *l = arg;
	eventfd_t n;

	while (!atomic_load(&l->is_stopping)) {
		struct pollfd p[2] = {{.fd = l->wake_fd, .events = POLLIN}, {.events = POLLIN}};
		int timeout = adjust(l);

		p[1].fd = l->fd;
		if (poll(p, 2, timeout) < 0 && errno != EINTR)
			break;
		if (p[0].revents != 0)
			(void)eventfd_read(l->wake_fd, &n);
		else if (p[1].revents != 0)
			accept_all(l);
	}
	return NULL;
}

int
listener_start(struct listener *l,
    void (*on_conn)(void *ctx, int fd, const struct sockaddr *addr, socklen_t len), void *ctx)
{
	int err;

	l->on_conn = on_conn;
	l->ctx = ctx;
	err = pthread_create(&l->thread, NULL, run, l);
	l->has_thread = err == 0;
	return -err;
}

void
listener_refuse(struct listener *l, unsigned int ms)
{
	uint64_t until = clock_mono_ms() + ms, old = atomic_load(&l->refuse_until_ms);

	while (old < until && !atomic_compare_exchange_weak(&l->refuse_until_ms, &old, until))
		;
	/* from now on, not only when the thread gets to run: shut down, the socket refuses at once */
	pthread_mutex_lock(&l->lock);
	if (l->fd >= 0)
		l->is_shut = shutdown(l->fd, SHUT_RDWR) == 0;
	pthread_mutex_unlock(&l->lock);
	(void)eventfd_write(l->wake_fd, 1);
}

bool
listener_is_refusing(struct listener *l)
{
	return clock_mono_ms() < atomic_load(&l->refuse_until_ms);
}

void
listener_stop(struct listener *l)
{
	atomic_store(&l->is_stopping, true);
	if (l->has_thread) {
		(void)eventfd_write(l->wake_fd, 1);
		pthread_join(l->thread, NULL);
		l->has_thread = false;
	}
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void
listener_close(struct listener *l)
{
	if (l == NULL)
		return;
	listener_stop(l);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
