/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_fake.h - vol_remote in memory, for tests of the local side of volumes: one bucket, one volume.
 *
 * The bucket keeps the image of the newest epoch and of the one before it, as what crashes can leave: the
 * epoch was uploaded, but the index does not know yet.  It outlives the "process" that a test restarts.
 */
#ifndef TESTS_VOL_FAKE_H
#define TESTS_VOL_FAKE_H

#include "gateway/volume/volume_int.h"

#define VF_MAX (4u << 20) /* of an image; volumes may say they are bigger */
#define VF_BLOCKS (VF_MAX / VOL_BLOCK)

struct vf_image {
	uint64_t epoch, size;
	int64_t time_ns;
	unsigned char *p; /* VF_MAX */
	bool is_mapped[VF_BLOCKS];
};

struct vf_bucket {
	pthread_mutex_t lock;
	_Atomic bool is_created, is_lost;
	struct vf_image now, before; /* newest in the bucket; the one before */
	_Atomic int fail_put, fail_fetch, fail_open, fail_snap, fail_tick; /* answer this error */
	_Atomic bool has_no_map; /* open_local is -ENOENT */
	_Atomic bool fail_after; /* put_epoch: the epoch is in the bucket, the answer is lost */
	_Atomic unsigned int nputs, nfetches, nadopted, nopens, nasked; /* nasked: open_bucket */
	_Atomic unsigned int
	    offline_each; /* with is_lost: each so many-th open_bucket is -ERR_OFFLINE */
	_Atomic uint64_t put_bytes;
	_Atomic bool is_compressed; /* what the image was told last */
	_Atomic uint32_t keep_s;
	struct vol_snapshot snaps[16];
	char snap_ids[16][32];
	_Atomic unsigned int nsnaps;
	/* check - called with what put_epoch has gathered, before it counts. May be NULL */
	void (*check)(const struct vf_image *img);
};

static struct vf_bucket vf = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct vol_remote {
	const struct vf_image *img; /* the committed one of this process */
	uint64_t pending;
};

static inline void
vf_reset(void)
{
	free(vf.now.p);
	free(vf.before.p);
	memset(&vf, 0, sizeof(vf));
	pthread_mutex_init(&vf.lock, NULL);
	vf.now.p = xcalloc(1, VF_MAX);
	vf.before.p = xcalloc(1, VF_MAX);
}

/* vf_now - epoch and size of the newest image, from any thread. */
static inline uint64_t
vf_now(uint64_t *size)
{
	uint64_t epoch;

	pthread_mutex_lock(&vf.lock);
	epoch = vf.now.epoch;
	if (size != NULL)
		*size = vf.now.size;
	pthread_mutex_unlock(&vf.lock);
	return epoch;
}

static inline void
vf_copy(struct vf_image *to, const struct vf_image *from)
{
	unsigned char *p = to->p;

	memcpy(p, from->p, VF_MAX);
	*to = *from;
	to->p = p;
}

int
vol_remote_create(const struct vol_remote_conf *c, const struct cw_volume_origin *origin,
    struct vol_remote **out, char *err_text, size_t err_cap)
{
	struct vol_remote *r;

	*out = NULL;
	(void)err_cap;
	err_text[0] = '\0';
	if (vf.fail_open != 0)
		return vf.fail_open;
	pthread_mutex_lock(&vf.lock);
	vf.is_created = true;
	if (origin->source == CW_SOURCE_EMPTY || origin->source == CW_SOURCE_IMAGE)
		vf.now.size = c->size_bytes;
	pthread_mutex_unlock(&vf.lock);
	r = xcalloc(1, sizeof(*r));
	r->img = &vf.now;
	*out = r;
	return 0;
}

int
vol_remote_open_local(
    const struct vol_remote_conf *c, uint64_t committed_epoch, struct vol_remote **out)
{
	struct vol_remote *r;

	(void)c;
	*out = NULL;
	vf.nopens++;
	if (vf.has_no_map || !vf.is_created)
		return -ENOENT;
	r = xcalloc(1, sizeof(*r));
	pthread_mutex_lock(&vf.lock);
	if (committed_epoch == vf.now.epoch)
		r->img = &vf.now;
	else if (committed_epoch == vf.before.epoch)
		r->img = &vf.before;
	pthread_mutex_unlock(&vf.lock);
	if (r->img == NULL) {
		print_error("epoch %llu is asked for, there are %llu and %llu\n",
		    (unsigned long long)committed_epoch, (unsigned long long)vf.before.epoch,
		    (unsigned long long)vf.now.epoch);
		abort();
	}
	*out = r;
	return 0;
}

