/* SPDX-License-Identifier: Apache-2.0 */
/* creds.h - the keys that may sign: every profile of an AWS shared credentials file. */
#ifndef S3D_CREDS_H
#define S3D_CREDS_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/base/err.h"

struct creds;

struct cred {
	char access_key[128];
	char secret[256];
	char token[2048]; /* "" = none */
};

/* creds_open - read path; it is read again whenever it changes.
 * result: 0, or negative errno with err_text; a file without any key is -EINVAL */
int creds_open(const char *path, struct creds **out, char *err_text, size_t cap) CW_MUST_CHECK;
void creds_close(struct creds *c);
/* creds_find - by access key; any thread. */
bool creds_find(struct creds *c, const char *access_key, struct cred *out);

#endif
