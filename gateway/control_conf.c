/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_conf.c - a share's row, in the AWS API's words, to struct cw_share_conf.  Pure.
 *
 * What that API has no member for is set by tags whose keys begin with "causeway:", so Terraform and
 * the AWS CLI can set it too: conflict-policy, settle-ms, max-age-ms, posix-mode-digits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "gateway/control_int.h"

static bool
bucket_is_valid(const char *b, size_t len)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

	return len >= 3 && len <= 63 && strspn(b, ok) >= len && b[0] != '-' && b[len - 1] != '-';
}

/* Components of a prefix must be names that a path could have. */
static bool
prefix_is_valid(const char *p)
{
	while (*p != '\0') {
		size_t n = strcspn(p, "/");

		if (n == 0 || n > CW_NAME_MAX || (n == 1 && p[0] == '.') ||
		    (n == 2 && p[0] == '.' && p[1] == '.') || p[n] != '/')
			return false;
		p += n + 1;
	}
	return true;
}

int
control_location_parse(
    const char *arn, char **bucket, char **prefix, char *err_text, size_t err_cap)
{
	const char *at = strstr(arn, ":s3:");
	size_t len;

	*bucket = *prefix = NULL;
	if (strncmp(arn, "arn:", 4) != 0 || at == NULL) {
		snprintf(err_text, err_cap, "The LocationARN is not the ARN of an S3 bucket.");
		return -EINVAL;
	}
	if (strncmp(at, ":s3:::", 6) != 0) {
		snprintf(err_text, err_cap,
		    "The LocationARN names an access point; use the access point's alias in place "
		    "of a bucket name.");
		return -EINVAL;
	}
	at += 6;
	len = strcspn(at, "/");
	if (memchr(at, '.', len) != NULL) {
		snprintf(
		    err_text, err_cap, "Bucket names that contain a period are not supported.");
		return -EINVAL;
	}
	if (!bucket_is_valid(at, len)) {
		snprintf(err_text, err_cap, "The bucket name in the LocationARN is not valid.");
		return -EINVAL;
	}
	*bucket = xstrndup(at, len);
	at += len;
	*prefix = xstrdup(*at == '/' ? at + 1 : "");
	if (!prefix_is_valid(*prefix) || strlen(*prefix) > CW_KEY_MAX / 2) {
		snprintf(err_text, err_cap,
		    "The prefix in the LocationARN must end in a slash, hold "
		    "no empty, '.' or '..' part, and be at most 512 bytes.");
		return -EINVAL;
	}
	return 0;
}

static uint32_t
octal(const json_t *defaults, const char *name, uint32_t otherwise)
{
	const char *s = json_string_value(json_object_get(defaults, name));

	return s != NULL ? (uint32_t)strtoul(s, NULL, 8) & 07777 : otherwise;
}

static uint32_t
id_number(const json_t *defaults, const char *name)
{
	const json_t *v = json_object_get(defaults, name);

	return json_is_integer(v) ? (uint32_t)json_integer_value(v) : 65534;
}

static void
set_posix_defaults(const json_t *row, struct cw_share_conf *out)
{
	const json_t *d = json_object_get(row, "NFSFileShareDefaults");

	out->file_mode = octal(d, "FileMode", 0666);
	out->dir_mode = octal(d, "DirectoryMode", 0777);
	out->owner_id = id_number(d, "OwnerId");
	out->group_id = id_number(d, "GroupId");
}

static int
set_clients(const json_t *row, struct cw_share_conf *out, char *err_text, size_t err_cap)
{
	const json_t *list = json_object_get(row, "ClientList"), *v;
	size_t i;

	if (json_array_size(list) == 0)
		return 0;
	out->clients = xcalloc(json_array_size(list), sizeof(*out->clients));
	json_array_foreach(list, i, v)
	{
		const char *text = json_string_value(v);

		if (text == NULL || cw_client_net_parse(text, &out->clients[i]) < 0) {
			snprintf(err_text, err_cap, "ClientList: %s is no address or CIDR block.",
			    text != NULL ? text : "an entry");
			return -EINVAL;
		}
		out->nclients++;
	}
	return 0;
}

