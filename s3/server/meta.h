/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta.h - what an object carries besides its bytes, and its text form (FORMAT.md section 3).
 */
#ifndef S3D_META_H
#define S3D_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"
#include "s3/server/keyset.h"

#define META_TEXT_MAX 16384

struct kv {
	char *name; /* lower case */
	char *value;
};

struct objmeta {
	char etag[ETAG_CAP];
	uint64_t size;
	int64_t mtime_ns;      /* LastModified */
	int64_t file_mtime_ns; /* of the data file, to notice that somebody edited it */
	struct kv *headers;    /* content-type, x-amz-meta-*, x-amz-storage-class, ... */
	size_t nheaders;
};

void meta_free(struct objmeta *m);
void meta_copy(struct objmeta *to, const struct objmeta *from);
/* meta_set - value copied; NULL removes. */
void meta_set(struct objmeta *m, const char *name, const char *value);
const char *meta_get(const struct objmeta *m, const char *name);

/* meta_encode - text form; key is named in it when not NULL. Malloced; *len without the NUL. */
char *meta_encode(const struct objmeta *m, const char *key, size_t *len);
/* meta_decode - args: text of len bytes; m is overwritten; key (malloced) may be NULL.
 * result: 0, -EINVAL on anything malformed, and then m holds nothing */
int meta_decode(const char *text, size_t len, struct objmeta *m, char **key) CW_MUST_CHECK;

/* Storage classes: index <-> name; STANDARD is 0; -EINVAL when unknown. */
int meta_sclass(const char *name);
const char *meta_sclass_name(unsigned int i);
/* meta_is_archived - must it be restored before it can be read? */
bool meta_is_archived(const struct objmeta *m);

#endif
