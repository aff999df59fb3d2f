/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_range.c - who may write where at the same time.
 *
 * Plain writes do not exclude each other: two of them to one place have no order.  What is exclusive (ZERO,
 * COMPARE_WRITE, the copier of an image) waits for everything under way that overlaps, and what comes
 * later and overlaps queues behind it.  Ranges are whole blocks, as a write of part of a block is one of
 * all of it.  Where nothing is exclusive, a write costs an uncontended lock twice.
 */
#include "gateway/volume/volume_int.h"

#define IN_BLOCK ((uint64_t)VOLUME_BLOCK - 1)

static bool
is_exclusive(const struct cw_vio *vio)
{
	return vio->op != CW_VIO_WRITE || (vio->stage & VIO_EXCLUSIVE) != 0;
}

static bool
excludes(const struct cw_vio *a, const struct cw_vio *b)
{
	uint64_t a_off = a->off & ~IN_BLOCK, a_end = (a->off + a->len + IN_BLOCK) & ~IN_BLOCK;
	uint64_t b_off = b->off & ~IN_BLOCK, b_end = (b->off + b->len + IN_BLOCK) & ~IN_BLOCK;

	return (is_exclusive(a) || is_exclusive(b)) && a_off < b_end && b_off < a_end;
}

/* is_blocked - by something in the list before `until` (NULL: the whole of it). range_lock held */
static bool
is_blocked(const struct list *head, const struct list *until, const struct cw_vio *vio)
{
	const struct list *l;

	list_for_each(l, head)
	{
		if (l == until)
			break;
		if (excludes(container_of(l, struct cw_vio, link), vio))
			return true;
	}
	return false;
}

bool
volume_range_enter(struct cw_volume *v, struct cw_vio *vio)
{
	bool is_free = true;

	pthread_mutex_lock(&v->range_lock);
	v->nexclusive += is_exclusive(vio);
	if (v->nexclusive > 0)
		is_free = !is_blocked(&v->ranges, NULL, vio) && !is_blocked(&v->waiting, NULL, vio);
	list_add_tail(is_free ? &v->ranges : &v->waiting, &vio->link);
	pthread_mutex_unlock(&v->range_lock);
	return is_free;
}

void
volume_range_leave(struct cw_volume *v, struct cw_vio *vio)
{
	struct list *l, *tmp;

	pthread_mutex_lock(&v->range_lock);
	list_del(&vio->link);
	v->nexclusive -= is_exclusive(vio);
	list_for_each_safe(l, tmp, &v->waiting)
	{
		struct cw_vio *w = container_of(l, struct cw_vio, link);

		if (is_blocked(&v->ranges, NULL, w) || is_blocked(&v->waiting, l, w))
			continue;
		list_del(l);
		list_add_tail(&v->ranges, l);
		workq_submit(volume_workq(v), &w->work);
	}
	pthread_mutex_unlock(&v->range_lock);
}
