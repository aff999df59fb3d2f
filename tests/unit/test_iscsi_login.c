/* SPDX-License-Identifier: Apache-2.0 */
/* Discovery and login of the iSCSI server: every key, its bad values, CHAP, and what hostile peers send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "frontends/iscsi/chap.h"
#include "frontends/iscsi/iscsi.h"
#include "frontends/iscsi/text.h"
#include "gateway/base/log.h"
#include "tests/unit/iscsi_client.h"
#include "tests/unit/iscsi_fake.h"

#define NAMES "InitiatorName=" CLIENT_NAME "\nTargetName=" FAKE_IQN "0\nSessionType=Normal\n"
#define DISCOVERY "InitiatorName=" CLIENT_NAME "\nSessionType=Discovery\n"
#define SECRET "initiator-secret"
#define TARGET_SECRET "target-secret-9"

/* byte 1 of a login request */
#define SECURITY 0x00
#define SECURITY_TO_OPERATIONAL 0x81
#define SECURITY_TO_FULL 0x83
#define OPERATIONAL 0x04
#define OPERATIONAL_TO_FULL 0x87
#define CONTINUED 0x40

static struct iscsi_server *server;
static struct client cl, cl2;

static int
setup(void **state)
{
	const struct iscsi_server_conf conf = {.listen = {"0.0.0.0:0"},
	    .loops = 2,
	    .max_connections = 4,
	    .login_ms = 300,
	    .nop_ms = 200,
	    .nop_timeout_ms = 300};

	(void)state;
	fake_init();
	log_set_level(LOG_LEVEL_ERR);
	assert_int_equal(iscsi_server_open(&conf, &server), 0);
	client_port = iscsi_server_port(server);
	return iscsi_server_start(server);
}

static int
teardown(void **state)
{
	(void)state;
	iscsi_server_stop(server);
	assert_int_equal(fake_refs, 0);
	assert_int_equal(fake_targets, 0);
	assert_int_equal(fake_nexuses, 0);
	return 0;
}

static int
login(uint8_t flags, const char *text)
{
	client_dial(&cl);
	return client_login(&cl, flags, text);
}

static void
assert_key(const char *key, const char *value)
{
	const char *got = client_key(&cl, key);

	if (value == NULL) {
		assert_null(got);
		return;
	}
	if (got == NULL)
		fail_msg("no answer for %s", key);
	assert_string_equal(got, value);
}

/* --- keys --------------------------------------------------------------------------------------- */

