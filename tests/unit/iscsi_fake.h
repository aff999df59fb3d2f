/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iscsi_fake.h - volumes and a SCSI layer that are memory: what is under the iSCSI server in its tests.
 *
 * Commands known: 00 TEST UNIT READY, 03 a CHECK CONDITION from prepare, 12 INQUIRY (36 bytes), 28
 * READ(10), 2a WRITE(10) of 512-byte blocks, f0 one that runs until fake_release() or it is aborted.
 */
#ifndef TESTS_ISCSI_FAKE_H
#define TESTS_ISCSI_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "frontends/scsi/scsi.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume.h"

#define FAKE_VOLUMES 3
#define FAKE_BYTES (8u << 20)
#define FAKE_IQN "iqn.1997-05.com.amazon:vol"

struct cw_volume {
	struct cw_volume_conf conf;
	char iqn[64];
};
struct scsi_target {
	struct cw_volume *volume;
};
struct scsi_nexus {
	struct loop *loop;
	char port[300];
};

static struct cw_volume fake_volumes[FAKE_VOLUMES];
static uint8_t fake_disk[FAKE_BYTES];
static atomic_int fake_refs, fake_targets, fake_nexuses, fake_changed, fake_abandoned, fake_aborted;
static atomic_int fake_executed, fake_resets;
static atomic_bool fake_is_async, fake_sends, fake_is_closing;
static struct cw_chap fake_chap; /* initiator "" = none; of volume 0 */
static struct list fake_held, fake_sessions;
static pthread_mutex_t fake_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct scsi_task *fake_last; /* the last WRITE executed: where its data lay */
static uint8_t *fake_last_out;
static char fake_port[300]; /* of the last nexus */

static inline void
fake_init(void)
{
	memset(fake_volumes, 0, sizeof(fake_volumes));
	for (int i = 0; i < FAKE_VOLUMES; i++) {
		struct cw_volume *v = &fake_volumes[i];

		snprintf(v->iqn, sizeof(v->iqn), FAKE_IQN "%d", i);
		v->conf.iqn = v->iqn;
		v->conf.size_bytes = FAKE_BYTES;
		v->conf.block_bytes = 512;
	}
	fake_volumes[2].conf.listen_address = (char *)(uintptr_t) "127.0.0.2";
	list_init(&fake_held);
	list_init(&fake_sessions);
	memset(&fake_chap, 0, sizeof(fake_chap));
	fake_refs = fake_targets = fake_nexuses = fake_changed = fake_abandoned = fake_aborted = 0;
	fake_executed = fake_resets = 0;
	fake_is_async = fake_sends = fake_is_closing = false;
	for (uint32_t i = 0; i < FAKE_BYTES; i++)
		fake_disk[i] = (uint8_t)(i * 2654435761u >> 13);
}

/* --- volumes ------------------------------------------------------------------------------------ */

struct cw_volume *
cw_volume_by_iqn(const char *iqn)
{
	for (int i = 0; i < FAKE_VOLUMES; i++) {
		if (strcasecmp(fake_volumes[i].iqn, iqn) == 0) {
			fake_refs++;
			return &fake_volumes[i];
		}
	}
	return NULL;
}

void
cw_volume_get(struct cw_volume *v)
{
	(void)v;
	fake_refs++;
}

void
cw_volume_put(struct cw_volume *v)
{
	(void)v;
	fake_refs--;
}

void
cw_volume_each(void (*fn)(void *arg, struct cw_volume *v), void *arg)
{
	for (int i = 0; i < FAKE_VOLUMES; i++)
		fn(arg, &fake_volumes[i]);
}

const struct cw_volume_conf *
cw_volume_conf(const struct cw_volume *v)
{
	return &v->conf;
}

bool
cw_target_needs_chap(struct cw_volume *v)
{
	return v == &fake_volumes[0] && fake_chap.initiator[0] != '\0';
}

int
cw_target_chap(struct cw_volume *v, const char *initiator, struct cw_chap *out)
{
	if (!cw_target_needs_chap(v) || strcmp(initiator, fake_chap.initiator) != 0)
		return -ENOENT;
	*out = fake_chap;
	return 0;
}

