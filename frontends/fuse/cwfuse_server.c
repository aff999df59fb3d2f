/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_server.c - the socket over which `causeway mount` brings descriptors.
 *
 * One message is one JSON object (gateway/fdpass.h):
 *   {"op":"probe","share":"demo"}            -> {"ok":true,"read_only":false}
 *   {"op":"mount","share":"demo","cache_ms":0,"recalls":true}
 *                                            + descriptor of /dev/fuse [+ journal] [+ recalls, if so said]
 *                                            -> {"ok":true} + journal
 *   errors                                   -> {"ok":false,"errno":2,"error":"no share \"x\""}
 *   when the mount ends                      -> {"event":"unmounted"}, end of the connection
 * The helper keeps descriptor and journal, and brings both again when the connection breaks.
 * Over the descriptor of recalls it takes what makes the kernel forget (cwfuse_lease.c).
 * The socket's mode is 0600: whoever can connect may do what the daemon's own user may.
 *
 * One thread serves the socket, ends sessions and runs delayed retries.
 */
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontends/fuse/cwfuse_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/fdpass.h"

#define CONNS_MAX 64
#define POLL_MAX (2 + 3 * CONNS_MAX)
#define STOP_WAIT_MS 10000
#define REAP_MS 50

struct cwfuse_server {
	int listen_fd, wake_fd;
	char *lease_path;     /* a file that says: a life of the daemon gave leases */
	bool had_leases;      /* the last one did */
	atomic_bool is_noted; /* it says so of this life */
	pthread_t thread;
	bool is_started;
	atomic_bool stopping;
	int conns[CONNS_MAX]; /* connections that brought no mount yet; thread only */
	unsigned int nconns;
	struct list sessions; /* thread only */
	pthread_mutex_t lock; /* guards retries */
	struct list retries;
};

int
cwfuse_server_open(const char *socket_path, struct cwfuse_server **out)
{
	struct cwfuse_server *s;
	int fd = fdpass_listen(socket_path), wake;

	*out = NULL;
	if (fd < 0)
		return fd;
	wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	s = xcalloc(1, sizeof(*s));
	s->listen_fd = fd;
	s->wake_fd = wake;
	s->lease_path = xasprintf("%s.leases", socket_path);
	s->had_leases = unlink(s->lease_path) == 0;
	list_init(&s->sessions);
	list_init(&s->retries);
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return 0;
}

