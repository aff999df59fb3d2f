/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - one line per event: level, category, event word, key=value text.  No payloads, no secrets.
 *
 * Lines go to stderr (journald adds the time there; on a terminal we add it).  Each call site is
 * limited to 20 lines in 10 seconds for warnings and errors; what was dropped is counted in the next.
 */
#ifndef CW_BASE_LOG_H
#define CW_BASE_LOG_H

#include "gateway/base/err.h"

enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_MAX };

struct log_site {
	long window_s;
	unsigned int lines;
	unsigned int dropped;
};

/* log_set_level / log_parse_level - what is printed at all; any thread. parse: -EINVAL if unknown. */
void log_set_level(enum log_level level);
int log_parse_level(const char *text, enum log_level *out);
extern enum log_level log_level_now;

void log_write(struct log_site *site, enum log_level level, const char *cat, const char *event,
    const char *fmt, ...) CW_PRINTF(5, 6);

#define LOG_AT(level, cat, event, ...)                                                             \
	do {                                                                                       \
		static struct log_site log_site_here;                                              \
		if ((level) <= log_level_now)                                                      \
			log_write(&log_site_here, (level), (cat), (event), __VA_ARGS__);           \
	} while (0)

/* log_*("cache.commit", "fsync-failed", "space=%u err=\"%s\"", ...) */
#define log_err(cat, event, ...) LOG_AT(LOG_LEVEL_ERR, cat, event, __VA_ARGS__)
#define log_warn(cat, event, ...) LOG_AT(LOG_LEVEL_WARN, cat, event, __VA_ARGS__)
#define log_info(cat, event, ...) LOG_AT(LOG_LEVEL_INFO, cat, event, __VA_ARGS__)
#define log_debug(cat, event, ...) LOG_AT(LOG_LEVEL_DEBUG, cat, event, __VA_ARGS__)

/* fatal - a broken invariant of our own: log and abort. Never for input from outside. */
void fatal_at(const char *file, int line, const char *what) __attribute__((noreturn));
#define CW_ASSERT(x)                                                                               \
	do {                                                                                       \
		if (__builtin_expect(!(x), 0))                                                     \
			fatal_at(__FILE__, __LINE__, #x);                                          \
	} while (0)

#endif
