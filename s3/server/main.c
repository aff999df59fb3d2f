/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - causeway-s3d: options, start, stop. */
#include <getopt.h>
#include <libxml/parser.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "s3/server/creds.h"
#include "s3/server/http.h"
#include "s3/server/listener.h"
#include "s3/server/stats.h"

struct options {
	const char *dir, *listen, *credentials, *region, *domain, *faults, *pidfile;
	bool has_admin, no_fsync, no_xattr;
};

static const char usage_text[] =
    "usage: causeway-s3d --dir DIR --listen ADDR:PORT --credentials FILE\n"
    "           [--region REGION] [--domain DOMAIN] [--faults FILE] [--admin] [--no-fsync]\n"
    "           [--no-xattr] [--pidfile FILE] [--log-level err|warn|info|debug]\n"
    "A small S3 server that keeps objects as plain files; see causeway-s3d(8).\n";

enum {
	OPT_DIR = 256,
	OPT_LISTEN,
	OPT_CRED,
	OPT_REGION,
	OPT_DOMAIN,
	OPT_FAULTS,
	OPT_ADMIN,
	OPT_NO_FSYNC,
	OPT_NO_XATTR,
	OPT_PIDFILE,
	OPT_LOG,
	OPT_HELP
};

static const struct option long_options[] = {
    {"dir", required_argument, NULL, OPT_DIR},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"credentials", required_argument, NULL, OPT_CRED},
    {"region", required_argument, NULL, OPT_REGION},
    {"domain", required_argument, NULL, OPT_DOMAIN},
    {"faults", required_argument, NULL, OPT_FAULTS},
    {"admin", no_argument, NULL, OPT_ADMIN},
    {"no-fsync", no_argument, NULL, OPT_NO_FSYNC},
    {"no-xattr", no_argument, NULL, OPT_NO_XATTR},
    {"pidfile", required_argument, NULL, OPT_PIDFILE},
    {"log-level", required_argument, NULL, OPT_LOG},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static int
set_log_level(const char *text)
{
	enum log_level level;

	if (log_parse_level(text, &level) != 0)
		return -EINVAL;
	log_set_level(level);
	return 0;
}

static int
parse_option(struct options *o, int c)
{
	switch (c) {
	case OPT_DIR:
		o->dir = optarg;
		return 0;
	case OPT_LISTEN:
		o->listen = optarg;
		return 0;
	case OPT_CRED:
		o->credentials = optarg;
		return 0;
	case OPT_REGION:
		o->region = optarg;
		return 0;
	case OPT_DOMAIN:
		o->domain = optarg;
		return 0;
	case OPT_FAULTS:
		o->faults = optarg;
		return 0;
	case OPT_ADMIN:
		o->has_admin = true;
		return 0;
	case OPT_NO_FSYNC:
		o->no_fsync = true;
		return 0;
	case OPT_NO_XATTR:
		o->no_xattr = true;
		return 0;
	case OPT_PIDFILE:
		o->pidfile = optarg;
		return 0;
	case OPT_LOG:
		return set_log_level(optarg);
	case OPT_HELP:
		fputs(usage_text, stdout);
		exit(0);
	default:
		return -EINVAL;
	}
}

static int
parse_options(struct options *o, int argc, char **argv)
{
	int c;

	memset(o, 0, sizeof *o);
	o->region = "us-east-1";
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		if (parse_option(o, c) != 0)
			return -EINVAL;
	return optind == argc && o->dir != NULL && o->listen != NULL && o->credentials != NULL
		   ? 0
		   : -EINVAL;
}

static int
write_pidfile(const char *path)
{
	FILE *f;

	if (path == NULL)
		return 0;
	f = fopen(path, "we");
	if (f == NULL || fprintf(f, "%ld\n", (long)getpid()) < 0 || fclose(f) != 0) {
		fprintf(stderr, "causeway-s3d: cannot write %s: %s\n", path, err_str(-errno));
		return -EIO;
	}
	return 0;
}

/* Everything that can fail, with one line that says what. */
static int
open_all(struct s3d *srv, const struct options *o, char *bound, size_t cap)
{
	char text[512] = "";
	int err = creds_open(o->credentials, &srv->creds, text, sizeof text);

	if (err == 0 && o->faults != NULL) {
		err = faults_watch(srv->faults, o->faults, text, sizeof text);
		if (err != 0)
			fprintf(stderr, "causeway-s3d: faults file %s: ", o->faults);
	} else if (err != 0) {
		fprintf(stderr, "causeway-s3d: ");
	}
	if (err == 0) {
		err = listener_open(o->listen, &srv->listener, bound, cap, text, sizeof text);
		if (err == 0)
			err = store_open(
			    o->dir, !o->no_fsync, o->no_xattr, &srv->store, text, sizeof text);
		if (err != 0)
			fprintf(stderr, "causeway-s3d: ");
	}
	if (err != 0)
		fprintf(stderr, "%s\n", text[0] != '\0' ? text : err_str(err));
	return err;
}

static void
raise_nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max < 65536 ? r.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static int
serve(struct s3d *srv, const struct options *o, const sigset_t *signals)
{
	char bound[128];
	struct http *http = NULL;
	int err = open_all(srv, o, bound, sizeof bound), sig;

	if (err == 0) {
		err = http_start(srv, &http);
		if (err == 0)
			err = listener_start(srv->listener, http_add, http);
		if (err != 0)
			fprintf(stderr, "causeway-s3d: cannot start: %s\n", err_str(err));
	}
	if (err == 0)
		err = write_pidfile(o->pidfile);
	if (err == 0) {
		printf("listening on %s\n", bound);
		fflush(stdout);
		sigwait(signals, &sig);
		log_info("s3d.main", "stopping", "signal=%d", sig);
	}
	atomic_store(&srv->is_stopping, true);
	/* No new connection may reach a daemon that is being stopped. */
	if (srv->listener != NULL)
		listener_stop(srv->listener);
	http_stop(http);
	listener_close(srv->listener);
	store_close(srv->store);
	creds_close(srv->creds);
	if (err == 0 && o->pidfile != NULL)
		unlink(o->pidfile);
	return err;
}

int
main(int argc, char **argv)
{
	struct s3d srv = {0};
	struct options o;
	sigset_t signals;
	int err;

	if (parse_options(&o, argc, argv) != 0) {
		fputs(usage_text, stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	umask(022);
	raise_nofile();
	xmlInitParser();
	srv.region = o.region;
	srv.domain = o.domain;
	srv.has_admin = o.has_admin;
	srv.faults = faults_new();
	srv.stats = stats_new();
	atomic_init(&srv.request_ids, 1);
	err = serve(&srv, &o, &signals);
	faults_free(srv.faults);
	stats_free(srv.stats);
	xmlCleanupParser();
	return err == 0 ? 0 : 1;
}
