/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - an epoll loop with one-shot timers, cross-thread posts and end-of-wake-up tasks.
 *
 * A loop belongs to the thread that runs it.  Only loop_post() and loop_stop() may be called from
 * other threads.  Nothing that runs on a loop may block.
 */
#ifndef CW_BASE_LOOP_H
#define CW_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "gateway/base/err.h"
#include "gateway/base/list.h"

struct loop;

/* Intrusive unit of work; must not be posted twice before it ran. */
struct loop_task {
	void (*fn)(struct loop_task *t);
	struct loop_task *next;
};

struct loop_fd {
	int fd;
	void (*cb)(struct loop_fd *f, uint32_t events); /* EPOLL* bits */
};

struct loop_timer {
	void (*fn)(struct loop_timer *t);
	struct list link; /* owned by the loop */
	uint64_t due_ns;
};

/* loop_new - create; spin_us: keep polling this long after the last event before sleeping. */
int loop_new(const char *name, unsigned int spin_us, struct loop **out) CW_MUST_CHECK;
/*
 * loop_free - once it does not run (loop_join(), or loop_run() has returned).  May be called as soon
 * as the last posted task has run: waits for a loop_post() or loop_stop() that has not returned yet.
 */
void loop_free(struct loop *l);
/* loop_run - run on the calling thread until loop_stop(). */
void loop_run(struct loop *l);
/* loop_start - run on a thread of its own; loop_join() stops it and waits. */
int loop_start(struct loop *l) CW_MUST_CHECK;
void loop_join(struct loop *l);
void loop_stop(struct loop *l);

int loop_add(struct loop *l, struct loop_fd *f, uint32_t events) CW_MUST_CHECK;
int loop_mod(struct loop *l, struct loop_fd *f, uint32_t events) CW_MUST_CHECK;
/* loop_del - forget f; pending events of this wake-up for f are dropped too. */
void loop_del(struct loop *l, struct loop_fd *f);

/* loop_post - run t on the loop; any thread; wakes the loop if it sleeps. FIFO. */
void loop_post(struct loop *l, struct loop_task *t);
/* loop_defer - run t after all events of this wake-up; loop thread only (batched replies). */
void loop_defer(struct loop *l, struct loop_task *t);

/* loop_timer_set - arm (or re-arm) t to run once in ms milliseconds; init with loop_timer_init. */
void loop_timer_init(struct loop_timer *t, void (*fn)(struct loop_timer *t));
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t ms);
void loop_timer_cancel(struct loop_timer *t);

bool loop_is_current(const struct loop *l);

#endif
