/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/mount3.h"

bool
mount3_decode_path(struct be_reader *r, struct rpc_opaque *out)
{
	*out = rpc_get_opaque(r, MOUNT_PATH_MAX);
	if (!r->bad && out->len > 0 && memchr(out->data, '\0', out->len) != NULL)
		r->bad = true;
	return !r->bad;
}

int
mount3_next_name(const char **path, char name[256])
{
	const char *p = *path + strspn(*path, "/");
	size_t len = strcspn(p, "/");

	if (len > 255)
		return -ENAMETOOLONG;
	memcpy(name, p, len);
	name[len] = '\0';
	*path = p + len;
	return (int)len;
}
