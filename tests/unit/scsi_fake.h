/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scsi_fake.h - volumes in memory in the place of the real ones, and the text of their persistent reservations, so
 * that the tests of SCSI and iSCSI need no cache and no bucket.
 *
 * fake_is_async: requests with a loop complete by a post; fake_is_held: they wait for fake_release().
 * fake_fail_next: result of the next request that fake_fail_op says. Mapped are the 4 KiB blocks written to.
 */
#ifndef TEST_SCSI_FAKE_H
#define TEST_SCSI_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume.h"

#define FAKE_VOLUMES 4
#define FAKE_BLOCK 4096u

struct cw_volume {
	struct cw_volume_conf conf;
	uint8_t *data, *mapped; /* of fake_room bytes, and a flag a block */
	_Atomic uint64_t size;
	atomic_int refs;
	pthread_mutex_t mutex;
	char *pr_text;
};

static struct cw_volume *fake_volumes[FAKE_VOLUMES];
static uint64_t fake_room = 2ull << 30;
static atomic_bool fake_is_async, fake_is_held;
static atomic_int fake_fail_next, fake_fail_op, fake_pr_save_result, fake_pr_saves;
static atomic_int fake_syncs, fake_writes, fake_reads, fake_zeros, fake_fua;
static pthread_mutex_t fake_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cw_vio *fake_held[256];
static unsigned int fake_nheld;

