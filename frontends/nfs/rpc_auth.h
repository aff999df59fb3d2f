/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_auth.h - who the caller claims to be: AUTH_NONE and AUTH_SYS. */
#ifndef NFS_RPC_AUTH_H
#define NFS_RPC_AUTH_H

#include "frontends/nfs/rpc_msg.h"
#include "gateway/op.h"

#define RPC_AUTH_SYS_GROUPS_MAX 16u /* RFC 5531 appendix A */
#define RPC_NOBODY 65534u

/* rpc_auth_decode - credential of a call.
 * args:   h decoded header; out filled in when the result is RPC_AUTH_OK
 * result: RPC_AUTH_OK, or the auth_stat to refuse the call with
 * ctx:    pure
 * source: RFC 5531 sections 8.2 and appendix A */
enum rpc_auth_stat rpc_auth_decode(const struct rpc_header *h, struct cw_cred *out);

#endif
