/* SPDX-License-Identifier: Apache-2.0 */
/* inet.h - IPv4 and IPv6 addresses with a port: as text, as a listening socket. */
#ifndef CW_BASE_INET_H
#define CW_BASE_INET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

#define INET_TEXT_MAX (INET6_ADDRSTRLEN + 8)

union inet_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* inet_parse - "host:port" or "[v6]:port", both numeric; no host stands for all addresses.
 * result: 0, -EINVAL. ctx: any, as for all here; nothing but inet_resolve and inet_listen makes a system call */
int inet_parse(const char *text, union inet_addr *out) CW_MUST_CHECK;
/* inet_resolve - the same, but the host may be a name: its first address.
 * result: 0, -EINVAL (not host:port), -EADDRNOTAVAIL (no such host). ctx: where it may wait for the network */
int inet_resolve(const char *text, union inet_addr *out) CW_MUST_CHECK;
/* inet_text - "10.0.0.1:3260", "[fd00::1]:3260"; an IPv4 address mapped into IPv6 as IPv4.
 * args: out cap bytes, INET_TEXT_MAX is always enough */
void inet_text(const union inet_addr *a, char *out, size_t cap);
/* inet_has_host - is `host` (a literal) the address of a? */
bool inet_has_host(const union inet_addr *a, const char *host);
/* inet_is_any - does it stand for all addresses? */
bool inet_is_any(const union inet_addr *a);
uint16_t inet_port(const union inet_addr *a);
socklen_t inet_len(const union inet_addr *a);

/* inet_listen - a non-blocking TCP socket that listens.
 * args:   a in: where; out: where it is, with the port that the kernel chose for 0
 * result: the socket, or a negative errno: -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, ... */
int inet_listen(union inet_addr *a) CW_MUST_CHECK;

#endif
