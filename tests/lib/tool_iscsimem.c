/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_iscsimem - the iSCSI server and the SCSI layer over volumes that are memory: what real initiators
 * meet when cache and bucket are left out.
 *
 * tool_iscsimem ADDRESS:PORT [initiator-secret target-secret]
 * Targets iqn.1997-05.com.amazon:vol0 and :vol1 (512 and 4,096 bytes a block); with secrets vol1 wants
 * CHAP of every initiator. Prints "port N"; ends by SIGTERM; SIGHUP asks all sessions to log out.
 */
#include <signal.h>
#include <stdio.h>

#include "frontends/iscsi/iscsi.h"
#include "frontends/scsi/scsi.h"
#include "gateway/base/log.h"
#include "tests/unit/scsi_fake.h"

static const char *secrets[2];
static struct list sessions;
static pthread_mutex_t sessions_mutex = PTHREAD_MUTEX_INITIALIZER;

bool
cw_target_needs_chap(struct cw_volume *v)
{
	return secrets[0] != NULL && strcmp(v->conf.id, "vol1") == 0;
}

int
cw_target_chap(struct cw_volume *v, const char *initiator, struct cw_chap *out)
{
	if (!cw_target_needs_chap(v))
		return -ENOENT;
	snprintf(out->initiator, sizeof(out->initiator), "%s", initiator);
	snprintf(out->secret_initiator, sizeof(out->secret_initiator), "%s", secrets[0]);
	snprintf(out->secret_target, sizeof(out->secret_target), "%s", secrets[1]);
	return 0;
}

int
cw_target_session_add(struct cw_volume *v, struct cw_target_session *s)
{
	(void)v;
	pthread_mutex_lock(&sessions_mutex);
	list_add_tail(&sessions, &s->link);
	pthread_mutex_unlock(&sessions_mutex);
	return 0;
}

void
cw_target_session_del(struct cw_volume *v, struct cw_target_session *s)
{
	(void)v;
	pthread_mutex_lock(&sessions_mutex);
	list_del(&s->link);
	pthread_mutex_unlock(&sessions_mutex);
}

static void
end_sessions(void)
{
	struct list *pos;

	pthread_mutex_lock(&sessions_mutex);
	list_for_each(pos, &sessions)
	{
		struct cw_target_session *s = container_of(pos, struct cw_target_session, link);

		s->end(s);
	}
	pthread_mutex_unlock(&sessions_mutex);
}

static int
serve(const char *address)
{
	struct iscsi_server_conf conf = {.listen = {address}};
	struct iscsi_server *s;
	sigset_t set;
	int sig, err;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	err = iscsi_server_open(&conf, &s);
	if (err == 0)
		err = iscsi_server_start(s);
	if (err < 0) {
		fprintf(stderr, "tool_iscsimem: %s: %s\n", address, err_str(err));
		return 1;
	}
	printf("port %u\n", iscsi_server_port(s));
	fflush(stdout);
	while (sigwait(&set, &sig) == 0 && sig != SIGTERM)
		end_sessions();
	iscsi_server_stop(s);
	return 0;
}

int
main(int argc, char **argv)
{
	struct cw_volume *v[2];
	int rc;

	if (argc != 2 && argc != 4) {
		fprintf(
		    stderr, "usage: tool_iscsimem ADDRESS:PORT [initiator-secret target-secret]\n");
		return 2;
	}
	list_init(&sessions);
	if (argc == 4) {
		secrets[0] = argv[2];
		secrets[1] = argv[3];
	}
	v[0] = fake_volume_new("vol0", 1ull << 30, 512);
	v[1] = fake_volume_new("vol1", 1ull << 30, 4096);
	rc = serve(argv[1]);
	fake_volume_free(v[0]);
	fake_volume_free(v[1]);
	return rc;
}
