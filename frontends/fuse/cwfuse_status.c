/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_status.c - results of the core in the words of the kernel; the only place where FUSE errors
 * are made.
 *
 * A local process expects of a file system what it expects of a disk: it waits.  So "the cache is
 * full of dirty data" is waited out for ever (P7; a signal ends the wait with EINTR), and a store that
 * cannot be reached, or fails, is waited for five minutes, after which the error tells why.
 */
#include "frontends/fuse/cwfuse_int.h"

#define OFFLINE_WAIT_MS (5u * 60 * 1000)

int
cwfuse_errno(int err)
{
	if (err >= 0)
		return 0;
	switch (-err) {
	case ENOTSUP: /* an optional operation; EOPNOTSUPP is the same number on Linux */
		return EOPNOTSUPP;
	case EBADCOOKIE: /* a directory position that never was */
	case ETIME:
		return EINVAL;
	case ERR_PRECONDITION: /* the object changed under a read that could not be repeated */
		return EIO;
	default:
		err = -err_errno(err);
		return err > 0 && err < 4096 ? err : EIO;
	}
}

uint64_t
cwfuse_wait_ms(int err)
{
	switch (-err) {
	case ERR_BACKPRESSURE:
	case ERR_THROTTLED:
	case EAGAIN:
		return UINT64_MAX;
	case ERR_OFFLINE:
	case ERR_STORE:
		return OFFLINE_WAIT_MS;
	default:
		return 0;
	}
}
