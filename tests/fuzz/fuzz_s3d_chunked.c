/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_s3d_chunked.c - any bytes, cut anywhere: the decoder ends the same way however they are cut. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gateway/base/log.h"
#include "s3/server/chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint64_t bytes, hash;
	unsigned int ends, trailers;
};

static void
mix(struct seen *s, const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n-- > 0)
		s->hash = (s->hash ^ *b++) * 0x100000001b3u;
}

static int
on_data(void *ctx, const void *p, size_t n)
{
	struct seen *s = ctx;

	s->bytes += n;
	mix(s, p, n);
	return 0;
}

static int
on_end(void *ctx, const char *sig)
{
	struct seen *s = ctx;

	CW_ASSERT(strlen(sig) == 0 || strlen(sig) == 64);
	s->ends++;
	mix(s, sig, strlen(sig));
	return 0;
}

static int
on_trailer(void *ctx, const char *name, const char *value)
{
	struct seen *s = ctx;

	s->trailers++;
	mix(s, name, strlen(name));
	mix(s, value, strlen(value));
	return 0;
}

static const struct chunked_ops ops = {.data = on_data, .chunk_end = on_end, .trailer = on_trailer};

static int
run(const uint8_t *data, size_t size, size_t step, struct seen *s, struct chunked *c)
{
	size_t at, n;
	int err = 0;

	memset(s, 0, sizeof *s);
	chunked_init(c, &ops, s);
	for (at = 0; at < size && err == 0; at += n) {
		n = size - at < step ? size - at : step;
		err = chunked_feed(c, data + at, n);
	}
	return err;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct chunked whole, cut;
	struct seen a, b;
	int ea, eb;

	if (size < 1)
		return 0;
	ea = run(data + 1, size - 1, size, &a, &whole);
	eb = run(data + 1, size - 1, (size_t)data[0] % 7 + 1, &b, &cut);
	CW_ASSERT((ea == 0) == (eb == 0));
	CW_ASSERT(chunked_is_done(&whole) == chunked_is_done(&cut));
	CW_ASSERT(a.bytes <= size && a.trailers <= CHUNKED_TRAILERS_MAX);
	if (ea == 0)
		CW_ASSERT(memcmp(&a, &b, sizeof a) == 0);
	return 0;
}
