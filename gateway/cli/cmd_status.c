/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_status.c - status, drain: what is served, what is pending, and waiting until nothing is. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/cli/cli.h"

#define POLL_MS 500
#define POLL_MAX_MS 2000
#define LINE_EVERY_MS 10000 /* without a terminal: at most one line of progress in so long */

struct pending { /* over the shares asked for; volumes count only without a share */
	uint64_t files, bytes, oldest_s, failing, nfiles;
	uint64_t rate; /* bytes a second */
	bool is_found, is_offline;
};

/* A volume with something to upload counts as one. */
static void
sum_volumes(const json_t *status, struct pending *p)
{
	const json_t *volumes = json_object_get(status, "volumes"), *v;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)volumes, i, v)
	{
		uint64_t dirty = cli_num(v, "dirty_bytes");

		if (dirty == 0)
			continue;
		p->files++;
		p->bytes += dirty;
		if (json_is_false(json_object_get(v, "store_reachable")))
			p->is_offline = true;
		if (cli_num(v, "oldest_dirty_s") > p->oldest_s)
			p->oldest_s = cli_num(v, "oldest_dirty_s");
	}
}

static struct pending
sum_pending(const json_t *status, const char *share)
{
	const json_t *shares = json_object_get(status, "shares"), *s;
	struct pending p = {.rate = cli_num(status, "upload_rate_bps") / 8};
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)shares, i, s)
	{
		if (share != NULL && strcmp(share, cli_str(s, "name")) != 0)
			continue;
		p.is_found = true;
		p.files += cli_num(s, "pending_files");
		p.bytes += cli_num(s, "pending_bytes");
		p.failing += cli_num(s, "failing_files");
		p.nfiles += cli_num(s, "files");
		if (!json_is_true(json_object_get(s, "available")))
			p.is_offline = true;
		if (cli_num(s, "oldest_dirty_s") > p.oldest_s)
			p.oldest_s = cli_num(s, "oldest_dirty_s");
	}
	if (share == NULL) {
		p.is_found = true;
		sum_volumes(status, &p);
	}
	return p;
}

static char *
progress_text(const struct pending *p)
{
	char a[CLI_TEXT], b[CLI_TEXT], d[CLI_TEXT], e[CLI_TEXT];

	if (p->files == 0)
		return xasprintf("everything is uploaded, %s files", cli_count(p->nfiles, a));
	return xasprintf("%s to upload, %s, oldest %s, %s/s%s%s", cli_count(p->files, a),
	    cli_bytes(p->bytes, b), cli_age(p->oldest_s, d), cli_bytes(p->rate, e),
	    p->failing > 0 ? ", some fail" : "",
	    p->is_offline ? ", the store does not answer" : "");
}

/* --- one line of progress ------------------------------------------------------------------------ */

struct progress {
	bool is_tty, is_shown;
	uint64_t said_ms;
	bool was_idle;
	FILE *to;
};

static void
progress_init(struct progress *pr, FILE *to)
{
	*pr = (struct progress){.is_tty = isatty(fileno(to)), .to = to};
}

static void
progress_show(struct progress *pr, const char *text, bool is_idle)
{
	uint64_t now = clock_mono_ms();

	if (pr->is_tty) {
		fprintf(pr->to, "\r\033[K%s", text);
	} else if (!pr->is_shown || is_idle != pr->was_idle ||
		   (!is_idle && now - pr->said_ms >= LINE_EVERY_MS)) {
		fprintf(pr->to, "%s\n", text);
		pr->said_ms = now;
	}
	pr->is_shown = true;
	pr->was_idle = is_idle;
	fflush(pr->to);
}

static void
progress_end(struct progress *pr)
{
	if (pr->is_tty && pr->is_shown)
		fputc('\n', pr->to);
}

int
cli_wait_uploaded(struct cli *c, const char *share, unsigned int timeout_s)
{
	uint64_t until = clock_mono_ms() + 1000ull * timeout_s;
	unsigned int wait_ms = 50;
	struct progress pr;

	progress_init(&pr, stderr);
	for (;;) {
		struct pending p;
		json_t *status;
		int rc = cli_get(c, "/v1/status", NULL, &status);

		if (rc != CLI_OK) {
			progress_end(&pr);
			return rc;
		}
		p = sum_pending(status, share);
		json_decref(status);
		if (!p.is_found) {
			cli_error("no share %s", share);
			return CLI_FAILED;
		}
		if (!c->is_json) {
			char *text = progress_text(&p);

			progress_show(&pr, text, p.files == 0);
			free(text);
		}
		if (p.files == 0 || (timeout_s > 0 && clock_mono_ms() >= until)) {
			progress_end(&pr);
			if (p.files > 0)
				cli_error("%" PRIu64 " still to upload", p.files);
			return p.files == 0 ? CLI_OK : CLI_TIMEOUT;
		}
		clock_sleep_ms(wait_ms);
		wait_ms = wait_ms * 2 > POLL_MS ? POLL_MS : wait_ms * 2;
	}
}