int
cw_target_session_add(struct cw_volume *v, struct cw_target_session *s)
{
	(void)v;
	if (fake_is_closing)
		return -ESHUTDOWN;
	pthread_mutex_lock(&fake_mutex);
	list_add_tail(&fake_sessions, &s->link);
	pthread_mutex_unlock(&fake_mutex);
	return 0;
}

void
cw_target_session_del(struct cw_volume *v, struct cw_target_session *s)
{
	(void)v;
	pthread_mutex_lock(&fake_mutex);
	list_del(&s->link);
	pthread_mutex_unlock(&fake_mutex);
}

/* Tell every session that is logged in. result: how many */
static inline int
fake_tell_sessions(bool is_end)
{
	struct list *pos;
	int n = 0;

	pthread_mutex_lock(&fake_mutex);
	list_for_each(pos, &fake_sessions)
	{
		struct cw_target_session *s = container_of(pos, struct cw_target_session, link);

		if (is_end)
			s->end(s);
		else
			s->changed(s);
		n++;
	}
	pthread_mutex_unlock(&fake_mutex);
	return n;
}

/* --- SCSI --------------------------------------------------------------------------------------- */

struct scsi_target *
scsi_target_get(struct cw_volume *v)
{
	struct scsi_target *t = xcalloc(1, sizeof(*t));

	t->volume = v;
	fake_targets++;
	return t;
}

void
scsi_target_put(struct scsi_target *t)
{
	fake_targets--;
	free(t);
}

void
scsi_stop(void)
{
}

struct scsi_nexus *
scsi_nexus_new(struct scsi_target *t, const char *initiator_port, uint16_t tag, struct loop *loop)
{
	struct scsi_nexus *n = xcalloc(1, sizeof(*n));

	(void)t;
	(void)tag;
	n->loop = loop;
	snprintf(n->port, sizeof(n->port), "%s", initiator_port);
	snprintf(fake_port, sizeof(fake_port), "%s", initiator_port);
	fake_nexuses++;
	return n;
}

void
scsi_nexus_free(struct scsi_nexus *n)
{
	fake_nexuses--;
	free(n);
}

void
scsi_nexus_changed(struct scsi_nexus *n)
{
	(void)n;
	fake_changed++;
}

static inline void
fake_check(struct scsi_task *t, uint8_t key, uint8_t asc)
{
	t->status = SCSI_CHECK_CONDITION;
	memset(t->sense, 0, 18);
	t->sense[0] = 0x70;
	t->sense[2] = key;
	t->sense[7] = 10;
	t->sense[12] = asc;
	t->sense_len = 18;
}

static inline uint32_t
fake_off(const struct scsi_task *t)
{
	return ((uint32_t)t->cdb[2] << 24 | (uint32_t)t->cdb[3] << 16 | (uint32_t)t->cdb[4] << 8 |
		   t->cdb[5]) *
	       512;
}

static inline uint32_t
fake_len(const struct scsi_task *t)
{
	return ((uint32_t)t->cdb[7] << 8 | t->cdb[8]) * 512;
}

bool
scsi_task_prepare(struct scsi_task *t)
{
	switch (t->cdb[0]) {
	case 0x00:
	case 0xf0:
		break;
	case 0x12:
		t->want_in = t->cdb[4] < 36 ? t->cdb[4] : 36;
		break;
	case 0x28:
		t->want_in = fake_len(t);
		break;
	case 0x2a:
		t->want_out = fake_len(t);
		break;
	default:
		fake_check(t, 5, 0x20);
		return false;
	}
	if (t->lun != 0) {
		fake_check(t, 5, 0x25);
		return false;
	}
	if ((t->cdb[0] == 0x28 || t->cdb[0] == 0x2a) &&
	    (uint64_t)fake_off(t) + fake_len(t) > FAKE_BYTES) {
		t->want_in = t->want_out = 0;
		fake_check(t, 5, 0x21);
		return false;
	}
	return true;
}

static inline void
fake_read(struct scsi_task *t)
{
	uint32_t n = t->want_in < t->in_cap ? (uint32_t)t->want_in : t->in_cap, taken = 0;

	if (t->send != NULL && fake_sends && n == t->in_cap) {
		struct iovec iov[2] = {
		    {fake_disk + fake_off(t), n / 3}, {fake_disk + fake_off(t) + n / 3, n - n / 3}};

		taken = t->send(t, iov, 2);
	}
	if (n > taken)
		memcpy((uint8_t *)t->in + taken, fake_disk + fake_off(t) + taken, n - taken);
	t->in_len = n;
	t->in_full = t->want_in;
	t->status = SCSI_GOOD;
}

