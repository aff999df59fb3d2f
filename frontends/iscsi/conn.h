/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - one TCP connection: its life (conn.c), bytes to PDUs (rx.c), PDUs to bytes (tx.c).
 *
 * Everything of a connection belongs to its loop.  A session has one connection (MaxConnections=1),
 * so what is said of "the loop" holds for the session and its commands, too.
 */
#ifndef ISCSI_CONN_H
#define ISCSI_CONN_H

#include <sys/uio.h>

#include "frontends/iscsi/iscsi.h"
#include "frontends/iscsi/param.h"
#include "frontends/iscsi/pdu.h"
#include "gateway/base/list.h"
#include "gateway/base/stream_server.h"
#include "gateway/base/stream_tx.h"
#include "gateway/base/workq.h"

#define ISCSI_WINDOW 256u	/* commands: MaxCmdSN - ExpCmdSN + 1 of an idle session */
#define ISCSI_IMMEDIATE_MAX 32u /* immediate ones besides */
#define ISCSI_TX_QUEUED_MAX (1024u * 1024)
#define ISCSI_RESERVED_MAX (64u * 1024 * 1024)	/* places for Data-In of one connection */
#define ISCSI_OUT_SOFT_MAX (64u * 1024 * 1024)	/* Data-Out: past it R2Ts wait */
#define ISCSI_OUT_HARD_MAX (160u * 1024 * 1024) /* past it commands get TASK SET FULL */
#define ISCSI_BUFFERS_MAX (512ul * 1024 * 1024) /* of the whole server */

/* RFC 7143 8.1.1, standard connection states of a target. S8 (CLEANUP_WAIT) is the session's: at
 * error recovery level 0 a connection that failed takes its session with it. */
enum iscsi_conn_state {
	CONN_FREE,	       /* S1 */
	CONN_XPT_UP,	       /* S3 */
	CONN_IN_LOGIN,	       /* S4 */
	CONN_LOGGED_IN,	       /* S5 */
	CONN_IN_LOGOUT,	       /* S6 */
	CONN_LOGOUT_REQUESTED, /* S7 */
	CONN_CLEANUP_WAIT,     /* S8 */
	CONN_STATE_MAX,
};
enum iscsi_conn_event {
	CONN_EV_CONNECTED,
	CONN_EV_LOGIN,	     /* first login request */
	CONN_EV_LOGGED_IN,   /* final login response */
	CONN_EV_WANT_LOGOUT, /* the connection has to go: asynchronous logout request */
	CONN_EV_LOGOUT,	     /* logout request */
	CONN_EV_LOGGED_OUT,  /* logout response */
	CONN_EV_LOST,	     /* transport failure, or closed by us */
};

struct iscsi_session;
struct iscsi_login;
struct iscsi_cmd;
struct iscsi_conn;

struct iscsi_sessions; /* session.h */

struct iscsi_service {	     /* what all loops share; constant once started */
	struct workq *workq; /* what may read the index: targets of volumes */
	struct iscsi_sessions *sessions;
	struct stream_server *stream; /* its listeners are the portals */
	unsigned int login_ms, nop_ms, nop_timeout_ms;
	struct metric *rx_bytes, *tx_bytes, *commands, *rejects, *nsessions;
};

struct iscsi_worker {		     /* what the connections of one loop share */
	struct stream_worker stream; /* first; held by sessions, too, until they are cleaned up */
	struct iscsi_service *service;
	struct stream_buf_pool pool;
	struct iscsi_cmd *free_cmds;
	unsigned int nfree_cmds;
	struct list conns;
};

struct iscsi_sink { /* where the data segment that is being received goes */
	bool is_active;
	struct iscsi_cmd *cmd; /* NULL: nowhere */
	uint8_t *dst;	       /* the next byte of cmd's; NULL: nowhere */
	uint32_t cap;	       /* of the rest, how much cmd wants */
	uint32_t left, crc;    /* of the data segment */
};

struct iscsi_conn {
	struct iscsi_worker *worker;
	struct loop_fd fd; /* fd.fd is -1 once closed */
	struct list link;  /* worker->conns */
	unsigned int refs;
	enum iscsi_conn_state state;
	bool is_readable, at_eof, is_stalled, is_held;
	bool is_closing;   /* takes nothing more, is closed when all is sent */
	bool is_broken;	   /* nothing can be sent any more */
	bool is_lingering; /* all is said and sent; only the end of the other side is waited for */
	bool flush_pending, run_pending;
	struct loop_task flush_task, run_task;
	uint64_t opened_ns, last_rx_ns, ping_ns; /* ping_ns: unanswered since; 0 = none */
	uint64_t linger_by_ns;
	uint64_t logout_by_ns; /* S6, S7: then it is closed */
	/* receiving */
	struct stream_buf *rx;
	uint32_t rx_start; /* where the current PDU starts */
	size_t need;	   /* from rx_start on */
	bool has_header, wants_header_only;
	struct iscsi_pdu pdu; /* has_header: the current one */
	uint8_t bhs[ISCSI_BHS_LEN];
	struct iscsi_sink sink;
	/* negotiated */
	bool has_header_digest, has_data_digest;
	uint32_t peer_segment;
	uint16_t cid;
	uint32_t stat_sn;
	struct iscsi_login *login;     /* S4 */
	struct iscsi_session *session; /* from S5 on */
	/* a text negotiation of the full feature phase */
	struct strbuf text_in, text_out;
	uint32_t text_at, text_itt, text_ttt, next_ttt;
	/* sending */
	struct stream_tx tx;
	size_t reserved_bytes;
	union inet_addr peer, local;
	char name[INET_TEXT_MAX];
};

