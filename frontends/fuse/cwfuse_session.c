/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_session.c - one mount: threads that take requests from the kernel into the journal's slots.
 *
 * Each thread: take a free slot (none free: wait, which is the back-pressure on the kernel), read(2) a
 * request into it, hand it to libfuse, whose ops fill in the slot's cwfuse_req and submit.  The answer
 * comes from whatever thread completes the op.  Slots are taken last-in first-out, so an idle mount
 * touches a few pages of its 128 MiB journal only.
 *
 * A thread that sleeps in read(2) is ended by a signal, sent until it says that it has gone; so a
 * stop needs no event of the kernel's.
 */
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "frontends/fuse/cwfuse_int.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

static __thread struct cwfuse_req *req_here;
static __thread bool req_taken;
static __thread struct cwfuse_req *answering;

static int
wake_signal(void)
{
	return SIGRTMIN + 5;
}

static void
on_wake_signal(int sig)
{
	(void)sig; /* it only has to interrupt read(2) */
}

struct cwfuse_req *
cwfuse_req_here(void)
{
	req_taken = true;
	return req_here;
}

void
cwfuse_answering(struct cwfuse_req *r)
{
	answering = r;
}

/* result: a slot, or -1 when the session stops */
static int
slot_take(struct cwfuse_session *s)
{
	int slot = -1;

	pthread_mutex_lock(&s->lock);
	while (
	    (s->nfree == 0 || !s->is_ready) && !atomic_load(&s->stopping) && !atomic_load(&s->gone))
		pthread_cond_wait(&s->slot_freed, &s->lock);
	if (!atomic_load(&s->stopping) && !atomic_load(&s->gone))
		slot = (int)s->free[--s->nfree];
	pthread_mutex_unlock(&s->lock);
	return slot;
}

void
cwfuse_slot_put(struct cwfuse_session *s, unsigned int slot)
{
	s->reqs[slot].is_replay = false;
	atomic_store(&s->journal->state[slot], CWFUSE_FREE);
	pthread_mutex_lock(&s->lock);
	s->free[s->nfree++] = slot;
	pthread_cond_signal(&s->slot_freed);
	pthread_mutex_unlock(&s->lock);
}

/* Hand a request to libfuse. If no op took it over, libfuse answered it or it wants no answer. */
static void
process(struct cwfuse_session *s, unsigned int slot, size_t len)
{
	struct fuse_buf buf = {.size = len, .mem = cwfuse_journal_slot(s->journal, slot)};

	req_here = &s->reqs[slot];
	req_taken = false;
	fuse_session_process_buf(s->se, &buf);
	req_here = NULL;
	if (!req_taken)
		cwfuse_slot_put(s, slot);
}

static void
keep_init(struct cwfuse_session *s, const uint8_t *request, size_t len)
{
	struct fuse_in_header head;

	memcpy(&head, request, sizeof(head));
	if (head.opcode != FUSE_INIT || len > CWFUSE_INIT_MAX)
		return;
	memcpy(s->journal->init, request, len);
	s->journal->init_len = (uint32_t)len;
}

/* result: false when there is no more to read */
static bool
receive(struct cwfuse_session *s, unsigned int slot)
{
	uint8_t *mem = cwfuse_journal_slot(s->journal, slot);
	ssize_t n;

	memset(mem, 0, sizeof(struct fuse_in_header));
	s->journal->log_ctime_ns[slot] = 0;
	atomic_store(&s->journal->state[slot], CWFUSE_READING);
	n = read(s->fd, mem, CWFUSE_SLOT);
	if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
		s->journal->len[slot] = (uint32_t)n;
		atomic_store(&s->journal->state[slot], CWFUSE_BUSY);
		keep_init(s, mem, (size_t)n);
		process(s, slot, (size_t)n);
		return true;
	}
	n = n < 0 ? -errno : -EIO;
	cwfuse_slot_put(s, slot);
	/* ENOENT: the request was interrupted before it was read. */
	if (n == -EINTR || n == -EAGAIN || n == -ENOENT || n == -ENOMEM)
		return true;
	if (n != -ENODEV && n != -ECONNABORTED)
		log_warn("fuse.session", "read-failed", "share=\"%s\" err=\"%s\"", s->share_name,
		    err_str((int)n));
	return false;
}

static void *
session_thread(void *arg)
{
	struct cwfuse_session *s = arg;
	int slot;

	while (!atomic_load(&s->stopping) && !atomic_load(&s->gone)) {
		slot = slot_take(s);
		if (slot < 0)
			break;
		if (!receive(s, (unsigned int)slot)) {
			pthread_mutex_lock(&s->lock);
			atomic_store(&s->gone, true);
			pthread_cond_broadcast(&s->slot_freed);
			pthread_mutex_unlock(&s->lock);
		}
	}
	atomic_fetch_sub(&s->nrunning, 1);
	cwfuse_server_wake(s->server);
	return NULL;
}

