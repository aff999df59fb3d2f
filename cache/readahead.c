/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readahead.c - notice that a file is read from front to back and fetch ahead of the reader.
 *
 * The window doubles from 256 KiB to 32 MiB with every hit of the expected place; it is filled up
 * again as soon as there is room in it for one GET, so that eight of them are always under way.
 * Clients have many reads in flight and the network reorders them, so "expected" is generous.  A read
 * elsewhere ends the sequence; random readers fetch only what they ask for.
 */
#include "cache/cache_int.h"

#define RA_MIN (256u << 10)
#define RA_MAX (32u << 20)
#define RA_SLACK (4u << 20)	/* how far out of order reads of one sequence may be, at least */
#define RA_BUDGET (192ll << 20) /* bytes on their way to readers, over all files */

void
cachei_readahead(struct cache_file *f, uint64_t off, uint32_t len, uint64_t size, struct list *out)
{
	struct cache *c = f->space->cache;
	uint64_t end = off + len, slack = max64(RA_SLACK, f->ra_window / 4), from, to;

	if (off > f->ra_next + slack || end + slack < f->ra_next ||
	    (off != f->ra_next && f->ra_window == 0)) {
		f->ra_next = end;
		f->ra_window = 0;
		f->ra_end = 0;
		return;
	}
	if (end <= f->ra_next && f->ra_window != 0)
		return; /* a straggler of the sequence */
	f->ra_next = max64(f->ra_next, end);
	if (f->ra_window == 0)
		f->ra_window = RA_MIN;
	if (f->ra_end > f->ra_next &&
	    f->ra_end - f->ra_next >
		max64(f->ra_window / 2, f->ra_window - min64(f->ra_window, FETCH_MAX)))
		return;
	if (c->readahead_bytes >= RA_BUDGET) {
		cachei_bufs_drop_landed(f->space, FETCH_MAX, UINT64_MAX);
		if (c->readahead_bytes >= RA_BUDGET)
			return; /* the next read tries again */
	}
	from = max64(f->ra_end, f->ra_next);
	end = f->ra_next + f->ra_window;
	if (f->ra_window > FETCH_MAX && end - end % FETCH_MAX > from)
		end -= end % FETCH_MAX; /* whole GETs, each of whole chunks */
	f->ra_end = max64(from, end);
	f->ra_window = min64(f->ra_window * 2, RA_MAX);
	to = min64(end, min64(size, f->base_limit));
	if (from < to)
		cachei_fetch_want(f, from, to - from, true, out);
}
