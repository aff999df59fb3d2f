/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_S 10
#define LINES_PER_WINDOW 20

enum log_level log_level_now = LOG_LEVEL_INFO;

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *const level_names[] = {"error", "warning", "info", "debug"};

void
log_set_level(enum log_level level)
{
	log_level_now = level;
}

int
log_parse_level(const char *text, enum log_level *out)
{
	for (int i = 0; i < LOG_LEVEL_MAX; i++) {
		if (strcasecmp(text, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* May this site print now? Only warnings and errors are limited: they are what a peer can provoke. */
static bool
site_admits(struct log_site *site, enum log_level level, unsigned int *dropped)
{
	struct timespec now;

	*dropped = 0;
	if (level > LOG_LEVEL_WARN)
		return true;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec - site->window_s >= WINDOW_S || site->window_s == 0) {
		site->window_s = now.tv_sec;
		site->lines = 0;
		*dropped = site->dropped;
		site->dropped = 0;
	}
	if (site->lines >= LINES_PER_WINDOW) {
		site->dropped++;
		return false;
	}
	site->lines++;
	return true;
}

void
log_write(struct log_site *site, enum log_level level, const char *cat, const char *event,
    const char *fmt, ...)
{
	int saved_errno = errno;
	unsigned int dropped;
	char line[1200], stamp[40] = "";
	struct timespec now;
	struct tm tm;
	va_list ap;
	int n;

	pthread_mutex_lock(&log_mutex);
	if (!site_admits(site, level, &dropped))
		goto out;
	if (getenv("JOURNAL_STREAM") == NULL) {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ ", &tm);
	}
	n = snprintf(line, sizeof(line), "%s%s %s %s ", stamp, level_names[level], cat, event);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 32)
		n = (int)sizeof(line) - 32;
	if (dropped > 0)
		n += snprintf(line + n, sizeof(line) - (size_t)n, " dropped=%u", dropped);
	for (int i = 0; i < n; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0) {
		/* nowhere left to say it */
	}
out:
	pthread_mutex_unlock(&log_mutex);
	errno = saved_errno;
}

void
fatal_at(const char *file, int line, const char *what)
{
	fprintf(stderr, "fatal: broken invariant at %s:%d: %s\n", file, line, what);
	abort();
}
