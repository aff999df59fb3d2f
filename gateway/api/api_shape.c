/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_shape.c - the patterns of the service model as functions, and the shapes that several
 * operations share.  A function per pattern and no regular expressions: input from the network
 * meets only code whose cost is one pass over the text.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "gateway/api/api_json.h"

/* Printable ASCII without '/' and '\\', and not blanks alone. */
bool
api_is_gateway_name(const char *s)
{
	bool any = false;

	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < ' ' || c > '~' || c == '/' || c == '\\')
			return false;
		any |= c != ' ';
	}
	return any;
}

/* Letters, numbers, blanks of any script (all of UTF-8 beyond ASCII is taken) and _.:/=+-@ */
bool
api_is_tag_key(const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x80 && !isalnum(c) && strchr(" _.:/=+-@", c) == NULL)
			return false;
	}
	return true;
}

bool
api_is_file_mode(const char *s)
{
	return strlen(s) == 4 && strspn(s, "01234567") == 4;
}

/* "arn:PARTITION:SERVICE:" -> what follows, NULL if it does not begin so. */
static const char *
after_partition(const char *s, const char *service)
{
	size_t n;

	if (strncmp(s, "arn:aws", 7) != 0)
		return NULL;
	s += 7;
	n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
	if ((n > 0 && *s != '-') || s[n] != ':')
		return NULL;
	s += n + 1;
	n = strlen(service);
	return strncmp(s, service, n) == 0 && s[n] == ':' ? s + n + 1 : NULL;
}

static bool
is_word(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++)
		if (isspace((unsigned char)*s))
			return false;
	return true;
}

bool
api_is_role_arn(const char *s)
{
	size_t digits;

	s = after_partition(s, "iam");
	if (s == NULL || *s != ':')
		return false;
	digits = strspn(++s, "0123456789");
	if (digits == 0 || strncmp(s + digits, ":role/", 6) != 0)
		return false;
	return is_word(s + digits + 6);
}

bool
api_is_kms_key(const char *s)
{
	size_t n;

	if (strncmp(s, "alias/", 6) == 0)
		return is_word(s + 6);
	s = after_partition(s, "kms");
	if (s == NULL)
		return false;
	n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
	if (n == 0 || s[n] != ':')
		return false;
	s += n + 1;
	n = strspn(s, "0123456789");
	if (n == 0 || s[n] != ':')
		return false;
	s += n + 1;
	if (strncmp(s, "key/", 4) == 0)
		return is_word(s + 4);
	return strncmp(s, "alias/", 6) == 0 && is_word(s + 6);
}

bool
api_is_cidr(const char *s)
{
	struct cw_client_net net;

	return cw_client_net_parse(s, &net) == 0;
}

/* '{', then word characters, blanks, braces, brackets, colons and quotes, then '}' */
bool
api_is_policy_text(const char *s)
{
	size_t n = strlen(s);

	if (n < 2 || s[0] != '{' || s[n - 1] != '}')
		return false;
	for (; *s != '\0'; s++)
		if (!isalnum((unsigned char)*s) && !isspace((unsigned char)*s) &&
		    strchr("_:{}[]\"", *s) == NULL)
			return false;
	return true;
}

bool
api_is_dns_name(const char *s)
{
	bool was_alnum = false;

	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s == '.' && !was_alnum)
			return false;
		if (*s != '.' && *s != '-' && !isalnum((unsigned char)*s))
			return false;
		was_alnum = isalnum((unsigned char)*s) != 0;
	}
	return was_alnum;
}

bool
api_is_address(const char *s)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1;
}

bool
api_is_target_name(const char *s)
{
	return s[0] != '\0' && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.;")] == '\0';
}

bool
api_is_iqn(const char *s)
{
	return s[0] != '\0' && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789:.-")] == '\0';
}

bool
api_is_snapshot_id(const char *s)
{
	size_t n;

	if (strncmp(s, "snap-", 5) != 0)
		return false;
	n = strspn(s + 5, "0123456789abcdefABCDEF");
	return (n == 8 || n == 17) && s[5 + n] == '\0';
}

/* "arn:PARTITION:storagegateway:REGION:ACCOUNT:gateway/ID/volume/vol-ID" */
bool
api_is_volume_arn(const char *s)
{
	size_t n;

	s = after_partition(s, "storagegateway");
	if (s == NULL)
		return false;
	n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (n == 0 || s[n] != ':')
		return false;
	s += n + 1;
	n = strspn(s, "0123456789");
	if (n == 0 || strncmp(s + n, ":gateway/", 9) != 0)
		return false;
	s = strstr(s + n + 10, "/volume/vol-");
	return s != NULL && is_word(s + 12);
}

/* --- shared shapes ------------------------------------------------------------------------------- */

const struct api_shape api_gateway_arn = {.type = API_STRING, .min = 50, .max = 500};
const struct api_shape api_share_arn = {.type = API_STRING, .min = 50, .max = 500};
const struct api_shape api_resource_arn = {.type = API_STRING, .min = 50, .max = 500};
const struct api_shape api_marker = {.type = API_STRING, .min = 1, .max = 2000};
const struct api_shape api_limit = {.type = API_INTEGER, .min = 1, .max = INT32_MAX};
const struct api_shape api_client_token = {.type = API_STRING, .min = 5, .max = 100};
const struct api_shape api_disk_id = {.type = API_STRING, .min = 1, .max = 300};
const struct api_shape api_kms_key = {.type = API_STRING,
    .min = 7,
    .max = 2048,
    .matches = api_is_kms_key,
    .pattern = "(^arn:(aws|aws-cn|aws-us-gov):kms:([a-zA-Z0-9-]+):([0-9]+):(key|alias)/(\\S+)$)|"
	       "(^alias/(\\S+)$)"};
const struct api_shape api_volume_arn = {.type = API_STRING,
    .min = 50,
    .max = 500,
    .matches = api_is_volume_arn,
    .pattern =
	"arn:(aws(|-cn|-us-gov|-iso[A-Za-z0-9_-]*|-eusc)):storagegateway:[a-z\\-0-9]+:[0-9]+:"
	"gateway\\/(.+)\\/volume\\/vol-(\\S+)"};
const struct api_shape api_target_arn = {.type = API_STRING, .min = 50, .max = 800};
const struct api_shape api_boolean = {.type = API_BOOLEAN};

static const struct api_shape tag_key = {.type = API_STRING,
    .min = 1,
    .max = 128,
    .matches = api_is_tag_key,
    .pattern = "^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$"};
static const struct api_shape tag_value = {.type = API_STRING, .max = 256};
static const struct api_field tag_fields[] = {
    {"Key", &tag_key, true}, {"Value", &tag_value, true}, {NULL, NULL, false}};
static const struct api_shape tag = {.type = API_OBJECT, .fields = tag_fields};
const struct api_shape api_tags = {.type = API_LIST, .member = &tag};
const struct api_shape api_tag_keys = {.type = API_LIST, .member = &tag_key};
