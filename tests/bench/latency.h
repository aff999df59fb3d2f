/* SPDX-License-Identifier: Apache-2.0 */
/* latency.h - what the clients that measure share: how long each of millions of requests took, and random numbers. */
#ifndef CW_BENCH_LATENCY_H
#define CW_BENCH_LATENCY_H

#include <stdint.h>

#define LATENCY_UNIT_NS 32u
#define LATENCY_BUCKETS 2048u /* of 1/32 of an octave, from 32 ns on */

struct latency {
	uint32_t buckets[LATENCY_BUCKETS];
};

static inline void
latency_note(struct latency *l, uint64_t ns)
{
	uint64_t v = ns / LATENCY_UNIT_NS + 1;
	unsigned int octave = 63 - (unsigned int)__builtin_clzll(v);
	unsigned int sub = octave >= 5 ? (v >> (octave - 5)) & 31 : (v << (5 - octave)) & 31;
	unsigned int i = octave * 32 + sub;

	l->buckets[i < LATENCY_BUCKETS ? i : LATENCY_BUCKETS - 1]++;
}

/* latency_us - microseconds that a share p (0 to 1) of the requests did not exceed; 0 without any */
static inline double
latency_us(const struct latency *l, double p)
{
	uint64_t total = 0, seen = 0;

	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++)
		total += l->buckets[i];
	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++) {
		seen += l->buckets[i];
		if (total > 0 && (double)seen >= p * (double)total)
			return (double)(1ull << (i / 32)) * (1 + (i % 32) / 32.0) *
			       LATENCY_UNIT_NS / 1000;
	}
	return 0;
}

/* xorshift - the next one of a state that is not 0 */
static inline uint64_t
xorshift(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
