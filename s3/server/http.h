/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - libmicrohttpd on one side, struct s3d_req on the other. */
#ifndef S3D_HTTP_H
#define S3D_HTTP_H

#include <sys/socket.h>

#include "s3/server/req.h"

struct http;

/* http_start - a daemon without a socket of its own; connections come from the listener. */
int http_start(struct s3d *srv, struct http **out) CW_MUST_CHECK;
/* http_add - serve fd (taken). ctx: listener's thread; shaped for listener_start(). */
void http_add(void *http, int fd, const struct sockaddr *addr, socklen_t len);
/* http_stop - end every connection; srv->is_stopping must be set. */
void http_stop(struct http *h);

#endif
