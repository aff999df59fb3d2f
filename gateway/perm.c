/* SPDX-License-Identifier: Apache-2.0 */
/* perm.c - who may do what to a node. */
#include "gateway/perm.h"

#include <sys/stat.h>

bool
perm_in_group(const struct cw_cred *c, uint32_t gid)
{
	uint32_t i;

	if (c->gid == gid)
		return true;
	for (i = 0; i < c->ngroups && i < CW_GROUPS_MAX; i++)
		if (c->groups[i] == gid)
			return true;
	return false;
}

uint32_t
perm_granted(const struct node *n, const struct cw_cred *c)
{
	uint32_t bits, granted = 0;

	if (c->uid == 0) {
		granted = CW_MAY_READ | CW_MAY_WRITE;
		if (S_ISDIR(n->mode) || (n->mode & 0111) != 0)
			granted |= CW_MAY_EXEC;
		return granted;
	}
	if (c->uid == n->uid)
		bits = n->mode >> 6;
	else if (perm_in_group(c, n->gid))
		bits = n->mode >> 3;
	else
		bits = n->mode;
	if (bits & 4)
		granted |= CW_MAY_READ;
	if (bits & 2)
		granted |= CW_MAY_WRITE;
	if (bits & 1)
		granted |= CW_MAY_EXEC;
	return granted;
}

int
perm_check(const struct node *n, const struct cw_cred *c, uint32_t want)
{
	return (want & ~perm_granted(n, c)) == 0 ? 0 : -EACCES;
}

int
perm_check_io(const struct node *n, const struct cw_cred *c, uint32_t want, bool is_owner_ok)
{
	uint32_t granted = perm_granted(n, c);

	if ((want & ~granted) == 0 || (is_owner_ok && c->uid == n->uid))
		return 0;
	if (want == CW_MAY_READ && (granted & CW_MAY_EXEC))
		return 0;
	return -EACCES;
}

int
perm_check_delete(const struct node *dir, const struct node *child, const struct cw_cred *c)
{
	int r = perm_check(dir, c, CW_MAY_WRITE | CW_MAY_EXEC);

	if (r < 0 || c->uid == 0 || !(dir->mode & S_ISVTX))
		return r;
	return c->uid == child->uid || c->uid == dir->uid ? 0 : -EPERM;
}

uint32_t
perm_drop_suid(uint32_t mode)
{
	mode &= ~(uint32_t)S_ISUID;
	if (mode & S_IXGRP) /* without it the bit means mandatory locking, not a privilege */
		mode &= ~(uint32_t)S_ISGID;
	return mode;
}
