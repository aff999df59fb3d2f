/* SPDX-License-Identifier: Apache-2.0 */
/*
 * login.c - the login phase (RFC 7143 section 6.3): names, security, operational keys, and the way into
 * the full feature phase.
 *
 * The last step may take time: a session of the same name has to end first, and the target is loaded
 * by a thread that may wait.  The connection is held meanwhile; whoever is out with the login holds a
 * reference to it.
 */
#include "frontends/iscsi/login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/iscsi/chap.h"
#include "frontends/iscsi/session.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

struct iscsi_login {
	unsigned int refs;
	struct iscsi_conn *conn; /* NULL: the connection is gone */
	struct iscsi_pdu pdu;	 /* the current request */
	struct strbuf text;	 /* of a request in several PDUs */
	struct strbuf answer;
	uint32_t answer_at; /* sent so far */
	bool is_answering;  /* more pieces are to be sent */
	bool is_transit;    /* what the answer's last piece says */
	/* first request */
	bool has_first, is_discovery;
	char initiator[ISCSI_NAME_MAX], target_name[ISCSI_NAME_MAX];
	uint8_t isid[ISCSI_ISID_LEN];
	uint16_t tsih, cid;
	uint32_t itt, cmd_sn;
	/* negotiation */
	uint8_t stage;
	bool has_auth, is_authentic, has_declared;
	uint32_t seen;
	struct iscsi_params params;
	struct chap chap;
	struct cw_chap secrets;
	bool has_secrets;
	struct cw_volume *volume;
	/* last step */
	struct iscsi_session *session;
	struct iscsi_waiter waiter;
	struct work work;
	struct loop_task loaded_task;
	struct scsi_target *target;
};

static void finish(struct iscsi_login *l);

/* --- life --------------------------------------------------------------------------------------- */

static void
login_unref(struct iscsi_login *l)
{
	if (--l->refs > 0)
		return;
	if (l->volume != NULL)
		cw_volume_put(l->volume);
	strbuf_free(&l->text);
	strbuf_free(&l->answer);
	explicit_bzero(&l->secrets, sizeof(l->secrets));
	free(l);
}

void
iscsi_login_end(struct iscsi_conn *c)
{
	struct iscsi_login *l = c->login;

	if (l == NULL)
		return;
	c->login = NULL;
	l->conn = NULL;
	if (iscsi_sessions_unwait(c->worker->service->sessions, &l->waiter)) {
		iscsi_session_end(l->session);
		login_unref(l);
	}
	login_unref(l);
}

static void on_woken(struct loop_task *t);
static void on_loaded(struct loop_task *t);
static void load(struct work *w);

static struct iscsi_login *
login_new(struct iscsi_conn *c)
{
	struct iscsi_login *l = xcalloc(1, sizeof(*l));

	l->refs = 1;
	l->conn = c;
	iscsi_params_init(&l->params);
	l->waiter.loop = c->worker->stream.worker.loop;
	l->waiter.task.fn = on_woken;
	l->work.fn = load;
	l->loaded_task.fn = on_loaded;
	return l;
}

/* --- answers ------------------------------------------------------------------------------------ */

static struct iscsi_sn
login_sn(struct iscsi_login *l)
{
	struct iscsi_sn sn = {.stat_sn = l->conn->stat_sn++,
	    .exp_cmd_sn = l->cmd_sn,
	    .max_cmd_sn = l->cmd_sn - 1 + ISCSI_WINDOW};

	return sn;
}

static void
refuse(struct iscsi_login *l, enum iscsi_login_status status)
{
	struct iscsi_conn *c = l->conn;
	struct iscsi_sn sn = login_sn(l);
	uint8_t *b = iscsi_tx_begin(c, 0);

	log_warn("iscsi.login", "refused", "peer=%s initiator=%s target=%s status=%04x",
	    c->stream.name, l->initiator, l->target_name, (unsigned int)status);
	iscsi_put_login_response(b, &l->pdu, l->tsih, false, false, status, 0, &sn);
	iscsi_tx_end(c, b, 0);
	stream_conn_end(&c->stream);
}