static volatile sig_atomic_t is_interrupted;

static void
on_signal(int sig)
{
	(void)sig;
	is_interrupted = 1;
}

/* Until interrupted; rides through a daemon that is away. */
static int
watch(struct cli *c, const char *share)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct progress pr;
	pid_t parent = getppid();

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	progress_init(&pr, stdout);
	/* Somebody's progress line must not outlive him. */
	while (!is_interrupted && getppid() == parent) {
		struct timespec pause = {POLL_MAX_MS / 1000, (POLL_MAX_MS % 1000) * 1000000L};
		json_t *status;
		int rc = cli_get_quiet(c, "/v1/status", NULL, &status);

		if (rc == CLI_OK) {
			struct pending p = sum_pending(status, share);
			char *text = progress_text(&p);

			progress_show(&pr, text, p.files == 0);
			if (p.files > 0)
				pause = (struct timespec){0, POLL_MS * 1000000L};
			free(text);
			json_decref(status);
		} else if (rc != CLI_UNREACHABLE) {
			return rc;
		}
		nanosleep(&pause, NULL);
	}
	progress_end(&pr);
	return CLI_OK;
}

/* --- the whole picture --------------------------------------------------------------------------- */

static void
print_head(const json_t *status)
{
	const json_t *gateways = json_object_get(status, "gateways"), *g;
	const json_t *cache = json_object_get(status, "cache");
	char a[CLI_TEXT], b[CLI_TEXT], d[CLI_TEXT], e[CLI_TEXT], f[CLI_TEXT];
	uint64_t hit = cli_num(cache, "hit_bytes"), miss = cli_num(cache, "miss_bytes");
	uint64_t capacity = cli_num(cache, "capacity_bytes");
	size_t i;

	printf("version  %s, up %s\n", cli_str(status, "version"),
	    cli_age(cli_num(status, "uptime_s"), a));
	json_array_foreach((json_t *)(uintptr_t)gateways, i, g)
	{
		const char *id = json_is_string(g) ? json_string_value(g) : cli_str(g, "id");

		printf("gateway  %s %s\n", id, cli_str(g, "name"));
	}
	printf("cache    %s of %s used (%" PRIu64 " %%), %s clean, %s dirty of at most %s",
	    cli_bytes(cli_num(cache, "used_bytes"), a), cli_bytes(capacity, b),
	    capacity > 0 ? cli_num(cache, "used_bytes") * 100 / capacity : 0,
	    cli_bytes(cli_num(cache, "clean_bytes"), d),
	    cli_bytes(cli_num(cache, "dirty_bytes"), e),
	    cli_bytes(cli_num(cache, "dirty_max_bytes"), f));
	if (hit + miss > 0)
		printf(
		    ", %" PRIu64 " %% hits", (uint64_t)((double)hit * 100 / (double)(hit + miss)));
	if (json_is_true(json_object_get(cache, "failing")))
		printf(", THE CACHE DISK FAILS");
	printf("\nupload   %s/s\n", cli_bytes(cli_num(status, "upload_rate_bps") / 8, a));
}

