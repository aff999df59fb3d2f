/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recall.h - what clients were allowed to keep is called back before somebody else's change is answered.
 *
 * A front end whose client keeps names and attributes for a while (the kernel, by FUSE) is a *holder*.
 * READDIR with `is_leased` marks the nodes that it shows; when such a node changes or loses its name, every
 * holder of the share but the one that asked for the change is told, and the op that changed it is
 * answered only when all of them said that their client has forgotten, or when what it kept has run out.
 */
#ifndef GATEWAY_RECALL_H
#define GATEWAY_RECALL_H

#include <stdint.h>

#include "gateway/base/list.h"

#define RECALL_LEASE_MS 1000 /* a client may keep what it was told for so long */

struct recall_holder {
	uint32_t share_id;
	/* recall - have the client forget `name` (NULL: it has none) of directory dir, and what it knows of
	 * ino; recall_done(seq) follows from any thread, in time or not at all. Called with locks held: it
	 * must not block, nor call back. seq rises. */
	void (*recall)(
	    struct recall_holder *h, uint64_t seq, uint64_t dir, const char *name, uint64_t ino);
	/* private */
	struct list link;
	uint64_t asked, done; /* the last one sent, the last one done */
	uint64_t mark, mark_ms;
	_Atomic uint64_t given_ms; /* when its client was last allowed to keep something */
};

/* recall_join - h, filled in, hears of changes from now on. any thread */
void recall_join(struct recall_holder *h);
/* recall_leave - it hears no more; who waited for it goes on. any thread */
void recall_leave(struct recall_holder *h);
/* recall_done - the client has forgotten all up to seq. any thread, no lock held */
void recall_done(struct recall_holder *h, uint64_t seq);
/* recall_tick - *late: all up to there has run out by itself, recall_done() may say so; 0 = nothing.
 * result: milliseconds until the next call, -1 = none needed. any thread */
int recall_tick(struct recall_holder *h, uint64_t *late);

#endif
