/* SPDX-License-Identifier: Apache-2.0 */
/* workq.h - bounded pool of threads for whatever may block on disk or the index. */
#ifndef CW_BASE_WORKQ_H
#define CW_BASE_WORKQ_H

#include "gateway/base/err.h"

struct workq;

struct work {
	void (*fn)(struct work *w);
	struct work *next;
};

int workq_new(const char *name, unsigned int nthreads, struct workq **out) CW_MUST_CHECK;
/* workq_submit - run w on some worker, FIFO; any thread; never fails. w may be re-used once it ran. */
void workq_submit(struct workq *q, struct work *w);
/* workq_drain - wait until everything submitted so far has run. */
void workq_drain(struct workq *q);
/* workq_free - drain, then end the threads. */
void workq_free(struct workq *q);

#endif
