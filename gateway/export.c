/* SPDX-License-Identifier: Apache-2.0 */
/* export.c - which peers may use a share, and as whom. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/share.h"

#define NOBODY 65534u

int
cw_client_net_parse(const char *text, struct cw_client_net *out)
{
	const char *slash = text != NULL ? strchr(text, '/') : NULL, *p;
	struct cw_client_net net;
	char addr[INET6_ADDRSTRLEN];
	unsigned int max;
	size_t len;

	if (text == NULL)
		return -EINVAL;
	len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	if (len == 0 || len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = '\0';
	memset(&net, 0, sizeof(net));
	net.is_v6 = strchr(addr, ':') != NULL;
	max = net.is_v6 ? 128 : 32;
	if (inet_pton(net.is_v6 ? AF_INET6 : AF_INET, addr, net.addr) != 1)
		return -EINVAL;
	net.prefix_bits = max;
	if (slash != NULL) {
		p = slash + 1;
		if (*p == '\0' || strlen(p) > 3)
			return -EINVAL;
		for (net.prefix_bits = 0; *p != '\0'; p++) {
			if (*p < '0' || *p > '9')
				return -EINVAL;
			net.prefix_bits = net.prefix_bits * 10 + (unsigned int)(*p - '0');
		}
		if (net.prefix_bits > max)
			return -EINVAL;
	}
	*out = net;
	return 0;
}

static bool
prefix_equal(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

/* peer_addr - the peer's address; a v4 address inside v6 is taken as v4. */
static bool
peer_addr(const struct sockaddr *peer, uint8_t addr[16], bool *is_v6)
{
	const struct sockaddr_in *in = (const void *)peer;
	const struct sockaddr_in6 *in6 = (const void *)peer;

	if (peer->sa_family == AF_INET) {
		memcpy(addr, &in->sin_addr, 4);
		*is_v6 = false;
		return true;
	}
	if (peer->sa_family != AF_INET6)
		return false;
	*is_v6 = !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
	if (*is_v6)
		memcpy(addr, &in6->sin6_addr, 16);
	else
		memcpy(addr, in6->sin6_addr.s6_addr + 12, 4);
	return true;
}

static bool
net_matches(const struct cw_client_net *net, const uint8_t addr[16], bool is_v6)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	if (net->is_v6 == is_v6)
		return prefix_equal(net->addr, addr, net->prefix_bits);
	/* ::ffff:10.0.0.0/104 names a v4 network */
	if (net->is_v6 && net->prefix_bits >= 96 && memcmp(net->addr, mapped, 12) == 0)
		return prefix_equal(net->addr + 12, addr, net->prefix_bits - 96);
	return false;
}

bool
cw_export_allows(const struct cw_share *s, const struct sockaddr *peer)
{
	const struct cw_share_conf *c = cw_share_conf(s);
	uint8_t addr[16];
	bool is_v6;
	size_t i;

	if (c->nclients == 0)
		return true;
	if (!peer_addr(peer, addr, &is_v6))
		return false;
	for (i = 0; i < c->nclients; i++)
		if (net_matches(&c->clients[i], addr, is_v6))
			return true;
	return false;
}

void
cw_export_squash(const struct cw_share *s, const struct cw_cred *claimed, struct cw_cred *out)
{
	enum cw_squash squash = cw_share_conf(s)->squash;
	uint32_t i;

	*out = *claimed;
	if (out->ngroups > CW_GROUPS_MAX)
		out->ngroups = CW_GROUPS_MAX;
	if (squash == CW_SQUASH_NONE)
		return;
	if (squash == CW_SQUASH_ALL) {
		out->uid = out->gid = NOBODY;
		out->ngroups = 0;
		return;
	}
	if (out->uid == 0)
		out->uid = NOBODY;
	if (out->gid == 0)
		out->gid = NOBODY;
	for (i = 0; i < out->ngroups; i++)
		if (out->groups[i] == 0)
			out->groups[i] = NOBODY;
}
