/* SPDX-License-Identifier: Apache-2.0 */
/* s3_time.c - own small parsers: strptime() asks the locale for the names of months. */
#include "s3/s3_time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000

/* digits - n decimal digits at *at, which moves behind them. */
static bool
digits(const char **at, int n, int *out)
{
	*out = 0;
	for (int i = 0; i < n; i++) {
		char c = **at;

		if (c < '0' || c > '9')
			return false;
		*out = *out * 10 + (c - '0');
		(*at)++;
	}
	return true;
}

static bool
literal(const char **at, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

static bool
clock_of(const char **at, struct tm *tm)
{
	return digits(at, 2, &tm->tm_hour) && literal(at, ":") && digits(at, 2, &tm->tm_min) &&
	       literal(at, ":") && digits(at, 2, &tm->tm_sec);
}

/* seconds_of - tm with a full year and a month from 1, checked. */
static bool
seconds_of(struct tm *tm, int64_t *out)
{
	if (tm->tm_year < 1970 || tm->tm_mon < 1 || tm->tm_mon > 12 || tm->tm_mday < 1 ||
	    tm->tm_mday > 31 || tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 60)
		return false;
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	*out = timegm(tm);
	return true;
}

int
s3_time_iso(const char *text, int64_t *ns_out)
{
	struct tm tm = {0};
	int64_t s, frac = 0, unit = NS_PER_S / 10;

	*ns_out = 0;
	if (!digits(&text, 4, &tm.tm_year) || !literal(&text, "-") ||
	    !digits(&text, 2, &tm.tm_mon) || !literal(&text, "-") ||
	    !digits(&text, 2, &tm.tm_mday) || !literal(&text, "T") || !clock_of(&text, &tm))
		return -EINVAL;
	if (*text == '.')
		for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
			frac += (*text - '0') * unit;
	if (strcmp(text, "Z") != 0 && strcmp(text, "+00:00") != 0 && *text != '\0')
		return -EINVAL;
	/* the year 2262 is where nanoseconds end */
	if (!seconds_of(&tm, &s) || s > INT64_MAX / NS_PER_S - 1)
		return -EINVAL;
	*ns_out = s * NS_PER_S + frac;
	return 0;
}

int
s3_time_http(const char *text, int64_t *s_out)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const char *comma = strchr(text, ','), *month;
	char name[4] = "";
	struct tm tm = {0};

	*s_out = 0;
	if (comma == NULL)
		return -EINVAL;
	text = comma + 1;
	if (!literal(&text, " ") || !digits(&text, 2, &tm.tm_mday) || !literal(&text, " ") ||
	    strlen(text) < 4)
		return -EINVAL;
	memcpy(name, text, 3);
	text += 3;
	month = strstr(months, name);
	if (month == NULL || (month - months) % 3 != 0)
		return -EINVAL;
	tm.tm_mon = (int)(month - months) / 3 + 1;
	if (!literal(&text, " ") || !digits(&text, 4, &tm.tm_year) || !literal(&text, " ") ||
	    !clock_of(&text, &tm) || strcmp(text, " GMT") != 0 || !seconds_of(&tm, s_out))
		return -EINVAL;
	return 0;
}

void
s3_time_amz(int64_t s, char out[17])
{
	time_t t = (time_t)s;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || tm.tm_year + 1900 > 9999 || tm.tm_year < 70)
		memset(&tm, 0, sizeof(tm));
	if (strftime(out, 17, "%Y%m%dT%H%M%SZ", &tm) == 0)
		out[0] = '\0';
}