static void
replace(char **field, const char *value)
{
	free(*field);
	*field = value != NULL ? xstrdup(value) : NULL;
}

/* SSE-S3 is what buckets do by themselves, so nothing is sent for it unless it was asked for. */
static void
set_encryption(const json_t *row, struct cw_share_conf *out)
{
	const char *type = controli_row_string(row, "EncryptionType");
	bool is_kms = json_is_true(json_object_get(row, "KMSEncrypted"));

	replace(&out->sse, NULL);
	if (strcmp(type, "SseS3") == 0)
		replace(&out->sse, "AES256");
	else if (strcmp(type, "DsseKms") == 0)
		replace(&out->sse, "aws:kms:dsse");
	else if (strcmp(type, "SseKms") == 0 || is_kms)
		replace(&out->sse, "aws:kms");
	replace(&out->sse_kms_key, json_string_value(json_object_get(row, "KMSKey")));
}

static int
set_squash(const json_t *row, struct cw_share_conf *out, char *err_text, size_t err_cap)
{
	const char *squash = controli_row_string(row, "Squash");

	if (squash[0] == '\0' || strcmp(squash, "RootSquash") == 0) {
		out->squash = CW_SQUASH_ROOT;
	} else if (strcmp(squash, "NoSquash") == 0) {
		out->squash = CW_SQUASH_NONE;
	} else if (strcmp(squash, "AllSquash") == 0) {
		out->squash = CW_SQUASH_ALL;
	} else {
		snprintf(
		    err_text, err_cap, "Squash must be one of RootSquash, NoSquash, AllSquash.");
		return -EINVAL;
	}
	return 0;
}

static int
set_storage_class(const json_t *row, struct cw_share_conf *out, char *err_text, size_t err_cap)
{
	static const char *const known[] = {
	    "S3_STANDARD", "S3_INTELLIGENT_TIERING", "S3_STANDARD_IA", "S3_ONEZONE_IA"};
	const char *class = controli_row_string(row, "DefaultStorageClass");

	if (class[0] == '\0')
		class = known[0];
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(class, known[i]) == 0) {
			replace(&out->default_storage_class, class + 3);
			return 0;
		}
	}
	snprintf(err_text, err_cap,
	    "DefaultStorageClass must be one of S3_STANDARD, "
	    "S3_INTELLIGENT_TIERING, S3_STANDARD_IA, S3_ONEZONE_IA.");
	return -EINVAL;
}

/* {} = off, {"Upload":{"SettlingTimeInSeconds":60}} */
static int
set_notification(const json_t *row, struct cw_share_conf *out, char *err_text, size_t err_cap)
{
	const char *text = controli_row_string(row, "NotificationPolicy");
	json_t *policy, *seconds;
	json_int_t v;

	out->notify_settle_s = 0;
	if (text[0] == '\0')
		return 0;
	policy = json_loads(text, 0, NULL);
	if (json_is_object(policy) && json_object_size(policy) == 0) {
		json_decref(policy);
		return 0;
	}
	seconds = json_object_get(json_object_get(policy, "Upload"), "SettlingTimeInSeconds");
	v = json_is_integer(seconds) ? json_integer_value(seconds) : 0;
	json_decref(policy);
	if (v < 1 || v > 86400) {
		snprintf(err_text, err_cap,
		    "NotificationPolicy must be {} or "
		    "{\"Upload\": {\"SettlingTimeInSeconds\": 1 to 86400}}.");
		return -EINVAL;
	}
	out->notify_settle_s = (uint32_t)v;
	return 0;
}

static int
tag_number(const char *key, const char *value, uint32_t *out, char *err_text, size_t err_cap)
{
	if (value[0] == '\0' || strlen(value) > 9 || strspn(value, "0123456789") != strlen(value)) {
		snprintf(
		    err_text, err_cap, "Tag %s: %s is not a number of milliseconds.", key, value);
		return -EINVAL;
	}
	*out = (uint32_t)strtoul(value, NULL, 10);
	return 0;
}