static void
every_key_has_its_answer(void **state)
{
	static const struct {
		const char *offer, *key, *answer; /* NULL: none */
	} cases[] = {
	    {"HeaderDigest=CRC32C,None", "HeaderDigest", "CRC32C"},
	    {"HeaderDigest=None,CRC32C", "HeaderDigest", "None"},
	    {"HeaderDigest=SHA,CRC32C", "HeaderDigest", "CRC32C"},
	    {"HeaderDigest=SHA", "HeaderDigest", "Reject"},
	    {"DataDigest=CRC32C", "DataDigest", "CRC32C"},
	    {"DataDigest=", "DataDigest", "Reject"},
	    {"MaxConnections=8", "MaxConnections", "1"},
	    {"MaxConnections=0", "MaxConnections", "Reject"},
	    {"MaxConnections=65536", "MaxConnections", "Reject"},
	    {"InitialR2T=Yes", "InitialR2T", "Yes"},
	    {"InitialR2T=No", "InitialR2T", "No"},
	    {"InitialR2T=no", "InitialR2T", "Reject"},
	    {"ImmediateData=Yes", "ImmediateData", "Yes"},
	    {"ImmediateData=No", "ImmediateData", "No"},
	    {"ImmediateData=1", "ImmediateData", "Reject"},
	    {"MaxRecvDataSegmentLength=65536", "MaxRecvDataSegmentLength", "262144"}, /* ours */
	    {"MaxBurstLength=16776192", "MaxBurstLength", "1048576"},
	    {"MaxBurstLength=0x10000", "MaxBurstLength", "65536"},
	    {"MaxBurstLength=511", "MaxBurstLength", "Reject"},
	    {"MaxBurstLength=16777216", "MaxBurstLength", "Reject"},
	    {"MaxBurstLength=99999999999999999999", "MaxBurstLength", "Reject"},
	    {"MaxBurstLength=-1", "MaxBurstLength", "Reject"},
	    {"MaxBurstLength= 4096", "MaxBurstLength", "Reject"},
	    {"MaxBurstLength=4096k", "MaxBurstLength", "Reject"},
	    {"FirstBurstLength=1048576", "FirstBurstLength", "262144"},
	    {"FirstBurstLength=8192", "FirstBurstLength", "8192"},
	    {"FirstBurstLength=1", "FirstBurstLength", "Reject"},
	    {"DefaultTime2Wait=5", "DefaultTime2Wait", "5"},
	    {"DefaultTime2Wait=3601", "DefaultTime2Wait", "Reject"},
	    {"DefaultTime2Retain=20", "DefaultTime2Retain", "0"},
	    {"DefaultTime2Retain=9999", "DefaultTime2Retain", "Reject"},
	    {"MaxOutstandingR2T=4", "MaxOutstandingR2T", "4"},
	    {"MaxOutstandingR2T=64", "MaxOutstandingR2T", "8"},
	    {"MaxOutstandingR2T=0", "MaxOutstandingR2T", "Reject"},
	    {"DataPDUInOrder=No", "DataPDUInOrder", "Yes"},
	    {"DataSequenceInOrder=No", "DataSequenceInOrder", "Yes"},
	    {"DataSequenceInOrder=x", "DataSequenceInOrder", "Reject"},
	    {"ErrorRecoveryLevel=2", "ErrorRecoveryLevel", "0"},
	    {"ErrorRecoveryLevel=3", "ErrorRecoveryLevel", "Reject"},
	    {"TaskReporting=ResponseFence,RFC3720", "TaskReporting", "RFC3720"},
	    {"TaskReporting=FastAbort", "TaskReporting", "Reject"},
	    {"iSCSIProtocolLevel=2", "iSCSIProtocolLevel", "1"},
	    {"iSCSIProtocolLevel=32", "iSCSIProtocolLevel", "Reject"},
	    {"IFMarker=Yes", "IFMarker", "No"},
	    {"OFMarker=No", "OFMarker", "No"},
	    {"IFMarkInt=1~65535", "IFMarkInt", "Reject"},
	    {"OFMarkInt=2048", "OFMarkInt", "Reject"},
	    {"InitiatorAlias=me", "InitiatorAlias", NULL},
	    {"X-com.example.thing=1", "X-com.example.thing", "NotUnderstood"},
	    {"X#NodeArchitecture=z", "X#NodeArchitecture", "NotUnderstood"},
	    {"Whatever=x,y", "Whatever", "NotUnderstood"},
	};
	char text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), NAMES "%s\n", cases[i].offer);
		assert_int_equal(login(OPERATIONAL_TO_FULL, text), 0);
		assert_int_equal(cl.h[1], OPERATIONAL_TO_FULL);
		assert_key(cases[i].key, cases[i].answer);
		assert_key("TargetPortalGroupTag", "1");
		assert_true(cl.h[14] != 0 || cl.h[15] != 0); /* TSIH */
		client_close(&cl);
	}
}

static void
discovery_has_irrelevant_keys(void **state)
{
	(void)state;
	assert_int_equal(login(OPERATIONAL_TO_FULL,
			     DISCOVERY "InitialR2T=No\nMaxBurstLength=262144\nHeaderDigest=None\n"
				       "DefaultTime2Wait=2\nMaxRecvDataSegmentLength=32768\n"),
	    0);
	assert_key("InitialR2T", "Irrelevant");
	assert_key("MaxBurstLength", "Irrelevant");
	assert_key("HeaderDigest", "None");
	assert_key("DefaultTime2Wait", "2");
	assert_key("TargetPortalGroupTag", NULL);
	client_close(&cl);
}

/* --- what fails --------------------------------------------------------------------------------- */

