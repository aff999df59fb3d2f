/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - causewayd: arguments, configuration, signals. See causewayd(8). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/config.h"
#include "gateway/control.h"
#include "gateway/engine.h"

static const char usage[] = "usage: causewayd --config FILE [--check]\n"
			    "       causewayd --version\n";

/* Tell systemd (Type=notify-reload) how we are; without it nothing happens. sd_notify(3) */
static void
notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t n = path != NULL ? strlen(path) : 0;
	int fd;

	if (n == 0 || n >= sizeof(sun.sun_path))
		return;
	memcpy(sun.sun_path, path, n);
	if (sun.sun_path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sun,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		log_debug("gateway.main", "notify", "err=\"%s\"", err_str(-errno));
	close(fd);
}

/* Connections, data files and descriptors of libraries: as many as the hard limit allows. */
static void
raise_limits(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max < 65536 ? lim.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static int
load(const char *path, struct cw_config *conf)
{
	char text[1024];
	enum log_level level;
	int r = config_load(path, conf, text, sizeof(text));

	if (r < 0) {
		fprintf(stderr, "causewayd: %s\n", text);
		return r;
	}
	if (conf->log_level != NULL && log_parse_level(conf->log_level, &level) == 0)
		log_set_level(level);
	return 0;
}

/* SIGHUP: credentials and the settings of volumes may change; a configuration that does not parse changes nothing. */
static void
reload(struct engine *e, const char *path, struct cw_config **conf)
{
	struct cw_config *fresh = xcalloc(1, sizeof(*fresh));

	notify("RELOADING=1");
	if (load(path, fresh) < 0) {
		log_err(
		    "gateway.main", "not-reloaded", "config=%s next=\"the old one stands\"", path);
		config_free(fresh);
		free(fresh);
	} else {
		engine_reload(e, fresh);
		config_free(*conf);
		free(*conf);
		*conf = fresh;
		log_info("gateway.main", "reloaded", "config=%s", path);
	}
	notify("READY=1");
}

static int
run(const char *path, struct cw_config **conf, const sigset_t *signals)
{
	struct engine *e;
	int r = engine_start(*conf, &e), sig;

	if (r < 0)
		return 1;
	notify("READY=1");
	for (;;) {
		if (sigwait(signals, &sig) != 0)
			continue;
		if (sig != SIGHUP)
			break;
		reload(e, path, conf);
	}
	log_info("gateway.main", "stopping", "signal=%s", sig == SIGTERM ? "TERM" : "INT");
	notify("STOPPING=1");
	engine_stop(e);
	log_info("gateway.main", "stopped", "clean=yes");
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	    {"check", no_argument, NULL, 'k'}, {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	const char *path = NULL;
	bool only_check = false;
	struct cw_config *conf;
	sigset_t signals;
	int opt, status;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			only_check = true;
			break;
		case 'V':
			puts("causewayd " CONTROL_VERSION);
			return 0;
		default:
			fputs(usage, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? 0 : 2;
		}
	}
	if (path == NULL || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL); /* every thread inherits it */
	signal(SIGPIPE, SIG_IGN);
	raise_limits();
	conf = xcalloc(1, sizeof(*conf));
	status = load(path, conf) < 0 ? 1 : 0;
	if (status == 0 && !only_check)
		status = run(path, &conf, &signals);
	config_free(conf);
	free(conf);
	return status;
}