/* The next piece of the answer; before login is over a PDU has at most 8,192 bytes. */
static void
send_piece(struct iscsi_login *l)
{
	uint32_t left = (uint32_t)l->answer.len - l->answer_at;
	uint32_t n = left < ISCSI_LOGIN_SEGMENT ? left : ISCSI_LOGIN_SEGMENT;
	bool is_last = n == left;
	struct iscsi_sn sn = login_sn(l);
	struct iscsi_conn *c = l->conn;
	uint8_t *b = iscsi_tx_begin(c, n);
	uint16_t tsih = l->session != NULL ? l->session->tsih : l->tsih;

	iscsi_put_login_response(
	    b, &l->pdu, tsih, is_last && l->is_transit, !is_last, ISCSI_LOGIN_OK, n, &sn);
	if (n > 0)
		memcpy(iscsi_tx_data(c, b), l->answer.s + l->answer_at, n);
	iscsi_tx_end(c, b, n);
	l->answer_at += n;
	l->is_answering = !is_last;
	if (is_last) {
		strbuf_reset(&l->answer);
		l->answer_at = 0;
		if (l->is_transit)
			l->stage = l->pdu.login.nsg;
	}
}

/* --- keys --------------------------------------------------------------------------------------- */

static bool
is_name(const char *value)
{
	size_t len = strlen(value);

	if (len == 0 || len >= ISCSI_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)value[i] <= ' ' || value[i] == 0x7f)
			return false;
	}
	return true;
}

static enum iscsi_login_status
take_name(char *to, const char *value)
{
	if (to[0] != '\0' || !is_name(value))
		return ISCSI_LOGIN_INITIATOR_ERROR;
	snprintf(to, ISCSI_NAME_MAX, "%s", value);
	return ISCSI_LOGIN_OK;
}

struct keys { /* of one request that need each other */
	const char *session_type, *auth_method;
	struct chap_keys chap;
};

static const char **
security_key(struct keys *k, const char *key)
{
	const struct {
		const char *name;
		const char **at;
	} all[] = {{"SessionType", &k->session_type}, {"AuthMethod", &k->auth_method},
	    {"CHAP_A", &k->chap.a}, {"CHAP_N", &k->chap.n}, {"CHAP_R", &k->chap.r},
	    {"CHAP_I", &k->chap.i}, {"CHAP_C", &k->chap.c}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].name, key) == 0)
			return all[i].at;
	}
	return NULL;
}

/* Names and security keys; what is operational waits for the second pass, since SessionType, which may
 * come behind it, says what is relevant. */