static void
bad_logins_get_their_status(void **state)
{
	static const struct {
		uint8_t flags;
		const char *text;
		int status;
	} cases[] = {
	    {OPERATIONAL_TO_FULL, "TargetName=" FAKE_IQN "0\n", ISCSI_LOGIN_MISSING},
	    {OPERATIONAL_TO_FULL, "InitiatorName=" CLIENT_NAME "\n", ISCSI_LOGIN_MISSING},
	    {OPERATIONAL_TO_FULL, "", ISCSI_LOGIN_MISSING},
	    {OPERATIONAL_TO_FULL, "InitiatorName=a\nTargetName=iqn.nobody\n",
		ISCSI_LOGIN_NOT_FOUND},
	    /* served on another address than this connection's */
	    {OPERATIONAL_TO_FULL, "InitiatorName=a\nTargetName=" FAKE_IQN "2\n",
		ISCSI_LOGIN_NOT_FOUND},
	    {OPERATIONAL_TO_FULL, "InitiatorName=a\nSessionType=Odd\n",
		ISCSI_LOGIN_BAD_SESSION_TYPE},
	    {OPERATIONAL_TO_FULL, NAMES "InitiatorName=x\n", ISCSI_LOGIN_INITIATOR_ERROR},
	    {OPERATIONAL_TO_FULL, "InitiatorName=\nTargetName=" FAKE_IQN "0\n",
		ISCSI_LOGIN_INITIATOR_ERROR},
	    {OPERATIONAL_TO_FULL, NAMES "MaxBurstLength=512\nMaxBurstLength=512\n",
		ISCSI_LOGIN_INITIATOR_ERROR},
	    {OPERATIONAL_TO_FULL, NAMES "nonsense\n", ISCSI_LOGIN_INITIATOR_ERROR},
	    {OPERATIONAL_TO_FULL, NAMES "=x\n", ISCSI_LOGIN_INITIATOR_ERROR},
	    {OPERATIONAL_TO_FULL,
		NAMES "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnop=1\n",
		ISCSI_LOGIN_INITIATOR_ERROR},
	    {OPERATIONAL_TO_FULL, NAMES "AuthMethod=None\n", ISCSI_LOGIN_INITIATOR_ERROR},
	    {SECURITY_TO_FULL, NAMES "AuthMethod=CHAP\n", ISCSI_LOGIN_AUTH_FAILED},
	    {SECURITY_TO_FULL, NAMES "AuthMethod=KRB5\n", ISCSI_LOGIN_AUTH_FAILED},
	    {SECURITY_TO_FULL, NAMES "AuthMethod=None\nMaxBurstLength=512\n",
		ISCSI_LOGIN_INITIATOR_ERROR},
	    {0x80, NAMES, ISCSI_LOGIN_INITIATOR_ERROR}, /* transit to where it is */
	    {0x86, NAMES, ISCSI_LOGIN_INITIATOR_ERROR}, /* no such stage */
	    {0x84, NAMES, ISCSI_LOGIN_INITIATOR_ERROR}, /* back */
	    {0x8c, NAMES, ISCSI_LOGIN_INITIATOR_ERROR}, /* from the full feature phase */
	    {0xc7, NAMES, ISCSI_LOGIN_INITIATOR_ERROR}, /* T and C */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = login(cases[i].flags, cases[i].text);

		if (status != cases[i].status)
			fail_msg("case %zu: %04x", i, (unsigned int)status);
		assert_int_equal(client_recv(&cl), -1);
		client_close(&cl);
	}
}

static void
names_are_matched_without_case(void **state)
{
	(void)state;
	assert_int_equal(
	    login(OPERATIONAL_TO_FULL, "InitiatorName=A\nTargetName=iqn.1997-05.com.AMAZON:VOL0\n"),
	    0);
	client_close(&cl);
}

static void
a_version_or_session_that_is_none_is_refused(void **state)
{
	(void)state;
	client_dial(&cl);
	client_begin(&cl, ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE, OPERATIONAL_TO_FULL, 1);
	cl.out[2] = cl.out[3] = 1;
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), ISCSI_LOGIN_RESPONSE);
	assert_int_equal(cl.h[36] << 8 | cl.h[37], ISCSI_LOGIN_BAD_VERSION);
	client_close(&cl);
	for (int is_there = 0; is_there < 2; is_there++) {
		static const char text[] =
		    "InitiatorName=" CLIENT_NAME "\0TargetName=" FAKE_IQN "0\0";

		if (is_there) {
			client_dial(&cl2);
			client_enter_as(&cl2, FAKE_IQN "0", "");
		}
		client_dial(&cl);
		client_begin(&cl, ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE, OPERATIONAL_TO_FULL, 1);
		memcpy(cl.out + 8, cl.isid, 6);
		cl.out[14] = is_there ? cl2.h[14] : 0x77;
		cl.out[15] = is_there ? cl2.h[15] : 0x77;
		client_end(&cl, text, sizeof(text) - 1);
		assert_int_equal(client_recv(&cl), ISCSI_LOGIN_RESPONSE);
		assert_int_equal(cl.h[36] << 8 | cl.h[37],
		    is_there ? ISCSI_LOGIN_TOO_MANY : ISCSI_LOGIN_NO_SESSION);
		client_close(&cl);
	}
	client_close(&cl2);
}

