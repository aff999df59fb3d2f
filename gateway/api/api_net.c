/* SPDX-License-Identifier: Apache-2.0 */
/* api_net.c - addresses of this host, and which of them a target may be served at. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"

json_t *
api_interfaces(void)
{
	json_t *list = json_array();
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all) != 0)
		return list;
	for (int with_loopback = 0; with_loopback < 2 && json_array_size(list) == 0;
	     with_loopback++) {
		for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
			char text[INET_ADDRSTRLEN];
			struct sockaddr_in sin;

			if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET ||
			    (i->ifa_flags & IFF_UP) == 0 ||
			    ((i->ifa_flags & IFF_LOOPBACK) != 0 && with_loopback == 0))
				continue;
			memcpy(&sin, i->ifa_addr, sizeof(sin));
			if (inet_ntop(AF_INET, &sin.sin_addr, text, sizeof(text)) != NULL)
				json_array_append_new(
				    list, json_pack("{s:s}", "Ipv4Address", text));
		}
	}
	freeifaddrs(all);
	return list;
}

/* The numeric text of an address in one spelling. false: it is none */
static bool
normalize(const char *text, char out[INET6_ADDRSTRLEN])
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, text, &a4) == 1)
		return inet_ntop(AF_INET, &a4, out, INET6_ADDRSTRLEN) != NULL;
	if (inet_pton(AF_INET6, text, &a6) == 1)
		return inet_ntop(AF_INET6, &a6, out, INET6_ADDRSTRLEN) != NULL;
	return false;
}

static bool
is_of_host(const char *address)
{
	struct ifaddrs *all = NULL;
	bool found = false;

	if (getifaddrs(&all) != 0)
		return false;
	for (struct ifaddrs *i = all; i != NULL && !found; i = i->ifa_next) {
		char text[INET6_ADDRSTRLEN] = "";
		struct sockaddr_in6 sin6;
		struct sockaddr_in sin;

		if (i->ifa_addr == NULL)
			continue;
		if (i->ifa_addr->sa_family == AF_INET) {
			memcpy(&sin, i->ifa_addr, sizeof(sin));
			inet_ntop(AF_INET, &sin.sin_addr, text, sizeof(text));
		} else if (i->ifa_addr->sa_family == AF_INET6) {
			memcpy(&sin6, i->ifa_addr, sizeof(sin6));
			inet_ntop(AF_INET6, &sin6.sin6_addr, text, sizeof(text));
		}
		found = strcmp(text, address) == 0;
	}
	freeifaddrs(all);
	return found;
}

/* Is address one of those that "address:port" of [iscsi] listen covers? 1: yes */
static int
covers(void *arg, const char *listen)
{
	const char *address = arg, *colon = strrchr(listen, ':');
	char host[128], text[INET6_ADDRSTRLEN];
	size_t n = colon != NULL ? (size_t)(colon - listen) : 0;

	if (n >= 2 && listen[0] == '[') {
		listen++;
		n -= 2;
	}
	if (n >= sizeof(host))
		return 0;
	memcpy(host, listen, n);
	host[n] = '\0';
	if (n == 0 || strcmp(host, "*") == 0 || strcmp(host, "::") == 0)
		return 1;
	if (strcmp(host, "0.0.0.0") == 0)
		return strchr(address, ':') == NULL;
	return normalize(host, text) && strcmp(text, address) == 0;
}

int
api_check_interface(
    const struct cw_config *conf, const char *id, char listen[64], struct control_error *e)
{
	char address[INET6_ADDRSTRLEN];

	listen[0] = '\0';
	if (conf->iscsi_listen == NULL)
		return control_fail(e, "InvalidParameters",
		    "This gateway serves no iSCSI: section [iscsi] of its configuration names no "
		    "listen address.");
	if (!normalize(id, address))
		return control_fail(e, "InvalidParameters",
		    "NetworkInterfaceId must be an IP address of the gateway.");
	if (is_of_host(address) && config_each_address(conf->iscsi_listen, covers, address) == 1) {
		snprintf(listen, 64, "%s", address);
		return 0;
	}
	if (conf->iscsi_any_interface)
		return 0;
	return control_fail(e, "InvalidParameters",
	    "NetworkInterfaceId %s is not an address at which this gateway serves iSCSI (%.200s); "
	    "with "
	    "any_interface = yes in section [iscsi] such volumes are served at all of them.",
	    address, conf->iscsi_listen);
}
