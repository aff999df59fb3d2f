/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole commands against a unit: a CDB, then Data-Out, as often as the input says.  What is checked: answers stay within what
 * was prepared, sense goes with CHECK CONDITION, every task ends.
 */
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/scsi.h"
#include "tests/unit/scsi_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct scsi_nexus *nexus;
static sem_t ended;

struct call {
	struct loop_task post;
	struct scsi_task t;
	const uint8_t *out;
	size_t out_len;
};

static void
done(struct scsi_task *t)
{
	(void)t;
	sem_post(&ended);
}

static void
run(struct loop_task *w)
{
	struct call *c = container_of(w, struct call, post);
	struct scsi_task *t = &c->t;

	if (!scsi_task_prepare(t)) {
		sem_post(&ended);
		return;
	}
	if (t->want_in > 0 && t->want_out > 0)
		abort();
	t->out_len = (uint32_t)(t->out_announced < t->want_out ? t->out_announced : t->want_out);
	t->out = malloc(t->out_len + 1u);
	memcpy(t->out, c->out, t->out_len);
	t->in_cap = (uint32_t)(t->want_in < 70000 ? t->want_in : 70000);
	t->in = malloc(t->in_cap + 1u);
	if (scsi_task_execute(t))
		sem_post(&ended);
}

static size_t
one(const uint8_t *data, size_t size)
{
	struct call *c = calloc(1, sizeof(*c));
	size_t used = size < 18 ? size : 18, out;

	memcpy(c->t.cdb, data, used < 16 ? used : 16);
	c->t.cdb_len = 16;
	out = used == 18 ? (size_t)(data[16] | (data[17] & 0x0f) << 8) : 0;
	if (out > size - used)
		out = size - used;
	c->out = data + used;
	c->t.out_announced = out;
	c->t.nexus = nexus;
	c->t.attr =
	    used == 18 && data[17] >> 4 <= SCSI_ACA ? (enum scsi_attr)(data[17] >> 4) : SCSI_SIMPLE;
	c->t.done = done;
	c->post.fn = run;
	loop_post(loop, &c->post);
	while (sem_wait(&ended) != 0) /* the fuzzer's timer interrupts */
		;
	if ((c->t.status == SCSI_CHECK_CONDITION) != (c->t.sense_len > 0) ||
	    c->t.in_len > c->t.in_cap || c->t.in_full > c->t.want_in)
		abort();
	free(c->t.out);
	free(c->t.in);
	free(c);
	return used + out;
}

static void
start(void)
{
	struct cw_volume *v;

	fake_room = 64u << 20;
	v = fake_volume_new("vol-1122aabb", 16u << 20, 512);
	fake_volume_new("vol-99887766", 16u << 20, 4096);
	if (loop_new("fuzz", 0, &loop) != 0 || loop_start(loop) != 0)
		abort();
	sem_init(&ended, 0, 0);
	nexus = scsi_nexus_new(scsi_target_get(v), "iqn.2026-01.test:a,i,0x00023d000001", 1, loop);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (nexus == NULL)
		start();
	for (int i = 0; i < 8 && size > 0; i++) {
		size_t used = one(data, size);

		data += used;
		size -= used;
	}
	return 0;
}