static void
what_is_not_a_login_closes(void **state)
{
	static const uint8_t opcodes[] = {
	    ISCSI_NOP_OUT, ISCSI_SCSI_COMMAND, ISCSI_TEXT_REQUEST, 0x1f};

	(void)state;
	for (size_t i = 0; i < sizeof(opcodes); i++) {
		client_dial(&cl);
		client_begin(&cl, opcodes[i], 0x80, 1);
		client_end(&cl, NULL, 0);
		assert_int_equal(client_recv(&cl), -1);
		client_close(&cl);
	}
	/* in the middle of a login, too */
	assert_int_equal(login(OPERATIONAL, NAMES), 0);
	client_begin(&cl, ISCSI_SCSI_COMMAND, 0x81, 2);
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
}

static void
requests_must_fit_together(void **state)
{
	(void)state;
	for (int what = 0; what < 4; what++) {
		assert_int_equal(login(OPERATIONAL, NAMES), 0);
		assert_int_equal(cl.h[1], OPERATIONAL); /* no transit */
		if (what == 0)
			cl.isid[3]++;
		else if (what == 1)
			cl.itt++;
		else if (what == 3)
			cl.itt = 0x1000;
		assert_int_equal(
		    client_login(&cl, what == 2 ? SECURITY_TO_FULL : OPERATIONAL_TO_FULL,
			what == 3 ? "InitiatorName=again\n" : ""),
		    ISCSI_LOGIN_INITIATOR_ERROR);
		client_close(&cl);
	}
}

/* --- long texts --------------------------------------------------------------------------------- */

static void
a_request_may_come_in_pieces(void **state)
{
	(void)state;
	assert_int_equal(
	    login(OPERATIONAL | CONTINUED, "InitiatorName=" CLIENT_NAME "\nTargetNa"), 0);
	assert_int_equal(cl.len, 0);
	assert_int_equal(cl.h[1], OPERATIONAL);
	assert_int_equal(
	    client_login(&cl, OPERATIONAL_TO_FULL, "me=" FAKE_IQN "0\nMaxOutstandingR2T=2\n"), 0);
	assert_key("MaxOutstandingR2T", "2");
	assert_true(client_works(&cl));
	client_close(&cl);
	/* but not in pieces without end */
	client_dial(&cl);
	for (int i = 0; i < 20; i++) {
		char text[2001];

		memset(text, 'a', 2000);
		text[2000] = '\0';
		if (client_login(&cl, OPERATIONAL | CONTINUED, text) != 0)
			break;
	}
	assert_int_equal(cl.h[36] << 8 | cl.h[37], ISCSI_LOGIN_INITIATOR_ERROR);
	client_close(&cl);
}

static void
a_long_answer_goes_in_pieces(void **state)
{
	char text[8192] = NAMES, key[80];
	uint32_t total;

	(void)state;
	for (int i = 0; i < 90; i++) {
		snprintf(key, sizeof(key), "X-%055d=%d\n", i, i);
		strncat(text, key, sizeof(text) - strlen(text) - 1);
	}
	client_dial(&cl);
	assert_int_equal(client_login(&cl, OPERATIONAL_TO_FULL, text), 0);
	total = cl.len;
	if (cl.h[1] & 0x40) { /* it does not fit: it is asked for */
		assert_int_equal(cl.h[1], OPERATIONAL | CONTINUED);
		assert_int_equal(client_login(&cl, OPERATIONAL_TO_FULL, ""), 0);
		total += cl.len;
	}
	assert_true(total > 90 * 70);
	assert_int_equal(cl.h[1], OPERATIONAL_TO_FULL);
	assert_true(client_works(&cl));
	client_close(&cl);
	/* too many keys */
	for (int i = 90; i < 100; i++) {
		snprintf(key, sizeof(key), "X-%03d=%d\n", i, i);
		strncat(text, key, sizeof(text) - strlen(text) - 1);
	}
	assert_int_equal(login(OPERATIONAL_TO_FULL, text), ISCSI_LOGIN_INITIATOR_ERROR);
	client_close(&cl);
}

