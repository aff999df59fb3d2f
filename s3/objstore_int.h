/* SPDX-License-Identifier: Apache-2.0 */
/* objstore_int.h - what the implementations of an object store share. */
#ifndef S3_OBJSTORE_INT_H
#define S3_OBJSTORE_INT_H

#include "s3/objstore.h"

/* objstorei_begin - clear the results of req before it runs. */
void objstorei_begin(struct objstore_req *req);

/* objstorei_forget - drop what an answer left in req, before another try. */
void objstorei_forget(struct objstore_req *req);

/* objstorei_list_add - a cleared entry at the end of list, its key copied from key[0..len). */
struct objstore_entry *objstorei_list_add(struct objstore_list *list, const char *key, size_t len);

/* objstorei_list_sort - by key, so that objects and common prefixes interleave as names do. */
void objstorei_list_sort(struct objstore_list *list);

/* objstorei_meta_add - append one pair; false when the buffer is full (the pair is left out). */
bool objstorei_meta_add(struct objstore_meta_buf *meta, const char *name, size_t name_len,
    const char *value, size_t value_len);

/* objstorei_copy - copy text into a fixed field, cut to fit; NULL gives "". */
void objstorei_copy(char *to, size_t cap, const char *from);

/* objstorei_is_conditional - does req say what the target must be? */
bool objstorei_is_conditional(const struct objstore_req *req);

#endif