int
vol_remote_open_bucket(
    const struct vol_remote_conf *c, struct vol_remote **out, char *err_text, size_t err_cap)
{
	uint64_t found = vf_now(NULL);
	unsigned int n = ++vf.nasked;
	struct vol_remote *r;

	*out = NULL;
	if (vf.is_lost && vf.offline_each != 0 && n % vf.offline_each == 0)
		return -ERR_OFFLINE;
	if (vf.fail_open != 0 || vf.is_lost) {
		snprintf(err_text, err_cap, "the fake bucket says no");
		return vf.is_lost ? -ENOENT : vf.fail_open;
	}
	if (c->is_epoch_known && found != c->epoch &&
	    (c->sealed_epoch == 0 || found != c->sealed_epoch)) {
		snprintf(err_text, err_cap, "the fake bucket holds another epoch");
		return -EUCLEAN;
	}
	r = xcalloc(1, sizeof(*r));
	r->img = &vf.now;
	*out = r;
	return 0;
}

void
vol_remote_close(struct vol_remote *r)
{
	free(r);
}

void
vol_remote_forget_local(const char *local_path)
{
	(void)local_path;
}

void
vol_remote_set(struct vol_remote *r, bool is_compressed, uint32_t recovery_keep_s)
{
	(void)r;
	vf.is_compressed = is_compressed;
	vf.keep_s = recovery_keep_s;
}

int
vol_remote_release(struct vol_remote *r)
{
	(void)r;
	return vf.fail_put;
}

int
vol_remote_destroy(const struct vol_remote_conf *c)
{
	(void)c;
	vf.is_created = false;
	return 0;
}

int
vol_remote_snapshot_drop(const struct vol_remote_conf *c, const char *id)
{
	(void)c;
	(void)id;
	return 0;
}

uint64_t
vol_remote_epoch(const struct vol_remote *r)
{
	uint64_t epoch;

	pthread_mutex_lock(&vf.lock);
	epoch = r->img->epoch;
	pthread_mutex_unlock(&vf.lock);
	return epoch;
}

uint64_t
vol_remote_size(const struct vol_remote *r)
{
	uint64_t size;

	pthread_mutex_lock(&vf.lock);
	size = r->img->size;
	pthread_mutex_unlock(&vf.lock);
	return size;
}

bool
vol_remote_hole(struct vol_remote *r, uint64_t off, uint64_t *end)
{
	uint64_t b = off / VOL_BLOCK, last = *end / VOL_BLOCK, i;
	bool is_mapped;

	if (b >= VF_BLOCKS)
		return true;
	pthread_mutex_lock(&vf.lock);
	is_mapped = r->img->is_mapped[b];
	for (i = b; i < last && i < VF_BLOCKS && r->img->is_mapped[i] == is_mapped; i++)
		;
	pthread_mutex_unlock(&vf.lock);
	if (i < VF_BLOCKS && i * VOL_BLOCK < *end)
		*end = i * VOL_BLOCK;
	else if (is_mapped && *end > VF_MAX)
		*end = VF_MAX;
	return !is_mapped;
}

void
vol_remote_fetch(struct vol_remote *r, uint64_t off, uint32_t len, void *buf,
    void (*done)(void *arg, int result), void *arg)
{
	int err = vf.fail_fetch;

	pthread_mutex_lock(&vf.lock);
	vf.nfetches++;
	memset(buf, 0, len);
	if (off < VF_MAX)
		memcpy(buf, r->img->p + off, off + len > VF_MAX ? VF_MAX - off : len);
	pthread_mutex_unlock(&vf.lock);
	done(arg, err);
}