/* A slot whose answer may or may not have gone out: send it again, the kernel knows. */
static void
answer_again(struct cwfuse_session *s, unsigned int slot)
{
	struct cwfuse_journal *j = s->journal;
	const uint8_t *answer = cwfuse_journal_answer(j, slot);
	struct fuse_out_header head;
	ssize_t n;

	memcpy(&head, answer, sizeof(head));
	if (head.len >= sizeof(head) && head.len <= CWFUSE_ANSWER_MAX) {
		n = write(s->fd, answer, head.len);
		(void)n; /* ENOENT: it has it */
	}
	if (j->log_ctime_ns[slot] != 0)
		cwfuse_log_add(s, slot); /* a WRITE */
	else
		cwfuse_slot_put(s, slot);
}

/* The first thread: what the last daemon left comes before anything new. */
static void *
first_thread(void *arg)
{
	struct cwfuse_session *s = arg;
	unsigned int nreplayed = 0, slots[CWFUSE_SLOTS], n = 0;

	for (unsigned int i = 0; i < CWFUSE_SLOTS; i++)
		if (atomic_load(&s->journal->state[i]) == CWFUSE_ANSWERING)
			answer_again(s, i);
	cwfuse_log_replay(s);
	for (unsigned int i = 0; i < CWFUSE_SLOTS; i++)
		if (s->reqs[i].is_replay)
			slots[n++] = i;
	for (unsigned int i = 0; i < n; i++) {
		size_t len = cwfuse_journal_left(s->journal, slots[i]);

		s->journal->len[slots[i]] = (uint32_t)len;
		atomic_store(&s->journal->state[slots[i]], CWFUSE_BUSY);
		process(s, slots[i], len);
		nreplayed++;
	}
	if (nreplayed > 0)
		log_info("fuse.session", "replayed", "share=\"%s\" requests=%u", s->share_name,
		    nreplayed);
	pthread_mutex_lock(&s->lock);
	s->is_ready = true;
	pthread_cond_broadcast(&s->slot_freed);
	pthread_mutex_unlock(&s->lock);
	return session_thread(s);
}

/* Keep an answer in its slot, so that it can be sent again but the request is not run again. */
static void
keep_answer(const struct iovec *iov, int count)
{
	struct cwfuse_req *r = answering;
	struct cwfuse_journal *j;
	size_t len = 0, at = 0;
	uint8_t *to;

	answering = NULL;
	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	if (r == NULL || len > CWFUSE_ANSWER_MAX)
		return;
	j = r->s->journal;
	to = cwfuse_journal_answer(j, r->slot);
	for (int i = 0; i < count; i++) {
		memcpy(to + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	atomic_store(&j->state[r->slot], CWFUSE_ANSWERING);
}

static ssize_t
io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct cwfuse_session *s = userdata;
	ssize_t n = 0;

	if (s->swallow) {
		for (int i = 0; i < count; i++)
			n += (ssize_t)iov[i].iov_len;
		return n;
	}
	keep_answer(iov, count);
	n = writev(fd, iov, count);
	if (n < 0 && errno != ENOENT) {
		int err = -errno;

		if (!atomic_load(&s->gone) && err != -ENODEV && err != -EPERM)
			log_warn("fuse.session", "reply-failed", "share=\"%s\" err=\"%s\"",
			    s->share_name, err_str(err));
		errno = ENOENT; /* libfuse: nobody waits for this answer any more */
	}
	return n;
}

static ssize_t
io_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata; /* wanted by libfuse; session threads read for themselves */
	return read(fd, buf, len);
}

