/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpcbind.h - tell a local rpcbind (portmapper version 2) where NFS and MOUNT are, when one runs.
 *
 * rpcbind believes only callers on loopback with a port below 1024, so the socket is made while we
 * may still bind one, and kept for taking the registration back.
 */
#ifndef NFS_RPCBIND_H
#define NFS_RPCBIND_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

struct rpcbind;

/* rpcbind_open - the socket. result: 0; -EACCES no port below 1024 to be had, other errno of socket()
 * ctx: before privileges are dropped */
int rpcbind_open(struct rpcbind **out) CW_MUST_CHECK;
/* rpcbind_set - announce (program, version) over TCP at port; an older announcement is replaced.
 * result: 0; -ECONNREFUSED none runs; -ETIMEDOUT; -EPERM it refused; -EBADMSG
 * ctx: blocks at most a second
 * source: RFC 1833 section 3 */
int rpcbind_set(struct rpcbind *r, uint32_t program, uint32_t version, uint16_t port) CW_MUST_CHECK;
/* rpcbind_unset - take it back; errors as above. */
int rpcbind_unset(struct rpcbind *r, uint32_t program, uint32_t version) CW_MUST_CHECK;
void rpcbind_free(struct rpcbind *r);

/* rpcbind_encode, rpcbind_decode_reply - the messages. encode: bytes written, decode: 1 true, 0
 * false, -EBADMSG. Pure. */
size_t rpcbind_encode(uint8_t *out, size_t cap, uint32_t xid, uint32_t proc, uint32_t program,
    uint32_t version, uint16_t port);
int rpcbind_decode_reply(const uint8_t *data, size_t len, uint32_t xid);

#endif