bool
cwfuse_server_note_lease(struct cwfuse_server *s)
{
	int fd;

	if (atomic_load(&s->is_noted))
		return true;
	fd = open(s->lease_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	close(fd);
	atomic_store(&s->is_noted, true);
	return true;
}

void
cwfuse_server_await_leases(const struct cwfuse_server *s)
{
	if (s->had_leases)
		clock_sleep_ms(RECALL_LEASE_MS + RECALL_LEASE_MS / 4);
}

void
cwfuse_server_wake(struct cwfuse_server *s)
{
	uint64_t one = 1;
	ssize_t n = write(s->wake_fd, &one, sizeof(one));

	(void)n; /* EAGAIN: it is awake enough */
}

void
cwfuse_server_retry(struct cwfuse_server *s, struct cwfuse_req *r)
{
	r->due_ms = clock_mono_ms() + r->delay_ms;
	pthread_mutex_lock(&s->lock);
	list_add_tail(&s->retries, &r->retry);
	cwfuse_server_wake(s); /* inside: once unlocked, r may be over, and the server with it */
	pthread_mutex_unlock(&s->lock);
}

/* Run what is due. result: milliseconds until the next, at most cap_ms */
static int
run_retries(struct cwfuse_server *s, int cap_ms)
{
	uint64_t now = clock_mono_ms();
	struct list due, *p, *tmp;
	int wait_ms = cap_ms;

	list_init(&due);
	pthread_mutex_lock(&s->lock);
	list_for_each_safe(p, tmp, &s->retries)
	{
		struct cwfuse_req *r = container_of(p, struct cwfuse_req, retry);

		if (r->due_ms <= now || atomic_load(&r->s->gone)) {
			list_del(p);
			list_add_tail(&due, p);
		} else if (r->due_ms - now < (uint64_t)wait_ms) {
			wait_ms = (int)(r->due_ms - now);
		}
	}
	pthread_mutex_unlock(&s->lock);
	while (!list_empty(&due)) {
		struct cwfuse_req *r = container_of(due.next, struct cwfuse_req, retry);

		list_del(&r->retry);
		cwfuse_rerun(r);
	}
	return wait_ms;
}

static void
answer(int sock, json_t *obj, const int *fds, size_t nfds)
{
	char *text = json_dumps(obj, JSON_COMPACT);
	int err = fdpass_send(sock, text, strlen(text), fds, nfds);

	if (err < 0)
		log_debug("fuse.server", "answer-failed", "err=\"%s\"", err_str(err));
	free(text);
	json_decref(obj);
}

static void
answer_error(int sock, int err, const char *what)
{
	json_t *o = json_object();

	json_object_set_new(o, "ok", json_false());
	json_object_set_new(o, "errno", json_integer(-err_errno(err)));
	json_object_set_new(o, "error", json_string(what != NULL ? what : err_str(err)));
	answer(sock, o, NULL, 0);
}

/* Take over the descriptors of a mount request. result: 0 with *session, or negative errno */
static int
accept_mount(struct cwfuse_server *s, struct cw_share *share, json_t *msg, int *fds, size_t nfds,
    int *journal_fd, struct cwfuse_session **session)
{
	struct cwfuse_journal *j;
	double cache_ms = (double)json_integer_value(json_object_get(msg, "cache_ms"));
	int lease_fd = -1, err;

	if (json_is_true(json_object_get(msg, "recalls")) && nfds > 1)
		lease_fd = fds[--nfds];
	if (nfds < 1 || nfds > 2 || cache_ms < 0)
		return -EINVAL;
	if (nfds == 2) {
		err = cwfuse_journal_map(fds[1], &j);
		*journal_fd = dup(fds[1]);
	} else {
		*journal_fd = err = cwfuse_journal_new(&j);
	}
	if (err < 0)
		return err;
	err = cwfuse_session_new(s, share, fds[0], lease_fd, j, cache_ms / 1000, session);
	fds[0] = -1;
	if (lease_fd >= 0)
		fds[nfds] = -1;
	return err;
}

/* result: true when the connection now belongs to a session */
static bool
serve_mount(
    struct cwfuse_server *s, int sock, struct cw_share *share, json_t *msg, int *fds, size_t nfds)
{
	struct cwfuse_session *session = NULL;
	json_t *ok;
	int journal_fd = -1, err;

	err = accept_mount(s, share, msg, fds, nfds, &journal_fd, &session);
	if (err < 0) {
		answer_error(sock, err, NULL);
		if (journal_fd >= 0)
			close(journal_fd);
		return false;
	}
	session->sock = sock;
	list_add_tail(&s->sessions, &session->link);
	ok = json_object();
	json_object_set_new(ok, "ok", json_true());
	answer(sock, ok, &journal_fd, 1);
	close(journal_fd);
	return true;
}

static bool
serve_message(
    struct cwfuse_server *s, int sock, const char *text, size_t len, int *fds, size_t nfds)
{
	json_t *msg = json_loadb(text, len, 0, NULL);
	const char *op = json_string_value(json_object_get(msg, "op"));
	const char *name = json_string_value(json_object_get(msg, "share"));
	struct cw_share *share = name != NULL ? cw_share_by_name(name) : NULL;
	bool is_taken = false;

	if (op == NULL || name == NULL) {
		answer_error(sock, -EINVAL, "malformed request");
	} else if (share == NULL) {
		char *what = xasprintf("no share \"%s\" is served", name);

		answer_error(sock, -ENOENT, what);
		free(what);
	} else if (strcmp(op, "probe") == 0) {
		json_t *o = json_object();

		json_object_set_new(o, "ok", json_true());
		json_object_set_new(o, "read_only", json_boolean(cw_share_conf(share)->read_only));
		answer(sock, o, NULL, 0);
	} else if (strcmp(op, "mount") == 0) {
		is_taken = serve_mount(s, sock, share, msg, fds, nfds);
	} else {
		answer_error(sock, -EINVAL, "unknown request");
	}
	if (share != NULL)
		cw_share_put(share);
	json_decref(msg);
	return is_taken;
}

/* result: false when the connection is done with (closed or taken over) */
static bool
serve_conn(struct cwfuse_server *s, int sock)
{
	char text[FDPASS_MESSAGE];
	int fds[FDPASS_MAX], n;
	size_t nfds;
	bool is_taken = false;

	n = fdpass_recv(sock, text, sizeof(text), fds, &nfds);
	if (n == -EAGAIN)
		return true;
	if (n > 0)
		is_taken = serve_message(s, sock, text, (size_t)n, fds, nfds);
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (is_taken)
		return false;
	if (n <= 0) {
		close(sock);
		return false;
	}
	return true;
}

static void
accept_conns(struct cwfuse_server *s)
{
	for (;;) {
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		if (s->nconns == CONNS_MAX) {
			close(fd);
			continue;
		}
		s->conns[s->nconns++] = fd;
	}
}

/* End sessions whose mount is gone. result: are there some that wait for their last op? */
static bool
reap(struct cwfuse_server *s)
{
	struct list *p, *tmp;
	bool is_waiting = false;

	list_for_each_safe(p, tmp, &s->sessions)
	{
		struct cwfuse_session *se = container_of(p, struct cwfuse_session, link);

		if (!atomic_load(&se->gone))
			continue;
		if (se->nthreads > 0)
			cwfuse_session_halt(se);
		if (!cwfuse_session_idle(se, atomic_load(&se->is_replayed))) {
			is_waiting = true;
			continue;
		}
		log_info("fuse.session", "unmounted", "share=\"%s\"", se->share_name);
		if (se->sock >= 0) {
			json_t *o = json_object();

			json_object_set_new(o, "event", json_string("unmounted"));
			answer(se->sock, o, NULL, 0);
			close(se->sock);
		}
		list_del(&se->link);
		cwfuse_session_free(se);
	}
	return is_waiting;
}

/* A helper says nothing more; what can be read is its end. The mount stays. */
static void
check_helper(struct cwfuse_session *se)
{
	struct pollfd fuse = {.fd = se->fd}; /* POLLERR comes unasked */
	char text[FDPASS_MESSAGE];
	int fds[FDPASS_MAX];
	size_t nfds;
	int n = fdpass_recv(se->sock, text, sizeof(text), fds, &nfds);

	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	if (n > 0 || n == -EAGAIN)
		return;
	if (poll(&fuse, 1, 0) == 0) /* else it was unmounted: as it should be */
		log_warn("fuse.session", "helper-gone",
		    "share=\"%s\": the mount ends with this daemon, nobody will hand it on",
		    se->share_name);
	close(se->sock);
	se->sock = -1;
}

static unsigned int
fill_poll(struct cwfuse_server *s, struct pollfd *p, struct cwfuse_session **sessions)
{
	unsigned int n = 0;
	struct list *l;

	p[n++] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
	p[n++] = (struct pollfd){.fd = s->listen_fd, .events = POLLIN};
	for (unsigned int i = 0; i < s->nconns; i++)
		p[n++] = (struct pollfd){.fd = s->conns[i], .events = POLLIN};
	list_for_each(l, &s->sessions)
	{
		struct cwfuse_session *se = container_of(l, struct cwfuse_session, link);

		if (n + 2 > POLL_MAX)
			break;
		if (se->sock >= 0) {
			sessions[n] = se;
			p[n++] = (struct pollfd){.fd = se->sock, .events = POLLIN};
		}
		if (se->lease_fd >= 0 && !atomic_load(&se->lease_gone)) {
			sessions[n] = se;
			p[n++] = (struct pollfd){.fd = se->lease_fd, .events = POLLIN};
		}
	}
	return n;
}

static void
serve_polled(struct cwfuse_server *s, const struct pollfd *p, unsigned int n,
    struct cwfuse_session **sessions)
{
	unsigned int nold = s->nconns, nkept = 0;
	uint64_t count;
	ssize_t got;

	if (p[0].revents != 0) {
		got = read(s->wake_fd, &count, sizeof(count));
		(void)got;
	}
	for (unsigned int i = 2 + nold; i < n; i++)
		if (p[i].revents != 0 && p[i].fd == sessions[i]->lease_fd)
			cwfuse_lease_heard(sessions[i]);
		else if (p[i].revents != 0)
			check_helper(sessions[i]);
	for (unsigned int i = 0; i < nold; i++)
		if (p[2 + i].revents == 0 || serve_conn(s, s->conns[i]))
			s->conns[nkept++] = s->conns[i];
	s->nconns = nkept;
	if (p[1].revents != 0)
		accept_conns(s);
}

/* Commit what was written a while ago, give up recalls. result: milliseconds until the next look, at most
 * wait_ms */
static int
tick_sessions(struct cwfuse_server *s, int wait_ms)
{
	struct list *l;

	list_for_each(l, &s->sessions)
	{
		struct cwfuse_session *se = container_of(l, struct cwfuse_session, link);
		int ms = cwfuse_log_tick(se);

		if (ms >= 0 && ms < wait_ms)
			wait_ms = ms;
		ms = cwfuse_lease_tick(se);
		if (ms >= 0 && ms < wait_ms)
			wait_ms = ms;
	}
	return wait_ms;
}

static void *
server_thread(void *arg)
{
	struct cwfuse_server *s = arg;
	struct pollfd p[POLL_MAX];
	struct cwfuse_session *sessions[POLL_MAX];

	while (!atomic_load(&s->stopping)) {
		bool is_waiting = reap(s);
		int wait_ms = run_retries(s, is_waiting ? REAP_MS : 60000);
		unsigned int n = fill_poll(s, p, sessions);

		wait_ms = tick_sessions(s, wait_ms);
		if (poll(p, n, wait_ms) > 0)
			serve_polled(s, p, n, sessions);
	}
	return NULL;
}

int
cwfuse_server_start(struct cwfuse_server *s)
{
	int err = pthread_create(&s->thread, NULL, server_thread, s);

	s->is_started = err == 0;
	return -err;
}

/* Requests that wait for their next try stay in the journal, unanswered, for the next daemon. */
static void
park_retries(struct cwfuse_server *s)
{
	pthread_mutex_lock(&s->lock);
	while (!list_empty(&s->retries)) {
		struct cwfuse_req *r = container_of(s->retries.next, struct cwfuse_req, retry);

		list_del(&r->retry);
		fuse_reply_none(r->req); /* frees it and says nothing */
		if (r->share != NULL)
			cw_share_put(r->share);
		r->share = NULL;
		pthread_mutex_lock(&r->s->lock);
		r->s->nparked++;
		pthread_mutex_unlock(&r->s->lock);
	}
	pthread_mutex_unlock(&s->lock);
}

/* result: false when ops of the session are still under way in the core after the wait */
static bool
end_session(struct cwfuse_server *s, struct cwfuse_session *se, uint64_t until_ms)
{
	cwfuse_session_halt(se);
	for (;;) {
		park_retries(s);
		if (cwfuse_session_idle(se, false)) /* a restart finds the log again */
			break;
		if (clock_mono_ms() >= until_ms) {
			log_warn("fuse.session", "left-unanswered",
			    "share=\"%s\": some requests are left to the next daemon",
			    se->share_name);
			atomic_store(&se->abandoned, true);
			return false;
		}
		clock_sleep_ms(5);
	}
	if (se->sock >= 0)
		close(se->sock);
	cwfuse_session_free(se);
	return true;
}

void
cwfuse_server_stop(struct cwfuse_server *s)
{
	uint64_t until_ms = clock_mono_ms() + STOP_WAIT_MS;
	bool is_clean = true;
	struct list *l;

	if (s == NULL)
		return;
	atomic_store(&s->stopping, true);
	if (s->is_started) {
		cwfuse_server_wake(s);
		pthread_join(s->thread, NULL);
	}
	/* Nobody hears their answers any more, and an op of one may wait for another one's. */
	list_for_each(l, &s->sessions)
	    cwfuse_lease_close(container_of(l, struct cwfuse_session, link));
	while (!list_empty(&s->sessions)) {
		l = s->sessions.next;
		list_del(l);
		if (!end_session(s, container_of(l, struct cwfuse_session, link), until_ms))
			is_clean = false;
	}
	for (unsigned int i = 0; i < s->nconns; i++)
		close(s->conns[i]);
	close(s->listen_fd);
	if (!is_clean) /* the core still holds ops whose completion looks at the session and at us */
		return;
	close(s->wake_fd);
	pthread_mutex_destroy(&s->lock);
	free(s->lease_path);
	free(s);
}
