/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_local.c - the map on the cache disk, so that a restart asks the bucket nothing:
 * <stem>.json (volume.json), <stem> (a checkpoint), <stem>.log (journal: what came after it).
 *
 * A journal record: "VOLJ", u32 type, u32 bytes, u32 CRC32C of type, bytes and payload; payload.
 *   START: u32 term, u32 incarnation.  Seqs of an incarnation begin at incarnation << 32: a life never
 *          uses a seq of the one before, whatever became of its requests.
 *   EPOCH: the headers of the log objects of one epoch, one behind the other, in order of seq.
 * The disk is not trusted: what follows the first record that is not good is ignored, and what is
 * missing then is fetched from the bucket.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/base/be.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

#define RECORD_HEAD 16u
#define JOURNAL_MAX (4ull << 30)

enum record_type { RECORD_START = 1, RECORD_EPOCH = 2 };

static void
path_of(const struct vol_remote *r, const char *suffix, char path[4096])
{
	(void)snprintf(path, 4096, "%s%s", r->stem, suffix);
}

/* ---- writing ---- */

static void
record_add(struct strbuf *b, enum record_type type, const void *payload, size_t len)
{
	uint8_t head[RECORD_HEAD];
	uint32_t crc;

	memcpy(head, "VOLJ", 4);
	be_store_u32(head + 4, type);
	be_store_u32(head + 8, (uint32_t)len);
	crc = digest_crc32c(0, head + 4, 8);
	be_store_u32(head + 12, digest_crc32c(crc, payload, len));
	strbuf_add(b, head, sizeof(head));
	strbuf_add(b, payload, len);
}

static void
start_add(const struct vol_remote *r, struct strbuf *b)
{
	uint8_t payload[8];

	be_store_u32(payload, r->term);
	be_store_u32(payload + 4, r->incarnation);
	record_add(b, RECORD_START, payload, sizeof(payload));
}

static int
journal_open(struct vol_remote *r)
{
	char path[4096];

	path_of(r, ".log", path);
	return osfile_posix.open(path, &r->journal);
}

/* journal_add - durable when it returns 0. After an error the place is written again. */
static int
journal_add(struct vol_remote *r, const struct strbuf *b)
{
	int err = 0;

	if (r->stem == NULL)
		return 0;
	if (r->journal == NULL)
		err = journal_open(r);
	if (err == 0)
		err = osfile_posix.pwrite(r->journal, b->s, b->len, r->journal_len);
	if (err == 0)
		err = osfile_posix.sync(r->journal);
	if (err == 0)
		r->journal_len += b->len;
	else
		log_err("gateway.volume", "journal-failed", "volume=%s err=\"%s\"", r->id,
		    err_str(err));
	return err;
}

int
voli_local_info(struct vol_remote *r)
{
	char path[4096], *text;
	int err;

	if (r->stem == NULL)
		return 0;
	text = vol_info_encode(&r->info);
	path_of(r, ".json", path);
	err = osfile_write_atomic(path, text, strlen(text), 0600);
	free(text);
	return err;
}

int
voli_local_save(struct vol_remote *r, const void *ckpt, size_t len)
{
	struct strbuf b = STRBUF_INIT;
	char path[4096];
	int err;

	if (r->stem == NULL) {
		r->is_incarnation_durable = true;
		return 0;
	}
	path_of(r, "", path);
	err = osfile_write_atomic(path, ckpt, len, 0600);
	if (err == 0) {
		/* records of the old journal are of epochs that the new file has */
		if (r->journal != NULL)
			osfile_posix.close(r->journal);
		r->journal = NULL;
		start_add(r, &b);
		path_of(r, ".log", path);
		err = osfile_write_atomic(path, b.s, b.len, 0600);
		if (err == 0) {
			r->journal_len = b.len;
			r->is_incarnation_durable = true;
		}
		strbuf_free(&b);
	}
	if (err < 0)
		log_err("gateway.volume", "map-save-failed", "volume=%s path=\"%s\" err=\"%s\"",
		    r->id, path, err_str(err));
	return err;
}

int
voli_local_start(struct vol_remote *r)
{
	struct strbuf b = STRBUF_INIT;
	int err;

	start_add(r, &b);
	err = journal_add(r, &b);
	strbuf_free(&b);
	if (err == 0)
		r->is_incarnation_durable = true;
	return err;
}

int
voli_local_epoch(struct vol_remote *r, const struct vol_log *const *logs, size_t n)
{
	struct strbuf b = STRBUF_INIT;
	size_t len = 0;
	uint8_t *payload, *p;
	int err;

	for (size_t i = 0; i < n; i++)
		len += logs[i]->header_bytes;
	if (len > UINT32_MAX)
		return -EFBIG;
	p = payload = xmalloc(len);
	for (size_t i = 0; i < n; i++) {
		vol_log_encode(logs[i], p);
		p += logs[i]->header_bytes;
	}
	record_add(&b, RECORD_EPOCH, payload, len);
	free(payload);
	err = journal_add(r, &b);
	strbuf_free(&b);
	return err;
}

void
voli_local_close(struct vol_remote *r)
{
	if (r->journal != NULL)
		osfile_posix.close(r->journal);
	r->journal = NULL;
}

void
vol_remote_forget_local(const char *local_path)
{
	static const char *const suffixes[] = {"", ".json", ".log"};
	char path[4096];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", local_path, suffixes[i]);
		if (unlink(path) < 0 && errno != ENOENT)
			log_warn("gateway.volume", "unlink-failed", "path=\"%s\" err=\"%s\"", path,
			    err_str(-errno));
	}
}