static void
print_shares(const json_t *status)
{
	static const char *const head[] = {"SHARE", "BUCKET", "FILES", "PENDING", "BYTES", "OLDEST",
	    "UPLOADED", "CONFLICTS", "STATE"};
	const json_t *shares = json_object_get(status, "shares"), *s;
	char b[CLI_TEXT];
	struct cli_table t;
	size_t i;

	if (json_array_size(shares) == 0) {
		puts("no shares");
		return;
	}
	putchar('\n');
	cli_table_init(&t, 9, "llrrrrrrl");
	for (i = 0; i < 9; i++)
		cli_table_add(&t, i, "%s", head[i]);
	cli_table_end_row(&t);
	json_array_foreach((json_t *)(uintptr_t)shares, i, s)
	{
		uint64_t pending = cli_num(s, "pending_files"),
			 failing = cli_num(s, "failing_files");
		bool is_up = json_is_true(json_object_get(s, "available"));

		cli_table_add(&t, 0, "%s", cli_str(s, "name"));
		cli_table_add(&t, 1, "%s/%s", cli_str(s, "bucket"), cli_str(s, "prefix"));
		cli_table_add(&t, 2, "%s", cli_count(cli_num(s, "files"), b));
		cli_table_add(&t, 3, "%s", cli_count(pending, b));
		cli_table_add(&t, 4, "%s", cli_bytes(cli_num(s, "pending_bytes"), b));
		cli_table_add(
		    &t, 5, "%s", pending ? cli_age(cli_num(s, "oldest_dirty_s"), b) : "-");
		cli_table_add(&t, 6, "%s", cli_bytes(cli_num(s, "uploaded_bytes"), b));
		cli_table_add(&t, 7, "%s", cli_count(cli_num(s, "conflicts"), b));
		if (is_up && failing > 0)
			cli_table_add(&t, 8, "%" PRIu64 " uploads fail", failing);
		else
			cli_table_add(&t, 8, "%s%s", is_up ? "available" : "unavailable: ",
			    is_up ? "" : cli_str(s, "reason"));
		cli_table_end_row(&t);
	}
	cli_table_print(&t);
}

static int
parse_timeout(const char *text, unsigned int *out)
{
	char *end;
	unsigned long v;

	*out = 0;
	if (text == NULL)
		return CLI_OK;
	v = strtoul(text, &end, 10);
	if (*end != '\0' || end == text || v > 1000000)
		return cli_usage("--timeout wants seconds, not \"%s\"", text);
	*out = (unsigned int)v;
	return CLI_OK;
}

int
cmd_status(struct cli *c, struct cli_args *a)
{
	bool is_wait = false, is_watch = false;
	const char *timeout = NULL, *share;
	const struct cli_opt opts[] = {
	    {.name = "wait", .letter = 'w', .flag = &is_wait},
	    {.name = "watch", .flag = &is_watch},
	    {.name = "timeout", .has_value = true, .value = &timeout},
	    {.name = "json", .letter = 'j', .flag = &c->is_json},
	};
	unsigned int timeout_s;
	json_t *status;
	int rc = cli_parse(a, opts, sizeof(opts) / sizeof(opts[0]), false);

	if (rc == CLI_OK && a->argc > 1)
		rc = cli_usage("status takes at most one share");
	if (rc == CLI_OK)
		rc = parse_timeout(timeout, &timeout_s);
	if (rc == CLI_OK)
		rc = cli_need_api(c);
	if (rc != CLI_OK)
		return rc;
	share = a->argc > 0 ? a->argv[0] : NULL;
	if (is_watch)
		return watch(c, share);
	if (is_wait)
		rc = cli_wait_uploaded(c, share, timeout_s);
	if (rc != CLI_OK || (is_wait && !c->is_json))
		return rc;
	rc = cli_get(c, "/v1/status", NULL, &status);
	if (rc != CLI_OK)
		return rc;
	if (c->is_json) {
		cli_print_json(status);
	} else {
		print_head(status);
		print_shares(status);
		if (json_array_size(json_object_get(status, "volumes")) > 0) {
			putchar('\n');
			cli_print_volumes(json_object_get(status, "volumes"));
		}
	}
	json_decref(status);
	return CLI_OK;
}

int
cmd_drain(struct cli *c, struct cli_args *a)
{
	bool is_nowait = false;
	const char *timeout = NULL, *share;
	const struct cli_opt opts[] = {
	    {.name = "no-wait", .flag = &is_nowait},
	    {.name = "timeout", .has_value = true, .value = &timeout},
	    {.name = "json", .letter = 'j', .flag = &c->is_json},
	};
	char *query = NULL;
	unsigned int timeout_s;
	json_t *answer;
	int rc = cli_parse(a, opts, sizeof(opts) / sizeof(opts[0]), false);

	if (rc == CLI_OK && a->argc > 1)
		rc = cli_usage("drain takes at most one share");
	if (rc == CLI_OK)
		rc = parse_timeout(timeout, &timeout_s);
	if (rc != CLI_OK)
		return rc;
	share = a->argc > 0 ? a->argv[0] : NULL;
	if (share != NULL)
		query = xasprintf("share=%s", share);
	rc = cli_post(c, "/v1/drain", query, &answer);
	free(query);
	if (rc != CLI_OK)
		return rc;
	if (!is_nowait)
		rc = cli_wait_uploaded(c, share, timeout_s);
	if (c->is_json)
		cli_print_json(answer);
	json_decref(answer);
	return rc;
}