/* --- CHAP --------------------------------------------------------------------------------------- */

static void
need_chap(const char *target_secret)
{
	snprintf(fake_chap.initiator, sizeof(fake_chap.initiator), "%s", CLIENT_NAME);
	snprintf(fake_chap.secret_initiator, sizeof(fake_chap.secret_initiator), "%s", SECRET);
	snprintf(fake_chap.secret_target, sizeof(fake_chap.secret_target), "%s", target_secret);
}

static uint8_t challenge[64];
static uint32_t challenge_len, challenge_id;

/* As far as the challenge. */
static int
chap_begin(const char *algorithms)
{
	char text[64];
	int status = login(SECURITY, NAMES "AuthMethod=None,CHAP\n");

	if (status != 0)
		return status;
	assert_key("AuthMethod", "CHAP");
	snprintf(text, sizeof(text), "CHAP_A=%s\n", algorithms);
	status = client_login(&cl, SECURITY, text);
	if (status != 0)
		return status;
	challenge_len = (uint32_t)iscsi_text_binary(client_key(&cl, "CHAP_C"), challenge, 64);
	assert_int_equal(iscsi_text_number(client_key(&cl, "CHAP_I"), &challenge_id), 0);
	return 0;
}

static int
chap_end(enum chap_algorithm a, const char *name, const char *secret, const char *more)
{
	uint8_t hash[CHAP_HASH_MAX];
	size_t n = chap_hash(a, (uint8_t)challenge_id, secret, challenge, challenge_len, hash);
	char text[4096], hex[80];

	digest_hex(hash, n, hex);
	snprintf(text, sizeof(text), "CHAP_N=%s\nCHAP_R=0x%s\n%s", name, hex, more);
	return client_login(&cl, SECURITY_TO_FULL, text);
}

static void
chap_lets_in_who_knows_the_secret(void **state)
{
	static const struct {
		const char *offer, *answer;
		uint32_t len;
	} cases[] = {{"5", "5", 16}, {"5,7", "7", 32}, {"6,8,7,5", "8", 32}, {"7", "7", 32}};

	(void)state;
	need_chap("");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(chap_begin(cases[i].offer), 0);
		assert_key("CHAP_A", cases[i].answer);
		assert_int_equal(challenge_len, cases[i].len);
		assert_int_equal(
		    chap_end((enum chap_algorithm)atoi(cases[i].answer), CLIENT_NAME, SECRET, ""),
		    0);
		assert_int_equal(cl.h[1], SECURITY_TO_FULL);
		assert_true(client_works(&cl));
		client_close(&cl);
	}
}