/* ---- reading ---- */

static void
logs_free(struct vol_log *logs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		vol_log_free(&logs[i]);
	free(logs);
}

/* headers - take an EPOCH record apart. result: 0, -EUCLEAN */
static int
headers(const uint8_t *p, size_t len, struct vol_log **out, size_t *n)
{
	int err = 0;

	*out = NULL;
	*n = 0;
	while (err == 0 && len > 0) {
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		if (vol_log_decode(p, len, &(*out)[*n], NULL) < 0) {
			err = -EUCLEAN;
		} else {
			p += (*out)[*n].header_bytes;
			len -= (*out)[*n].header_bytes;
			++*n;
		}
	}
	if (err < 0 || *n == 0) {
		logs_free(*out, *n);
		*out = NULL;
		*n = 0;
		err = -EUCLEAN;
	}
	return err;
}

/* epoch_record - apply it, or keep it as the next epoch. */
static int
epoch_record(struct vol_remote *r, const uint8_t *p, size_t len, uint64_t committed)
{
	struct vol_log *logs;
	size_t n;
	int err = headers(p, len, &logs, &n);

	if (err < 0)
		return err;
	if (logs[0].epoch <= r->im.at.epoch) {
		logs_free(logs, n);
		return 0; /* the checkpoint has it */
	}
	if (logs[0].epoch > committed) { /* an epoch that was told twice: the later record */
		logs_free(r->next, r->nnext);
		r->next = logs;
		r->nnext = n;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		r->log_since += logs[i].object_bytes;
	err = vol_apply_logs(&r->im, logs, n, NULL) < 0 ? -EUCLEAN : 0;
	logs_free(logs, n);
	return err;
}

static int
journal_load(struct vol_remote *r, const uint8_t *p, size_t len, uint64_t committed)
{
	size_t at = 0;
	int err = 0;

	while (err == 0 && len - at >= RECORD_HEAD) {
		struct be_reader rd;
		const uint8_t *head = p + at;
		uint32_t type, bytes, crc;

		be_reader_init(&rd, head + 4, RECORD_HEAD - 4);
		type = be_u32(&rd);
		bytes = be_u32(&rd);
		crc = digest_crc32c(0, head + 4, 8);
		if (memcmp(head, "VOLJ", 4) != 0 || bytes > len - at - RECORD_HEAD ||
		    digest_crc32c(crc, head + RECORD_HEAD, bytes) != be_u32(&rd))
			break;
		be_reader_init(&rd, head + RECORD_HEAD, bytes);
		if (type == RECORD_START) {
			r->term = be_u32(&rd);
			r->incarnation = be_u32(&rd);
			err = rd.bad ? -EUCLEAN : 0;
		} else if (type == RECORD_EPOCH) {
			err = epoch_record(r, head + RECORD_HEAD, bytes, committed);
		} else {
			err = -EUCLEAN;
		}
		at += RECORD_HEAD + bytes;
	}
	r->journal_len = at;
	return err;
}

static int
info_load(struct vol_remote *r)
{
	char path[4096], *text;
	size_t len;
	int err;

	path_of(r, ".json", path);
	err = osfile_read_all(path, VOL_JSON_MAX, &text, &len);
	if (err < 0)
		return err == -ENOENT ? err : -EUCLEAN;
	err = vol_info_decode(text, len, &r->info) < 0 || strcmp(r->info.id, r->id) != 0 ? -EUCLEAN
											 : 0;
	free(text);
	return err;
}

static int
map_load(struct vol_remote *r)
{
	struct vol_ckpt head;
	char path[4096], *data;
	size_t len;
	int err;

	path_of(r, "", path);
	err = osfile_read_all(path, VOL_OBJECT_MAX, &data, &len);
	if (err < 0)
		return err == -ENOENT ? err : -EUCLEAN;
	vol_image_free(&r->im);
	err = vol_ckpt_decode(data, len, &r->im, &head, NULL) < 0 ? -EUCLEAN : 0;
	free(data);
	if (err < 0) {
		vol_image_init(&r->im, r->info.uuid);
		return err;
	}
	if (memcmp(r->im.uuid, r->info.uuid, VOL_UUID_LEN) != 0)
		return -EUCLEAN;
	r->term = head.term;
	r->incarnation = (uint32_t)(head.floor >> 32);
	r->map_bytes = len;
	r->map_epoch = r->im.at.epoch;
	r->map_time_ns = r->im.at.time_ns;
	return 0;
}

int
voli_local_load(struct vol_remote *r, uint64_t committed_epoch)
{
	char path[4096], *data;
	size_t len;
	int err = info_load(r);

	if (err == 0)
		err = map_load(r);
	if (err < 0)
		return err;
	path_of(r, ".log", path);
	err = osfile_read_all(path, JOURNAL_MAX, &data, &len);
	if (err == 0) {
		err = journal_load(r, (const uint8_t *)data, len, committed_epoch);
		free(data);
	} else {
		err = -EUCLEAN;
	}
	/* one ahead: its row was not durable yet when the checkpoint was made */
	if (err == 0 && (r->im.at.epoch < committed_epoch || r->im.at.epoch > committed_epoch + 1))
		err = -EUCLEAN;
	if (err == 0 && r->incarnation == UINT32_MAX)
		err = -EUCLEAN;
	r->incarnation++;
	r->next_seq = (uint64_t)r->incarnation << 32;
	return err;
}
