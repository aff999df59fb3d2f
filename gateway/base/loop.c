/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - epoll loop.  Timers lie in a sorted list: a loop has few (one a connection at most), and
 * most are re-armed at the far end, where insertion begins to search.  Posts from other threads go
 * through a mutex-guarded FIFO; the eventfd is written only when the loop may be asleep, since a
 * wake-up costs far more than the work it announces.
 */
#include "gateway/base/loop.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define EVENTS_PER_WAKEUP 128

struct loop {
	char name[16];
	int epfd, evfd;
	unsigned int spin_us;
	pthread_t thread;
	bool has_thread;
	atomic_bool stop;
	atomic_bool asleep;
	atomic_bool has_posts;
	atomic_uint callers; /* in loop_post or loop_stop: what they look at last is still needed */
	pthread_mutex_t mutex; /* posts */
	struct loop_task *posts_head, **posts_tail;
	struct loop_task *deferred_head, **deferred_tail;
	struct list timers; /* by due time */
	struct epoll_event events[EVENTS_PER_WAKEUP];
	int nevents, event_at; /* of the wake-up under way, for loop_del */
};

static __thread const struct loop *current_loop;

int
loop_new(const char *name, unsigned int spin_us, struct loop **out)
{
	struct loop *l = xcalloc(1, sizeof(*l));
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
	int err;

	*out = NULL;
	snprintf(l->name, sizeof(l->name), "%s", name);
	l->spin_us = spin_us;
	l->posts_tail = &l->posts_head;
	l->deferred_tail = &l->deferred_head;
	list_init(&l->timers);
	pthread_mutex_init(&l->mutex, NULL);
	l->evfd = -1;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd >= 0)
		l->evfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->evfd < 0 || epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->evfd, &ev) < 0) {
		err = -errno;
		loop_free(l);
		return err;
	}
	*out = l;
	return 0;
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	/* who posted the task that made its owner free the loop may not have returned yet */
	while (atomic_load(&l->callers) > 0)
		sched_yield();
	if (l->epfd >= 0)
		close(l->epfd);
	if (l->evfd >= 0)
		close(l->evfd);
	pthread_mutex_destroy(&l->mutex);
	free(l);
}

static void
wake(struct loop *l)
{
	uint64_t one = 1;

	if (write(l->evfd, &one, sizeof(one)) < 0) {
		/* EAGAIN: the counter is full, so the loop wakes anyway */
	}
}

void
loop_post(struct loop *l, struct loop_task *t)
{
	t->next = NULL;
	atomic_fetch_add(&l->callers, 1);
	pthread_mutex_lock(&l->mutex);
	*l->posts_tail = t;
	l->posts_tail = &t->next;
	pthread_mutex_unlock(&l->mutex);
	atomic_store(&l->has_posts, true);
	if (atomic_load(&l->asleep))
		wake(l);
	atomic_fetch_sub(&l->callers, 1);
}

void
loop_defer(struct loop *l, struct loop_task *t)
{
	t->next = NULL;
	*l->deferred_tail = t;
	l->deferred_tail = &t->next;
}

static bool
run_posts(struct loop *l)
{
	struct loop_task *t, *next;

	if (!atomic_exchange(&l->has_posts, false))
		return false;
	pthread_mutex_lock(&l->mutex);
	t = l->posts_head;
	l->posts_head = NULL;
	l->posts_tail = &l->posts_head;
	pthread_mutex_unlock(&l->mutex);
	for (; t != NULL; t = next) {
		next = t->next;
		t->fn(t);
	}
	return true;
}

static void
run_deferred(struct loop *l)
{
	struct loop_task *t = l->deferred_head, *next;

	l->deferred_head = NULL;
	l->deferred_tail = &l->deferred_head;
	for (; t != NULL; t = next) {
		next = t->next;
		t->fn(t);
	}
}

void
loop_timer_init(struct loop_timer *t, void (*fn)(struct loop_timer *t))
{
	t->fn = fn;
	t->due_ns = 0;
	list_init(&t->link);
}

void
loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t ms)
{
	struct list *at;

	list_del(&t->link);
	t->due_ns = clock_mono_ns() + ms * 1000000;
	for (at = l->timers.prev; at != &l->timers; at = at->prev) {
		if (container_of(at, struct loop_timer, link)->due_ns <= t->due_ns)
			break;
	}
	list_add_head(at, &t->link);
}

void
loop_timer_cancel(struct loop_timer *t)
{
	list_del(&t->link);
}

