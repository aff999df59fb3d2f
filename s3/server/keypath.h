/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keypath.h - object keys as file paths and back; FORMAT.md section 2 is the specification.
 * Pure functions of their input; a path never leaves its bucket's directory.
 */
#ifndef S3D_KEYPATH_H
#define S3D_KEYPATH_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/base/err.h"

#define KEYPATH_KEY_MAX 1024
/* Longest result: every byte escaped (x3), every 240 bytes a split ("%+/"), plus suffix and NUL. */
#define KEYPATH_MAX 3400

/* keypath_encode - relative path of a key's file.
 * args:   key, key_len any bytes; is_alt = the name used while the plain one is a directory;
 *         out has KEYPATH_MAX bytes
 * result: length of the path, -EINVAL for an empty key or a NUL byte, -ENAMETOOLONG over 1,024 bytes
 * ctx:    any thread
 * source: FORMAT.md section 2 */
int keypath_encode(const char *key, size_t key_len, bool is_alt, char *out) CW_MUST_CHECK;

/* keypath_decode - the key that a relative path stands for.
 * args:   path NUL-terminated, no leading slash; key has KEYPATH_KEY_MAX + 1 bytes; is_alt is set
 * result: length of the key, or -EINVAL when path is not what keypath_encode() makes of any key
 * ctx:    any thread
 * source: FORMAT.md section 2 */
int keypath_decode(const char *path, char *key, bool *is_alt) CW_MUST_CHECK;

#endif
