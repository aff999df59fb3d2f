/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_msg.h - ONC RPC version 2 messages: call headers in, reply headers out.  Pure functions.
 */
#ifndef NFS_RPC_MSG_H
#define NFS_RPC_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/be.h"
#include "gateway/base/err.h"

#define RPC_CALL 0u
#define RPC_REPLY 1u
#define RPC_VERSION 2u
#define RPC_AUTH_BODY_MAX 400u /* RFC 5531 8.2 */

enum rpc_auth_flavor { RPC_AUTH_NONE = 0, RPC_AUTH_SYS = 1 };

enum rpc_accept_stat {
	RPC_SUCCESS = 0,
	RPC_PROG_UNAVAIL = 1,
	RPC_PROG_MISMATCH = 2,
	RPC_PROC_UNAVAIL = 3,
	RPC_GARBAGE_ARGS = 4,
	RPC_SYSTEM_ERR = 5,
};

enum rpc_auth_stat {
	RPC_AUTH_OK = 0,
	RPC_AUTH_BADCRED = 1,
	RPC_AUTH_REJECTEDCRED = 2,
	RPC_AUTH_BADVERF = 3,
	RPC_AUTH_TOOWEAK = 5,
};

struct rpc_opaque { /* borrowed from the record */
	const uint8_t *data;
	uint32_t len;
};

struct rpc_header {
	uint32_t xid, rpcvers, prog, vers, proc;
	uint32_t cred_flavor, verf_flavor;
	struct rpc_opaque cred, verf;
};

/* rpc_get_opaque - variable-length opaque of at most max bytes with its padding; len 0 and bad on error. */
struct rpc_opaque rpc_get_opaque(struct be_reader *r, uint32_t max);
/* rpc_put_opaque - length, bytes, padding. */
void rpc_put_opaque(struct be_writer *w, const void *data, uint32_t len);

/* rpc_decode_call - the header up to the procedure's arguments, at which r stands afterwards.
 * result: 0; -EBADMSG not a call, or cut short: close the connection. A wrong RPC version is no
 *         error here (rpcvers tells; nothing behind it was read then).
 * source: RFC 5531 section 9 */
int rpc_decode_call(struct be_reader *r, struct rpc_header *h) CW_MUST_CHECK;

/* rpc_encode_accepted - accepted reply with an empty verifier; for PROG_MISMATCH low and high are the
 * versions served. 24 bytes for every other stat.
 * source: RFC 5531 section 9 */
#define RPC_ACCEPTED_LEN 24u
void rpc_encode_accepted(
    struct be_writer *w, uint32_t xid, enum rpc_accept_stat stat, uint32_t low, uint32_t high);
/* rpc_encode_mismatch, rpc_encode_auth_error - the two kinds of denied reply. */
void rpc_encode_mismatch(struct be_writer *w, uint32_t xid);
void rpc_encode_auth_error(struct be_writer *w, uint32_t xid, enum rpc_auth_stat stat);

#endif
