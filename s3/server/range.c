/* SPDX-License-Identifier: Apache-2.0 */
/* range.c - byte ranges, with every overflow of a decimal refused. */
#include "s3/server/range.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static bool
number(const char **p, uint64_t *out)
{
	const char *s = *p;
	uint64_t v = 0;

	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*p = s;
	*out = v;
	return true;
}

int
range_parse(const char *text, uint64_t size, uint64_t *off, uint64_t *len)
{
	uint64_t first, last;

	*off = 0;
	*len = size;
	if (text == NULL || strncasecmp(text, "bytes=", 6) != 0)
		return 0;
	text += 6;
	if (*text == '-') {
		text++;
		if (!number(&text, &last) || *text != '\0')
			return 0;
		if (last == 0 || size == 0)
			return -ERR_INVALID_RANGE;
		*len = last < size ? last : size;
		*off = size - *len;
		return 1;
	}
	if (!number(&text, &first) || *text++ != '-')
		return 0;
	last = UINT64_MAX;
	if (*text != '\0' && (!number(&text, &last) || *text != '\0'))
		return 0;
	if (last < first)
		return 0;
	if (first >= size)
		return -ERR_INVALID_RANGE;
	*off = first;
	*len = (last < size ? last + 1 : size) - first;
	return 1;
}

int
range_parse_copy(const char *text, uint64_t size, uint64_t *off, uint64_t *len)
{
	uint64_t first, last;

	*off = *len = 0;
	if (strncmp(text, "bytes=", 6) != 0)
		return -EINVAL;
	text += 6;
	if (!number(&text, &first) || *text++ != '-' || !number(&text, &last) || *text != '\0' ||
	    last < first)
		return -EINVAL;
	if (last >= size)
		return -ERR_INVALID_RANGE;
	*off = first;
	*len = last - first + 1;
	return 0;
}
