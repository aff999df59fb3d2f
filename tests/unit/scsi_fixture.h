/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scsi_fixture.h - a target with nexuses a and b on loops of their own, over a volume in memory; commands as an
 * initiator sends them, waited for or not.
 */
#ifndef TEST_SCSI_FIXTURE_H
#define TEST_SCSI_FIXTURE_H

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "frontends/scsi/scsi_int.h"
#include "tests/unit/scsi_fake.h"

#define NAME_A "iqn.2026-01.test:a,i,0x00023d000001"
#define NAME_B "iqn.2026-01.test:b,i,0x00023d000002"
#define VOLUME_ID "vol-1122aabb"
#define MIB (1ull << 20)

/* One command on its way; results in t. */
struct io {
	struct scsi_task t;
	struct loop_task post;
	sem_t ended;
	bool is_refused;   /* by prepare */
	bool is_gathering; /* prepare, but do not execute */
	uint32_t expected_in;
	uint8_t *in;
};

static struct loop *loops[2];
static struct cw_volume *volume;
static struct scsi_target *target;
static struct scsi_nexus *a, *b;
static unsigned int next_tag;

static inline void
io_done(struct scsi_task *t)
{
	sem_post(&container_of(t, struct io, t)->ended);
}

static inline void
io_execute(struct io *io)
{
	struct scsi_task *t = &io->t;

	t->out_len = (uint32_t)(t->out_announced < t->want_out ? t->out_announced : t->want_out);
	t->in_cap = (uint32_t)(io->expected_in < t->want_in ? io->expected_in : t->want_in);
	free(io->in);
	io->in = t->in = xmalloc(t->in_cap + 1u);
	memset(io->in, 0xee, t->in_cap + 1u);
	if (scsi_task_execute(t))
		sem_post(&io->ended);
}

static inline void
io_start(struct loop_task *w)
{
	struct io *io = container_of(w, struct io, post);

	if (!scsi_task_prepare(&io->t)) {
		io->is_refused = true;
		sem_post(&io->ended);
	} else if (!io->is_gathering) {
		io_execute(io);
	}
}

static inline void
io_execute_later(struct loop_task *w)
{
	io_execute(container_of(w, struct io, post));
}

static inline struct io *
io_new(struct scsi_nexus *n, const void *cdb, size_t cdb_len, void *out, uint64_t out_len,
    uint32_t in_len)
{
	struct io *io = xcalloc(1, sizeof(*io));

	io->t.nexus = n;
	memcpy(io->t.cdb, cdb, cdb_len);
	io->t.cdb_len = 16; /* what iSCSI carries */
	io->t.attr = SCSI_SIMPLE;
	io->t.tag = ++next_tag;
	io->t.done = io_done;
	io->t.out = out;
	io->t.out_announced = out_len;
	io->expected_in = in_len;
	sem_init(&io->ended, 0, 0);
	return io;
}

static inline void
io_send(struct io *io)
{
	io->post.fn = io_start;
	loop_post(io->t.nexus->loop, &io->post);
}

static inline void
io_wait(struct io *io)
{
	sem_wait(&io->ended);
	sem_post(&io->ended); /* it may be asked again */
}

static inline void
io_free(struct io *io)
{
	sem_destroy(&io->ended);
	free(io->in);
	free(io);
}

/* The last command that was waited for. */
static struct {
	enum scsi_status status;
	unsigned int key, asc, info;
	bool has_info, is_refused, is_aborted;
	uint32_t in_len;
	uint64_t in_full, want_in, want_out;
	uint8_t in[1 << 16];
} r;

static inline void
io_take(struct io *io)
{
	const struct scsi_task *t = &io->t;

	io_wait(io);
	memset(&r, 0, sizeof(r));
	r.status = t->status;
	r.is_refused = io->is_refused;
	r.is_aborted = t->is_aborted;
	r.in_len = t->in_len;
	r.in_full = t->in_full;
	r.want_in = t->want_in;
	r.want_out = t->want_out;
	if (t->in_len > 0)
		memcpy(r.in, io->in, t->in_len < sizeof(r.in) ? t->in_len : sizeof(r.in));
	if (t->sense_len >= 14) {
		r.key = t->sense[2] & 0x0f;
		r.asc = scsi_get16(t->sense + 12);
		r.has_info = (t->sense[0] & 0x80) != 0;
		r.info = scsi_get32(t->sense + 3);
	}
	assert_true((t->status == SCSI_CHECK_CONDITION) == (t->sense_len > 0));
	io_free(io);
}

static inline enum scsi_status
command(struct scsi_nexus *n, const void *cdb, size_t cdb_len, void *out, uint64_t out_len,
    uint32_t in_len)
{
	struct io *io = io_new(n, cdb, cdb_len, out, out_len, in_len);

	io_send(io);
	io_take(io);
	return r.status;
}

#define CDB(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})
#define GOOD(n, out, out_len, in_len, ...)                                                         \
	assert_int_equal(command(n, CDB(__VA_ARGS__), out, out_len, in_len), SCSI_GOOD)
