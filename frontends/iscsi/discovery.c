/* SPDX-License-Identifier: Apache-2.0 */
/*
 * discovery.c - SendTargets (RFC 7143 Appendix C): which volumes there are and at which addresses.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "frontends/iscsi/session.h"
#include "gateway/base/strbuf.h"

struct listing {
	struct iscsi_conn *conn;
	struct strbuf *answer;
	const char *only; /* NULL: all */
};

static void
put_address(struct strbuf *answer, const union inet_addr *a)
{
	char text[INET_TEXT_MAX], value[sizeof(text) + 8];

	inet_text(a, text, sizeof(text));
	snprintf(value, sizeof(value), "%s,%u", text, ISCSI_PORTAL_GROUP);
	iscsi_text_put(answer, "TargetAddress", value);
}

/* A portal bound to all addresses is reached at the one that the initiator came to. */
static void
put_portals(struct iscsi_conn *c, struct strbuf *answer)
{
	const struct iscsi_service *s = c->worker->service;
	const union inet_addr *portal;
	bool has_local = false;

	for (unsigned int i = 0; (portal = stream_server_address(s->stream, i)) != NULL; i++) {
		if (!inet_is_any(portal))
			put_address(answer, portal);
		else if (!has_local)
			put_address(answer, &c->local);
		has_local = has_local || inet_is_any(portal);
	}
}

static bool
is_bound_to_address(const struct cw_volume_conf *conf)
{
	return conf->listen_address != NULL && conf->listen_address[0] != '\0';
}

/* The one address of a volume that is not served on all. */
static void
put_listen_address(struct iscsi_conn *c, const char *host, struct strbuf *answer)
{
	const struct iscsi_service *s = c->worker->service;
	const union inet_addr *portal;
	char value[128];

	for (unsigned int i = 0; (portal = stream_server_address(s->stream, i)) != NULL; i++) {
		if (!inet_is_any(portal) && !inet_has_host(portal, host))
			continue;
		snprintf(value, sizeof(value),
		    strchr(host, ':') != NULL ? "[%s]:%u,%u" : "%s:%u,%u", host, inet_port(portal),
		    ISCSI_PORTAL_GROUP);
		iscsi_text_put(answer, "TargetAddress", value);
		return;
	}
}

static void
list_volume(void *arg, struct cw_volume *v)
{
	struct listing *l = arg;
	const struct cw_volume_conf *conf = cw_volume_conf(v);

	if (l->only != NULL && strcasecmp(l->only, conf->iqn) != 0)
		return;
	iscsi_text_put(l->answer, "TargetName", conf->iqn);
	if (is_bound_to_address(conf))
		put_listen_address(l->conn, conf->listen_address, l->answer);
	else
		put_portals(l->conn, l->answer);
}

bool
iscsi_discovery_answer(struct iscsi_conn *c, const char *value, struct strbuf *answer)
{
	const struct iscsi_session *s = c->session;
	struct listing l = {.conn = c, .answer = answer};

	if (strcmp(value, "All") == 0) {
		if (!s->is_discovery)
			return false;
	} else if (value[0] == '\0') {
		if (s->is_discovery)
			return false;
		l.only = s->target_name;
	} else {
		l.only = value;
		if (!s->is_discovery && strcasecmp(value, s->target_name) != 0)
			return true; /* nothing about others */
	}
	cw_volume_each(list_volume, &l);
	return true;
}

bool
iscsi_volume_is_offered(struct iscsi_conn *c, struct cw_volume *v)
{
	const struct cw_volume_conf *conf = cw_volume_conf(v);

	return !is_bound_to_address(conf) || inet_has_host(&c->local, conf->listen_address);
}