static enum iscsi_login_status
take_key(struct iscsi_login *l, struct keys *k, const char *key, const char *value)
{
	const char **at = security_key(k, key);

	if (strcmp(key, "InitiatorName") == 0)
		return l->has_first ? ISCSI_LOGIN_INITIATOR_ERROR : take_name(l->initiator, value);
	if (strcmp(key, "TargetName") == 0)
		return l->has_first ? ISCSI_LOGIN_INITIATOR_ERROR
				    : take_name(l->target_name, value);
	if (at == NULL)
		return ISCSI_LOGIN_OK;
	if (*at != NULL || (at == &k->session_type && l->has_first) ||
	    (at != &k->session_type && l->stage != ISCSI_STAGE_SECURITY))
		return ISCSI_LOGIN_INITIATOR_ERROR;
	*at = value;
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status
take_operational(struct iscsi_login *l, const char *key, const char *value)
{
	struct keys none;

	if (strcmp(key, "InitiatorName") == 0 || strcmp(key, "TargetName") == 0 ||
	    strcmp(key, "InitiatorAlias") == 0 || security_key(&none, key) != NULL)
		return ISCSI_LOGIN_OK;
	if (l->stage != ISCSI_STAGE_OPERATIONAL) {
		/* 6.3.2: operational keys have no place here; what nobody knows is said so */
		struct iscsi_params p;
		struct strbuf unused = STRBUF_INIT;
		uint32_t seen = 0;
		bool is_known;

		iscsi_params_init(&p);
		is_known =
		    iscsi_param_offer(&p, &seen, false, key, value, &unused) != ISCSI_PARAM_UNKNOWN;
		strbuf_free(&unused);
		if (is_known)
			return ISCSI_LOGIN_INITIATOR_ERROR;
		iscsi_text_put(&l->answer, key, "NotUnderstood");
		return ISCSI_LOGIN_OK;
	}
	switch (iscsi_param_offer(&l->params, &l->seen, l->is_discovery, key, value, &l->answer)) {
	case ISCSI_PARAM_DONE:
	case ISCSI_PARAM_BAD: /* answered with Reject: the default stays */
		return ISCSI_LOGIN_OK;
	case ISCSI_PARAM_UNKNOWN:
		iscsi_text_put(&l->answer, key, "NotUnderstood");
		return ISCSI_LOGIN_OK;
	case ISCSI_PARAM_REPEATED:
		break;
	}
	return ISCSI_LOGIN_INITIATOR_ERROR;
}

/* --- who is it, and what does it want ------------------------------------------------------------ */

static enum iscsi_login_status
find_target(struct iscsi_login *l)
{
	struct iscsi_conn *c = l->conn;

	if (l->target_name[0] == '\0')
		return ISCSI_LOGIN_MISSING;
	l->volume = cw_volume_by_iqn(l->target_name);
	if (l->volume == NULL || !iscsi_volume_is_offered(c, l->volume))
		return ISCSI_LOGIN_NOT_FOUND;
	if (l->tsih != 0) /* a second connection, or an old session's number */
		return iscsi_sessions_find_tsih(
			   c->worker->service->sessions, l->initiator, l->target_name, l->tsih)
			   ? ISCSI_LOGIN_TOO_MANY
			   : ISCSI_LOGIN_NO_SESSION;
	l->is_authentic = !cw_target_needs_chap(l->volume);
	if (!l->is_authentic)
		l->has_secrets = cw_target_chap(l->volume, l->initiator, &l->secrets) == 0;
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status
take_first(struct iscsi_login *l, const struct keys *k)
{
	enum iscsi_login_status status = ISCSI_LOGIN_OK;

	if (l->initiator[0] == '\0')
		return ISCSI_LOGIN_MISSING;
	if (k->session_type != NULL && strcmp(k->session_type, "Discovery") == 0)
		l->is_discovery = l->is_authentic = true;
	else if (k->session_type != NULL && strcmp(k->session_type, "Normal") != 0)
		return ISCSI_LOGIN_BAD_SESSION_TYPE;
	if (!l->is_discovery) {
		status = find_target(l);
		/* 13.9: in the first answer of a leading login */
		if (status == ISCSI_LOGIN_OK)
			iscsi_text_put_number(
			    &l->answer, "TargetPortalGroupTag", ISCSI_PORTAL_GROUP);
	}
	l->has_first = true;
	return status;
}

static enum iscsi_login_status
take_security(struct iscsi_login *l, const struct keys *k)
{
	const struct chap_secrets secrets = {.initiator_name = l->initiator,
	    .target_name = l->target_name,
	    .to_initiator = l->has_secrets ? l->secrets.secret_initiator : NULL,
	    .to_target = l->secrets.secret_target};
	enum iscsi_login_status status;

	if (k->auth_method != NULL) {
		const char *method = l->is_authentic ? "None" : "CHAP";

		if (l->has_auth)
			return ISCSI_LOGIN_INITIATOR_ERROR;
		if (!iscsi_text_in_list(k->auth_method, method))
			return ISCSI_LOGIN_AUTH_FAILED;
		l->has_auth = true;
		iscsi_text_put(&l->answer, "AuthMethod", method);
	}
	if (l->is_authentic)
		return ISCSI_LOGIN_OK;
	if (!l->has_auth)
		return ISCSI_LOGIN_AUTH_FAILED;
	status = chap_take(&l->chap, &k->chap, &secrets, &l->answer);
	l->is_authentic = l->chap.step == CHAP_DONE;
	return status;
}

/* One whole request: all its keys, then what they mean together. */
static enum iscsi_login_status
negotiate(struct iscsi_login *l)
{
	enum iscsi_login_status status = ISCSI_LOGIN_OK;
	struct strbuf copy = STRBUF_INIT;
	const char *key, *value;
	struct iscsi_text t;
	struct keys k = {0};
	int r;

	strbuf_addc(&l->text, '\0');
	strbuf_add(&copy, l->text.s, l->text.len); /* the passes cut in place */
	iscsi_text_init(&t, l->text.s, l->text.len - 1);
	while ((r = iscsi_text_next(&t, &key, &value)) == 1 && status == ISCSI_LOGIN_OK)
		status = take_key(l, &k, key, value);
	if (r < 0)
		status = ISCSI_LOGIN_INITIATOR_ERROR;
	if (status == ISCSI_LOGIN_OK && !l->has_first)
		status = take_first(l, &k);
	if (status == ISCSI_LOGIN_OK && l->stage == ISCSI_STAGE_SECURITY)
		status = take_security(l, &k);
	if (status == ISCSI_LOGIN_OK && l->stage == ISCSI_STAGE_OPERATIONAL && !l->is_authentic)
		status = ISCSI_LOGIN_AUTH_FAILED; /* it left security out */
	iscsi_text_init(&t, copy.s, copy.len - 1);
	while (status == ISCSI_LOGIN_OK && iscsi_text_next(&t, &key, &value) == 1)
		status = take_operational(l, key, value);
	strbuf_free(&copy);
	strbuf_reset(&l->text);
	return status;
}

/* --- requests ----------------------------------------------------------------------------------- */

/* Does the request fit to those before it? */
static enum iscsi_login_status
check_request(struct iscsi_login *l, const struct iscsi_pdu *pdu, bool is_first)
{
	uint8_t csg = pdu->login.csg, nsg = pdu->login.nsg;

	if (is_first) {
		memcpy(l->isid, pdu->login.isid, ISCSI_ISID_LEN);
		l->tsih = pdu->login.tsih;
		l->cid = pdu->login.cid;
		l->itt = pdu->itt;
		l->cmd_sn = pdu->cmd_sn;
		l->stage = csg;
	}
	if (pdu->login.version_min > ISCSI_VERSION)
		return ISCSI_LOGIN_BAD_VERSION;
	if (csg != l->stage || csg > ISCSI_STAGE_OPERATIONAL || pdu->login.tsih != l->tsih ||
	    pdu->login.cid != l->cid || pdu->itt != l->itt ||
	    memcmp(pdu->login.isid, l->isid, ISCSI_ISID_LEN) != 0)
		return ISCSI_LOGIN_INITIATOR_ERROR;
	if (pdu->is_final &&
	    (nsg <= csg || (nsg != ISCSI_STAGE_OPERATIONAL && nsg != ISCSI_STAGE_FULL)))
		return ISCSI_LOGIN_INITIATOR_ERROR;
	if (pdu->is_final && pdu->is_continued)
		return ISCSI_LOGIN_INITIATOR_ERROR;
	return ISCSI_LOGIN_OK;
}

static void
answer(struct iscsi_login *l)
{
	if (l->stage == ISCSI_STAGE_OPERATIONAL && !l->has_declared) {
		l->has_declared = true;
		iscsi_text_put_number(&l->answer, "MaxRecvDataSegmentLength", ISCSI_OUR_SEGMENT);
	}
	l->is_transit = l->pdu.is_final && l->is_authentic;
	if (l->is_transit && l->pdu.login.nsg == ISCSI_STAGE_FULL &&
	    l->answer.len <= ISCSI_LOGIN_SEGMENT)
		finish(l);
	else
		send_piece(l);
}

void
iscsi_login_pdu(struct iscsi_conn *c, const uint8_t *data, uint32_t len)
{
	bool is_first = c->state == CONN_XPT_UP;
	enum iscsi_login_status status;
	struct iscsi_login *l;

	if (is_first) {
		iscsi_conn_event(c, CONN_EV_LOGIN);
		c->login = login_new(c);
	}
	l = c->login;
	l->pdu = c->pdu;
	status = check_request(l, &c->pdu, is_first);
	if (status == ISCSI_LOGIN_OK && l->is_answering) {
		/* only the rest of the answer is wanted; the last piece may end the login */
		if (len > 0 || c->pdu.is_continued)
			status = ISCSI_LOGIN_INITIATOR_ERROR;
		else if (l->is_transit && c->pdu.is_final && c->pdu.login.nsg == ISCSI_STAGE_FULL &&
			 l->answer.len - l->answer_at <= ISCSI_LOGIN_SEGMENT)
			finish(l);
		else
			send_piece(l);
	} else if (status == ISCSI_LOGIN_OK) {
		if (l->text.len + len > ISCSI_TEXT_MAX)
			status = ISCSI_LOGIN_INITIATOR_ERROR;
		else
			strbuf_add(&l->text, data, len);
		if (status == ISCSI_LOGIN_OK && c->pdu.is_continued) {
			l->is_transit = false;
			send_piece(l);
			return;
		}
		if (status == ISCSI_LOGIN_OK)
			status = negotiate(l);
		if (status == ISCSI_LOGIN_OK)
			answer(l);
	}
	if (status != ISCSI_LOGIN_OK)
		refuse(l, status);
}

/* --- into the full feature phase ----------------------------------------------------------------- */

static void
enter(struct iscsi_login *l)
{
	struct iscsi_session *s = l->session;
	struct iscsi_conn *c = l->conn;

	s->params = l->params;
	s->exp_cmd_sn = l->cmd_sn;
	send_piece(l);
	c->cid = l->cid;
	c->peer_segment = l->params.peer_segment;
	c->has_header_digest = l->params.has_header_digest;
	c->has_data_digest = l->params.has_data_digest;
	c->session = s;
	c->login = NULL;
	l->conn = NULL;
	iscsi_conn_event(c, CONN_EV_LOGGED_IN);
	iscsi_conn_release(c);
	login_unref(l);
}

/* The session is ready to start, or not. result of loading: l->target */
static void
start(struct iscsi_login *l)
{
	struct iscsi_session *s = l->session;
	int err = -ESHUTDOWN;

	s->target = l->target;
	l->target = NULL;
	if (l->conn != NULL && !l->conn->worker->stream.worker.draining &&
	    (s->is_discovery || s->target != NULL)) {
		s->conn = l->conn;
		err = iscsi_session_start(s, s->target);
	}
	if (err == 0) {
		enter(l);
		return;
	}
	l->session = NULL;
	if (l->conn != NULL)
		refuse(l, ISCSI_LOGIN_UNAVAILABLE);
	iscsi_session_end(s);
}

/* workq */
static void
load(struct work *w)
{
	struct iscsi_login *l = container_of(w, struct iscsi_login, work);

	l->target = scsi_target_get(l->session->volume);
	loop_post(l->waiter.loop, &l->loaded_task);
}

static void
on_loaded(struct loop_task *t)
{
	struct iscsi_login *l = container_of(t, struct iscsi_login, loaded_task);

	start(l);
	login_unref(l);
}

static void
claim(struct iscsi_login *l)
{
	struct iscsi_service *service = l->conn->worker->service;

	l->refs++; /* of the wait, or of the work */
	if (iscsi_sessions_claim(service->sessions, l->session, &l->waiter) == 0)
		workq_submit(service->workq, &l->work);
}

static void
on_woken(struct loop_task *t)
{
	struct iscsi_login *l = container_of(t, struct iscsi_login, waiter.task);

	if (l->conn != NULL)
		claim(l);
	else
		iscsi_session_end(l->session);
	login_unref(l);
}

static void
finish(struct iscsi_login *l)
{
	struct iscsi_conn *c = l->conn;

	l->session = iscsi_session_new(c, l->initiator, l->target_name, l->volume);
	memcpy(l->session->isid, l->isid, ISCSI_ISID_LEN);
	iscsi_conn_hold(c);
	if (l->is_discovery) {
		l->session->tsih = 1; /* 11.13.3: not 0 in the final response */
		start(l);
	} else {
		claim(l);
	}
}
