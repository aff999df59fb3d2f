/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nfs_fake.h - a gateway of one share in a few lines, in the place of the real one, so that the tests
 * of the NFS server decide what completes when.
 *
 * The root (ino 1) holds FAKE_FILES files; their bytes are (offset / 4) as words.  An op whose name or
 * offset says "slow" waits until fake_release().
 */
#ifndef TEST_NFS_FAKE_H
#define TEST_NFS_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/op.h"
#include "gateway/share.h"

#define FAKE_FILES 1000u
#define FAKE_GEN 77u
#define FAKE_SLOW_OFFSET (1ull << 32)

struct cw_share {
	struct cw_share_conf conf;
};

static struct cw_share fake_share = {.conf = {.name = (char *)(uintptr_t) "demo"}};
static atomic_int fake_creates, fake_reads, fake_refs;
/* of a READ that is offered as memory: bytes taken at most, result after that, bytes taken */
static atomic_int fake_send_max, fake_send_result, fake_sent;
static atomic_bool fake_refuses;
static pthread_mutex_t fake_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cw_op *fake_slow[256];
static unsigned int fake_nslow;
static char fake_written[64];
static uint8_t fake_tag[CW_REPLY_TAG_LEN]; /* of the op submitted last */
static atomic_bool fake_has_tag;

uint32_t
cw_share_id(const struct cw_share *s)
{
	(void)s;
	return 3;
}

const struct cw_share_conf *
cw_share_conf(const struct cw_share *s)
{
	return &s->conf;
}

uint64_t
cw_share_root(const struct cw_share *s)
{
	(void)s;
	return 1;
}

uint32_t
cw_share_root_gen(const struct cw_share *s)
{
	(void)s;
	return FAKE_GEN;
}

struct cw_share *
cw_share_find(uint32_t id)
{
	if (id != 3)
		return NULL;
	atomic_fetch_add(&fake_refs, 1);
	return &fake_share;
}

struct cw_share *
cw_share_by_name(const char *name)
{
	return strcmp(name, "demo") == 0 ? cw_share_find(3) : NULL;
}

void
cw_share_put(struct cw_share *s)
{
	(void)s;
	atomic_fetch_sub(&fake_refs, 1);
}

void
cw_share_each(void (*fn)(void *arg, struct cw_share *s), void *arg)
{
	fn(arg, &fake_share);
}

bool
cw_export_allows(const struct cw_share *s, const struct sockaddr *peer)
{
	(void)s;
	(void)peer;
	return !atomic_load(&fake_refuses);
}

void
cw_export_squash(const struct cw_share *s, const struct cw_cred *claimed, struct cw_cred *out)
{
	(void)s;
	*out = *claimed;
}

static void
fake_attr(uint64_t ino, struct cw_attr *a)
{
	memset(a, 0, sizeof(*a));
	a->ino = ino;
	a->gen = FAKE_GEN;
	a->mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0644;
	a->nlink = 1;
	a->size = 1ull << 30;
	a->mtime_ns = 5000000000;
	a->share_id = 3;
}

static int
fake_readdir(struct cw_op *op)
{
	struct cw_attr attr;
	char name[32];

	for (uint64_t i = op->cookie; i < FAKE_FILES; i++) {
		struct cw_dirent e = {.ino = i + 2, .cookie = i + 1, .name = name};

		e.name_len = (size_t)snprintf(name, sizeof(name), "f%07u", (unsigned int)i);
		fake_attr(e.ino, &attr);
		e.attr = op->want_attrs && i % 3 != 0 ? &attr : NULL;
		if (!op->emit(op, &e))
			return 0;
	}
	op->eof = true;
	return 0;
}

static int
fake_lookup(struct cw_op *op)
{
	unsigned int n;

	fake_attr(1, &op->wcc[0].post);
	op->wcc[0].has_post = true;
	if (strcmp(op->name, "dir") == 0 || strcmp(op->name, "..") == 0) {
		fake_attr(1, &op->attr);
		return 0;
	}
	if (sscanf(op->name, "%*[a-z]%u", &n) != 1 || n >= FAKE_FILES)
		return -ENOENT;
	fake_attr(n + 2, &op->attr);
	return 0;
}

