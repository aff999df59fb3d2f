/* SPDX-License-Identifier: Apache-2.0 */
/* volume_wait.h - what tests of a volume over the fake bucket write, and how they wait for it. */
#ifndef TESTS_VOLUME_WAIT_H
#define TESTS_VOLUME_WAIT_H

#include "tests/unit/volume_fixture.h"

#define MIB (1u << 20)

static unsigned char buf[VF_MAX], buf2[VF_MAX];

static inline void
fill_bufs(void)
{
	uint64_t rnd = 5;

	fx_fill(&rnd, buf, sizeof(buf));
	fx_fill(&rnd, buf2, sizeof(buf2));
}

static inline struct vx *
start(enum cw_volume_mode mode, uint64_t capacity)
{
	fill_bufs();
	return vx_new(NULL, capacity, mode);
}

static inline void
wait_for(bool (*is_so)(struct vx *x), struct vx *x)
{
	for (int i = 0; i < 10000 && !is_so(x); i++)
		clock_sleep_ms(1);
	assert_true(is_so(x));
}

static inline void
get_status(struct vx *x, struct cw_volume_status *st)
{
	cw_volume_get_status(x->v, st);
}

static inline bool
is_available(struct vx *x)
{
	struct cw_volume_status st;

	get_status(x, &st);
	return strcmp(st.state, "AVAILABLE") == 0;
}

#endif
