/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iscsi_server.c - portals, start and stop.  A session stays on the loop of its connection.
 */
#include "frontends/iscsi/iscsi.h"

#include <stdlib.h>

#include "frontends/iscsi/session.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define LOGIN_MS 15000u
#define NOP_MS 30000u
#define SWEEP_MS 1000u
#define LOGOUT_WAIT_S 3 /* LOGOUT_S of session.c, and the sweep after it */
#define END_WAIT_S 3	/* then it is the store that commands wait for */
#define TARGET_THREADS 2

struct iscsi_server {
	struct iscsi_service service;
	struct iscsi_sessions sessions;
	struct stream_server *stream;
	_Atomic size_t buffer_bytes;
};

_Static_assert(ISCSI_PORTALS_MAX <= STREAM_LISTENERS_MAX, "a portal is a listener");

/* --- open --------------------------------------------------------------------------------------- */

static void
open_workers(struct iscsi_server *s)
{
	struct metric *rx_bytes =
	    metrics_counter("iscsi_received_bytes_total", NULL, "bytes from initiators");
	struct metric *tx_bytes =
	    metrics_counter("iscsi_sent_bytes_total", NULL, "bytes to initiators");
	struct stream_worker *w;

	for (unsigned int i = 0; (w = stream_server_worker(s->stream, i)) != NULL; i++) {
		struct iscsi_worker *iscsi = container_of(w, struct iscsi_worker, stream.worker);

		iscsi->service = &s->service;
		stream_conns_init(
		    &iscsi->stream, &iscsi_conn_ops, &s->buffer_bytes, rx_bytes, tx_bytes);
	}
}

static void
server_free(struct iscsi_server *s)
{
	struct stream_worker *w;

	if (s->service.workq != NULL)
		workq_free(s->service.workq);
	for (unsigned int i = 0;
	     s->stream != NULL && (w = stream_server_worker(s->stream, i)) != NULL; i++)
		iscsi_worker_free(container_of(w, struct iscsi_worker, stream.worker));
	stream_server_free(s->stream);
	iscsi_sessions_destroy(&s->sessions);
	free(s);
}

static unsigned int
or_default(unsigned int value, unsigned int otherwise)
{
	return value > 0 ? value : otherwise;
}

static void
open_service(struct iscsi_server *s, const struct iscsi_server_conf *conf)
{
	struct iscsi_service *v = &s->service;

	iscsi_sessions_init(&s->sessions);
	v->sessions = &s->sessions;
	v->login_ms = or_default(conf->login_ms, LOGIN_MS);
	v->nop_ms = or_default(conf->nop_ms, NOP_MS);
	v->nop_timeout_ms = or_default(conf->nop_timeout_ms, NOP_MS);
	v->nsessions = metrics_gauge("iscsi_sessions", NULL, "initiators logged in to volumes");
	v->commands = metrics_counter("iscsi_commands_total", NULL, "SCSI commands");
	v->rejects = metrics_counter("iscsi_rejects_total", NULL, "PDUs answered with Reject");
}

static int
open_stream(struct iscsi_server *s, const struct iscsi_server_conf *conf)
{
	static const struct stream_ops ops = {.open = iscsi_conn_open,
	    .drain = stream_conns_drain,
	    .close_all = stream_conns_close_all,
	    .sweep = stream_conns_sweep};
	struct stream_conf stream = {.name = "iscsi",
	    .log = "iscsi.server",
	    .ops = &ops,
	    .worker_size = sizeof(struct iscsi_worker),
	    .loops = conf->loops,
	    .spin_us = conf->spin_us,
	    .max_connections = conf->max_connections,
	    .sweep_ms = SWEEP_MS,
	    .connections = metrics_gauge("iscsi_connections", NULL, "open iSCSI connections")};
	int err;

	if (stream.sweep_ms > s->service.nop_ms)
		stream.sweep_ms = s->service.nop_ms;
	if (stream.sweep_ms > s->service.login_ms)
		stream.sweep_ms = s->service.login_ms;
	err = stream_server_new(&stream, &s->stream);
	for (unsigned int i = 0; err == 0 && i < ISCSI_PORTALS_MAX && conf->listen[i] != NULL; i++)
		err = stream_server_listen(s->stream, conf->listen[i], 0);
	s->service.stream = s->stream;
	return err;
}

int
iscsi_server_open(const struct iscsi_server_conf *conf, struct iscsi_server **out)
{
	struct iscsi_server *s;
	int err;

	*out = NULL;
	if (conf->listen[0] == NULL)
		return -EINVAL;
	s = xcalloc(1, sizeof(*s));
	open_service(s, conf);
	err = open_stream(s, conf);
	if (err < 0) {
		server_free(s);
		return err;
	}
	open_workers(s);
	*out = s;
	return 0;
}

/* --- start and stop ----------------------------------------------------------------------------- */

int
iscsi_server_start(struct iscsi_server *s)
{
	int err = workq_new("iscsi-target", TARGET_THREADS, &s->service.workq);

	return err < 0 ? err : stream_server_start(s->stream);
}

uint16_t
iscsi_server_port(const struct iscsi_server *s)
{
	return inet_port(stream_server_address(s->stream, 0));
}

void
iscsi_server_stop(struct iscsi_server *s)
{
	if (s == NULL)
		return;
	if (!stream_server_stop(s->stream, LOGOUT_WAIT_S, END_WAIT_S)) {
		/* Commands wait for the store. Their completions will still come to our loops, so
		 * these must outlive us; the process is about to end. */
		log_warn("iscsi.server", "commands-left", "next=\"their initiators ask again\"");
		return;
	}
	server_free(s);
	scsi_stop();
}
