/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/base/digest.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"
#include "gateway/export/export.h"
#include "gateway/volume/vol_extract.h"

#define STEP (16u << 20) /* read at a time */

struct out {
	int fd;
	bool is_sparse; /* holes need not be written */
	char *partial;	/* the file's name until it is whole */
};

/* ---- which image ---- */

static enum export_exit
check_key(const struct export_conf *c, const struct vol_info *info)
{
	uint8_t check[VOL_KEY_CHECK_LEN];

	if (!info->has_key)
		return EXPORT_OK;
	if (!c->has_key) {
		export_error("volume %s is encrypted: --key-file is needed", info->id);
		return EXPORT_FAILED;
	}
	vol_key_check(c->key, info->uuid, check);
	if (digest_equal(check, info->key_check, sizeof(check)))
		return EXPORT_OK;
	export_error("volume %s is encrypted with another key", info->id);
	return EXPORT_FAILED;
}

/* earlier - the epoch that was asked for by number or time. im: now in, that epoch out */
static int
earlier(const struct export_conf *c, const struct vol_place *pl, struct vol_image *im,
    struct vol_err *e)
{
	const struct vol_point *p = NULL;
	struct vol_image old;
	int err;

	for (size_t i = im->npoints; i-- > 0 && p == NULL;)
		if (c->has_epoch ? im->points[i].epoch == c->epoch
				 : im->points[i].time_ns <= c->time_ns)
			p = &im->points[i];
	if (p == NULL) {
		vol_err_set(e, "volume %s has no such recovery point (see --list)", pl->id);
		return -ENOENT;
	}
	if (p->epoch == im->at.epoch)
		return 0;
	err = vol_replay_at(pl, im, p->epoch, &old, e);
	if (err < 0)
		return err;
	vol_image_free(im);
	*im = old;
	return 0;
}

static int
find_image(const struct export_conf *c, const struct vol_place *pl, struct vol_image *im,
    struct vol_err *e)
{
	struct vol_found found;
	int err;

	if (c->snapshot != NULL)
		return vol_replay_snapshot(pl, c->snapshot, im, NULL, e);
	err = vol_replay_now(pl, im, &found, e);
	if (err < 0)
		return err;
	if (found.is_map_damaged)
		export_error("warning: a newer checkpoint is damaged; an older one and the log "
			     "stand in for it");
	if (c->has_epoch || c->has_time)
		err = earlier(c, pl, im, e);
	if (err < 0)
		vol_image_free(im);
	return err;
}

/* ---- where to ---- */

static enum export_exit
out_open(const struct export_conf *c, struct out *o, uint64_t length)
{
	*o = (struct out){.fd = STDOUT_FILENO};
	if (c->output == NULL || strcmp(c->output, "-") == 0) {
		if (!isatty(STDOUT_FILENO))
			return EXPORT_OK;
		export_error("not to a terminal: give --output");
		return EXPORT_USAGE;
	}
	if (!c->is_forced && access(c->output, F_OK) == 0) {
		export_error("%s is there already (--force replaces it)", c->output);
		return EXPORT_FAILED;
	}
	o->is_sparse = true;
	o->partial = xasprintf("%s.partial", c->output);
	o->fd = open(o->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (o->fd < 0 || ftruncate(o->fd, (off_t)length) < 0) {
		export_error("%s: %s", o->partial, err_str(-errno));
		return EXPORT_FAILED;
	}
	return EXPORT_OK;
}

static enum export_exit
out_close(const struct export_conf *c, struct out *o, enum export_exit status)
{
	if (o->partial == NULL)
		return status;
	if (status == EXPORT_OK && (fsync(o->fd) < 0 || rename(o->partial, c->output) < 0)) {
		export_error("%s: %s", c->output, err_str(-errno));
		status = EXPORT_FAILED;
	}
	if (o->fd >= 0)
		(void)close(o->fd);
	if (status != EXPORT_OK) /* half an image is none */
		(void)unlink(o->partial);
	free(o->partial);
	return status;
}

static enum export_exit
out_write(const struct out *o, const uint8_t *p, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = o->is_sparse ? pwrite(o->fd, p, len, (off_t)at) : write(o->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			export_error("writing: %s", err_str(-errno));
			return EXPORT_FAILED;
		}
		p += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return EXPORT_OK;
}

/* ---- bytes ---- */

static enum export_exit
copy(const struct export_conf *c, const struct vol_place *pl, const struct vol_image *im,
    const struct out *o, uint64_t offset, uint64_t length)
{
	const uint8_t *key = c->has_key ? c->key : NULL;
	enum export_exit status = EXPORT_OK;
	uint64_t end = offset + length, at = offset;
	uint8_t *buf = xmalloc(STEP);

	while (status == EXPORT_OK && at < end) {
		uint64_t first = at >> VOL_BLOCK_SHIFT, last, skip;
		struct vol_err e = {""};
		struct vol_piece p;
		int err;

		if (o->is_sparse) { /* on to where there is something */
			if (!vol_map_next(&im->map, first,
				(end + (1u << VOL_BLOCK_SHIFT) - 1) >> VOL_BLOCK_SHIFT, &p))
				break;
			if (p.block > first) {
				first = p.block;
				at = first << VOL_BLOCK_SHIFT;
			}
		}
		skip = at - (first << VOL_BLOCK_SHIFT);
		last = first + (STEP >> VOL_BLOCK_SHIFT);
		if (last << VOL_BLOCK_SHIFT > end)
			last = (end + (1u << VOL_BLOCK_SHIFT) - 1) >> VOL_BLOCK_SHIFT;
		err = vol_extract(pl, key, im, first << VOL_BLOCK_SHIFT,
		    (size_t)((last - first) << VOL_BLOCK_SHIFT), buf, &e);
		if (err < 0) {
			export_error("%s; bytes from %" PRIu64 " on were not written", e.text, at);
			status = export_status(err);
		} else {
			uint64_t stop =
			    last << VOL_BLOCK_SHIFT < end ? last << VOL_BLOCK_SHIFT : end;

			status = out_write(o, buf + skip, (size_t)(stop - at), at - offset);
			at = stop;
		}
	}
	free(buf);
	return status;
}

enum export_exit
export_image(const struct export_conf *c)
{
	struct vol_place pl = {.store = c->store, .prefix = c->prefix, .id = c->volume};
	uint64_t offset = c->has_offset ? c->offset : 0, length;
	enum export_exit status;
	struct vol_err e = {""};
	struct vol_info info;
	struct vol_image im;
	struct out o;
	int err = vol_read_info(c->store, c->prefix, c->volume, &info, &e);

	if (err == 0) {
		status = check_key(c, &info);
		if (status != EXPORT_OK)
			return status;
		memcpy(pl.uuid, info.uuid, VOL_UUID_LEN);
		err = find_image(c, &pl, &im, &e);
	}
	if (err < 0) {
		export_error("%s", e.text[0] != '\0' ? e.text : err_str(err));
		return export_status(err);
	}
	length = offset < im.at.size_bytes ? im.at.size_bytes - offset : 0;
	if (c->has_length && c->length < length)
		length = c->length;
	status = out_open(c, &o, length);
	if (status == EXPORT_OK)
		status = copy(c, &pl, &im, &o, offset, length);
	status = out_close(c, &o, status);
	if (status == EXPORT_OK)
		fprintf(stderr, "volume %s, epoch %" PRIu64 ": %" PRIu64 " bytes\n", c->volume,
		    im.at.epoch, length);
	vol_image_free(&im);
	return status;
}