static void
chap_keeps_out_everybody_else(void **state)
{
	(void)state;
	need_chap("");
	assert_int_equal(chap_begin("1,6"), ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
	assert_int_equal(chap_begin("5"), 0);
	assert_int_equal(chap_end(CHAP_MD5, CLIENT_NAME, "wrong", ""), ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
	assert_int_equal(chap_begin("5"), 0);
	assert_int_equal(chap_end(CHAP_MD5, "someone", SECRET, ""), ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
	/* without any */
	assert_int_equal(login(OPERATIONAL_TO_FULL, NAMES), ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
	assert_int_equal(login(SECURITY_TO_FULL, NAMES), ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
	assert_int_equal(
	    login(SECURITY_TO_FULL, NAMES "AuthMethod=None\n"), ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
	/* the exchange cannot be skipped by going on */
	assert_int_equal(chap_begin("5"), 0);
	assert_int_equal(client_login(&cl, OPERATIONAL_TO_FULL, ""), ISCSI_LOGIN_INITIATOR_ERROR);
	client_close(&cl);
	assert_int_equal(login(SECURITY_TO_FULL, NAMES "AuthMethod=CHAP\n"), 0);
	assert_int_equal(cl.h[1], SECURITY); /* no transit */
	assert_int_equal(client_login(&cl, SECURITY_TO_FULL, "CHAP_N=x\nCHAP_R=0x00\n"),
	    ISCSI_LOGIN_INITIATOR_ERROR);
	client_close(&cl);
	/* an initiator that has no credentials: as if it had given wrong ones */
	snprintf(fake_chap.initiator, sizeof(fake_chap.initiator), "another");
	assert_int_equal(chap_begin("5"), 0);
	assert_int_equal(chap_end(CHAP_MD5, CLIENT_NAME, "", ""), ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
}

static void
chap_is_mutual_when_both_want_it(void **state)
{
	uint8_t mine[40], want[CHAP_HASH_MAX], got[CHAP_HASH_MAX];
	char hex[100], more[200];
	size_t n;

	(void)state;
	need_chap(TARGET_SECRET);
	for (size_t i = 0; i < sizeof(mine); i++)
		mine[i] = (uint8_t)(i * 3);
	digest_hex(mine, sizeof(mine), hex);
	snprintf(more, sizeof(more), "CHAP_I=0x11\nCHAP_C=0x%s\n", hex);
	assert_int_equal(chap_begin("7"), 0);
	assert_int_equal(chap_end(CHAP_SHA256, CLIENT_NAME, SECRET, more), 0);
	assert_key("CHAP_N", FAKE_IQN "0");
	n = chap_hash(CHAP_SHA256, 0x11, TARGET_SECRET, mine, sizeof(mine), want);
	assert_int_equal(iscsi_text_binary(client_key(&cl, "CHAP_R"), got, sizeof(got)), n);
	assert_memory_equal(got, want, n);
	client_close(&cl);
	/* it need not be */
	assert_int_equal(chap_begin("7"), 0);
	assert_int_equal(chap_end(CHAP_SHA256, CLIENT_NAME, SECRET, ""), 0);
	client_close(&cl);
	/* bad questions */
	assert_int_equal(chap_begin("7"), 0);
	assert_int_equal(
	    chap_end(CHAP_SHA256, CLIENT_NAME, SECRET, "CHAP_I=1\n"), ISCSI_LOGIN_INITIATOR_ERROR);
	client_close(&cl);
	assert_int_equal(chap_begin("7"), 0);
	assert_int_equal(chap_end(CHAP_SHA256, CLIENT_NAME, SECRET, "CHAP_I=256\nCHAP_C=0x00\n"),
	    ISCSI_LOGIN_INITIATOR_ERROR);
	client_close(&cl);
	assert_int_equal(chap_begin("7"), 0);
	assert_int_equal(chap_end(CHAP_SHA256, CLIENT_NAME, SECRET, "CHAP_I=1\nCHAP_C=xyz\n"),
	    ISCSI_LOGIN_INITIATOR_ERROR);
	client_close(&cl);
}

static void
chap_cannot_be_reflected(void **state)
{
	char hex[2 * 64 + 1], more[300];

	(void)state;
	/* our own challenge comes back */
	need_chap(TARGET_SECRET);
	assert_int_equal(chap_begin("7"), 0);
	digest_hex(challenge, challenge_len, hex);
	snprintf(more, sizeof(more), "CHAP_I=1\nCHAP_C=0x%s\n", hex);
	assert_int_equal(chap_end(CHAP_SHA256, CLIENT_NAME, SECRET, more), ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
	/* one secret for both directions; none for ours */
	need_chap(SECRET);
	assert_int_equal(chap_begin("7"), 0);
	assert_int_equal(chap_end(CHAP_SHA256, CLIENT_NAME, SECRET, "CHAP_I=1\nCHAP_C=0x0102\n"),
	    ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
	need_chap("");
	assert_int_equal(chap_begin("7"), 0);
	assert_int_equal(chap_end(CHAP_SHA256, CLIENT_NAME, SECRET, "CHAP_I=1\nCHAP_C=0x0102\n"),
	    ISCSI_LOGIN_AUTH_FAILED);
	client_close(&cl);
}

/* --- discovery ---------------------------------------------------------------------------------- */

static void
text_send(struct client *c, uint8_t flags, uint32_t ttt, const char *text, uint32_t len)
{
	client_begin(c, ISCSI_TEXT_REQUEST | ISCSI_IMMEDIATE, flags, 5);
	be_store_u32(c->out + 20, ttt);
	client_end(c, text, len);
}

static const char *
text(struct client *c, const char *request)
{
	text_send(c, 0x80, ISCSI_NO_TAG, request, (uint32_t)strlen(request) + 1);
	assert_int_equal(client_recv(c), ISCSI_TEXT_RESPONSE);
	assert_int_equal(c->h[1], 0x80);
	c->data[c->len] = '\0';
	for (uint32_t i = 0; i + 1 < c->len; i++) {
		if (c->data[i] == '\0')
			c->data[i] = '\n';
	}
	return (const char *)c->data;
}

static void
discovery_lists_the_volumes(void **state)
{
	char want[400], other[100];

	(void)state;
	assert_int_equal(login(OPERATIONAL_TO_FULL, DISCOVERY), 0);
	snprintf(other, sizeof(other), "TargetName=" FAKE_IQN "1\nTargetAddress=127.0.0.1:%d,1",
	    client_port);
	snprintf(want, sizeof(want),
	    "TargetName=" FAKE_IQN "0\nTargetAddress=127.0.0.1:%d,1\n%s\n"
	    "TargetName=" FAKE_IQN "2\nTargetAddress=127.0.0.2:%d,1",
	    client_port, other, client_port);
	assert_string_equal(text(&cl, "SendTargets=All"), want);
	assert_string_equal(text(&cl, "SendTargets=" FAKE_IQN "1"), other);
	assert_string_equal(text(&cl, "SendTargets=iqn.none"), "");
	assert_string_equal(text(&cl, "SendTargets="), "SendTargets=Reject");
	assert_string_equal(text(&cl, "Odd=1"), "Odd=NotUnderstood");
	/* it is for nothing else */
	client_command(&cl, 0x81, 0);
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), ISCSI_REJECT);
	client_begin(&cl, ISCSI_LOGOUT_REQUEST | ISCSI_IMMEDIATE, 0x80, 9);
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), ISCSI_LOGOUT_RESPONSE);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
	/* the volume with an address of its own is there */
	client_dial_to(&cl, 0x7f000002);
	client_enter_as(&cl, FAKE_IQN "2", "");
	assert_true(client_works(&cl));
	client_close(&cl);
}

static void
text_in_a_normal_session_is_of_its_own_target(void **state)
{
	char own[100];

	(void)state;
	client_enter(&cl, "MaxRecvDataSegmentLength=8192\n");
	snprintf(own, sizeof(own), "TargetName=" FAKE_IQN "0\nTargetAddress=127.0.0.1:%d,1",
	    client_port);
	assert_string_equal(text(&cl, "SendTargets="), own);
	assert_string_equal(text(&cl, "SendTargets=" FAKE_IQN "0"), own);
	assert_string_equal(text(&cl, "SendTargets=" FAKE_IQN "1"), "");
	assert_string_equal(text(&cl, "SendTargets=All"), "SendTargets=Reject");
	assert_string_equal(text(&cl, "MaxBurstLength=512"), "MaxBurstLength=Reject");
	assert_string_equal(
	    text(&cl, "MaxRecvDataSegmentLength=1"), "MaxRecvDataSegmentLength=Reject");
	assert_string_equal(text(&cl, "MaxRecvDataSegmentLength=600"), "");
	client_read_send(&cl, 0, 4, 2048);
	assert_int_equal(client_recv(&cl), ISCSI_DATA_IN);
	assert_int_equal(cl.len, 600);
	client_close(&cl);
}

static void
long_text_answers_are_asked_for(void **state)
{
	char all[2000];
	uint32_t ttt, total = 0;

	(void)state;
	assert_int_equal(login(OPERATIONAL_TO_FULL, DISCOVERY "MaxRecvDataSegmentLength=512\n"), 0);
	memset(all, 0, sizeof(all));
	for (int i = 0; i < 14; i++) /* 14 answers of some 70 bytes */
		snprintf(all + i * 40, 40, "SendTargets=" FAKE_IQN "1");
	text_send(&cl, 0x80, ISCSI_NO_TAG, all, 14 * 40);
	for (;;) {
		assert_int_equal(client_recv(&cl), ISCSI_TEXT_RESPONSE);
		total += cl.len;
		if (cl.h[1] & 0x80)
			break;
		assert_int_equal(cl.len, 512);
		assert_int_equal(cl.h[1], 0x40);
		ttt = client_u32(&cl, 20);
		text_send(&cl, 0x80, ttt, NULL, 0);
	}
	assert_true(total > 512);
	assert_int_equal(client_u32(&cl, 20), ISCSI_NO_TAG);
	/* a request in pieces */
	text_send(&cl, CONTINUED, ISCSI_NO_TAG, "SendTar", 7);
	assert_int_equal(client_recv(&cl), ISCSI_TEXT_RESPONSE);
	text_send(&cl, 0x80, client_u32(&cl, 20), "gets=" FAKE_IQN "1", 5 + 27);
	assert_int_equal(client_recv(&cl), ISCSI_TEXT_RESPONSE);
	assert_non_null(client_key(&cl, "TargetName"));
	/* one that makes no sense, one that never ends */
	text_send(&cl, 0x80, 1234, "SendTargets=All", 16);
	assert_int_equal(client_recv(&cl), ISCSI_REJECT);
	text_send(&cl, 0x80, ISCSI_NO_TAG, "nonsense", 9);
	assert_int_equal(client_recv(&cl), ISCSI_REJECT);
	ttt = ISCSI_NO_TAG;
	for (int i = 0; i < 20; i++) {
		text_send(&cl, CONTINUED, ttt, all, 2000);
		if (client_recv(&cl) == ISCSI_REJECT)
			break;
		ttt = client_u32(&cl, 20);
	}
	assert_int_equal(cl.h[0], ISCSI_REJECT);
	client_close(&cl);
}

/* --- time and number ------------------------------------------------------------------------------ */

static void
half_done_logins_time_out(void **state)
{
	(void)state;
	client_dial(&cl);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
	assert_int_equal(login(OPERATIONAL, NAMES), 0);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
	client_dial(&cl);
	client_begin(&cl, ISCSI_LOGIN_REQUEST, 0x87, 1);
	client_send_raw(&cl, cl.out, 20);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
}

static void
silent_initiators_are_pinged_and_dropped(void **state)
{
	uint32_t ttt;

	(void)state;
	client_enter(&cl, "");
	assert_true(client_works(&cl));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(client_recv(&cl), ISCSI_NOP_IN);
		assert_int_equal(client_u32(&cl, 16), ISCSI_NO_TAG);
		ttt = client_u32(&cl, 20);
		assert_int_not_equal(ttt, ISCSI_NO_TAG);
		client_begin(&cl, ISCSI_NOP_OUT | ISCSI_IMMEDIATE, 0x80, ISCSI_NO_TAG);
		be_store_u32(cl.out + 20, ttt);
		client_end(&cl, NULL, 0);
	}
	assert_true(client_works(&cl));
	assert_int_equal(client_recv(&cl), ISCSI_NOP_IN);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
}

static void
connections_are_bounded(void **state)
{
	struct client *all = calloc(6, sizeof(*all));
	int closed = 0;

	(void)state;
	for (int i = 0; i < 6; i++)
		client_dial(&all[i]);
	usleep(50000);
	for (int i = 0; i < 6; i++) {
		if (!client_is_silent(&all[i], 0))
			closed++;
	}
	assert_int_equal(closed, 2);
	for (int i = 0; i < 6; i++)
		client_close(&all[i]);
	usleep(50000);
	client_enter(&cl, "");
	assert_true(client_works(&cl));
	client_close(&cl);
	free(all);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(every_key_has_its_answer),
	    TEST(discovery_has_irrelevant_keys),
	    TEST(bad_logins_get_their_status),
	    TEST(names_are_matched_without_case),
	    TEST(a_version_or_session_that_is_none_is_refused),
	    TEST(what_is_not_a_login_closes),
	    TEST(requests_must_fit_together),
	    TEST(a_request_may_come_in_pieces),
	    TEST(a_long_answer_goes_in_pieces),
	    TEST(chap_lets_in_who_knows_the_secret),
	    TEST(chap_keeps_out_everybody_else),
	    TEST(chap_is_mutual_when_both_want_it),
	    TEST(chap_cannot_be_reflected),
	    TEST(discovery_lists_the_volumes),
	    TEST(text_in_a_normal_session_is_of_its_own_target),
	    TEST(long_text_answers_are_asked_for),
	    TEST(half_done_logins_time_out),
	    TEST(silent_initiators_are_pinged_and_dropped),
	    TEST(connections_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
