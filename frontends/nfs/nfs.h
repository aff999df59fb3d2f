/* SPDX-License-Identifier: Apache-2.0 */
/* nfs.h - NFSv3 and MOUNTv3 server over TCP; serves every share that is open (cw_share_by_name). */
#ifndef NFS_NFS_H
#define NFS_NFS_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/err.h"

struct nfs_server;

struct nfs_server_conf {
	const char *listen;	      /* "address:port"; NFS and MOUNT answer here */
	const char *mount_listen;     /* a second port for MOUNT alone, NULL = none */
	bool register_rpcbind;	      /* tell a local rpcbind, when one runs */
	unsigned int loops;	      /* event loops; 0 = default */
	unsigned int spin_us;	      /* adaptive spinning before sleep; 0 = default */
	unsigned int max_connections; /* 0 = 1,024 */
};

/* nfs_server_open - bind and listen (privileges may be dropped afterwards). -EADDRINUSE, -EACCES, -EINVAL */
int nfs_server_open(const struct nfs_server_conf *conf, struct nfs_server **out) CW_MUST_CHECK;
/* nfs_server_start - serve; registers with rpcbind. */
int nfs_server_start(struct nfs_server *s) CW_MUST_CHECK;
/* nfs_server_port - where NFS is served: the port of conf->listen, or the one the kernel chose for 0. */
uint16_t nfs_server_port(const struct nfs_server *s);
/* nfs_server_stop - stop reading new calls, finish those under way (at most 4 s), close, free. */
void nfs_server_stop(struct nfs_server *s);

#endif
