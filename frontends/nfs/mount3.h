/* SPDX-License-Identifier: Apache-2.0 */
/* mount3.h - the MOUNT protocol, version 3: arguments and numbers. source: RFC 1813 appendix I */
#ifndef NFS_MOUNT3_H
#define NFS_MOUNT3_H

#include "frontends/nfs/rpc_msg.h"

#define MOUNT_PROGRAM 100005u
#define MOUNT_VERSION 3u
#define MOUNT_PATH_MAX 1024u

enum mount3_procnum {
	MOUNTPROC3_NULL,
	MOUNTPROC3_MNT,
	MOUNTPROC3_DUMP,
	MOUNTPROC3_UMNT,
	MOUNTPROC3_UMNTALL,
	MOUNTPROC3_EXPORT,
	MOUNTPROC3_MAX
};

/* mount3_decode_path - dirpath of MNT and UMNT.
 * args:   r stands behind the call header; out points into its bytes
 * result: true; false: GARBAGE_ARGS
 * ctx:    pure */
bool mount3_decode_path(struct be_reader *r, struct rpc_opaque *out);

/* mount3_next_name - cut the next component off a path.
 * args:   path at "/a/b" or "a/b", NUL-terminated, moved behind the component; name receives it
 * result: length of the component, 0 at the end of the path, -ENAMETOOLONG over 255 bytes
 * ctx:    pure */
int mount3_next_name(const char **path, char name[256]);

#endif
