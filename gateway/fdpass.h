/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdpass.h - a local socket that carries messages together with file descriptors.
 *
 * `causeway mount` hands the kernel's FUSE descriptor to the daemon through it.  SOCK_SEQPACKET keeps
 * message boundaries, so that one message is one JSON object and its descriptors belong to it.
 * Paths longer than a sockaddr_un are reached through their directory.
 */
#ifndef GATEWAY_FDPASS_H
#define GATEWAY_FDPASS_H

#include <stddef.h>

#include "gateway/base/err.h"

#define FDPASS_MAX 4	    /* descriptors in one message */
#define FDPASS_MESSAGE 4096 /* bytes in one message */

/* fdpass_listen - bind path with mode 0600 and listen; a socket file that nobody serves is replaced.
 * args:   path borrowed
 * result: descriptor (non-blocking, close-on-exec); -EADDRINUSE another process serves it;
 *         errno of socket, bind, listen
 * ctx:    start-up thread */
int fdpass_listen(const char *path) CW_MUST_CHECK;

/* fdpass_connect - connect to a listener.
 * args:   path borrowed
 * result: descriptor (blocking, close-on-exec); -ENOENT, -ECONNREFUSED nobody serves it; -EACCES
 * ctx:    any thread */
int fdpass_connect(const char *path) CW_MUST_CHECK;

/* fdpass_send - one message.
 * args:   msg of len bytes and nfds descriptors (at most FDPASS_MAX), all borrowed
 * result: 0; -EPIPE, -ECONNRESET peer gone; -EINVAL too much
 * ctx:    any thread */
int fdpass_send(int sock, const void *msg, size_t len, const int *fds, size_t nfds) CW_MUST_CHECK;

/* fdpass_recv - one message.
 * args:   buf receives at most cap - 1 bytes and a NUL; fds has FDPASS_MAX places, the caller closes
 *         what is put there; *nfds is set in any case
 * result: bytes, 0 at the end; -EMSGSIZE cut short (nothing is returned); -EAGAIN; other errno
 * ctx:    any thread */
int fdpass_recv(int sock, char *buf, size_t cap, int *fds, size_t *nfds) CW_MUST_CHECK;

#endif