/* --- conn.c ------------------------------------------------------------------------------------- */

/* iscsi_conn_new - serve fd; see struct stream_ops, open. ctx: the worker's loop, as everything here */
int iscsi_conn_new(struct iscsi_worker *w, int fd, const union inet_addr *peer) CW_MUST_CHECK;
/* iscsi_conn_close - at once; a session is cleaned up behind it. */
void iscsi_conn_close(struct iscsi_conn *c, const char *why);
/* iscsi_conn_close_sent - take no more, close when all is sent; not before the caller's wake-up ends. */
void iscsi_conn_close_sent(struct iscsi_conn *c);
void iscsi_conn_ref(struct iscsi_conn *c);
void iscsi_conn_unref(struct iscsi_conn *c);
/* iscsi_conn_event - change of state. result: false: the event is not for this state, nothing changes */
bool iscsi_conn_event(struct iscsi_conn *c, enum iscsi_conn_event ev);
/* iscsi_conn_hold, _release - PDUs wait meanwhile (a login that waits for a worker). */
void iscsi_conn_hold(struct iscsi_conn *c);
void iscsi_conn_release(struct iscsi_conn *c);
/* iscsi_conn_may_take - do the limits allow to go on reading? */
bool iscsi_conn_may_take(const struct iscsi_conn *c);
/* iscsi_conn_unstall - something was freed: take up again what a limit had stopped; later, by a post. */
void iscsi_conn_unstall(struct iscsi_conn *c);
/* iscsi_conn_progress - something was sent: the same, and the end of a connection that has said all. Not
 * from within a PDU or a command. */
void iscsi_conn_progress(struct iscsi_conn *c);

/* iscsi_worker_drain - ask for logout everywhere, take no new connections. */
void iscsi_worker_drain(struct iscsi_worker *w);
void iscsi_worker_close_all(struct iscsi_worker *w);
/* iscsi_worker_sweep - what is late: logins, logouts, silent initiators. Every second or so */
void iscsi_worker_sweep(struct iscsi_worker *w);
/* iscsi_worker_free - pools; no connection and no session may be left. */
void iscsi_worker_free(struct iscsi_worker *w);

static inline bool
iscsi_conn_is_open(const struct iscsi_conn *c)
{
	return c->fd.fd >= 0;
}

/* --- rx.c --------------------------------------------------------------------------------------- */

/* iscsi_rx_run - receive and take PDUs until nothing is there or a limit stops it. */
void iscsi_rx_run(struct iscsi_conn *c);

/* --- tx.c --------------------------------------------------------------------------------------- */

/* iscsi_tx_begin - room for one PDU with up to data_cap bytes of data; nothing else may be sent before
 * iscsi_tx_end. result: its header, to be filled in; the data is to be put at iscsi_tx_data() */
uint8_t *iscsi_tx_begin(struct iscsi_conn *c, uint32_t data_cap);
uint8_t *iscsi_tx_data(struct iscsi_conn *c, uint8_t *bhs);
/* iscsi_tx_end - queue it: digests and padding are made here. */
void iscsi_tx_end(struct iscsi_conn *c, uint8_t *bhs, uint32_t data_len);
/* iscsi_tx_reserve - a place in the stream's memory that somebody fills in later. result: its offset in
 * *buf, which gets a reference for the caller */
uint32_t iscsi_tx_reserve(struct iscsi_conn *c, uint32_t len, struct stream_buf **buf);
/* iscsi_tx_queue - send these bytes after what is queued; takes a reference of its own. */
void iscsi_tx_queue(struct iscsi_conn *c, struct stream_buf *buf, uint32_t off, uint32_t len);
void iscsi_tx_flush(struct iscsi_conn *c);
/* iscsi_tx_send_now - past the queue, which must be empty. result: bytes, or as sendmsg */
ssize_t iscsi_tx_send_now(struct iscsi_conn *c, struct iovec *iov, unsigned int n);
/* iscsi_tx_break - what goes out makes no sense any more, or cannot go: close at the wake-up's end. */
void iscsi_tx_break(struct iscsi_conn *c);
/* iscsi_tx_schedule - flush at the end of the wake-up. */
void iscsi_tx_schedule(struct iscsi_conn *c);
void iscsi_tx_on_task(struct loop_task *t);
/* iscsi_tx_digest - CRC32C as it is sent, at p. */
void iscsi_tx_digest(uint8_t *p, uint32_t crc);

/* iscsi_conn_sn - the counters for an answer; uses up a StatSN if is_status. */
struct iscsi_sn iscsi_conn_sn(struct iscsi_conn *c, bool is_status);
/* iscsi_conn_reject - Reject PDU for the current PDU. */
void iscsi_conn_reject(struct iscsi_conn *c, enum iscsi_reject_reason reason);

#endif
