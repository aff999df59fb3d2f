/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyset.h - the objects of one bucket in byte order of their keys, in memory (a skip list).
 * What LIST and conditions need is here; the rest lies with the object's file.  The caller locks.
 */
#ifndef S3D_KEYSET_H
#define S3D_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETAG_CAP 40 /* 32 hex digits, '-', up to 5 digits, NUL */

struct kent {
	uint64_t size; /* bytes */
	int64_t mtime_ns;
	char etag[ETAG_CAP]; /* without quotes */
	uint8_t sclass;	     /* index into the table of storage classes */
	bool is_alt;	     /* file name has the %f suffix */
	bool has_sidecar;    /* metadata lies in a file, not in an extended attribute */
	uint8_t level;
	uint16_t key_len;
	char *key;
	struct kent *next[]; /* level pointers */
};

struct keyset;

struct keyset *keyset_new(void);
void keyset_free(struct keyset *k);
size_t keyset_count(const struct keyset *k);
/* keyset_find - exact match or NULL; valid until the entry is removed. */
struct kent *keyset_find(struct keyset *k, const char *key, size_t len);
/* keyset_seek - first entry >= key (or > key if is_after); NULL at the end. */
struct kent *keyset_seek(struct keyset *k, const char *key, size_t len, bool is_after);
/* keyset_seek_past_prefix - first entry behind everything that starts with prefix. */
struct kent *keyset_seek_past_prefix(struct keyset *k, const char *prefix, size_t len);
static inline struct kent *
keyset_next(const struct kent *e)
{
	return e->next[0];
}
/* keyset_put - the entry of key, new (zeroed) if there was none. */
struct kent *keyset_put(struct keyset *k, const char *key, size_t len);
bool keyset_remove(struct keyset *k, const char *key, size_t len);

#endif