/* Run what is due; milliseconds to the next timer, -1 for none. */
static int
run_timers(struct loop *l)
{
	uint64_t now = clock_mono_ns();
	struct loop_timer *t;

	while (!list_empty(&l->timers)) {
		t = container_of(l->timers.next, struct loop_timer, link);
		if (t->due_ns > now) {
			uint64_t ms = (t->due_ns - now + 999999) / 1000000;

			return ms > 60000 ? 60000 : (int)ms;
		}
		list_del(&t->link);
		t->fn(t);
	}
	return -1;
}

static void
dispatch(struct loop *l)
{
	for (l->event_at = 0; l->event_at < l->nevents; l->event_at++) {
		struct epoll_event *ev = &l->events[l->event_at];
		struct loop_fd *f = ev->data.ptr;
		uint64_t count;

		if (f != NULL) {
			f->cb(f, ev->events);
		} else if (ev->events != 0) {
			if (read(l->evfd, &count, sizeof(count)) < 0) {
				/* another wake-up took it */
			}
		}
	}
	l->nevents = 0;
}

/* Wait for events: spin first where that was asked for, then sleep. */
static void
wait_events(struct loop *l, int timeout_ms, uint64_t spin_until_ns)
{
	for (;;) {
		bool spinning = timeout_ms != 0 && clock_mono_ns() < spin_until_ns;
		int wait = spinning ? 0 : timeout_ms;

		if (!spinning) {
			atomic_store(&l->asleep, true);
			/* a post that came before it saw us asleep wrote no wake-up */
			if (atomic_load(&l->has_posts))
				wait = 0;
		}
		l->nevents = epoll_wait(l->epfd, l->events, EVENTS_PER_WAKEUP, wait);
		atomic_store(&l->asleep, false);
		if (l->nevents < 0) {
			CW_ASSERT(errno == EINTR);
			l->nevents = 0;
		}
		if (!spinning || l->nevents > 0 || atomic_load(&l->has_posts))
			return;
	}
}

void
loop_run(struct loop *l)
{
	uint64_t spin_until_ns = 0;

	current_loop = l;
	while (!atomic_load(&l->stop)) {
		int timeout_ms = run_timers(l);
		bool ran = run_posts(l);

		run_deferred(l);
		if (ran || l->deferred_head != NULL)
			timeout_ms = 0;
		wait_events(l, timeout_ms, spin_until_ns);
		if (l->spin_us > 0 && (l->nevents > 0 || ran))
			spin_until_ns = clock_mono_ns() + l->spin_us * 1000u;
		dispatch(l);
		run_posts(l);
		run_deferred(l);
	}
	run_posts(l);
	run_deferred(l);
	current_loop = NULL;
}

static void *
loop_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

int
loop_start(struct loop *l)
{
	int err = pthread_create(&l->thread, NULL, loop_thread, l);

	if (err != 0)
		return -err;
	l->has_thread = true;
	pthread_setname_np(l->thread, l->name);
	return 0;
}

void
loop_stop(struct loop *l)
{
	atomic_fetch_add(&l->callers, 1);
	atomic_store(&l->stop, true);
	wake(l);
	atomic_fetch_sub(&l->callers, 1);
}

void
loop_join(struct loop *l)
{
	loop_stop(l);
	if (l->has_thread)
		pthread_join(l->thread, NULL);
	l->has_thread = false;
}

static int
control(struct loop *l, int op, struct loop_fd *f, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = f};

	return epoll_ctl(l->epfd, op, f->fd, &ev) < 0 ? -errno : 0;
}

int
loop_add(struct loop *l, struct loop_fd *f, uint32_t events)
{
	return control(l, EPOLL_CTL_ADD, f, events);
}

int
loop_mod(struct loop *l, struct loop_fd *f, uint32_t events)
{
	return control(l, EPOLL_CTL_MOD, f, events);
}

void
loop_del(struct loop *l, struct loop_fd *f)
{
	if (control(l, EPOLL_CTL_DEL, f, 0) < 0)
		log_warn("base.loop", "del-failed", "fd=%d err=\"%s\"", f->fd, err_str(-errno));
	for (int i = l->event_at + 1; i < l->nevents; i++) {
		if (l->events[i].data.ptr == f) {
			l->events[i].data.ptr = NULL;
			l->events[i].events = 0;
		}
	}
}

bool
loop_is_current(const struct loop *l)
{
	return current_loop == l;
}
