/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/fdpass.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Fill sa with path. A path too long is reached as /proc/self/fd/DIR/name; *dirfd must be closed. */
static int
address(const char *path, struct sockaddr_un *sa, int *dirfd)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');

	*dirfd = -1;
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	if (strlen(path) < sizeof(sa->sun_path)) {
		memcpy(sa->sun_path, path, strlen(path));
		return 0;
	}
	if (slash == NULL || slash == path || (size_t)(slash - path) >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	*dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dirfd < 0)
		return -errno;
	if (snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d%s", *dirfd, slash) >=
	    (int)sizeof(sa->sun_path)) {
		close(*dirfd);
		*dirfd = -1;
		return -ENAMETOOLONG;
	}
	return 0;
}

static int
connect_at(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int
bind_at(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	/* The mode of the socket file is the mode of the socket at bind: never open to others. */
	if (fchmod(fd, 0600) == 0 && bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 &&
	    listen(fd, 16) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int
fdpass_listen(const char *path)
{
	struct sockaddr_un sa;
	int dirfd, fd, err = address(path, &sa, &dirfd);

	if (err < 0)
		return err;
	fd = bind_at(&sa);
	if (fd == -EADDRINUSE) {
		int other = connect_at(&sa);
		struct stat st;

		if (other >= 0) {
			close(other);
		} else if (other == -ECONNREFUSED && lstat(sa.sun_path, &st) == 0 &&
			   S_ISSOCK(st.st_mode) && unlink(sa.sun_path) == 0) {
			fd = bind_at(&sa);
		}
	}
	if (dirfd >= 0)
		close(dirfd);
	return fd;
}

int
fdpass_connect(const char *path)
{
	struct sockaddr_un sa;
	int dirfd, fd, err = address(path, &sa, &dirfd);

	if (err < 0)
		return err;
	fd = connect_at(&sa);
	if (dirfd >= 0)
		close(dirfd);
	return fd;
}

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(int) * FDPASS_MAX)];
};

int
fdpass_send(int sock, const void *msg, size_t len, const int *fds, size_t nfds)
{
	struct iovec iov = {(void *)(uintptr_t)msg, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	union control c;

	if (len == 0 || len >= FDPASS_MESSAGE || nfds > FDPASS_MAX)
		return -EINVAL;
	if (nfds > 0) {
		memset(&c, 0, sizeof(c));
		mh.msg_control = &c;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(&c.head), fds, sizeof(int) * nfds);
	}
	for (;;) {
		ssize_t n = sendmsg(sock, &mh, MSG_NOSIGNAL);

		if (n >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

static void
take_fds(struct msghdr *mh, int *fds, size_t *nfds)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(mh); h != NULL; h = CMSG_NXTHDR(mh, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (*nfds < FDPASS_MAX)
				fds[(*nfds)++] = fd;
			else
				close(fd);
		}
	}
}

int
fdpass_recv(int sock, char *buf, size_t cap, int *fds, size_t *nfds)
{
	struct iovec iov = {buf, cap - 1};
	union control c;
	struct msghdr mh = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
	ssize_t n;

	*nfds = 0;
	do
		n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_fds(&mh, fds, nfds);
	if (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (*nfds > 0)
			close(fds[--*nfds]);
		return -EMSGSIZE;
	}
	buf[n] = '\0';
	return (int)n;
}
