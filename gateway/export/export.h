/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export.h - folder-private: causeway-export reads volumes out of a bucket, with the format decoders of
 * gateway/volume and the S3 client, and nothing else.  One thread decides.
 */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include "gateway/volume/vol_replay.h"

enum export_exit {
	EXPORT_OK = 0,
	EXPORT_FAILED = 1,
	EXPORT_USAGE = 2,
	EXPORT_STORE = 3,   /* the store cannot be reached, or refuses */
	EXPORT_DAMAGED = 4, /* something in the bucket is not what was written */
};

struct export_conf {
	struct objstore *store;
	const char *prefix, *volume, *snapshot, *output;
	bool has_epoch, has_time, has_offset, has_length, is_list, is_forced, has_key;
	uint64_t epoch, offset, length;
	int64_t time_ns;
	uint8_t key[32];
};

void export_error(const char *fmt, ...) CW_PRINTF(1, 2);
/* export_status - the exit status that stands for an error. */
enum export_exit export_status(int err);

/* export_list - volumes of the prefix, or one volume's recovery points and snapshots. */
enum export_exit export_list(const struct export_conf *c);
/* export_image - a volume, or a range of it, to a file or to stdout. */
enum export_exit export_image(const struct export_conf *c);

#endif
