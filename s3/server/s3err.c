/* SPDX-License-Identifier: Apache-2.0 */
/* s3err.c - the table of errors. */
#include "s3/server/s3err.h"

static const struct s3err_info table[S3E_MAX] = {[S3E_OK] = {"OK", 200, ""},
#define X(code, status, text) [S3E_##code] = {#code, status, text},
    S3E_TABLE(X)
#undef X
};

const struct s3err_info *
s3err_info(enum s3e e)
{
	if ((unsigned int)e >= S3E_MAX)
		e = S3E_InternalError;
	return &table[e];
}