static inline struct cw_volume *
fake_volume_new(const char *id, uint64_t size, uint32_t block_bytes)
{
	struct cw_volume *v = xcalloc(1, sizeof(*v));

	snprintf(v->conf.id, sizeof(v->conf.id), "%s", id);
	v->conf.target_name = xstrdup(id);
	v->conf.iqn = xasprintf("iqn.1997-05.com.amazon:%s", id);
	v->conf.size_bytes = size;
	v->conf.block_bytes = block_bytes;
	v->size = size;
	v->data = mmap(NULL, fake_room, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CW_ASSERT(v->data != MAP_FAILED);
	v->mapped = xcalloc(fake_room / FAKE_BLOCK, 1);
	atomic_init(&v->refs, 1);
	pthread_mutex_init(&v->mutex, NULL);
	pthread_mutex_lock(&fake_mutex);
	for (int i = 0; i < FAKE_VOLUMES; i++) {
		if (fake_volumes[i] == NULL) {
			fake_volumes[i] = v;
			break;
		}
	}
	pthread_mutex_unlock(&fake_mutex);
	return v;
}

static inline void
fake_volume_free(struct cw_volume *v)
{
	CW_ASSERT(atomic_load(&v->refs) == 1);
	for (int i = 0; i < FAKE_VOLUMES; i++) {
		if (fake_volumes[i] == v)
			fake_volumes[i] = NULL;
	}
	munmap(v->data, fake_room);
	free(v->mapped);
	free(v->conf.target_name);
	free(v->conf.iqn);
	free(v->pr_text);
	pthread_mutex_destroy(&v->mutex);
	free(v);
}

const char *
cw_volume_id(const struct cw_volume *v)
{
	return v->conf.id;
}

const struct cw_volume_conf *
cw_volume_conf(const struct cw_volume *v)
{
	return &v->conf;
}

uint64_t
cw_volume_size(const struct cw_volume *v)
{
	return atomic_load(&((struct cw_volume *)(uintptr_t)v)->size);
}

void
cw_volume_get(struct cw_volume *v)
{
	atomic_fetch_add(&v->refs, 1);
}

void
cw_volume_put(struct cw_volume *v)
{
	atomic_fetch_sub(&v->refs, 1);
}

void
cw_volume_each(void (*fn)(void *arg, struct cw_volume *v), void *arg)
{
	pthread_mutex_lock(&fake_mutex);
	for (int i = 0; i < FAKE_VOLUMES; i++) {
		if (fake_volumes[i] != NULL)
			fn(arg, fake_volumes[i]);
	}
	pthread_mutex_unlock(&fake_mutex);
}

struct cw_volume *
cw_volume_by_iqn(const char *iqn)
{
	struct cw_volume *found = NULL;

	pthread_mutex_lock(&fake_mutex);
	for (int i = 0; i < FAKE_VOLUMES; i++) {
		if (fake_volumes[i] != NULL && strcmp(fake_volumes[i]->conf.iqn, iqn) == 0)
			found = fake_volumes[i];
	}
	if (found != NULL)
		cw_volume_get(found);
	pthread_mutex_unlock(&fake_mutex);
	return found;
}

static inline void
fake_map(struct cw_volume *v, uint64_t off, uint64_t len, bool is_mapped)
{
	uint64_t first = off / FAKE_BLOCK, end = (off + len + FAKE_BLOCK - 1) / FAKE_BLOCK;

	if (!is_mapped) { /* whole blocks only */
		first = (off + FAKE_BLOCK - 1) / FAKE_BLOCK;
		end = (off + len) / FAKE_BLOCK;
	}
	if (end > first)
		memset(v->mapped + first, is_mapped, end - first);
}

static inline int
fake_compare_write(struct cw_vio *io, uint8_t *at)
{
	const uint8_t *want = io->buf;

	for (uint64_t i = 0; i < io->len; i++) {
		if (at[i] != want[i]) {
			io->miscompare_off = i;
			return -EILSEQ;
		}
	}
	memcpy(at, want + io->len, io->len);
	fake_map(io->volume, io->off, io->len, true);
	return 0;
}

static inline int
fake_run(struct cw_vio *io)
{
	struct cw_volume *v = io->volume;
	int err = atomic_load(&fake_fail_next), op = atomic_load(&fake_fail_op);
	uint8_t *at = v->data + io->off;

	if (err != 0 && op == (int)io->op) {
		atomic_store(&fake_fail_next, 0);
		return err;
	}
	if (io->op != CW_VIO_SYNC && (io->off % 512 != 0 || io->len % 512 != 0 ||
					 io->off > v->size || io->len > v->size - io->off))
		return -EINVAL;
	if (io->op != CW_VIO_ZERO && io->len > CW_VIO_LEN_MAX)
		return -EINVAL;
	if (io->is_fua && io->op != CW_VIO_READ)
		atomic_fetch_add(&fake_fua, 1);
	err = 0;
	pthread_mutex_lock(&v->mutex);
	switch (io->op) {
	case CW_VIO_READ:
		atomic_fetch_add(&fake_reads, 1);
		memcpy(io->buf, at, io->len);
		break;
	case CW_VIO_WRITE:
		atomic_fetch_add(&fake_writes, 1);
		memcpy(at, io->buf, io->len);
		fake_map(v, io->off, io->len, true);
		break;
	case CW_VIO_SYNC:
		atomic_fetch_add(&fake_syncs, 1);
		break;
	case CW_VIO_ZERO:
		atomic_fetch_add(&fake_zeros, 1);
		for (uint64_t i = 0; i < io->len;
		     i += 512) /* does not touch pages that are zeros */
			if (v->mapped[(io->off + i) / FAKE_BLOCK])
				memset(at + i, 0, 512);
		fake_map(v, io->off, io->len, false);
		break;
	case CW_VIO_COMPARE_WRITE:
		err = fake_compare_write(io, at);
		break;
	}
	pthread_mutex_unlock(&v->mutex);
	return err;
}

static inline void
fake_complete(struct loop_task *t)
{
	struct cw_vio *io = container_of(t, struct cw_vio, task);

	io->result = fake_run(io);
	io->done(io);
}

bool
cw_volume_submit(struct cw_vio *io)
{
	io->task.fn = fake_complete;
	if (atomic_load(&fake_is_held)) {
		pthread_mutex_lock(&fake_mutex);
		fake_held[fake_nheld++ % 256] = io;
		pthread_mutex_unlock(&fake_mutex);
		return false;
	}
	if (atomic_load(&fake_is_async)) {
		loop_post(io->loop, &io->task);
		return false;
	}
	if (io->op == CW_VIO_READ && io->send != NULL && io->off + io->len <= io->volume->size) {
		struct iovec iov = {io->volume->data + io->off, io->len};
		uint32_t sent = io->send(io, &iov, 1);

		memcpy(
		    (uint8_t *)io->buf + sent, io->volume->data + io->off + sent, io->len - sent);
		io->result = 0;
		return true;
	}
	io->result = fake_run(io);
	return true;
}

/* fake_release - let what is held go on. result: how many */
static inline unsigned int
fake_release(void)
{
	unsigned int n;

	atomic_store(&fake_is_held, false);
	pthread_mutex_lock(&fake_mutex);
	n = fake_nheld;
	fake_nheld = 0;
	for (unsigned int i = 0; i < n; i++)
		loop_post(fake_held[i]->loop, &fake_held[i]->task);
	pthread_mutex_unlock(&fake_mutex);
	return n;
}

int
cw_volume_call(struct cw_vio *io)
{
	while (atomic_load(&fake_is_held))
		usleep(1000);
	io->result = fake_run(io);
	return io->result;
}

bool
cw_volume_provisioned(struct cw_volume *v, uint64_t off, uint64_t len, uint64_t *end)
{
	uint64_t b = off / FAKE_BLOCK, limit = off + len, at;
	bool is_mapped;

	pthread_mutex_lock(&v->mutex);
	is_mapped = v->mapped[b];
	while (b * FAKE_BLOCK < limit && v->mapped[b] == is_mapped)
		b++;
	pthread_mutex_unlock(&v->mutex);
	at = b * FAKE_BLOCK;
	*end = at < limit ? at : limit;
	return is_mapped;
}

char *
cw_target_pr_load(struct cw_volume *v)
{
	return v->pr_text != NULL ? xstrdup(v->pr_text) : NULL;
}

int
cw_target_pr_save(struct cw_volume *v, const char *text)
{
	int err = atomic_load(&fake_pr_save_result);

	atomic_fetch_add(&fake_pr_saves, 1);
	if (err < 0)
		return err;
	free(v->pr_text);
	v->pr_text = xstrdup(text);
	return 0;
}

#endif
