/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fh.h - file handles as network clients keep them: 24 bytes, pure functions.
 *
 *   offset  size  what
 *        0     2  magic "CW"
 *        2     1  version, 1
 *        3     1  zero
 *        4     4  share id, big-endian
 *        8     8  inode number
 *       16     4  generation (incarnation of the index that gave the number)
 *       20     4  zero
 *
 * A handle is stable over restart and rename.  It is no secret and no capability: permission is checked
 * on every use.
 */
#ifndef GATEWAY_FH_H
#define GATEWAY_FH_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

#define FH_LEN 24

/* fh_encode - write FH_LEN bytes. Any thread */
void fh_encode(uint8_t out[FH_LEN], uint32_t share_id, uint64_t ino, uint32_t gen);
/* fh_decode - read a handle that a client sent.
 * args:   data, len untrusted; the outputs are set only on success
 * result: 0; -EINVAL these are not bytes of ours (NFS3ERR_BADHANDLE); -ESTALE ours, but of a version
 *         that is no longer (or not yet) understood
 * ctx:    any thread
 * source: RFC 1813 2.3.3 nfs_fh3 */
int fh_decode(
    const void *data, size_t len, uint32_t *share_id, uint64_t *ino, uint32_t *gen) CW_MUST_CHECK;

#endif