static int
set_by_tag(
    const char *key, const char *value, struct cw_share_conf *out, char *err_text, size_t err_cap)
{
	const char *what = key + strlen("causeway:");

	if (strcmp(what, "settle-ms") == 0)
		return tag_number(key, value, &out->settle_ms, err_text, err_cap);
	if (strcmp(what, "max-age-ms") == 0)
		return tag_number(key, value, &out->max_age_ms, err_text, err_cap);
	if (strcmp(what, "conflict-policy") == 0) {
		out->conflict_policy = strcmp(value, "local-wins") == 0 ? CW_CONFLICT_LOCAL_WINS
									: CW_CONFLICT_REMOTE_WINS;
		if (strcmp(value, "local-wins") == 0 || strcmp(value, "remote-wins") == 0)
			return 0;
		snprintf(err_text, err_cap, "Tag %s must be remote-wins or local-wins.", key);
		return -EINVAL;
	}
	if (strcmp(what, "posix-mode-digits") == 0) {
		out->meta_4digit = strcmp(value, "4") == 0;
		if (strcmp(value, "4") == 0 || strcmp(value, "7") == 0)
			return 0;
		snprintf(err_text, err_cap, "Tag %s must be 4 or 7.", key);
		return -EINVAL;
	}
	snprintf(err_text, err_cap,
	    "Tag %s is unknown; tags that begin with causeway: are settings.", key);
	return -EINVAL;
}

static int
set_tags(const json_t *row, struct cw_share_conf *out, char *err_text, size_t err_cap)
{
	const json_t *tag;
	size_t i;

	json_array_foreach(json_object_get(row, "Tags"), i, tag)
	{
		const char *key = controli_row_string(tag, "Key");
		int r;

		if (strncmp(key, "causeway:", 9) != 0)
			continue;
		r = set_by_tag(key, controli_row_string(tag, "Value"), out, err_text, err_cap);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
set_cache_attributes(const json_t *row, struct cw_share_conf *out, char *err_text, size_t err_cap)
{
	const json_t *v =
	    json_object_get(json_object_get(row, "CacheAttributes"), "CacheStaleTimeoutInSeconds");
	json_int_t s = json_integer_value(v);

	if (s != 0 && (s < 300 || s > 2592000)) {
		snprintf(err_text, err_cap,
		    "CacheStaleTimeoutInSeconds must be 0 or between 300 and 2592000.");
		return -EINVAL;
	}
	out->cache_stale_timeout_s = (uint32_t)s;
	return 0;
}

int
control_share_conf(const json_t *row, const struct cw_config *conf, struct cw_share_conf *out,
    char *err_text, size_t err_cap)
{
	const json_t *guess = json_object_get(row, "GuessMIMETypeEnabled");
	const char *acl = controli_row_string(row, "ObjectACL");
	char *bucket, *prefix;
	int r;

	cw_share_conf_init(out);
	r = control_location_parse(
	    controli_row_string(row, "LocationARN"), &bucket, &prefix, err_text, err_cap);
	if (r == 0) {
		replace(&out->bucket, bucket);
		replace(&out->prefix, prefix);
	}
	free(bucket);
	free(prefix);
	replace(&out->name, controli_row_string(row, "FileShareName"));
	replace(&out->object_acl, acl[0] != '\0' ? acl : "private");
	out->read_only = json_is_true(json_object_get(row, "ReadOnly"));
	out->guess_mime_type = guess == NULL || json_is_true(guess);
	out->requester_pays = json_is_true(json_object_get(row, "RequesterPays"));
	out->settle_ms = (uint32_t)conf->sync_settle_ms;
	out->max_age_ms = (uint32_t)conf->sync_max_age_ms;
	out->no_early_parts = !conf->sync_early_parts;
	set_posix_defaults(row, out);
	set_encryption(row, out);
	if (r == 0)
		r = set_clients(row, out, err_text, err_cap);
	if (r == 0)
		r = set_squash(row, out, err_text, err_cap);
	if (r == 0)
		r = set_storage_class(row, out, err_text, err_cap);
	if (r == 0)
		r = set_notification(row, out, err_text, err_cap);
	if (r == 0)
		r = set_cache_attributes(row, out, err_text, err_cap);
	if (r == 0)
		r = set_tags(row, out, err_text, err_cap);
	if (r == 0)
		r = cw_share_conf_check(out, err_text, err_cap);
	return r;
}
