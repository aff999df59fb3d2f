/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api.h - the control plane's HTTP port: AWS Storage Gateway API (POST /), activation (GET /),
 * everything under /v1, /metrics, /healthz.
 */
#ifndef GATEWAY_API_API_H
#define GATEWAY_API_API_H

#include "gateway/base/err.h"
#include "gateway/control.h"

struct api_server;

/* api_server_open - bind and listen; serves nothing yet.
 * args:   listen "address:port"; credentials an AWS shared-credentials file, read at each change
 * result: 0, -EADDRINUSE, -EACCES, -EADDRNOTAVAIL, -EINVAL; ctx: start-up thread */
int api_server_open(
    const char *listen, const char *credentials, struct api_server **out) CW_MUST_CHECK;
/* api_server_start - serve; until api_server_ready() only /healthz (503) and 503s. */
int api_server_start(struct api_server *s) CW_MUST_CHECK;
/* api_server_ready - shares are served: control (borrowed until stop) answers from now on. */
void api_server_ready(struct api_server *s, struct control *control);
/* api_server_stop - no new requests, finish those under way, free. */
void api_server_stop(struct api_server *s);

#endif
