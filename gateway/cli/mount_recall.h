/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount_recall.h - notifications of the daemon's, written to the kernel by a thread of the mount helper.
 *
 * The kernel may let the writer wait for a lock that a program on the mount holds while its request waits
 * for the next daemon (frontends/fuse/cwfuse_lease.c).  The helper has time for that; a daemon has not.
 */
#ifndef CLI_MOUNT_RECALL_H
#define CLI_MOUNT_RECALL_H

#include "gateway/base/err.h"

/* mount_recall_pair - the two ends of what is said about recalls: ours, and the one for the daemon. */
int mount_recall_pair(int *ours, int *theirs) CW_MUST_CHECK;
/* mount_recall_run - serve `ours`, taken (also on error), on a thread of its own until its other end is
 * closed; fuse_fd stays open for as long. */
int mount_recall_run(int ours, int fuse_fd) CW_MUST_CHECK;

#endif
