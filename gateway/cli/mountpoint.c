/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/cli/mountpoint.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/base/strbuf.h"
#include "gateway/fdpass.h"

#define FS_TYPE "fuse.causeway"
#define FUSERMOUNT "fusermount3"

/* --- as an ordinary user -------------------------------------------------------------------------- */

/* Run fusermount3. comm: its end of a socket, or -1. result: its exit status, or -1 */
static int
run_fusermount(const char *const argv[], int comm)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -1;
	if (pid == 0) {
		char text[16];

		if (comm >= 0) {
			snprintf(text, sizeof(text), "%d", comm);
			setenv("_FUSE_COMMFD", text, 1);
			fcntl(comm, F_SETFD, 0);
		}
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int
make_as_user(const char *share, const char *dir, const struct mountpoint_opts *o)
{
	char *opts = xasprintf("fsname=causeway:%s,subtype=causeway,nosuid,nodev%s%s%s%s", share,
	    o->is_read_only ? ",ro" : "", o->allow_other ? ",allow_other" : "",
	    o->is_noexec ? ",noexec" : "", o->is_noatime ? ",noatime" : "");
	const char *const argv[] = {FUSERMOUNT, "-o", opts, "--", dir, NULL};
	int pair[2], fds[FDPASS_MAX], n, status;
	char byte[16];
	size_t nfds = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		free(opts);
		return -errno;
	}
	status = run_fusermount(argv, pair[0]);
	close(pair[0]);
	free(opts);
	n = status == 0 ? fdpass_recv(pair[1], byte, sizeof(byte), fds, &nfds) : -EPERM;
	close(pair[1]);
	if (status == 127)
		return -ENOENT;
	if (n < 0)
		return n;
	return nfds > 0 ? fds[0] : -EPERM;
}

/* --- as root -------------------------------------------------------------------------------------- */

static int
make_as_root(const char *share, const char *dir, const struct mountpoint_opts *o)
{
	unsigned long flags = MS_NOSUID | MS_NODEV | (o->is_read_only ? MS_RDONLY : 0) |
			      (o->is_noexec ? MS_NOEXEC : 0) | (o->is_noatime ? MS_NOATIME : 0);
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), err = 0;
	char *source, *data;

	if (fd < 0)
		return errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;
	source = xasprintf("causeway:%s", share);
	/* rootmode: the type of the root. Permissions are the daemon's business. */
	data = xasprintf("fd=%d,rootmode=40000,user_id=%u,group_id=%u%s", fd, getuid(), getgid(),
	    o->allow_other ? ",allow_other" : "");
	if (mount(source, dir, FS_TYPE, flags, data) < 0) {
		err = -errno;
		close(fd);
	}
	free(source);
	free(data);
	return err < 0 ? err : fd;
}

int
mountpoint_make(const char *share, const char *dir, const struct mountpoint_opts *o)
{
	return geteuid() == 0 ? make_as_root(share, dir, o) : make_as_user(share, dir, o);
}

int
mountpoint_end(const char *dir, bool is_lazy)
{
	const char *const argv[] = {FUSERMOUNT, is_lazy ? "-uz" : "-u", "--", dir, NULL};
	int status;

	if (geteuid() == 0)
		return umount2(dir, UMOUNT_NOFOLLOW | (is_lazy ? MNT_DETACH : 0)) < 0 ? -errno : 0;
	status = run_fusermount(argv, -1);
	return status == 0 ? 0 : status == 127 ? -ENOENT : -EBUSY;
}

/* --- looking -------------------------------------------------------------------------------------- */

/* Undo mountinfo's \040 and the like, in place. source: proc(5) */
static void
unescape(char *s)
{
	char *to = s;

	while (*s != '\0') {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

bool
mountpoint_find(const char *dir, char *dev)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	bool is_found = false;

	if (f == NULL)
		return false;
	while (getline(&line, &cap, f) > 0) {
		char *save, *type = strstr(line, " - "), *id, *where;

		if (type == NULL)
			continue;
		*type = '\0';
		type += 3;
		strtok_r(line, " ", &save);
		strtok_r(NULL, " ", &save);
		id = strtok_r(NULL, " ", &save);
		strtok_r(NULL, " ", &save);
		where = strtok_r(NULL, " ", &save);
		if (where == NULL || strncmp(type, FS_TYPE " ", sizeof(FS_TYPE)) != 0)
			continue;
		unescape(where);
		if (strcmp(where, dir) != 0)
			continue;
		is_found = true;
		if (dev != NULL)
			snprintf(dev, 32, "%s", id);
	}
	free(line);
	fclose(f);
	return is_found;
}

void
mountpoint_read_ahead(const char *dir, unsigned int kib)
{
	char dev[32], *path;
	FILE *f;

	if (!mountpoint_find(dir, dev))
		return;
	path = xasprintf("/sys/class/bdi/%s/read_ahead_kb", dev);
	f = fopen(path, "we");
	free(path);
	if (f == NULL)
		return;
	fprintf(f, "%u\n", kib);
	fclose(f);
}

char *
mountpoint_path(const char *dir)
{
	char *copy = xstrdup(dir), *copy2 = xstrdup(dir), *parent, *base, *out = NULL;

	base = basename(copy);
	if (strcmp(base, "..") == 0 || strcmp(base, ".") == 0 || strcmp(base, "/") == 0) {
		out = realpath(dir, NULL);
	} else {
		parent = realpath(dirname(copy2), NULL);
		if (parent != NULL)
			out = xasprintf("%s/%s", strcmp(parent, "/") == 0 ? "" : parent, base);
		free(parent);
	}
	free(copy);
	free(copy2);
	return out;
}
