/* SPDX-License-Identifier: Apache-2.0 */
/* osfile_crash.c - see osfile_crash.h. One lock over everything; tests only. */
#include "tests/lib/osfile_crash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"

#define PAGE 4096u
#define SECTOR 512u
#define MAX_VERSIONS 6

struct page {
	uint64_t no;
	unsigned char *now;	/* what reads see; NULL = hole */
	unsigned char *durable; /* what the last sync left; may be now itself */
	unsigned char *between[MAX_VERSIONS];
	unsigned int nbetween;
	bool is_dirty;	/* now is not durable and will be written by the next sync */
	bool is_failed; /* a failed sync dropped it: now is only in the page cache */
};

struct crash_file {
	char *path;
	struct page **pages; /* hash by number */
	uint32_t npages, cap;
	uint64_t size;
	struct crash_file *next;
};

struct osfile {
	struct crash_file *cf;
	uint64_t epoch;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct crash_file *files;
static uint64_t epoch, page_limit, pages_held;
static unsigned int syncs_to_fail;
static bool syncs_ignored;

static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static struct page **
page_place(struct crash_file *cf, uint64_t no)
{
	uint64_t i = no * 0x9e3779b97f4a7c15ull >> 32;

	for (i &= cf->cap - 1; cf->pages[i] != NULL && cf->pages[i]->no != no;
	     i = (i + 1) & (cf->cap - 1))
		;
	return &cf->pages[i];
}

static struct page *
page_get(struct crash_file *cf, uint64_t no, bool make)
{
	struct page **old = cf->pages, **place;
	uint32_t old_cap = cf->cap;

	if (cf->npages * 2 >= cf->cap) {
		cf->cap = old_cap == 0 ? 256 : old_cap * 2;
		cf->pages = xcalloc(cf->cap, sizeof(*cf->pages));
		for (uint32_t i = 0; i < old_cap; i++) {
			if (old[i] != NULL)
				*page_place(cf, old[i]->no) = old[i];
		}
		free(old);
	}
	place = page_place(cf, no);
	if (*place == NULL && make) {
		*place = xcalloc(1, sizeof(**place));
		(*place)->no = no;
		cf->npages++;
	}
	return *place;
}

static void
forget_versions(struct page *p, const unsigned char *keep)
{
	for (unsigned int i = 0; i < p->nbetween; i++) {
		if (p->between[i] != keep)
			free(p->between[i]);
	}
	p->nbetween = 0;
}

/* page_set - a new current version (owned by the page; NULL = zeros). */
static void
page_set(struct page *p, unsigned char *data)
{
	pages_held += (data != NULL) - (uint64_t)(p->now != NULL);
	if (p->now != p->durable) {
		if (p->nbetween == MAX_VERSIONS) {
			free(p->between[0]);
			memmove(
			    p->between, p->between + 1, (MAX_VERSIONS - 1) * sizeof(p->between[0]));
			p->nbetween--;
		}
		p->between[p->nbetween++] = p->now;
	}
	p->now = data;
	p->is_dirty = true;
	p->is_failed = false;
}

static void
page_make_durable(struct page *p)
{
	if (p->durable != p->now)
		free(p->durable);
	p->durable = p->now;
	forget_versions(p, NULL);
	p->is_dirty = false;
}

static int
crash_open(const char *path, struct osfile **out)
{
	struct crash_file *cf;

	pthread_mutex_lock(&lock);
	for (cf = files; cf != NULL && strcmp(cf->path, path) != 0; cf = cf->next)
		;
	if (cf == NULL) {
		cf = xcalloc(1, sizeof(*cf));
		cf->path = xstrdup(path);
		cf->next = files;
		files = cf;
	}
	*out = xcalloc(1, sizeof(**out));
	(*out)->cf = cf;
	(*out)->epoch = epoch;
	pthread_mutex_unlock(&lock);
	return 0;
}

static void
crash_close(struct osfile *f)
{
	free(f);
}

static int
crash_pread(struct osfile *f, void *buf, size_t len, uint64_t off, bool nowait)
{
	char *out = buf;

	(void)nowait;
	pthread_mutex_lock(&lock);
	if (f->epoch != epoch) {
		pthread_mutex_unlock(&lock);
		return -EIO;
	}
	while (len > 0) {
		struct page *p = f->cf->cap == 0 ? NULL : page_get(f->cf, off / PAGE, false);
		size_t in = off % PAGE, n = len < PAGE - in ? len : PAGE - in;

		if (p == NULL || p->now == NULL)
			memset(out, 0, n);
		else
			memcpy(out, p->now + in, n);
		out += n;
		off += n;
		len -= n;
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

static int
crash_pwrite(struct osfile *f, const void *buf, size_t len, uint64_t off)
{
	const char *in_buf = buf;
	int err = 0;

	pthread_mutex_lock(&lock);
	while (len > 0 && f->epoch == epoch) {
		struct page *p = page_get(f->cf, off / PAGE, true);
		size_t in = off % PAGE, n = len < PAGE - in ? len : PAGE - in;
		unsigned char *data;

		if (p->now == NULL && page_limit != 0 && pages_held >= page_limit) {
			err = -ENOSPC;
			break;
		}
		data = xcalloc(1, PAGE);
		if (p->now != NULL)
			memcpy(data, p->now, PAGE);
		memcpy(data + in, in_buf, n);
		page_set(p, data);
		in_buf += n;
		off += n;
		len -= n;
		if (off > f->cf->size)
			f->cf->size = off;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

static int
crash_pwrite_direct(struct osfile *f, const void *buf, size_t len, uint64_t off)
{
	if (((uintptr_t)buf | len | off) % PAGE != 0)
		return -EINVAL;
	return crash_pwrite(f, buf, len, off);
}

static int
crash_sync(struct osfile *f)
{
	bool fail;

	pthread_mutex_lock(&lock);
	if (f->epoch != epoch || syncs_ignored) {
		fail = f->epoch != epoch;
		pthread_mutex_unlock(&lock);
		return fail ? -EIO : 0;
	}
	fail = syncs_to_fail > 0;
	if (fail)
		syncs_to_fail--;
	for (uint32_t i = 0; i < f->cf->cap; i++) {
		struct page *p = f->cf->pages[i];

		if (p == NULL || !p->is_dirty)
			continue;
		if (fail) {
			p->is_dirty = false;
			p->is_failed = true;
		} else {
			page_make_durable(p);
		}
	}
	pthread_mutex_unlock(&lock);
	return fail ? -EIO : 0;
}

static void
crash_writeback(struct osfile *f, uint64_t off, uint64_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

/* crash_drop - the strictest disk there is: what is dropped and not durable is lost at once. */
static void
crash_drop(struct osfile *f, uint64_t off, uint64_t len)
{
	pthread_mutex_lock(&lock);
	for (uint64_t end = off + len; off < end && f->epoch == epoch && f->cf->cap != 0;
	     off += PAGE) {
		struct page *p = page_get(f->cf, off / PAGE, false);

		if (p == NULL || (p->now == p->durable && p->nbetween == 0))
			continue;
		pages_held += (p->durable != NULL) - (uint64_t)(p->now != NULL);
		if (p->now != p->durable)
			free(p->now);
		forget_versions(p, NULL);
		p->now = p->durable;
		p->is_dirty = p->is_failed = false;
	}
	pthread_mutex_unlock(&lock);
}

static int
crash_punch(struct osfile *f, uint64_t off, uint64_t len)
{
	pthread_mutex_lock(&lock);
	for (uint64_t end = off + len; off < end && f->epoch == epoch && f->cf->cap != 0;
	     off += PAGE) {
		struct page *p = page_get(f->cf, off / PAGE, false);

		if (p != NULL && p->now != NULL)
			page_set(p, NULL);
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

static int64_t
crash_size(struct osfile *f)
{
	int64_t size;

	pthread_mutex_lock(&lock);
	size = (int64_t)f->cf->size;
	pthread_mutex_unlock(&lock);
	return size;
}

static int
crash_truncate(struct osfile *f, uint64_t len)
{
	pthread_mutex_lock(&lock);
	if (f->epoch == epoch) {
		for (uint32_t i = 0; i < f->cf->cap; i++) {
			struct page *p = f->cf->pages[i];

			if (p != NULL && p->no * PAGE >= len && p->now != NULL)
				page_set(p, NULL);
		}
		f->cf->size = len;
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

const struct osfile_ops osfile_crash = {
    .open = crash_open,
    .close = crash_close,
    .pread = crash_pread,
    .pwrite = crash_pwrite,
    .pwrite_direct = crash_pwrite_direct,
    .sync = crash_sync,
    .start_writeback = crash_writeback,
    .drop = crash_drop,
    .punch = crash_punch,
    .size = crash_size,
    .truncate = crash_truncate,
};

/* survivor - one version of a page, or sectors of two. */
static unsigned char *
survivor(struct page *p, uint64_t *rnd)
{
	unsigned char *v[MAX_VERSIONS + 2], *a, *b, *out;
	unsigned int n = 0;

	v[n++] = p->durable;
	for (unsigned int i = 0; i < p->nbetween; i++)
		v[n++] = p->between[i];
	if (!p->is_failed)
		v[n++] = p->now;
	a = v[next_random(rnd) % n];
	b = next_random(rnd) % 4 == 0 ? v[next_random(rnd) % n] : a;
	if (a == NULL && b == NULL)
		return NULL;
	out = xcalloc(1, PAGE);
	for (unsigned int s = 0; s < PAGE; s += SECTOR) {
		unsigned char *src = (next_random(rnd) & 1) != 0 ? a : b;

		if (src != NULL)
			memcpy(out + s, src + s, SECTOR);
	}
	return out;
}

static void
page_replace(struct page *p, unsigned char *data)
{
	if (p->durable != p->now)
		free(p->durable);
	forget_versions(p, NULL);
	free(p->now);
	p->now = p->durable = data;
	p->is_dirty = p->is_failed = false;
}

static void
each_page(void (*fn)(struct page *p, uint64_t *rnd), uint64_t *rnd)
{
	pages_held = 0;
	for (struct crash_file *cf = files; cf != NULL; cf = cf->next) {
		for (uint32_t i = 0; i < cf->cap; i++) {
			if (cf->pages[i] == NULL)
				continue;
			fn(cf->pages[i], rnd);
			pages_held += cf->pages[i]->now != NULL;
		}
	}
}

static void
cut_page(struct page *p, uint64_t *rnd)
{
	if (p->now != p->durable || p->nbetween > 0)
		page_replace(p, survivor(p, rnd));
}

static void
uncache_page(struct page *p, uint64_t *rnd)
{
	(void)rnd;
	if (!p->is_failed)
		return;
	forget_versions(p, NULL);
	if (p->now != p->durable)
		free(p->now);
	p->now = p->durable;
	p->is_failed = false;
}

static void
free_page(struct page *p, uint64_t *rnd)
{
	(void)rnd;
	page_replace(p, NULL);
}

void
osfile_crash_cut(uint64_t seed)
{
	pthread_mutex_lock(&lock);
	epoch++;
	each_page(cut_page, &seed);
	pthread_mutex_unlock(&lock);
}

void
osfile_crash_reset(void)
{
	struct crash_file *cf;

	pthread_mutex_lock(&lock);
	epoch++;
	each_page(free_page, NULL);
	while ((cf = files) != NULL) {
		files = cf->next;
		for (uint32_t i = 0; i < cf->cap; i++)
			free(cf->pages[i]);
		free(cf->pages);
		free(cf->path);
		free(cf);
	}
	pages_held = page_limit = 0;
	syncs_to_fail = 0;
	syncs_ignored = false;
	pthread_mutex_unlock(&lock);
}

void
osfile_crash_fail_syncs(unsigned int n)
{
	pthread_mutex_lock(&lock);
	syncs_to_fail = n;
	pthread_mutex_unlock(&lock);
}

void
osfile_crash_forget_cached(void)
{
	pthread_mutex_lock(&lock);
	each_page(uncache_page, NULL);
	pthread_mutex_unlock(&lock);
}

void
osfile_crash_ignore_syncs(bool on)
{
	pthread_mutex_lock(&lock);
	syncs_ignored = on;
	pthread_mutex_unlock(&lock);
}

void
osfile_crash_limit(uint64_t pages)
{
	pthread_mutex_lock(&lock);
	page_limit = pages;
	pthread_mutex_unlock(&lock);
}

uint64_t
osfile_crash_pages(void)
{
	uint64_t n;

	pthread_mutex_lock(&lock);
	n = pages_held;
	pthread_mutex_unlock(&lock);
	return n;
}
