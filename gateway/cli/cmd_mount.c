/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_mount.c - mount a share by FUSE, and keep the mount while the daemon comes and goes.
 *
 * This process opens /dev/fuse and mounts; the daemon serves.  It keeps the descriptor, and the
 * journal of unanswered requests that the daemon gives it, and brings both to the next daemon when
 * the connection breaks (frontends/fuse/cwfuse_server.c says what is said).  While no daemon serves,
 * programs on the mount wait.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "gateway/cli/cli.h"
#include "gateway/cli/mount_recall.h"
#include "gateway/cli/mountpoint.h"
#include "gateway/fdpass.h"

#define RETRY_MS 250
#define READ_AHEAD_KIB 4096

struct mount {
	const char *share, *socket;
	char *dir;
	struct mountpoint_opts opts;
	json_int_t cache_ms;
	int fuse_fd, journal_fd, sock, signals;
	int recall_fd; /* handed over, not served yet */
	bool is_background;
	bool was_told; /* that the daemon is away */
};

/* --- options -------------------------------------------------------------------------------------- */

static int
parse_o(struct mount *m, const char *list)
{
	char *copy = xstrdup(list), *save = NULL, *word, *end;
	int rc = CLI_OK;

	for (word = strtok_r(copy, ",", &save); word != NULL && rc == CLI_OK;
	     word = strtok_r(NULL, ",", &save)) {
		if (strcmp(word, "allow_other") == 0) {
			m->opts.allow_other = true;
		} else if (strcmp(word, "ro") == 0) {
			m->opts.is_read_only = true;
		} else if (strcmp(word, "noexec") == 0) {
			m->opts.is_noexec = true;
		} else if (strcmp(word, "noatime") == 0) {
			m->opts.is_noatime = true;
		} else if (strncmp(word, "cache=", 6) == 0) {
			double s = strtod(word + 6, &end);

			if (*end != '\0' || end == word + 6 || !(s >= 0 && s <= 3600))
				rc = cli_usage("-o cache= wants seconds from 0 to 3600");
			else
				m->cache_ms = (json_int_t)(s * 1000);
		} else if (strcmp(word, "rw") != 0 && strcmp(word, "defaults") != 0) {
			rc = cli_usage("unknown mount option %s", word);
		}
	}
	free(copy);
	return rc;
}

/* --- the daemon ----------------------------------------------------------------------------------- */

/* A daemon that starts answers when its shares are open; a signal must not wait for that. Nothing is
 * ever sent twice: a mount that two connections brought would be served twice. */
static int
await(const struct mount *m)
{
	struct pollfd p[2] = {
	    {.fd = m->sock, .events = POLLIN}, {.fd = m->signals, .events = POLLIN}};

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return p[0].revents != 0 ? 0 : -EINTR;
}

/* Send a request and take the answer. result: 0, or negative errno with text (512 bytes) */
static int
talk(const struct mount *m, json_t *msg, const int *fds, size_t nfds, int *fd_out, json_t **answer,
    char *text)
{
	char *out = json_dumps(msg, JSON_COMPACT), in[FDPASS_MESSAGE];
	int got[FDPASS_MAX], n;
	size_t ngot = 0;

	json_decref(msg);
	n = fdpass_send(m->sock, out, strlen(out), fds, nfds);
	free(out);
	if (n == 0)
		n = await(m);
	if (n == 0)
		n = fdpass_recv(m->sock, in, sizeof(in), got, &ngot);
	if (n == 0)
		n = -ECONNRESET;
	for (size_t i = 0; i < ngot; i++) {
		if (fd_out != NULL && *fd_out < 0)
			*fd_out = got[i];
		else
			close(got[i]);
	}
	if (n < 0) {
		snprintf(text, 512, "%s", err_str(n));
		return n;
	}
	*answer = json_loadb(in, (size_t)n, 0, NULL);
	if (json_is_true(json_object_get(*answer, "ok")))
		return 0;
	snprintf(text, 512, "%s", cli_str(*answer, "error"));
	n = (int)cli_num(*answer, "errno");
	json_decref(*answer);
	*answer = NULL;
	return n > 0 && n < 4096 ? -n : -EPROTO;
}

