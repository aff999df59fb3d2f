/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - an iSCSI session: one I_T nexus to one volume, or a discovery session.
 *
 * It belongs to the loop of its connection and outlives it until the last command has ended; only
 * then another session of the same name (initiator, ISID, target) may begin, so that no command of
 * the old one can overtake one of the new (RFC 7143 6.3.5, session reinstatement).
 */
#ifndef ISCSI_SESSION_H
#define ISCSI_SESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include "frontends/iscsi/conn.h"
#include "frontends/scsi/scsi.h"
#include "gateway/volume.h"

#define ISCSI_CMD_BUCKETS 256u
#define ISCSI_PORTAL_GROUP 1u /* all portals are in it */

/* RFC 7143 8.3, target session states. Q5 is for session continuation, which level 0 has not. */
enum iscsi_session_state {
	SESSION_FREE,	   /* Q1 */
	SESSION_ACTIVE,	   /* Q2: N1, a login is under way */
	SESSION_LOGGED_IN, /* Q3: N2, final login response */
	SESSION_FAILED,	   /* Q4: N5, lost; ends as Q1 by N6 when all commands have ended */
};

struct iscsi_waiter { /* a login that waits for a session to go */
	struct list link;
	struct loop *loop;
	struct loop_task task; /* posted once when one went */
	bool is_linked;
};

struct iscsi_sessions {	       /* all of the server, of every loop */
	pthread_mutex_t mutex; /* all fields; leaf */
	struct list list, waiters;
	uint16_t next_tsih;
};

struct iscsi_session {
	struct list link; /* iscsi_sessions.list */
	struct iscsi_worker *worker;
	struct iscsi_conn *conn; /* NULL once lost */
	enum iscsi_session_state state;
	bool is_discovery, is_registered, is_quiescing, has_aborted, is_finished;
	char initiator[ISCSI_NAME_MAX], target_name[ISCSI_NAME_MAX];
	uint8_t isid[ISCSI_ISID_LEN];
	uint16_t tsih;
	struct cw_volume *volume; /* a reference */
	struct scsi_target *target;
	struct scsi_nexus *nexus;
	struct cw_target_session reg;
	struct iscsi_params params;
	uint32_t exp_cmd_sn, next_ttt;
	/* commands */
	struct iscsi_cmd *buckets[ISCSI_CMD_BUCKETS]; /* by task tag */
	struct list cmds;			      /* all, in order of arrival */
	struct list r2t_waiters;	     /* those that wait for room before the first R2T */
	unsigned int ncmds, ncounted, ntmfs; /* ncounted: those that took a CmdSN */
	size_t out_bytes;		     /* Data-Out buffers */
	/* logout under way */
	uint32_t logout_itt;
	/* from other threads, by post */
	struct loop_task signal_task;
	atomic_bool signal_pending, wants_close, wants_logout, has_changed;
};

/* --- the set of sessions (session_set.c); any thread --------------------------------------------- */
void iscsi_sessions_init(struct iscsi_sessions *set);
void iscsi_sessions_destroy(struct iscsi_sessions *set);
/* iscsi_sessions_claim - enter s, or tell the session of the same name to go.
 * result: 0; -EAGAIN: w->task is posted when a session has gone (unless iscsi_sessions_unwait) */
int iscsi_sessions_claim(
    struct iscsi_sessions *set, struct iscsi_session *s, struct iscsi_waiter *w) CW_MUST_CHECK;
/* iscsi_sessions_unwait - result: true: w's task will not run any more */
bool iscsi_sessions_unwait(struct iscsi_sessions *set, struct iscsi_waiter *w);
/* iscsi_sessions_leave - s is gone; those who wait look again. Does nothing if it is not there */
void iscsi_sessions_leave(struct iscsi_sessions *set, struct iscsi_session *s);
/* iscsi_sessions_find_tsih - is there such a session of this name? */
bool iscsi_sessions_find_tsih(
    struct iscsi_sessions *set, const char *initiator, const char *target, uint16_t tsih);
/* iscsi_sessions_drop_target - close all sessions of a target but one (target cold reset). */
void iscsi_sessions_drop_target(
    struct iscsi_sessions *set, const char *target, const struct iscsi_session *but);

/* --- life (session.c); loop ---------------------------------------------------------------------- */
/* iscsi_session_new - of a login. args: volume: reference taken, NULL for discovery */
struct iscsi_session *iscsi_session_new(
    struct iscsi_conn *c, const char *initiator, const char *target, struct cw_volume *volume);
/* iscsi_session_start - nexus and registration. args: target: taken, NULL for discovery
 * result: 0; -ESHUTDOWN: the volume is closing or the session was told to go: end it */
int iscsi_session_start(struct iscsi_session *s, struct scsi_target *target) CW_MUST_CHECK;
/* iscsi_session_end - of one that was not logged in. */
void iscsi_session_end(struct iscsi_session *s);
/* iscsi_session_lost - the connection is gone: clean up. */
void iscsi_session_lost(struct iscsi_conn *c);
/* iscsi_session_want_logout - asynchronous logout request; the connection is closed if none comes */
void iscsi_session_want_logout(struct iscsi_session *s);
/* iscsi_session_signal - make the session look at its wants_* flags. any thread */
void iscsi_session_signal(struct iscsi_session *s);
void iscsi_session_ping(struct iscsi_session *s);
/* iscsi_session_progress - a command or a management function has ended. */
void iscsi_session_progress(struct iscsi_session *s);
/* iscsi_session_quiesce - end all commands: drop what waits for data, abort what runs. */
void iscsi_session_quiesce(struct iscsi_session *s);

/* --- requests (request.c); loop ------------------------------------------------------------------ */
enum iscsi_cmd_sn { CMD_SN_TAKE, CMD_SN_IGNORE, CMD_SN_ERROR };
/* iscsi_session_take_sn - check and use up the CmdSN of the current PDU. RFC 7143 4.2.2.1 */
enum iscsi_cmd_sn iscsi_session_take_sn(struct iscsi_session *s, const struct iscsi_pdu *pdu);
/* iscsi_session_pdu - a request other than SCSI command and Data-Out, complete. */
void iscsi_session_pdu(struct iscsi_conn *c, const uint8_t *data, uint32_t len);

/* --- others -------------------------------------------------------------------------------------- */
/* iscsi_tmf_request - task management (tmf.c) */
void iscsi_tmf_request(struct iscsi_conn *c, const struct iscsi_pdu *pdu);
/* iscsi_text_request - text negotiation of the full feature phase (text_request.c) */
void iscsi_text_request(
    struct iscsi_conn *c, const struct iscsi_pdu *pdu, const uint8_t *data, uint32_t len);
/* iscsi_discovery_answer - SendTargets (discovery.c). RFC 7143 Appendix C
 * args: value: "All", a name, or "" in a normal session. result: false: not allowed here */
bool iscsi_discovery_answer(struct iscsi_conn *c, const char *value, struct strbuf *answer);
/* iscsi_volume_is_offered - may the volume be reached over this connection's address? */
bool iscsi_volume_is_offered(struct iscsi_conn *c, struct cw_volume *v);

#endif
