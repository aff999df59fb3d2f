/* SPDX-License-Identifier: Apache-2.0 */
/* s3_resp.c - the headers of an answer. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3/s3_int.h"
#include "s3/s3_time.h"

#define META "x-amz-meta-"

/* copy_value - cut to fit. */
static void
copy_value(char *to, size_t cap, const char *value, size_t len)
{
	if (len >= cap)
		len = cap - 1;
	memcpy(to, value, len);
	to[len] = '\0';
}

static void
copy_etag(char *to, const char *value, size_t len)
{
	if (len >= 2 && value[0] == 'W' && value[1] == '/') {
		value += 2;
		len -= 2;
	}
	if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
		value++;
		len -= 2;
	}
	copy_value(to, OBJSTORE_ETAG_MAX, value, len);
}

static bool
to_u64(const char **at, uint64_t *out)
{
	const char *start = *at;

	for (*out = 0; **at >= '0' && **at <= '9'; (*at)++) {
		if (*out > (UINT64_MAX - 9) / 10)
			return false;
		*out = *out * 10 + (uint64_t)(**at - '0');
	}
	return *at > start;
}

/* take_range - "bytes FIRST-LAST/TOTAL". source: RFC 9110 14.4 */
static void
take_range(struct s3_resp *r, const char *value)
{
	r->has_range = false; /* of two headers the last counts, whole */
	if (strncmp(value, "bytes ", 6) != 0)
		return;
	value += 6;
	if (!to_u64(&value, &r->range_first) || *value++ != '-' ||
	    !to_u64(&value, &r->range_last) || *value++ != '/' ||
	    !to_u64(&value, &r->range_total) || *value != '\0')
		return;
	r->has_range = r->range_first <= r->range_last && r->range_last < r->range_total;
}

static void
take_time(int64_t *out, const char *value)
{
	if (s3_time_http(value, out) < 0)
		*out = 0;
}

/* take_number - a header that is one number, as text of bounded length. */
static void
take_number(struct s3_resp *r, const char *name, const char *value)
{
	uint64_t v;

	if (!to_u64(&value, &v) || *value != '\0')
		return;
	if (strcasecmp(name, "retry-after") == 0) {
		r->retry_after_s = v < 3600 ? (unsigned int)v : 3600;
	} else {
		r->content_length = v;
		r->has_length = true;
	}
}

static void
take(struct s3_resp *r, const char *name, const char *value, size_t len)
{
	char text[64];

	copy_value(text, sizeof(text), value, len);
	if (strcasecmp(name, "etag") == 0)
		copy_etag(r->etag, value, len);
	else if (strcasecmp(name, "last-modified") == 0)
		take_time(&r->mtime_s, text);
	else if (strcasecmp(name, "date") == 0)
		take_time(&r->date_s, text);
	else if (strcasecmp(name, "content-type") == 0)
		copy_value(r->content_type, sizeof(r->content_type), value, len);
	else if (strcasecmp(name, "content-range") == 0)
		take_range(r, text);
	else if (strcasecmp(name, "content-length") == 0 || strcasecmp(name, "retry-after") == 0)
		take_number(r, name, text);
	else if (strcasecmp(name, "x-amz-storage-class") == 0)
		copy_value(r->storage_class, sizeof(r->storage_class), value, len);
	else if (strcasecmp(name, "x-amz-version-id") == 0)
		r->has_version = strcmp(text, "null") != 0; /* null: suspended */
	else if (strcasecmp(name, "x-amz-bucket-region") == 0)
		copy_value(r->region, sizeof(r->region), value, len);
	else if (strcasecmp(name, "x-amz-error-code") == 0 ||
		 strcasecmp(name, "x-minio-error-code") == 0)
		copy_value(r->error_code, sizeof(r->error_code), value, len);
}

void
s3_resp_header(struct s3_resp *r, const char *line, size_t len, struct objstore_meta_buf *meta)
{
	const char *colon = memchr(line, ':', len), *value;
	size_t name_len, value_len;
	char name[48];

	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		const char *blank = memchr(line, ' ', len);

		memset(r, 0, sizeof(*r));
		for (int i = 1; blank != NULL && i <= 3 && blank + i < line + len; i++)
			if (blank[i] >= '0' && blank[i] <= '9')
				r->status = r->status * 10 + (blank[i] - '0');
		if (meta != NULL)
			meta->n = meta->text_len = 0;
		return;
	}
	if (colon == NULL)
		return;
	name_len = (size_t)(colon - line);
	value = colon + 1;
	value_len = len - name_len - 1;
	while (value_len > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		value_len--;
	}
	while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
		value_len--;
	if (memchr(value, '\0', value_len) != NULL)
		return;
	if (name_len > strlen(META) && strncasecmp(line, META, strlen(META)) == 0) {
		if (meta != NULL)
			objstorei_meta_add(
			    meta, line + strlen(META), name_len - strlen(META), value, value_len);
		return;
	}
	if (name_len == 0 || name_len >= sizeof(name))
		return;
	copy_value(name, sizeof(name), line, name_len);
	take(r, name, value, value_len);
}
