/* SPDX-License-Identifier: Apache-2.0 */
/*
 * be.h - bounded big-endian reader and writer over a caller's memory.  A read past the end or a
 * write past the capacity sets `bad` and yields zero; callers check `bad` once at the end.
 */
#ifndef CW_BASE_BE_H
#define CW_BASE_BE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct be_reader {
	const uint8_t *p, *end;
	bool bad;
};

struct be_writer {
	uint8_t *start, *p, *end;
	bool bad;
};

static inline void
be_reader_init(struct be_reader *r, const void *data, size_t len)
{
	r->p = data;
	r->end = r->p + len;
	r->bad = false;
}

static inline size_t
be_left(const struct be_reader *r)
{
	return (size_t)(r->end - r->p);
}

/* be_bytes - borrow n bytes, NULL (and bad) if fewer are left. */
static inline const uint8_t *
be_bytes(struct be_reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || be_left(r) < n) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	return p;
}

static inline uint32_t
be_u32(struct be_reader *r)
{
	const uint8_t *p = be_bytes(r, 4);

	uint32_t v;

	if (p == NULL)
		return 0;
	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t
be_u64(struct be_reader *r)
{
	uint64_t hi = be_u32(r);

	return hi << 32 | be_u32(r);
}

static inline void
be_writer_init(struct be_writer *w, void *mem, size_t cap)
{
	w->start = w->p = mem;
	w->end = w->p + cap;
	w->bad = false;
}

static inline size_t
be_written(const struct be_writer *w)
{
	return (size_t)(w->p - w->start);
}

static inline size_t
be_room(const struct be_writer *w)
{
	return (size_t)(w->end - w->p);
}

/* be_reserve - n bytes to fill in by the caller, NULL (and bad) if there is no room. */
static inline uint8_t *
be_reserve(struct be_writer *w, size_t n)
{
	uint8_t *p = w->p;

	if (w->bad || be_room(w) < n) {
		w->bad = true;
		return NULL;
	}
	w->p += n;
	return p;
}

static inline void
be_store_u32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void
be_put_u32(struct be_writer *w, uint32_t v)
{
	uint8_t *p = be_reserve(w, 4);

	if (p != NULL)
		be_store_u32(p, v);
}

static inline void
be_put_u64(struct be_writer *w, uint64_t v)
{
	be_put_u32(w, (uint32_t)(v >> 32));
	be_put_u32(w, (uint32_t)v);
}

static inline void
be_put_bytes(struct be_writer *w, const void *data, size_t n)
{
	uint8_t *p = be_reserve(w, n);

	if (p != NULL && n > 0)
		memcpy(p, data, n);
}

#endif
