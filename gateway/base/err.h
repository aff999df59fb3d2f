/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h - one error space for the whole appliance.
 *
 * Functions return 0 or a count on success and a negative errno on failure.  A dozen conditions
 * that errno cannot name get a project code; each has a parent errno, so a caller that does not
 * care can match by class with err_is().  A protocol's status codes are made from these in exactly
 * one file per protocol.
 */
#ifndef CW_BASE_ERR_H
#define CW_BASE_ERR_H

#include <errno.h>
#include <stdbool.h>

#define CW_MUST_CHECK __attribute__((warn_unused_result))
#define CW_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* name, parent errno, text */
#define CW_ERR_TABLE(X)                                                                            \
	X(ERR_PRECONDITION, EBUSY, "object changed in the bucket (precondition failed)")           \
	X(ERR_THROTTLED, EAGAIN, "store asks to slow down")                                        \
	X(ERR_OFFLINE, EHOSTDOWN, "store cannot be reached")                                       \
	X(ERR_STORE, EIO, "store failed internally (5xx)")                                         \
	X(ERR_CHECKSUM, EIO, "checksum mismatch")                                                  \
	X(ERR_CREDENTIALS, EACCES, "credentials refused or expired")                               \
	X(ERR_NO_BUCKET, ENODEV, "bucket does not exist")                                          \
	X(ERR_ARCHIVED, EIO, "object is in an archive storage class")                              \
	X(ERR_INVALID_RANGE, EINVAL, "range not satisfiable")                                      \
	X(ERR_NO_UPLOAD, ENOENT, "multipart upload does not exist")                                \
	X(ERR_PROTOCOL, EPROTO, "peer sent a malformed answer")                                    \
	X(ERR_BACKPRESSURE, EAGAIN, "cache is full of dirty data, slow down")                      \
	X(ERR_CLOCK_SKEW, EACCES, "clock differs too much from the store's")

enum cw_err {
	ERR_BASE = 10000,
#define X(name, parent, text) name,
	CW_ERR_TABLE(X)
#undef X
	    ERR_MAX
};

/* err_str - text of an error.
 * args:   err negative errno or negative project code (positive is taken as its negative)
 * result: static or thread-local string, never NULL
 * ctx:    any thread
 */
const char *err_str(int err);

/* err_is - does err belong to the class of parent (a positive errno or project code)?
 * args:   err negative; parent positive
 * result: true for equality or for a project code whose parent errno is parent
 * ctx:    any thread
 */
bool err_is(int err, int parent);

/* err_errno - the plain negative errno nearest to err (identity for errnos).
 * args:   err negative
 * result: negative errno below 4096, for syscalls-shaped interfaces such as FUSE
 * ctx:    any thread
 */
int err_errno(int err);

#endif
