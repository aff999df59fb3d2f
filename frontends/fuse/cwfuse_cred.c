/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse_cred.c - who asks.  The kernel tells user, group and process; supplementary groups stand in
 * /proc, which costs some 30 us to read, so they are kept for a second.  A process that changes its
 * groups keeps the old ones here for so long.
 */
#include <string.h>

#include "frontends/fuse/cwfuse_int.h"
#include "gateway/base/clock.h"

#define CRED_KEEP_MS 1000

static void
read_groups(fuse_req_t req, struct cwfuse_cred_entry *e)
{
	gid_t list[CW_GROUPS_MAX];
	int n = fuse_req_getgroups(req, CW_GROUPS_MAX, list);

	if (n > CW_GROUPS_MAX)
		n = CW_GROUPS_MAX;
	e->ngroups = 0;
	for (int i = 0; i < n; i++)
		e->groups[e->ngroups++] = list[i];
}

void
cwfuse_cred(struct cwfuse_session *s, fuse_req_t req, struct cw_cred *out)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct cwfuse_cred_entry *e, fresh;
	uint64_t now;

	out->uid = ctx->uid;
	out->gid = ctx->gid;
	out->ngroups = 0;
	/* The superuser needs no groups; pid 0 is a process that /proc does not show us. */
	if (ctx->uid == 0 || ctx->pid <= 0)
		return;
	now = clock_mono_ms();
	e = &s->creds[(uint32_t)ctx->pid % CWFUSE_CRED_ENTRIES];
	pthread_mutex_lock(&s->cred_lock);
	if (e->pid == ctx->pid && e->uid == ctx->uid && e->gid == ctx->gid && e->until_ms > now) {
		out->ngroups = e->ngroups;
		memcpy(out->groups, e->groups, sizeof(e->groups[0]) * e->ngroups);
		pthread_mutex_unlock(&s->cred_lock);
		return;
	}
	pthread_mutex_unlock(&s->cred_lock);
	fresh = (struct cwfuse_cred_entry){
	    .pid = ctx->pid, .uid = ctx->uid, .gid = ctx->gid, .until_ms = now + CRED_KEEP_MS};
	read_groups(req, &fresh);
	out->ngroups = fresh.ngroups;
	memcpy(out->groups, fresh.groups, sizeof(fresh.groups[0]) * fresh.ngroups);
	pthread_mutex_lock(&s->cred_lock);
	*e = fresh;
	pthread_mutex_unlock(&s->cred_lock);
}
