/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/rpc_auth.h"

#define MACHINE_NAME_MAX 255u

enum rpc_auth_stat
rpc_auth_decode(const struct rpc_header *h, struct cw_cred *out)
{
	struct be_reader r;

	out->ngroups = 0;
	if (h->cred_flavor == RPC_AUTH_NONE) {
		out->uid = out->gid = RPC_NOBODY;
		return RPC_AUTH_OK;
	}
	if (h->cred_flavor != RPC_AUTH_SYS)
		return RPC_AUTH_BADCRED;
	be_reader_init(&r, h->cred.data, h->cred.len);
	be_u32(&r); /* stamp */
	rpc_get_opaque(&r, MACHINE_NAME_MAX);
	out->uid = be_u32(&r);
	out->gid = be_u32(&r);
	out->ngroups = be_u32(&r);
	if (out->ngroups > RPC_AUTH_SYS_GROUPS_MAX) {
		out->ngroups = 0;
		return RPC_AUTH_BADCRED;
	}
	for (uint32_t i = 0; i < out->ngroups; i++)
		out->groups[i] = be_u32(&r);
	return r.bad || be_left(&r) != 0 ? RPC_AUTH_BADCRED : RPC_AUTH_OK;
}