static int
probe(struct mount *m, char *text)
{
	json_t *answer = NULL;
	int err = talk(m, json_pack("{s:s, s:s}", "op", "probe", "share", m->share), NULL, 0, NULL,
	    &answer, text);

	if (err == 0 && json_is_true(json_object_get(answer, "read_only")))
		m->opts.is_read_only = true;
	json_decref(answer);
	return err;
}

static int
hand_over(struct mount *m, char *text)
{
	int fds[3] = {m->fuse_fd}, journal = -1, recalls, err;
	json_t *answer = NULL;
	size_t n = 1;

	if (m->journal_fd >= 0)
		fds[n++] = m->journal_fd;
	err = mount_recall_pair(&m->recall_fd, &recalls);
	if (err < 0) {
		snprintf(text, 512, "%s", err_str(err));
		return err;
	}
	fds[n++] = recalls;
	err = talk(m,
	    json_pack("{s:s, s:s, s:I, s:b}", "op", "mount", "share", m->share, "cache_ms",
		m->cache_ms, "recalls", 1),
	    fds, n, &journal, &answer, text);
	close(recalls);
	if (err < 0)
		close(m->recall_fd);
	json_decref(answer);
	if (err == 0 && journal >= 0 && m->journal_fd < 0)
		m->journal_fd = journal;
	else if (journal >= 0)
		close(journal);
	return err;
}

/* After daemon(3): a thread does not come along. Without it nobody answers, and leases run out. */
static void
serve_recalls(struct mount *m)
{
	int err = mount_recall_run(m->recall_fd, m->fuse_fd);

	if (err < 0)
		cli_error("%s: no thread: %s", m->dir, err_str(err));
}

/* --- staying -------------------------------------------------------------------------------------- */

static bool
is_unmounted(const struct mount *m)
{
	struct pollfd p = {.fd = m->fuse_fd};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR) != 0;
}

static int
unmount(const char *dir)
{
	int err = mountpoint_end(dir, false);

	if (err == -EBUSY) {
		cli_error("%s is in use: detached, it ends when the last user leaves", dir);
		err = mountpoint_end(dir, true);
	}
	if (err < 0)
		cli_error("umount %s: %s", dir, err_str(err));
	return err < 0 ? CLI_FAILED : CLI_OK;
}

/* The daemon went away: give the mount to the next one. */
static void
reconnect(struct mount *m)
{
	char text[512];
	int err;

	m->sock = fdpass_connect(m->socket);
	err = m->sock < 0 ? m->sock : hand_over(m, text);
	if (err == 0) {
		serve_recalls(m);
		if (m->was_told)
			cli_error("%s: served again", m->dir);
		m->was_told = false;
		return;
	}
	if (!m->was_told)
		cli_error("%s: causewayd is away, the mount waits for it", m->dir);
	m->was_told = true;
	if (m->sock >= 0)
		close(m->sock);
	m->sock = -1;
}

/* result: false when the mount has ended */
static bool
hear(struct mount *m)
{
	char text[FDPASS_MESSAGE];
	int fds[FDPASS_MAX], n;
	bool is_ended = false;
	size_t nfds;

	n = fdpass_recv(m->sock, text, sizeof(text), fds, &nfds);
	while (nfds > 0)
		close(fds[--nfds]);
	if (n > 0) {
		json_t *msg = json_loadb(text, (size_t)n, 0, NULL);

		is_ended = strcmp(cli_str(msg, "event"), "unmounted") == 0;
		json_decref(msg);
		return !is_ended;
	}
	if (is_unmounted(m))
		return false;
	close(m->sock);
	m->sock = -1;
	return true;
}

static int
stay(struct mount *m)
{
	for (;;) {
		struct pollfd p[3] = {{.fd = m->signals, .events = POLLIN},
		    {.fd = m->fuse_fd}, /* POLLERR comes unasked when it is unmounted */
		    {.fd = m->sock, .events = POLLIN}};

		if (poll(p, 3, m->sock < 0 ? RETRY_MS : -1) < 0 && errno != EINTR)
			return CLI_FAILED;
		if (p[0].revents != 0)
			return unmount(m->dir);
		if ((p[1].revents & POLLERR) != 0)
			return CLI_OK;
		if (m->sock >= 0 && p[2].revents != 0 && !hear(m))
			return CLI_OK;
		if (m->sock < 0)
			reconnect(m);
	}
}

