/* SPDX-License-Identifier: Apache-2.0 */
/* iscsi.h - iSCSI target server (RFC 7143); serves every volume that is open (cw_volume_by_iqn). */
#ifndef ISCSI_ISCSI_H
#define ISCSI_ISCSI_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/err.h"

#define ISCSI_PORTALS_MAX 8u

struct iscsi_server;

struct iscsi_server_conf {
	const char *listen[ISCSI_PORTALS_MAX]; /* "address:port" each, the first ones not NULL */
	unsigned int loops;		       /* event loops; 0 = default */
	unsigned int spin_us;		       /* adaptive spinning before sleep; 0 = default */
	unsigned int max_connections;	       /* 0 = 1,024 */
	unsigned int login_ms;		       /* a login may take so long; 0 = 15,000 */
	unsigned int nop_ms;	     /* an initiator that is silent so long is asked; 0 = 30,000 */
	unsigned int nop_timeout_ms; /* and has so long to answer; 0 = 30,000 */
};

/* iscsi_server_open - bind and listen (privileges may be dropped afterwards).
 * args:   conf copied
 * result: 0, -EADDRINUSE, -EACCES, -EINVAL. ctx: control thread, as for all here */
int iscsi_server_open(
    const struct iscsi_server_conf *conf, struct iscsi_server **out) CW_MUST_CHECK;
/* iscsi_server_start - serve. */
int iscsi_server_start(struct iscsi_server *s) CW_MUST_CHECK;
/* iscsi_server_port - of the first portal: as configured, or what the kernel chose for 0. */
uint16_t iscsi_server_port(const struct iscsi_server *s);
/* iscsi_server_stop - ask all initiators to log out (RFC 7143 11.9.1, event 1), close those that
 * have not after two seconds, end. They come again when the next process listens. */
void iscsi_server_stop(struct iscsi_server *s);

#endif
