/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_server.h - a TCP server on event loops: listening sockets, who serves which connection, stop.
 *
 * Connections are dealt out to the loops in turn; one connection stays on its loop for life.  Loop 0
 * also accepts.  What a connection says is the protocol's: it embeds struct stream_worker as the first
 * member of what the connections of one loop share, and gives the server a struct stream_ops.
 *
 * A stop has three steps: no new connections and each worker drains; what is not idle in time is closed;
 * what is not idle even then (it waits for somebody who does not answer) keeps its loop for ever.
 */
#ifndef CW_BASE_STREAM_SERVER_H
#define CW_BASE_STREAM_SERVER_H

#include "gateway/base/inet.h"
#include "gateway/base/loop.h"
#include "gateway/base/metrics.h"

#define STREAM_LISTENERS_MAX 8u
#define STREAM_LOOPS_MAX 16u

struct stream_server;

struct stream_worker { /* one loop; all of it but `loop` is the server's */
	struct loop *loop;
	struct stream_server *server;
	bool draining; /* takes no more connections */
	bool is_idle;  /* under the server's mutex: draining, and nothing is left */
	unsigned int nheld;
	struct loop_task stop_task, close_task;
	struct loop_timer sweep;
};

struct stream_ops { /* all are called on the worker's loop */
	/* open - serve fd, a connected non-blocking socket, which is taken. tag: of the listener it came by.
	 * result: 0, then stream_worker_gone() is due once; or a negative errno (fd closed) */
	int (*open)(struct stream_worker *w, int fd, const union inet_addr *peer, unsigned int tag);
	/* drain - finish what is under way and end the connections; w->draining is set. */
	void (*drain)(struct stream_worker *w);
	/* close_all - end all connections now. */
	void (*close_all)(struct stream_worker *w);
	/* sweep - look for what is late; until the end, so also between drain and close_all. */
	void (*sweep)(struct stream_worker *w);
};

struct stream_conf {
	const char *name; /* a literal: threads are NAME-0 and so on */
	const char *log;  /* a literal: category of log lines */
	const struct stream_ops *ops;
	size_t worker_size;	      /* of the struct that begins with a struct stream_worker */
	unsigned int loops;	      /* 0 = 2, or 1 on a machine with one CPU */
	unsigned int spin_us;	      /* adaptive spinning before sleep; 0 = 50 */
	unsigned int max_connections; /* 0 = 1,024 */
	unsigned int sweep_ms;
	struct metric *connections; /* gauge */
};

/* stream_server_new - a server with its workers (cleared but for the stream_worker), none running.
 * args:   conf and its literals, ops and metric borrowed for good
 * result: 0 or a negative errno. ctx: control thread, as for all here but the workers' own */
int stream_server_new(const struct stream_conf *conf, struct stream_server **out) CW_MUST_CHECK;
/* stream_server_listen - bind and listen on "address:port"; at most STREAM_LISTENERS_MAX times.
 * result: 0, -EADDRINUSE, -EACCES, -EINVAL, ... */
int stream_server_listen(
    struct stream_server *s, const char *address, unsigned int tag) CW_MUST_CHECK;
/* stream_server_start - serve. result: 0 or a negative errno */
int stream_server_start(struct stream_server *s) CW_MUST_CHECK;
/* stream_server_stop - accept no more, drain for drain_s seconds, close, wait close_s more.
 * result: true: nothing is left and no thread runs; false: something will still come to the loops, so
 *         that nothing of the server may be freed; it may be called again */
bool stream_server_stop(
    struct stream_server *s, unsigned int drain_s, unsigned int close_s) CW_MUST_CHECK;
/* stream_server_free - of one that was stopped or never started; what workers own is freed before. */
void stream_server_free(struct stream_server *s);

/* stream_server_worker - the i-th, NULL behind the last. */
struct stream_worker *stream_server_worker(struct stream_server *s, unsigned int i);
/* stream_server_address - where the i-th listener is, NULL behind the last. Constant from start on */
const union inet_addr *stream_server_address(const struct stream_server *s, unsigned int i);

/* stream_worker_gone - a connection that ops->open took is freed. loop */
void stream_worker_gone(struct stream_worker *w);
/* stream_worker_hold, _release - something else than a connection needs the loop. loop */
void stream_worker_hold(struct stream_worker *w);
void stream_worker_release(struct stream_worker *w);

#endif
