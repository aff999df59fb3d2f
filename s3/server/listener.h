/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener.h - the listening socket, on a thread of its own, so that faults can close it for a while
 * (clients then see connection refused) and open it again on the same port.
 */
#ifndef S3D_LISTENER_H
#define S3D_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "gateway/base/err.h"

struct listener;

/* listener_open - bind and listen.
 * args:   text "ADDR:PORT" or "[ADDR]:PORT", port 0 = any; bound receives what it became
 * result: 0 or negative errno with err_text */
int listener_open(const char *text, struct listener **out, char *bound, size_t bound_cap,
    char *err_text, size_t cap) CW_MUST_CHECK;
/* listener_start - accept; on_conn takes the socket. */
int listener_start(struct listener *l,
    void (*on_conn)(void *ctx, int fd, const struct sockaddr *addr, socklen_t len),
    void *ctx) CW_MUST_CHECK;
/* listener_refuse - close the socket for ms from now (the longest wish counts). Any thread. */
void listener_refuse(struct listener *l, unsigned int ms);
bool listener_is_refusing(struct listener *l);
/* listener_stop - end the thread and close the socket; what else is asked of l still works. */
void listener_stop(struct listener *l);
/* listener_close - stop and free. */
void listener_close(struct listener *l);

#endif
