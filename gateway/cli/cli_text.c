/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/cli/cli.h"

void
cli_print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	putchar('\n');
}

const char *
cli_bytes(uint64_t n, char *buf)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)n;
	size_t i = 0;

	while (v >= 1024 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
		v /= 1024;
		i++;
	}
	snprintf(buf, CLI_TEXT, i == 0 ? "%.0f %s" : "%.1f %s", v, unit[i]);
	return buf;
}

const char *
cli_count(uint64_t n, char *buf)
{
	char plain[24];
	size_t len = (size_t)snprintf(plain, sizeof(plain), "%" PRIu64, n), o = 0;

	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			buf[o++] = ',';
		buf[o++] = plain[i];
	}
	buf[o] = '\0';
	return buf;
}

const char *
cli_age(uint64_t s, char *buf)
{
	if (s < 60)
		snprintf(buf, CLI_TEXT, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(buf, CLI_TEXT, "%" PRIu64 " min %02" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, CLI_TEXT, "%" PRIu64 " h %02" PRIu64 " min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, CLI_TEXT, "%" PRIu64 " d %02" PRIu64 " h", s / 86400, s / 3600 % 24);
	return buf;
}

const char *
cli_time(double epoch_s, char *buf)
{
	time_t t = (time_t)epoch_s;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL || strftime(buf, CLI_TEXT, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(buf, CLI_TEXT, "?");
	return buf;
}

const char *
cli_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

uint64_t
cli_num(const json_t *o, const char *key)
{
	double v = json_number_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

/* --- tables -------------------------------------------------------------------------------------- */

void
cli_table_init(struct cli_table *t, size_t ncols, const char *alignment)
{
	memset(t, 0, sizeof(*t));
	t->ncols = ncols;
	t->is_right = alignment;
}

void
cli_table_add(struct cli_table *t, size_t col, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (t->nrows == t->cap) {
		t->cap = t->cap == 0 ? 16 : 2 * t->cap;
		t->cells = xrealloc(t->cells, t->cap * t->ncols * sizeof(*t->cells));
		memset(t->cells + t->nrows * t->ncols, 0,
		    (t->cap - t->nrows) * t->ncols * sizeof(*t->cells));
	}
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = xstrdup("");
	va_end(ap);
	/* What others named may hold anything: keep the terminal's own language out of it. */
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	free(t->cells[t->nrows * t->ncols + col]);
	t->cells[t->nrows * t->ncols + col] = text;
}

void
cli_table_end_row(struct cli_table *t)
{
	t->nrows++;
}

/* Columns on a terminal taken by UTF-8 text: bytes that do not continue a character. */
static int
width(const char *s)
{
	int n = 0;

	for (; s != NULL && *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void
print_cell(const struct cli_table *t, size_t col, const char *s, int w)
{
	bool is_last = col + 1 == t->ncols;
	int pad = w - width(s);

	s = s != NULL ? s : "";
	if (t->is_right[col] == 'r')
		printf("%*s%s", pad, "", s);
	else
		printf("%s%*s", s, is_last ? 0 : pad, "");
	fputs(is_last ? "\n" : "  ", stdout);
}

void
cli_table_print(struct cli_table *t)
{
	for (size_t r = 0; r < t->nrows; r++) {
		for (size_t col = 0; col < t->ncols; col++) {
			int w = 0;

			for (size_t i = 0; i < t->nrows; i++) {
				int n = width(t->cells[i * t->ncols + col]);

				w = n > w ? n : w;
			}
			print_cell(t, col, t->cells[r * t->ncols + col], w);
		}
	}
	for (size_t i = 0; i < t->nrows * t->ncols; i++)
		free(t->cells[i]);
	free(t->cells);
	memset(t, 0, sizeof(*t));
}
