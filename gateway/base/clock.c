/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/clock.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

static uint64_t
sys_mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int64_t
sys_real_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static const struct clock_ops sys_clock = {sys_mono_ns, sys_real_ns};
static const struct clock_ops *clock_now_ops = &sys_clock;

void
clock_install(const struct clock_ops *ops)
{
	clock_now_ops = ops != NULL ? ops : &sys_clock;
}

uint64_t
clock_mono_ns(void)
{
	return clock_now_ops->mono_ns();
}

uint64_t
clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

int64_t
clock_real_ns(void)
{
	return clock_now_ops->real_ns();
}

void
clock_sleep_ms(unsigned int ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}
