/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_record.h - record marking of RPC over TCP, in place: the fragments of a record are moved
 * together in the receive buffer, so that a record is always one contiguous slice.
 */
#ifndef NFS_RPC_RECORD_H
#define NFS_RPC_RECORD_H

#include <stddef.h>
#include <stdint.h>

/* The largest record taken: a 1 MiB WRITE with every header it may have. */
#define RPC_RECORD_MAX (1024u * 1024 + 8192)
/* More fragments than this in one record is abuse: real clients send one. */
#define RPC_FRAGMENTS_MAX 1024u

enum rpc_record_state { RPC_RECORD_NEED, RPC_RECORD_READY, RPC_RECORD_BAD };

struct rpc_record { /* all zero at the start of a connection or record */
	size_t len; /* payload put together so far; it starts 4 bytes behind the record's start */
	size_t raw; /* bytes of the stream consumed, from the record's start */
	unsigned int nfragments;
};

/* rpc_record_next - go on with one record.
 * args:   r state; buf[0..have) the stream from the record's first byte on, rearranged in place
 * result: NEED: *need = length that buf must have before progress is possible; READY: payload is
 *         buf + 4, r->len bytes, and the next record starts at buf + r->raw; BAD: close
 * ctx:    pure
 * source: RFC 5531 section 11 */
enum rpc_record_state rpc_record_next(
    struct rpc_record *r, uint8_t *buf, size_t have, size_t *need);

#endif
