/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwfuse.h - serves shares to the local kernel by FUSE.
 *
 * `causeway mount` (privileged) opens /dev/fuse and mounts; the daemon gets the descriptor over a
 * Unix socket and serves it with its own core, so both sides see one tree.
 */
#ifndef CWFUSE_CWFUSE_H
#define CWFUSE_CWFUSE_H

#include "gateway/base/err.h"

struct cwfuse_server;

/* cwfuse_server_open - bind the Unix socket (mode 0600). */
int cwfuse_server_open(const char *socket_path, struct cwfuse_server **out) CW_MUST_CHECK;
/* cwfuse_server_await_leases - wait until kernels have forgotten what the last daemon let them keep: before
 * anybody may change anything. At most 1.25 s, and none if it gave no leases. */
void cwfuse_server_await_leases(const struct cwfuse_server *s);
int cwfuse_server_start(struct cwfuse_server *s) CW_MUST_CHECK;
/* cwfuse_server_stop - answer what is under way, end the sessions, free. */
void cwfuse_server_stop(struct cwfuse_server *s);

#endif
