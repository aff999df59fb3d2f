/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_pace.c - an upload takes CPUs (compression, checksums, the store's client) and disks that
 * clients of volumes want, too.  While they are busy, an epoch is spread over a third of the seal
 * interval; its barrier comes so much earlier (volume_seal.c), so a recovery point is in the bucket
 * within the interval either way.  Nothing waits where nobody is served by it: without traffic, when an
 * epoch is awaited (a drain, a snapshot), when dirty data takes much room, or behind that time.
 */
#include "gateway/volume/volume_int.h"

#define NS_PER_MS 1000000ll
#define WINDOW_PART 3u
#define BUSY_NS (50 * NS_PER_MS) /* clients are busy so long after a request */
#define SLICE_MS 5u

uint64_t
volume_pace_window_ns(const struct cw_volume *v)
{
	return v->now.seal_interval_ms * (uint64_t)NS_PER_MS / WINDOW_PART;
}

uint64_t
volume_pace_barrier_ns(const struct cw_volume *v)
{
	uint64_t interval =
	    v->now.seal_interval_ms * (uint64_t)NS_PER_MS; /* one read: it may change */

	return interval - interval / WINDOW_PART;
}

void
volume_pace_begin(struct volume_pace *p, struct cw_volume *v, uint64_t bytes)
{
	int64_t sealed_ns = v->row.sealed_time_ns;

	*p = (struct volume_pace){.volume = v,
	    .bytes = bytes,
	    .begin_ns = clock_real_ns(),
	    .end_ns = sealed_ns + (int64_t)volume_pace_window_ns(v),
	    .traffic = volume_traffic()};
}

static bool
is_busy(struct volume_pace *p, int64_t now)
{
	uint64_t traffic = volume_traffic();

	if (traffic != p->traffic) {
		p->traffic = traffic;
		p->traffic_ns = now;
	}
	return now >= p->traffic_ns && now - p->traffic_ns < BUSY_NS;
}

/* is_ahead - of where the upload should be now, spread evenly. Clocks may have been set: then it is not. */
static bool
is_ahead(const struct volume_pace *p, int64_t now)
{
	double part;

	if (now < p->begin_ns || now >= p->end_ns)
		return false;
	part = (double)(now - p->begin_ns) / (double)(p->end_ns - p->begin_ns);
	return (double)p->done > part * (double)p->bytes;
}

static bool
is_urgent(struct cw_volume *v)
{
	bool is;

	cache_space_lock(v->space);
	pthread_mutex_lock(&v->sched_lock);
	is = v->is_stopping || v->is_detaching || volume_is_awaited(v);
	pthread_mutex_unlock(&v->sched_lock);
	cache_space_unlock(v->space);
	return is || volume_is_cache_full(v);
}

void
volume_pace_wait(struct volume_pace *p, uint32_t len)
{
	for (;;) {
		int64_t now = clock_real_ns();

		/* busy is asked first: it has to see the traffic also while nothing waits */
		if (!is_busy(p, now) || !is_ahead(p, now) || is_urgent(p->volume))
			break;
		clock_sleep_ms(SLICE_MS);
	}
	p->done += len;
}