int
vol_remote_put_epoch(struct vol_remote *r, uint64_t epoch, uint64_t size_bytes, int64_t time_ns,
    const struct vol_run *runs, size_t nruns,
    int (*read)(void *arg, uint64_t off, uint32_t len, void *buf), void *arg)
{
	struct vf_image *img;
	uint64_t at = 0;
	int err = vf.fail_put;

	CW_ASSERT(epoch == vol_remote_epoch(r) + 1);
	if (err != 0 && !vf.fail_after)
		return err;
	if (vf_now(NULL) == epoch) { /* a restart: it is there */
		vf.nadopted++;
		r->pending = epoch;
		return err;
	}
	img = xcalloc(1, sizeof(*img));
	img->p = xcalloc(1, VF_MAX);
	pthread_mutex_lock(&vf.lock);
	vf_copy(img, &vf.now);
	pthread_mutex_unlock(&vf.lock);
	img->epoch = epoch;
	img->size = size_bytes;
	img->time_ns = time_ns;
	for (size_t i = 0; i < nruns; i++) {
		CW_ASSERT(runs[i].off >= at && runs[i].len > 0);
		at = runs[i].off + runs[i].len;
		CW_ASSERT(at <= size_bytes && at <= VF_MAX);
		for (uint64_t b = runs[i].off; b < at; b += VOL_BLOCK) {
			img->is_mapped[b / VOL_BLOCK] = !runs[i].is_zero;
			memset(img->p + b, 0, VOL_BLOCK);
			if (runs[i].is_zero)
				continue;
			err = read(arg, b, VOL_BLOCK, img->p + b);
			if (err != 0)
				goto out;
			vf.put_bytes += VOL_BLOCK;
		}
	}
	if (vf.check != NULL)
		vf.check(img);
	pthread_mutex_lock(&vf.lock);
	vf.nputs++;
	vf_copy(&vf.before, &vf.now);
	vf_copy(&vf.now, img);
	r->img = &vf.before;
	pthread_mutex_unlock(&vf.lock);
	r->pending = epoch;
	err = vf.fail_put;
out:
	free(img->p);
	free(img);
	return err;
}

void
vol_remote_apply(struct vol_remote *r, uint64_t epoch)
{
	pthread_mutex_lock(&vf.lock);
	CW_ASSERT(r->pending == epoch && vf.now.epoch == epoch);
	r->img = &vf.now;
	pthread_mutex_unlock(&vf.lock);
}

int
vol_remote_tick(struct vol_remote *r, uint64_t *next_ms)
{
	(void)r;
	*next_ms = 3600000;
	return vf.fail_tick;
}

int
vol_remote_snapshot_create(
    struct vol_remote *r, const char *id, const char *description, int64_t time_ns)
{
	struct vol_snapshot *s;

	(void)description;
	if (vf.fail_put != 0)
		return vf.fail_put;
	if (vf.fail_snap != 0)
		return vf.fail_snap;
	pthread_mutex_lock(&vf.lock);
	s = &vf.snaps[vf.nsnaps];
	snprintf(vf.snap_ids[vf.nsnaps], sizeof(vf.snap_ids[0]), "%s", id);
	*s = (struct vol_snapshot){.id = vf.snap_ids[vf.nsnaps],
	    .epoch = r->img->epoch,
	    .size_bytes = r->img->size,
	    .time_ns = time_ns};
	vf.nsnaps++;
	pthread_mutex_unlock(&vf.lock);
	return 0;
}

int
vol_remote_snapshot_delete(struct vol_remote *r, const char *id)
{
	int err = -ENOENT;

	(void)r;
	pthread_mutex_lock(&vf.lock);
	for (unsigned int i = 0; i < vf.nsnaps && err != 0; i++) {
		if (strcmp(vf.snap_ids[i], id) != 0)
			continue;
		vf.nsnaps--;
		memcpy(vf.snap_ids[i], vf.snap_ids[vf.nsnaps], sizeof(vf.snap_ids[0]));
		vf.snaps[i] = vf.snaps[vf.nsnaps];
		vf.snaps[i].id = vf.snap_ids[i];
		err = 0;
	}
	pthread_mutex_unlock(&vf.lock);
	return err;
}

void
vol_remote_snapshot_each(
    struct vol_remote *r, void (*fn)(void *arg, const struct vol_snapshot *s), void *arg)
{
	(void)r;
	pthread_mutex_lock(&vf.lock);
	for (unsigned int i = 0; i < vf.nsnaps; i++)
		fn(arg, &vf.snaps[i]);
	pthread_mutex_unlock(&vf.lock);
}

void
vol_remote_point_each(struct vol_remote *r, size_t max,
    void (*fn)(void *arg, uint64_t epoch, int64_t time_ns, uint64_t size_bytes), void *arg)
{
	struct vf_image img;

	pthread_mutex_lock(&vf.lock);
	img = *r->img;
	pthread_mutex_unlock(&vf.lock);
	if (max > 0)
		fn(arg, img.epoch, img.time_ns, img.size);
}

void
vol_remote_get_stats(struct vol_remote *r, struct vol_remote_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->epoch = vol_remote_epoch(r);
	out->is_owner = true;
}

#endif
