/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_store.h - the bucket as the volume code asks it: whole objects, listings, many requests at a
 * time, log headers.  All wait for the store: workers only.
 *
 * What is damaged is named in the log and in a struct vol_err.
 */
#ifndef VOLUME_VOL_STORE_H
#define VOLUME_VOL_STORE_H

#include "gateway/volume/vol_format.h"
#include "s3/objstore.h"

#define VOL_WIDTH 16u		    /* requests at a time */
#define VOL_OBJECT_MAX (4ull << 30) /* of a checkpoint: more is no checkpoint of ours */

struct vol_err {
	char text[256]; /* what is wrong, "" = nothing said */
};
void vol_err_set(struct vol_err *e, const char *fmt, ...) CW_PRINTF(2, 3);

struct vol_place { /* where a volume's image lies; everything borrowed */
	struct objstore *store;
	const char *prefix, *id;
	uint8_t uuid[VOL_UUID_LEN];
};

/* vol_get - a whole object with a NUL behind it; caller frees. etag may be NULL.
 * result: 0, -EFBIG (over max), the store's */
int vol_get(struct objstore *s, const char *key, uint64_t max, char **out, size_t *len,
    char etag[OBJSTORE_ETAG_MAX]) CW_MUST_CHECK;
/* vol_put - if_match NULL = none. etag may be NULL; *maybe (may be NULL): a reply was lost */
int vol_put(struct objstore *s, const char *key, const void *body, size_t len, const char *if_match,
    bool if_none_match, char etag[OBJSTORE_ETAG_MAX], bool *maybe) CW_MUST_CHECK;
/* vol_list - every key below prefix behind start_after (may be NULL), in order, without the prefix.
 * fn's result other than 0 ends it and is the result. */
int vol_list(struct objstore *s, const char *prefix, const char *start_after,
    int (*fn)(void *arg, const char *rest, const struct objstore_entry *e),
    void *arg) CW_MUST_CHECK;
/* vol_call_many - all of reqs, width at a time, until one fails. result: the first error */
int vol_call_many(
    struct objstore *s, struct objstore_req *reqs, size_t n, unsigned int width) CW_MUST_CHECK;
/* vol_delete - those keys; what is not there is no error. *deleted (may be NULL) counts */
int vol_delete(struct objstore *s, const char *const *keys, size_t n) CW_MUST_CHECK;

/* A set of names "<8 hex>-<16 hex>", as of log/ and map/. */
struct vol_name {
	uint32_t term;
	uint64_t seq; /* or epoch */
	uint64_t bytes;
};
struct vol_names {
	struct vol_name *v;
	size_t n, cap;
};
/* vol_list_names - dir is "log/" or "map/"; ascending; from (term, seq) on. Other names are ignored. */
int vol_list_names(const struct vol_place *pl, const char *dir, uint32_t term, uint64_t seq,
    struct vol_names *out) CW_MUST_CHECK;
void vol_names_free(struct vol_names *n);

/* vol_read_logs - the headers of those log objects, checked against their names and the volume.
 * args:   out[n] zeroed here; to be freed each, after an error too. why_bad: NULL, or [n]: damage is noted
 *         there (static text) and is no error
 * result: 0, -ERR_CHECKSUM, -ENOENT (one is not there), the store's; *e names the object */
int vol_read_logs(const struct vol_place *pl, const struct vol_name *names, size_t n,
    struct vol_log *out, const char **why_bad, struct vol_err *e) CW_MUST_CHECK;

#endif
