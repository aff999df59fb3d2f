/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - what is iSCSI's of a TCP connection (gateway/base/stream_conn.h): its states (conn.c), bytes to
 * PDUs (rx.c), PDUs to bytes (tx.c).
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
#include "gateway/base/stream_conn.h"
#include "gateway/base/workq.h"

#define ISCSI_WINDOW 256u	/* commands: MaxCmdSN - ExpCmdSN + 1 of an idle session */
#define ISCSI_IMMEDIATE_MAX 32u /* immediate ones besides */
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
	struct metric *commands, *rejects, *nsessions;
};

struct iscsi_worker {		    /* what the connections of one loop share */
	struct stream_conns stream; /* first; held by sessions, too, until they are cleaned up */
	struct iscsi_service *service;
	struct iscsi_cmd *free_cmds;
	unsigned int nfree_cmds;
};

struct iscsi_sink { /* where the data segment that is being received goes */
	bool is_active;
	struct iscsi_cmd *cmd; /* NULL: nowhere */
	uint8_t *dst;	       /* the next byte of cmd's; NULL: nowhere */
	uint32_t cap;	       /* of the rest, how much cmd wants */
	uint32_t left, crc;    /* of the data segment */
};

struct iscsi_conn {
	struct stream_conn stream; /* first */
	struct iscsi_worker *worker;
	enum iscsi_conn_state state;
	uint64_t opened_ns, ping_ns; /* ping_ns: unanswered since; 0 = none */
	uint64_t logout_by_ns;	     /* S6, S7: then it is closed */
	/* receiving */
	bool is_held;
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
	size_t reserved_bytes; /* places for Data-In */
	union inet_addr local;
};

/* --- conn.c ------------------------------------------------------------------------------------- */

extern const struct stream_conn_ops iscsi_conn_ops;

/* iscsi_conn_open - serve fd; see struct stream_ops. ctx: the worker's loop, as everything here */
int iscsi_conn_open(
    struct stream_worker *w, int fd, const union inet_addr *peer, unsigned int tag) CW_MUST_CHECK;
/* iscsi_conn_event - change of state. result: false: the event is not for this state, nothing changes */
bool iscsi_conn_event(struct iscsi_conn *c, enum iscsi_conn_event ev);
/* iscsi_conn_hold, _release - PDUs wait meanwhile (a login that waits for a worker). */
void iscsi_conn_hold(struct iscsi_conn *c);
void iscsi_conn_release(struct iscsi_conn *c);
/* iscsi_worker_free - pools; no connection and no session may be left. */
void iscsi_worker_free(struct iscsi_worker *w);

/* --- rx.c --------------------------------------------------------------------------------------- */

/* iscsi_rx_take, iscsi_rx_receive - see struct stream_conn_ops. */
bool iscsi_rx_take(struct stream_conn *s);
void iscsi_rx_receive(struct stream_conn *s);

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
/* iscsi_tx_digest - CRC32C as it is sent, at p. */
void iscsi_tx_digest(uint8_t *p, uint32_t crc);

/* iscsi_conn_sn - the counters for an answer; uses up a StatSN if is_status. */
struct iscsi_sn iscsi_conn_sn(struct iscsi_conn *c, bool is_status);
/* iscsi_conn_reject - Reject PDU for the current PDU. */
void iscsi_conn_reject(struct iscsi_conn *c, enum iscsi_reject_reason reason);

#endif