static int
fake_read(struct cw_op *op)
{
	uint32_t *words = op->buf;

	atomic_fetch_add(&fake_reads, 1);
	for (uint32_t i = 0; i < op->count / 4; i++)
		words[i] = (uint32_t)(op->offset / 4) + i;
	op->count_done = op->count;
	return 0;
}

/* As the cache does: in memory of its own, and what was taken is not in the buffer. */
static int
fake_read_send(struct cw_op *op)
{
	static uint32_t memory[1 << 18];
	void *buf = op->buf;
	uint32_t half = op->count / 2 & ~3u, taken;
	struct iovec iov[2] = {{memory, half}, {(char *)memory + half, op->count - half}};

	op->buf = memory;
	fake_read(op);
	op->buf = buf;
	if (op->count > (uint32_t)atomic_load(&fake_send_max)) {
		iov[0].iov_len = (size_t)atomic_load(&fake_send_max);
		taken = op->send(op, iov, 1);
	} else {
		taken = op->send(op, iov, 2);
	}
	op->is_sent = taken > 0;
	atomic_fetch_add(&fake_sent, (int)taken);
	memset(buf, 0xee, taken);
	memcpy((char *)buf + taken, (char *)memory + taken, op->count - taken);
	return atomic_load(&fake_send_result);
}

static int
fake_run(struct cw_op *op)
{
	op->has_attr = true;
	fake_attr(op->ino, &op->attr);
	switch (op->code) {
	case CW_LOOKUP:
		return fake_lookup(op);
	case CW_READ:
		return fake_read(op);
	case CW_WRITE:
		op->count_done = op->count;
		memcpy(fake_written, op->buf, op->count < 63 ? op->count : 63);
		return 0;
	case CW_READDIR:
		return fake_readdir(op);
	case CW_CREATE:
		fake_attr(2, &op->attr);
		return atomic_fetch_add(&fake_creates, 1) == 0 ? 0 : -EEXIST;
	case CW_MKDIR:
		op->has_attr = strcmp(op->name, "gone") != 0;
		return 0;
	case CW_ACCESS:
	case CW_SETATTR:
	case CW_SYMLINK:
	case CW_REMOVE:
	case CW_RMDIR:
	case CW_RENAME:
		return 0;
	case CW_GETATTR:
	case CW_COMMIT:
		return 0;
	default:
		return -ENOTSUP;
	}
}

static bool
fake_is_slow(const struct cw_op *op)
{
	return (op->name != NULL && strstr(op->name, "slow") != NULL) ||
	       (op->offset >= FAKE_SLOW_OFFSET && (op->code == CW_READ || op->code == CW_WRITE));
}

bool
cw_submit(struct cw_op *op)
{
	memcpy(fake_tag, op->reply_tag, sizeof(fake_tag));
	atomic_store(&fake_has_tag, op->has_reply_tag);
	if (fake_is_slow(op)) {
		pthread_mutex_lock(&fake_mutex);
		fake_slow[fake_nslow++] = op;
		pthread_mutex_unlock(&fake_mutex);
		return false;
	}
	if (op->send != NULL && atomic_load(&fake_send_max) > 0) {
		op->has_attr = true;
		fake_attr(op->ino, &op->attr);
		op->result = fake_read_send(op);
		return true;
	}
	op->result = fake_run(op);
	return true;
}

static void
fake_done(struct loop_task *t)
{
	struct cw_op *op = container_of(t, struct cw_op, task);

	op->done(op);
}

static unsigned int
fake_count_slow(void)
{
	unsigned int n;

	pthread_mutex_lock(&fake_mutex);
	n = fake_nslow;
	pthread_mutex_unlock(&fake_mutex);
	return n;
}

/* Complete what is slow, the youngest first; err 0: with its result. */
static void
fake_release(int err)
{
	pthread_mutex_lock(&fake_mutex);
	while (fake_nslow > 0) {
		struct cw_op *op = fake_slow[--fake_nslow];

		op->result = err < 0 ? err : fake_run(op);
		op->task.fn = fake_done;
		loop_post(op->loop, &op->task);
	}
	pthread_mutex_unlock(&fake_mutex);
}

#endif