static int
make_fuse(struct cwfuse_session *s)
{
	static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
	char name[] = "causeway";
	char *argv[] = {name, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int err;

	s->se = fuse_session_new(&args, &cwfuse_ops, sizeof(cwfuse_ops), s);
	fuse_opt_free_args(&args);
	if (s->se == NULL)
		return -ENOMEM;
	err = fuse_session_custom_io(s->se, &io, s->fd);
	if (err != 0) {
		fuse_session_destroy(s->se);
		s->se = NULL;
		return -EINVAL;
	}
	if (s->journal->init_len > 0) { /* the kernel said it to the last daemon */
		struct fuse_buf buf = {.size = s->journal->init_len, .mem = s->journal->init};

		s->swallow = true;
		fuse_session_process_buf(s->se, &buf);
		s->swallow = false;
	}
	return 0;
}

static void
init_slots(struct cwfuse_session *s)
{
	for (unsigned int i = CWFUSE_SLOTS; i-- > 0;) {
		struct cwfuse_req *r = &s->reqs[i];
		uint32_t state;

		r->s = s;
		r->slot = i;
		list_init(&r->retry);
		r->is_replay = cwfuse_journal_left(s->journal, i) > 0;
		if (r->is_replay)
			continue;
		if (s->journal->log_seq[i] > s->log_seq)
			s->log_seq = s->journal->log_seq[i];
		state = atomic_load(&s->journal->state[i]);
		if (state == CWFUSE_LOGGED) {
			s->nlogged++;
			s->log_bytes += s->journal->len[i];
		}
		if (state == CWFUSE_LOGGED || state == CWFUSE_ANSWERING)
			continue;
		atomic_store(&s->journal->state[i], CWFUSE_FREE);
		s->free[s->nfree++] = i;
	}
}

static int
start_threads(struct cwfuse_session *s)
{
	long ncpu = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int want = ncpu < 4			? 4
			    : ncpu > CWFUSE_THREADS_MAX ? CWFUSE_THREADS_MAX
							: (unsigned int)ncpu;
	struct sigaction sa = {.sa_handler = on_wake_signal}; /* no SA_RESTART */
	sigset_t all, old;
	int err = 0;

	sigemptyset(&sa.sa_mask);
	if (sigaction(wake_signal(), &sa, NULL) < 0)
		return -errno;
	sigfillset(&all);
	sigdelset(&all, wake_signal());
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (s->nthreads < want && err == 0) {
		atomic_fetch_add(&s->nrunning, 1);
		err = pthread_create(&s->threads[s->nthreads], NULL,
		    s->nthreads == 0 ? first_thread : session_thread, s);
		if (err == 0)
			s->nthreads++;
		else
			atomic_fetch_sub(&s->nrunning, 1);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return s->nthreads > 0 ? 0 : -err;
}

int
cwfuse_session_new(struct cwfuse_server *server, struct cw_share *share, int fuse_fd, int lease_fd,
    struct cwfuse_journal *journal, double timeout_s, struct cwfuse_session **out)
{
	struct cwfuse_session *s = xcalloc(1, sizeof(*s));
	bool is_resumed = journal->init_len > 0;
	int err;

	*out = NULL;
	s->server = server;
	s->sock = -1;
	s->fd = fuse_fd;
	s->journal = journal;
	s->timeout_s = timeout_s;
	s->share_id = cw_share_id(share);
	s->root_ino = cw_share_root(share);
	strncpy(s->share_name, cw_share_conf(share)->name, sizeof(s->share_name) - 1);
	list_init(&s->link);
	do
		random_bytes(&s->epoch, sizeof(s->epoch));
	while (s->epoch == 0);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->cred_lock, NULL);
	pthread_cond_init(&s->slot_freed, NULL);
	init_slots(s);
	cwfuse_lease_open(s, lease_fd);
	err = make_fuse(s);
	if (err == 0)
		err = start_threads(s);
	if (err < 0) {
		cwfuse_session_free(s);
		return err;
	}
	log_info("fuse.session", "mounted", "share=\"%s\" threads=%u resumed=%d", s->share_name,
	    s->nthreads, is_resumed);
	*out = s;
	return 0;
}

void
cwfuse_session_halt(struct cwfuse_session *s)
{
	const struct timespec pause = {.tv_nsec = 2000000};

	pthread_mutex_lock(&s->lock);
	atomic_store(&s->stopping, true);
	pthread_cond_broadcast(&s->slot_freed);
	pthread_mutex_unlock(&s->lock);
	while (atomic_load(&s->nrunning) > 0) {
		for (unsigned int i = 0; i < s->nthreads; i++)
			pthread_kill(s->threads[i], wake_signal());
		nanosleep(&pause, NULL);
	}
	for (unsigned int i = 0; i < s->nthreads; i++)
		pthread_join(s->threads[i], NULL);
	s->nthreads = 0;
}

bool
cwfuse_session_idle(struct cwfuse_session *s, bool is_synced)
{
	bool is_idle;

	pthread_mutex_lock(&s->lock);
	is_idle = s->nfree + s->nparked + (is_synced ? 0 : s->nlogged) == CWFUSE_SLOTS &&
		  !atomic_load(&s->is_committing);
	pthread_mutex_unlock(&s->lock);
	return is_idle;
}

void
cwfuse_session_free(struct cwfuse_session *s)
{
	if (s->se != NULL)
		fuse_session_destroy(s->se); /* closes s->fd when custom io was set */
	else
		close(s->fd);
	cwfuse_lease_close(s);
	if (s->lease_fd >= 0)
		close(s->lease_fd);
	cwfuse_journal_unmap(s->journal);
	pthread_cond_destroy(&s->slot_freed);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->cred_lock);
	free(s);
}
