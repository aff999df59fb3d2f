/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/cli/mount_recall.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/strbuf.h"

#define PACKET_MAX 4096

struct recalls {
	int sock, fuse_fd;
};

static void *
pump(void *arg)
{
	struct recalls *r = arg;
	uint8_t packet[PACKET_MAX];
	uint64_t seq;
	ssize_t n, done;

	while ((n = recv(r->sock, packet, sizeof(packet), 0)) >= (ssize_t)sizeof(seq)) {
		memcpy(&seq, packet, sizeof(seq));
		/* ENOENT, and the like: the kernel knows nothing of it */
		done = write(r->fuse_fd, packet + sizeof(seq), (size_t)n - sizeof(seq));
		(void)done;
		if (seq != 0 && send(r->sock, &seq, sizeof(seq), MSG_NOSIGNAL) < 0)
			break;
	}
	close(r->sock);
	free(r);
	return NULL;
}

int
mount_recall_pair(int *ours, int *theirs)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ours = pair[0];
	*theirs = pair[1];
	return 0;
}

int
mount_recall_run(int ours, int fuse_fd)
{
	struct recalls *r = xmalloc(sizeof(*r));
	pthread_t thread;
	int err;

	r->sock = ours;
	r->fuse_fd = fuse_fd;
	err = pthread_create(&thread, NULL, pump, r);
	if (err != 0) {
		close(ours);
		free(r);
		return -err;
	}
	pthread_detach(thread);
	return 0;
}
