/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c - prove P1-P3 offline: what the index names exists, once, and makes sense.
 *
 * For every space: no slot is named twice; masks and slots agree, zero blocks have none; the blocks lie
 * inside the data file; SEALED blocks only in files with a seal, within its size; limits in order;
 * redo rows for slots and blocks that can be.  And SQLite's own integrity check.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/cache_int.h"

struct file_info {
	uint64_t id, size, base_limit, sealed_limit, sealed_size;
	bool has_sealed;
};

struct slot_use {
	int64_t slot;
	uint64_t mask;
	uint64_t file_id;
	uint32_t chunk_no;
};

struct check {
	void (*say)(void *arg, const char *line);
	void *say_arg;
	struct cache_check_report *report;
	const struct osfile_ops *os;
	struct index *index;
	uint32_t space;
	char *path;
	int64_t data_size;
	struct vec files; /* struct file_info, sorted by id */
	struct vec uses;  /* struct slot_use */
};

static void CW_PRINTF(2, 3) problem(struct check *ck, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	n = snprintf(line, sizeof(line), "space %u: ", ck->space);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	ck->report->problems++;
	if (ck->say != NULL)
		ck->say(ck->say_arg, line);
}

static int
by_id(const void *a, const void *b)
{
	const struct file_info *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int
by_slot(const void *a, const void *b)
{
	const struct slot_use *x = a, *y = b;

	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static const struct file_info *
find_file(const struct check *ck, uint64_t id)
{
	struct file_info key = {.id = id};

	return ck->files.n == 0
		   ? NULL
		   : bsearch(&key, ck->files.p, ck->files.n, sizeof(struct file_info), by_id);
}

static int
add_node(void *arg, const struct index_node *n)
{
	struct check *ck = arg;
	struct file_info *f;

	if (n->mode != 0 && !S_ISREG(n->mode))
		return 0;
	f = cachei_vec_push(&ck->files, sizeof(*f));
	f->id = n->ino;
	f->size = n->size;
	f->base_limit = n->base_limit;
	f->sealed_limit = n->sealed_limit;
	f->sealed_size = n->sealed_size;
	f->has_sealed = n->has_sealed;
	ck->report->files++;
	if (n->has_sealed && n->sealed_limit > n->sealed_size)
		problem(ck, "file %llu: sealed limit %llu past the sealed size %llu",
		    (unsigned long long)n->ino, (unsigned long long)n->sealed_limit,
		    (unsigned long long)n->sealed_size);
	if (n->base_limit > n->size)
		problem(ck, "file %llu: base limit %llu past the size %llu",
		    (unsigned long long)n->ino, (unsigned long long)n->base_limit,
		    (unsigned long long)n->size);
	return 0;
}

static void
add_use(
    struct check *ck, const struct index_chunk *c, const char *layer, int64_t slot, uint64_t mask)
{
	struct slot_use *u;
	uint64_t end;

	if ((slot < 0) != (mask == 0)) {
		problem(ck, "file %llu chunk %u: %s slot %lld with mask %llx",
		    (unsigned long long)c->file_id, c->chunk_no, layer, (long long)slot,
		    (unsigned long long)mask);
		return;
	}
	if (mask == 0)
		return;
	u = cachei_vec_push(&ck->uses, sizeof(*u));
	u->slot = slot;
	u->mask = mask;
	u->file_id = c->file_id;
	u->chunk_no = c->chunk_no;
	ck->report->slots++;
	end = ((uint64_t)slot << CACHE_CHUNK_SHIFT) +
	      ((64 - (uint64_t)__builtin_clzll(mask)) << CACHE_BLOCK_SHIFT);
	if (slot > INT32_MAX || (int64_t)end > ck->data_size)
		problem(ck, "file %llu chunk %u: %s slot %lld ends past the data file (%lld bytes)",
		    (unsigned long long)c->file_id, c->chunk_no, layer, (long long)slot,
		    (long long)ck->data_size);
}

static int
add_chunk(void *arg, const struct index_chunk *c)
{
	struct check *ck = arg;
	const struct file_info *f = find_file(ck, c->file_id);
	uint64_t start = (uint64_t)c->chunk_no << CACHE_CHUNK_SHIFT, top;

	ck->report->chunks++;
	ck->report->dirty_blocks += blocks_of(c->dirty_mask) + blocks_of(c->sealed_mask);
	add_use(ck, c, "clean", c->clean_slot, c->clean_mask);
	add_use(ck, c, "sealed", c->sealed_slot, c->sealed_mask & ~c->sealed_zero);
	add_use(ck, c, "dirty", c->dirty_slot, c->dirty_mask & ~c->dirty_zero);
	if ((c->sealed_zero & ~c->sealed_mask) != 0 || (c->dirty_zero & ~c->dirty_mask) != 0)
		problem(ck, "file %llu chunk %u: zero blocks that are neither sealed nor dirty",
		    (unsigned long long)c->file_id, c->chunk_no);
	/* Left-overs of a removed file: its node goes in one transaction, its data, which an upload
	 * may still hold, in a later one.  The next start frees them. */
	if (f == NULL)
		return 0;
	if (c->sealed_mask != 0 && !f->has_sealed)
		problem(ck, "file %llu chunk %u: sealed blocks without a seal",
		    (unsigned long long)c->file_id, c->chunk_no);
	top = c->dirty_mask == 0
		  ? 0
		  : start + ((63 - (uint64_t)__builtin_clzll(c->dirty_mask)) << CACHE_BLOCK_SHIFT);
	if (c->dirty_mask != 0 && top >= f->size)
		problem(ck, "file %llu chunk %u: dirty block past the end of the file",
		    (unsigned long long)c->file_id, c->chunk_no);
	top = c->sealed_mask == 0
		  ? 0
		  : start + ((63 - (uint64_t)__builtin_clzll(c->sealed_mask)) << CACHE_BLOCK_SHIFT);
	if (c->sealed_mask != 0 && f->has_sealed && top >= f->sealed_size)
		problem(ck, "file %llu chunk %u: sealed block past the sealed size",
		    (unsigned long long)c->file_id, c->chunk_no);
	return 0;
}

static int
add_seal(void *arg, const struct index_seal *s)
{
	struct check *ck = arg;
	const struct file_info *f = find_file(ck, s->file_id);

	if (f == NULL) /* a left-over, see add_chunk() */
		return 0;
	if (!f->has_sealed)
		problem(
		    ck, "seal row of file %llu, which has no seal", (unsigned long long)s->file_id);
	else if (s->base_limit > f->sealed_size)
		problem(ck, "file %llu: base limit at the seal is past the sealed size",
		    (unsigned long long)s->file_id);
	return 0;
}

static void
check_slots(struct check *ck)
{
	struct slot_use *u = ck->uses.p;

	if (ck->uses.n > 1)
		qsort(u, ck->uses.n, sizeof(*u), by_slot);
	for (uint32_t i = 1; i < ck->uses.n; i++) {
		if (u[i].slot == u[i - 1].slot)
			problem(ck,
			    "slot %lld is named twice: file %llu chunk %u and file %llu chunk %u",
			    (long long)u[i].slot, (unsigned long long)u[i - 1].file_id,
			    u[i - 1].chunk_no, (unsigned long long)u[i].file_id, u[i].chunk_no);
	}
}

static int
check_redo(void *arg, int64_t slot, uint32_t block, const void *data)
{
	struct check *ck = arg;

	/* A slot that no row names is no mistake: an upload turned its blocks into CLEAN ones, which
	 * are named only after the next fdatasync, and until then the replay writes into a free slot. */
	(void)data;
	if (slot < 0 || slot > INT32_MAX || block >= CACHE_CHUNK_BLOCKS)
		problem(
		    ck, "redo row for slot %lld block %u, which cannot be", (long long)slot, block);
	return 0;
}

/* redo_reach - replaying may lengthen the data file: count that as there. */
static int
redo_reach(void *arg, int64_t slot, uint32_t block, const void *data)
{
	struct check *ck = arg;
	int64_t end =
	    (slot << CACHE_CHUNK_SHIFT) + ((int64_t)block + 1) * (int64_t)CACHE_BLOCK_SIZE;

	(void)data;
	if (slot >= 0 && slot <= INT32_MAX && end > ck->data_size)
		ck->data_size = end;
	return 0;
}

static int
open_data(struct check *ck)
{
	struct osfile *f;
	struct stat st;
	int err;

	if (ck->os == &osfile_posix && stat(ck->path, &st) != 0) { /* open() would make it */
		problem(ck, "data file %s: %s", ck->path, err_str(-errno));
		return 0;
	}
	err = ck->os->open(ck->path, &f);
	if (err != 0) {
		problem(ck, "data file %s: %s", ck->path, err_str(err));
		return 0;
	}
	ck->data_size = ck->os->size(f);
	ck->os->close(f);
	return ck->data_size < 0 ? (int)ck->data_size : 0;
}

static int
check_space(void *arg, const char *key, const char *value)
{
	struct check *ck = arg;
	int err;

	ck->space = (uint32_t)strtoul(key, NULL, 10);
	ck->path = xstrdup(value == NULL ? "" : value);
	ck->files = ck->uses = (struct vec){0};
	ck->data_size = 0;
	err = open_data(ck);
	if (err == 0)
		err = index_each_redo(ck->index, ck->space, redo_reach, ck);
	if (err == 0)
		err = index_each_node(ck->index, ck->space, add_node, ck);
	if (err == 0 && ck->files.n > 1)
		qsort(ck->files.p, ck->files.n, sizeof(struct file_info), by_id);
	if (err == 0)
		err = index_each_chunk(ck->index, ck->space, add_chunk, ck);
	if (err == 0)
		err = index_each_seal(ck->index, ck->space, add_seal, ck);
	if (err == 0) {
		check_slots(ck);
		err = index_each_redo(ck->index, ck->space, check_redo, ck);
	}
	cachei_vec_free(&ck->files);
	cachei_vec_free(&ck->uses);
	free(ck->path);
	return err;
}

static void
say_index(void *arg, const char *line)
{
	struct check *ck = arg;

	ck->report->problems++;
	if (ck->say != NULL)
		ck->say(ck->say_arg, line);
}

int
cache_check(const struct cache_conf *conf, void (*say)(void *arg, const char *line), void *arg,
    struct cache_check_report *report)
{
	struct check ck = {.say = say,
	    .say_arg = arg,
	    .report = report,
	    .os = conf->os == NULL ? &osfile_posix : conf->os};
	char text[512];
	bool is_new;
	int err;

	memset(report, 0, sizeof(*report));
	err = index_open(conf->index_path, false, &ck.index, &is_new, text, sizeof(text));
	if (err != 0) {
		if (say != NULL)
			say(arg, text);
		return err;
	}
	err = index_check_integrity(ck.index, say_index, &ck);
	if (err >= 0)
		err = index_each_kv(ck.index, "space", check_space, &ck);
	index_close(ck.index);
	return err < 0 ? err : (int)report->problems;
}
