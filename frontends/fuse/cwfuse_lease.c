/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_lease.c - names and attributes that the kernel may keep for a while, and how it is made to forget.
 *
 * A listing by READDIRPLUS tells names with attributes; without leave to keep them the kernel asks for each
 * again, twice.  So it may keep them for RECALL_LEASE_MS, and the core has us call back what somebody
 * else changes (gateway/recall.h) by FUSE_NOTIFY_INVAL_ENTRY, expire only, and FUSE_NOTIFY_INVAL_INODE.
 * The kernel carries out the first with the directory locked, as it is while READDIRPLUS is answered and
 * its answer read: so what was told before the change is forgotten, and what is told later has the change.
 *
 * That lock may be held by a caller whose request waits in our journal for the next daemon, and who
 * waits for a lock cannot be killed: a daemon that did would not end, nor let go of its ports.  So the
 * mount helper writes the notifications for us, on a thread of its own.  A packet to it is a number and
 * one message of the kernel's; it says the number back when the message is written, unless it is 0.
 */
#include <linux/fuse.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "frontends/fuse/cwfuse_int.h"
#include "gateway/base/clock.h"

#define PAUSE_MS (4 * RECALL_LEASE_MS) /* longer than anybody waits for an answer */

/* As fuse_notify_inval_entry_out since Linux 6.2; older headers have padding instead of flags. */
struct inval_entry {
	uint64_t parent;
	uint32_t name_len;
	uint32_t flags;
};

/* Send one notification. result: false: the helper will not hear it */
static bool
notify(struct cwfuse_session *s, uint64_t seq, int code, struct iovec *body, unsigned int n)
{
	struct fuse_out_header head = {.error = code};
	struct iovec iov[5] = {{&seq, sizeof(seq)}, {&head, sizeof(head)}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2 + n};
	size_t len = sizeof(head);

	for (unsigned int i = 0; i < n; i++) {
		iov[2 + i] = body[i];
		len += body[i].iov_len;
	}
	head.len = (uint32_t)len;
	return sendmsg(s->lease_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
}

static bool
forget_entry(struct cwfuse_session *s, uint64_t dir, const char *name)
{
	struct inval_entry e = {.parent = dir == s->root_ino ? FUSE_ROOT_ID : dir,
	    .name_len = (uint32_t)strlen(name),
	    .flags = FUSE_LL_EXPIRE_ONLY};
	struct iovec body[2] = {{&e, sizeof(e)}, {(void *)(uintptr_t)name, e.name_len + 1u}};

	return notify(s, 0, FUSE_NOTIFY_INVAL_ENTRY, body, 2);
}

static bool
forget_attrs(struct cwfuse_session *s, uint64_t seq, uint64_t ino)
{
	/* off < 0: attributes only, no pages */
	struct fuse_notify_inval_inode_out i = {
	    .ino = ino == s->root_ino ? FUSE_ROOT_ID : ino, .off = -1};
	struct iovec body[1] = {{&i, sizeof(i)}};

	return notify(s, seq, FUSE_NOTIFY_INVAL_INODE, body, 1);
}

/* The helper did not hear, or does not answer: what was given has to run out by itself, and none of its
 * answers counts meanwhile, for it may leave out one of the numbers before. */
static void
pause_leases(struct cwfuse_session *s)
{
	atomic_store(&s->lease_from_ms, clock_mono_ms() + PAUSE_MS);
}

static void
recall(struct recall_holder *h, uint64_t seq, uint64_t dir, const char *name, uint64_t ino)
{
	struct cwfuse_session *s = container_of(h, struct cwfuse_session, holder);

	if ((name != NULL && !forget_entry(s, dir, name)) || !forget_attrs(s, seq, ino))
		pause_leases(s);
	if (!atomic_exchange(&s->lease_timed, true))
		cwfuse_server_wake(s->server);
}

void
cwfuse_lease_open(struct cwfuse_session *s, int fd)
{
	s->lease_fd = fd;
	atomic_store(&s->lease_timed, false);
	s->holder.share_id = s->share_id;
	s->holder.recall = recall;
	recall_join(&s->holder);
}

void
cwfuse_lease_close(struct cwfuse_session *s)
{
	atomic_store(&s->lease_gone, true);
	recall_leave(&s->holder);
}

bool
cwfuse_lease_may_give(const struct cwfuse_session *s)
{
	return s->timeout_s <= 0 && s->can_expire && s->lease_fd >= 0 &&
	       !atomic_load(&s->lease_gone) && clock_mono_ms() >= atomic_load(&s->lease_from_ms) &&
	       cwfuse_server_note_lease(s->server);
}

void
cwfuse_lease_heard(struct cwfuse_session *s)
{
	uint64_t seq, last = 0;
	ssize_t n;

	while ((n = recv(s->lease_fd, &seq, sizeof(seq), MSG_DONTWAIT)) == sizeof(seq))
		last = seq;
	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		atomic_store(&s->lease_gone, true);
	if (last > 0 && clock_mono_ms() >= atomic_load(&s->lease_from_ms))
		recall_done(&s->holder, last);
}

int
cwfuse_lease_tick(struct cwfuse_session *s)
{
	uint64_t late;
	int ms;

	atomic_store(&s->lease_timed, false);
	ms = recall_tick(&s->holder, &late);
	if (late > 0) {
		pause_leases(s); /* first: who waited may read the directory at once */
		recall_done(&s->holder, late);
	}
	if (ms >= 0)
		atomic_store(&s->lease_timed, true);
	return ms;
}