static inline void
fake_run(struct scsi_task *t)
{
	fake_executed++;
	t->status = SCSI_GOOD;
	switch (t->cdb[0]) {
	case 0x12: {
		uint8_t data[36] = {0, 0, 5, 2, 31};

		t->in_len = t->in_cap < t->want_in ? t->in_cap : (uint32_t)t->want_in;
		memcpy(t->in, data, t->in_len);
		t->in_full = t->want_in;
		break;
	}
	case 0x28:
		fake_read(t);
		break;
	case 0x2a:
		if (t->out_len > 0)
			memcpy(fake_disk + fake_off(t), t->out, t->out_len);
		fake_last = t;
		fake_last_out = t->out;
		break;
	default:
		break;
	}
}

static inline void
fake_later(struct loop_task *lt)
{
	struct scsi_task *t = container_of(lt, struct scsi_task, loop_task);

	fake_run(t);
	t->done(t);
}

static inline void
fake_end_held(struct loop_task *lt)
{
	struct scsi_task *t = container_of(lt, struct scsi_task, loop_task);

	t->status = SCSI_GOOD;
	t->done(t);
}

bool
scsi_task_execute(struct scsi_task *t)
{
	if (t->cdb[0] == 0xf0) {
		pthread_mutex_lock(&fake_mutex);
		list_add_tail(&fake_held, &t->link);
		pthread_mutex_unlock(&fake_mutex);
		return false;
	}
	if (fake_is_async) {
		t->loop_task.fn = fake_later;
		loop_post(t->nexus->loop, &t->loop_task);
		return false;
	}
	fake_run(t);
	return true;
}

void
scsi_task_abandon(struct scsi_task *t)
{
	(void)t;
	fake_abandoned++;
}

/* End held commands: all, or those of one nexus, or the one with the tag. result: how many */
static inline int
fake_release(struct scsi_nexus *nexus, bool has_tag, uint64_t tag, bool is_abort)
{
	struct list *pos, *tmp;
	int n = 0;

	pthread_mutex_lock(&fake_mutex);
	list_for_each_safe(pos, tmp, &fake_held)
	{
		struct scsi_task *t = container_of(pos, struct scsi_task, link);

		if ((nexus != NULL && t->nexus != nexus) || (has_tag && t->tag != tag))
			continue;
		list_del(&t->link);
		t->is_aborted = is_abort;
		t->loop_task.fn = fake_end_held;
		loop_post(t->nexus->loop, &t->loop_task);
		n++;
	}
	pthread_mutex_unlock(&fake_mutex);
	return n;
}

struct fake_tmf {
	struct loop_task task;
	void (*done)(void *arg, enum scsi_tmf_result r);
	void *arg;
	enum scsi_tmf_result r;
};

static inline void
fake_tmf_done(struct loop_task *t)
{
	struct fake_tmf *f = container_of(t, struct fake_tmf, task);

	f->done(f->arg, f->r);
	free(f);
}

void
scsi_tmf(struct scsi_nexus *n, enum scsi_tmf what, uint64_t lun, uint64_t tag,
    void (*done)(void *arg, enum scsi_tmf_result r), void *arg)
{
	struct fake_tmf *f = xcalloc(1, sizeof(*f));
	int ended = 0;

	f->task.fn = fake_tmf_done;
	f->done = done;
	f->arg = arg;
	f->r = lun == 0 ? SCSI_TMF_COMPLETE : SCSI_TMF_NO_LUN;
	if (what == SCSI_ABORT_TASK) {
		ended = fake_release(n, true, tag, true);
		if (ended == 0)
			f->r = SCSI_TMF_NO_TASK;
	} else if (what == SCSI_CLEAR_ACA) {
		f->r = SCSI_TMF_NOT_SUPPORTED;
	} else if (lun == 0) {
		ended = fake_release(what == SCSI_ABORT_TASK_SET ? n : NULL, false, 0, true);
		fake_resets += what == SCSI_LUN_RESET || what == SCSI_TARGET_RESET;
	}
	fake_aborted += ended;
	loop_post(n->loop, &f->task);
}

#endif
