/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/inet.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 512

static int
resolve(const char *text, int flags, union inet_addr *out)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_PASSIVE | AI_NUMERICSERV | flags};
	const char *colon = strrchr(text, ':');
	size_t len = colon == NULL ? 0 : (size_t)(colon - text);
	struct addrinfo *ai;
	char host[256];

	memset(out, 0, sizeof(*out));
	if (colon == NULL || colon[1] == '\0' || colon[1 + strspn(colon + 1, "0123456789")] != '\0')
		return -EINVAL;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	if (getaddrinfo(len == 0 ? NULL : host, colon + 1, &hints, &ai) != 0)
		return -EADDRNOTAVAIL;
	memcpy(out, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	return 0;
}

int
inet_parse(const char *text, union inet_addr *out)
{
	return resolve(text, AI_NUMERICHOST, out) < 0 ? -EINVAL : 0;
}

int
inet_resolve(const char *text, union inet_addr *out)
{
	return resolve(text, 0, out);
}

void
inet_text(const union inet_addr *a, char *out, size_t cap)
{
	char addr[INET6_ADDRSTRLEN] = "?";
	bool is_v6 = a->sa.sa_family == AF_INET6;

	if (is_v6 && !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, addr, sizeof(addr));
		snprintf(out, cap, "[%s]:%u", addr, inet_port(a));
		return;
	}
	inet_ntop(AF_INET, is_v6 ? a->in6.sin6_addr.s6_addr + 12 : (const void *)&a->in.sin_addr,
	    addr, sizeof(addr));
	snprintf(out, cap, "%s:%u", addr, inet_port(a));
}

bool
inet_has_host(const union inet_addr *a, const char *host)
{
	char text[INET_TEXT_MAX];
	size_t len = strlen(host);

	inet_text(a, text, sizeof(text));
	if (text[0] == '[')
		return strncmp(text + 1, host, len) == 0 && text[1 + len] == ']';
	return strncmp(text, host, len) == 0 && text[len] == ':';
}

bool
inet_is_any(const union inet_addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
	return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
}

uint16_t
inet_port(const union inet_addr *a)
{
	return ntohs(a->in.sin_port); /* at the same place for IPv6 */
}

socklen_t
inet_len(const union inet_addr *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}

int
inet_listen(union inet_addr *a)
{
	socklen_t len = sizeof(*a);
	int one = 1, err;
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, &a->sa, inet_len(a)) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, &a->sa, &len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}