static int
catch_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int
mount_and_stay(struct mount *m)
{
	char text[512];
	int err = m->sock = fdpass_connect(m->socket);

	m->signals = catch_signals();
	if (err < 0) {
		cli_error("%s: %s: is causewayd running?", m->socket, err_str(err));
		return CLI_UNREACHABLE;
	}
	err = probe(m, text);
	if (err < 0) {
		cli_error("%s", text);
		return CLI_FAILED;
	}
	err = m->fuse_fd = mountpoint_make(m->share, m->dir, &m->opts);
	if (err < 0) {
		cli_error("cannot mount on %s: %s", m->dir, err_str(err));
		return CLI_FAILED;
	}
	/* before any file is open, for open files keep what was set then */
	mountpoint_read_ahead(m->dir, READ_AHEAD_KIB);
	err = hand_over(m, text);
	if (err < 0) {
		cli_error("causewayd does not take the mount: %s", text);
		err = mountpoint_end(m->dir, true);
		return CLI_FAILED;
	}
	if (m->is_background && daemon(0, 0) < 0) {
		cli_error("%s", err_str(-errno));
		unmount(m->dir);
		return CLI_FAILED;
	}
	serve_recalls(m);
	return stay(m);
}

static int
find_socket(struct cli *c, const char **path)
{
	int rc;

	if (*path != NULL)
		return CLI_OK;
	rc = cli_need_conf(c);
	if (rc == CLI_OK && c->conf.fuse_socket == NULL)
		return cli_usage("%s has no socket in section [fuse]", c->config_path);
	*path = c->conf.fuse_socket;
	return rc;
}

int
cmd_mount(struct cli *c, struct cli_args *a)
{
	struct mount m = {
	    .fuse_fd = -1, .journal_fd = -1, .sock = -1, .signals = -1, .recall_fd = -1};
	const char *options[16];
	size_t noptions = 0;
	const struct cli_opt opts[] = {
	    {.name = "options",
		.letter = 'o',
		.has_value = true,
		.list = options,
		.list_cap = 16,
		.nlist = &noptions},
	    {.name = "socket", .letter = 's', .has_value = true, .value = &m.socket},
	    {.name = "background", .letter = 'b', .flag = &m.is_background},
	    {.name = "json", .letter = 'j', .flag = &c->is_json},
	};
	int rc = cli_parse(a, opts, sizeof(opts) / sizeof(opts[0]), false);

	for (size_t i = 0; i < noptions && rc == CLI_OK; i++)
		rc = parse_o(&m, options[i]);
	if (rc == CLI_OK && a->argc != 2)
		rc = cli_usage("mount SHARE DIR");
	if (rc == CLI_OK)
		rc = find_socket(c, &m.socket);
	if (rc != CLI_OK)
		return rc;
	m.share = a->argv[0][0] == '/' ? a->argv[0] + 1 : a->argv[0];
	m.dir = mountpoint_path(a->argv[1]);
	if (m.dir == NULL) {
		cli_error("%s: %s", a->argv[1], err_str(-errno));
		return CLI_FAILED;
	}
	if (mountpoint_find(m.dir, NULL)) {
		cli_error("%s has a share mounted on it already", m.dir);
		rc = CLI_FAILED;
	} else {
		rc = mount_and_stay(&m);
	}
	free(m.dir);
	return rc;
}

int
cmd_umount(struct cli *c, struct cli_args *a)
{
	const struct cli_opt opts[] = {{.name = "json", .letter = 'j', .flag = &c->is_json}};
	int rc = cli_parse(a, opts, 1, false);
	char *dir;

	if (rc == CLI_OK && a->argc != 1)
		rc = cli_usage("umount DIR");
	if (rc != CLI_OK)
		return rc;
	dir = mountpoint_path(a->argv[0]);
	if (dir == NULL || !mountpoint_find(dir, NULL)) {
		cli_error("no share is mounted on %s", a->argv[0]);
		rc = CLI_FAILED;
	} else {
		rc = unmount(dir);
	}
	free(dir);
	return rc;
}
