/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - time with a seam: tests install a clock of their own. */
#ifndef CW_BASE_CLOCK_H
#define CW_BASE_CLOCK_H

#include <stdint.h>

struct clock_ops {
	uint64_t (*mono_ns)(void);
	int64_t (*real_ns)(void);
};

/* clock_install - NULL puts the system's clock back. Before any thread starts. */
void clock_install(const struct clock_ops *ops);
uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
/* clock_real_ns - nanoseconds since 1970. */
int64_t clock_real_ns(void);
/* clock_sleep_ms - really sleep; never on a loop. */
void clock_sleep_ms(unsigned int ms);

#endif