#define CHECK(n, out, out_len, in_len, k, c, ...)                                                  \
	do {                                                                                       \
		assert_int_equal(                                                                  \
		    command(n, CDB(__VA_ARGS__), out, out_len, in_len), SCSI_CHECK_CONDITION);     \
		assert_int_equal(r.key, k);                                                        \
		assert_int_equal(r.asc, c);                                                        \
	} while (0)

/* 16-byte block commands are the same but for the code: LBA, blocks, flags of byte 1. */
static inline enum scsi_status
block16(struct scsi_nexus *n, uint8_t op, uint64_t lba, uint32_t blocks, uint8_t flags, void *out,
    uint64_t out_len, uint32_t in_len)
{
	uint8_t cdb[16] = {op, flags};

	scsi_put64(cdb + 2, lba);
	scsi_put32(cdb + 10, blocks);
	return command(n, cdb, sizeof(cdb), out, out_len, in_len);
}

static inline enum scsi_status
block10(struct scsi_nexus *n, uint8_t op, uint32_t lba, uint16_t blocks, uint8_t flags, void *out,
    uint64_t out_len, uint32_t in_len)
{
	uint8_t cdb[10] = {op, flags};

	scsi_put32(cdb + 2, lba);
	scsi_put16(cdb + 7, blocks);
	return command(n, cdb, sizeof(cdb), out, out_len, in_len);
}

#define assert_check(k, c)                                                                         \
	do {                                                                                       \
		assert_int_equal(r.status, SCSI_CHECK_CONDITION);                                  \
		assert_int_equal(r.key, k);                                                        \
		assert_int_equal(r.asc, c);                                                        \
	} while (0)

static inline void
clear_ua(struct scsi_nexus *n)
{
	while (command(n, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0) == SCSI_CHECK_CONDITION)
		assert_int_equal(r.key, KEY_UNIT_ATTENTION);
}

/* Something on a nexus' loop, waited for. */
struct on_loop {
	struct loop_task task;
	void (*fn)(void *arg);
	void *arg;
	sem_t ended;
};

static inline void
on_loop_run(struct loop_task *w)
{
	struct on_loop *o = container_of(w, struct on_loop, task);

	o->fn(o->arg);
	sem_post(&o->ended);
}

static inline void
on_loop(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct on_loop o = {.task.fn = on_loop_run, .fn = fn, .arg = arg};

	sem_init(&o.ended, 0, 0);
	loop_post(l, &o.task);
	sem_wait(&o.ended);
	sem_destroy(&o.ended);
}

static inline void
nothing(void *arg)
{
	(void)arg;
}

static inline void
free_nexus_on_loop(void *arg)
{
	scsi_nexus_free(arg);
}

static inline void
free_nexus(struct scsi_nexus *n)
{
	on_loop(n->loop, free_nexus_on_loop, n);
}

struct tmf_call {
	struct scsi_nexus *n;
	enum scsi_tmf what;
	uint64_t lun, tag;
	enum scsi_tmf_result result;
	sem_t ended;
};

static inline void
tmf_ended(void *arg, enum scsi_tmf_result result)
{
	struct tmf_call *c = arg;

	c->result = result;
	sem_post(&c->ended);
}

static inline void
tmf_on_loop(void *arg)
{
	struct tmf_call *c = arg;

	scsi_tmf(c->n, c->what, c->lun, c->tag, tmf_ended, c);
}

static inline void
tmf_send(struct tmf_call *c, struct scsi_nexus *n, enum scsi_tmf what, uint64_t tag)
{
	*c = (struct tmf_call){.n = n, .what = what, .tag = tag};
	sem_init(&c->ended, 0, 0);
	on_loop(n->loop, tmf_on_loop, c);
}

static inline enum scsi_tmf_result
tmf(struct scsi_nexus *n, enum scsi_tmf what, uint64_t tag)
{
	struct tmf_call c;

	tmf_send(&c, n, what, tag);
	sem_wait(&c.ended);
	sem_destroy(&c.ended);
	return c.result;
}

static inline void
open_target(uint64_t size, uint32_t block_bytes)
{
	fake_is_async = false;
	fake_is_held = false;
	fake_fail_next = 0;
	fake_pr_save_result = 0;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(loop_new("scsi", 0, &loops[i]), 0);
		assert_int_equal(loop_start(loops[i]), 0);
	}
	volume = fake_volume_new(VOLUME_ID, size, block_bytes);
	target = scsi_target_get(volume);
	a = scsi_nexus_new(target, NAME_A, 1, loops[0]);
	b = scsi_nexus_new(target, NAME_B, 1, loops[1]);
	clear_ua(a);
	clear_ua(b);
}

static inline int
setup_512(void **state)
{
	(void)state;
	open_target(1024 * MIB, 512);
	return 0;
}

static inline int
setup_4096(void **state)
{
	(void)state;
	open_target(1024 * MIB, 4096);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	if (a != NULL)
		free_nexus(a);
	if (b != NULL)
		free_nexus(b);
	scsi_target_put(target);
	for (int i = 0; i < 2; i++)
		loop_join(loops[i]);
	scsi_stop();
	for (int i = 0; i < 2; i++)
		loop_free(loops[i]);
	fake_volume_free(volume);
	return 0;
}

#endif
