/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_map.h - POSIX attributes as user metadata of an object, and back.  Pure functions.
 *
 * Written in the form of FSx for Lustre (file-permissions 0100664, file-owner, file-group, file-mtime
 * and file-atime in "<n>ns"); read in every form that S3 gateways write.
 */
#ifndef GATEWAY_META_MAP_H
#define GATEWAY_META_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/objstore.h"

#define META_SET_MAX 8

struct meta_facts {
	bool has_perm, has_type, has_uid, has_gid, has_mtime, has_atime;
	uint32_t perm; /* 07777 */
	uint32_t type; /* S_IFMT bits, when has_type */
	uint32_t uid, gid;
	int64_t mtime_ns, atime_ns;
	bool has_origin; /* causeway-origin, see below */
	char origin_id[64];
	uint64_t origin_ino, origin_seq, origin_boot;
	uint32_t origin_gen, origin_key_crc;
};

/* meta_parse - what the metadata says; fields that make no sense are as absent.
 * args:   items borrowed, n of them; out is zeroed first
 * ctx:    any thread
 * source: FSx for Lustre guide, "POSIX metadata support"; DataSync guide, "object tags" */
void meta_parse(const struct objstore_meta *items, size_t n, struct meta_facts *out);

/* meta_parse_time - "1595002920000000000ns", "1595002920000" (ms), "1595002920", "1595002920.25".
 * result: 0 or -EINVAL */
int meta_parse_time(const char *text, int64_t *ns_out) CW_MUST_CHECK;

struct meta_mark { /* who wrote it, where to: appliance/ino/data_seq/incarnation.boot.key */
	const char *id;
	uint64_t ino, seq, boot;
	uint32_t gen, key_crc; /* of the key, so that a copy made by others is not taken for ours */
};

struct meta_set { /* items as a request wants them, with their text */
	struct objstore_meta items[META_SET_MAX];
	size_t n;
	char perm[16], uid[16], gid[16], mtime[32], atime[32], origin[160];
};

/* meta_build - the metadata of a file.
 * args:   mode full st_mode; short_mode: only four digits (per-share compatibility switch) */
void meta_build(struct meta_set *out, uint32_t mode, bool short_mode, uint32_t uid, uint32_t gid,
    int64_t mtime_ns, int64_t atime_ns, const struct meta_mark *mark);

#endif
