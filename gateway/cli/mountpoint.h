/* SPDX-License-Identifier: Apache-2.0 */
/* mountpoint.h - making and ending FUSE mounts, as root by mount(2), else through fusermount3. */
#ifndef CLI_MOUNTPOINT_H
#define CLI_MOUNTPOINT_H

#include <stdbool.h>

#include "gateway/base/err.h"

struct mountpoint_opts {
	bool allow_other, is_read_only, is_noexec, is_noatime;
};

/* mountpoint_make - mount a new FUSE file system on dir.
 * args:   share names the source; dir absolute
 * result: descriptor of /dev/fuse; negative errno, -ENODEV no FUSE here, -EPERM fusermount3 refused */
int mountpoint_make(
    const char *share, const char *dir, const struct mountpoint_opts *o) CW_MUST_CHECK;

/* mountpoint_end - unmount; is_lazy: detach even when busy. result: 0, -EBUSY, other errno */
int mountpoint_end(const char *dir, bool is_lazy) CW_MUST_CHECK;

/* mountpoint_find - is dir one of our mounts? Does not touch the file system on it.
 * result: true; dev (at least 32 bytes, may be NULL) gets "major:minor" */
bool mountpoint_find(const char *dir, char *dev);

/* mountpoint_read_ahead - let the kernel read further ahead than its 128 KiB; best effort. */
void mountpoint_read_ahead(const char *dir, unsigned int kib);

/* mountpoint_path - dir made absolute without asking the file system that may be mounted on it.
 * result: malloced, NULL with errno */
char *mountpoint_path(const char *dir);

#endif
