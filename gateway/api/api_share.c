/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_share.c - operations on file shares.
 *
 * A share's row is the request itself: members of this table, no others, in the API's own spelling,
 * plus what the create operation adds (ids, the export's name, a digest for ClientToken).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"
#include "gateway/base/digest.h"

#define SHARES_PAGE 100

static const char *const acls[] = {"private", "public-read", "public-read-write",
    "authenticated-read", "bucket-owner-read", "bucket-owner-full-control", "aws-exec-read", NULL};
static const char *const encryption_types[] = {"SseS3", "SseKms", "DsseKms", NULL};

static const struct api_shape permission_mode = {
    .type = API_STRING, .min = 1, .max = 4, .matches = api_is_file_mode, .pattern = "^[0-7]{4}$"};
static const struct api_shape permission_id = {.type = API_INTEGER, .min = 0, .max = 4294967294};
static const struct api_field defaults_fields[] = {{"FileMode", &permission_mode, false},
    {"DirectoryMode", &permission_mode, false}, {"GroupId", &permission_id, false},
    {"OwnerId", &permission_id, false}, {NULL, NULL, false}};
static const struct api_shape defaults = {.type = API_OBJECT, .fields = defaults_fields};
static const struct api_shape encryption_type = {.type = API_STRING, .values = encryption_types};
static const struct api_shape role = {.type = API_STRING,
    .min = 20,
    .max = 2048,
    .matches = api_is_role_arn,
    .pattern = "^arn:(aws|aws-cn|aws-us-gov):iam::([0-9]+):role/(\\S+)$"};
static const struct api_shape location = {.type = API_STRING, .min = 16, .max = 1400};
static const struct api_shape storage_class = {.type = API_STRING, .min = 5, .max = 50};
static const struct api_shape object_acl = {.type = API_STRING, .values = acls};
static const struct api_shape cidr = {
    .type = API_STRING, .matches = api_is_cidr, .pattern = "an IPv4 or IPv6 address or CIDR block"};
static const struct api_shape client_list = {
    .type = API_LIST, .min = 1, .max = 100, .member = &cidr};
static const struct api_shape squash = {.type = API_STRING, .min = 5, .max = 15};
static const struct api_shape share_name = {.type = API_STRING, .min = 1, .max = 255};
static const struct api_shape stale_timeout = {.type = API_INTEGER, .min = 0, .max = 2592000};
static const struct api_field cache_fields[] = {
    {"CacheStaleTimeoutInSeconds", &stale_timeout, false}, {NULL, NULL, false}};
static const struct api_shape cache_attributes = {.type = API_OBJECT, .fields = cache_fields};
static const struct api_shape policy = {.type = API_STRING,
    .min = 2,
    .max = 100,
    .matches = api_is_policy_text,
    .pattern = "^\\{[\\w\\s:\\{\\}\\[\\]\"]*}$"};
static const struct api_shape dns_name = {.type = API_STRING,
    .min = 1,
    .max = 255,
    .matches = api_is_dns_name,
    .pattern = "^(([a-zA-Z0-9\\-]*[a-zA-Z0-9])\\.)*([A-Za-z0-9\\-]*[A-Za-z0-9])$"};
static const struct api_shape region = {.type = API_STRING, .min = 1, .max = 25};
static const struct api_shape audit_arn = {.type = API_STRING, .max = 1024};
static const struct api_shape arn_list = {
    .type = API_LIST, .min = 1, .max = 10, .member = &api_share_arn};
static const struct api_shape folder = {.type = API_STRING, .min = 1, .max = 1024};
static const struct api_shape folder_list = {
    .type = API_LIST, .min = 1, .max = 50, .member = &folder};

#define SETTINGS                                                                                   \
	{"NFSFileShareDefaults", &defaults, false}, {"EncryptionType", &encryption_type, false},   \
	    {"KMSEncrypted", &api_boolean, false}, {"KMSKey", &api_kms_key, false},                \
	    {"DefaultStorageClass", &storage_class, false}, {"ObjectACL", &object_acl, false},     \
	    {"ClientList", &client_list, false}, {"Squash", &squash, false},                       \
	    {"ReadOnly", &api_boolean, false}, {"GuessMIMETypeEnabled", &api_boolean, false},      \
	    {"RequesterPays", &api_boolean, false}, {"FileShareName", &share_name, false},         \
	    {"CacheAttributes", &cache_attributes, false}, {"NotificationPolicy", &policy, false}, \
	{                                                                                          \
		"AuditDestinationARN", &audit_arn, false                                           \
	}

const struct api_field api_create_nfs_in[] = {{"ClientToken", &api_client_token, true},
    {"GatewayARN", &api_gateway_arn, true}, {"Role", &role, true}, {"LocationARN", &location, true},
    SETTINGS, {"Tags", &api_tags, false}, {"VPCEndpointDNSName", &dns_name, false},
    {"BucketRegion", &region, false}, {NULL, NULL, false}};
const struct api_field api_update_nfs_in[] = {
    {"FileShareARN", &api_share_arn, true}, SETTINGS, {NULL, NULL, false}};
const struct api_field api_describe_nfs_in[] = {
    {"FileShareARNList", &arn_list, true}, {NULL, NULL, false}};
const struct api_field api_list_shares_in[] = {{"GatewayARN", &api_gateway_arn, false},
    {"Limit", &api_limit, false}, {"Marker", &api_marker, false}, {NULL, NULL, false}};
const struct api_field api_delete_share_in[] = {{"FileShareARN", &api_share_arn, true},
    {"ForceDelete", &api_boolean, false}, {NULL, NULL, false}};
const struct api_field api_refresh_in[] = {{"FileShareARN", &api_share_arn, true},
    {"FolderList", &folder_list, false}, {"Recursive", &api_boolean, false}, {NULL, NULL, false}};
const struct api_field api_notify_in[] = {
    {"FileShareARN", &api_share_arn, true}, {NULL, NULL, false}};

/* --- create ----------------------------------------------------------------------------------------- */

static bool
is_set(const json_t *v)
{
	return v != NULL && !json_is_null(v);
}

/* Copy into row what the table names. */
static void
copy_known(json_t *row, const json_t *in, const struct api_field *fields)
{
	for (const struct api_field *f = fields; f->name != NULL; f++) {
		json_t *v = json_object_get(in, f->name);

		if (is_set(v))
			json_object_set(row, f->name, v);
	}
}

/* The request that was made before under the same token: 1 and its ARN in out, 0 for a new token. */
static int
find_by_token(struct api_call *call, const char *digest)
{
	const char *token = api_in_string(call, "ClientToken");
	struct list *l;

	list_for_each(l, control_shares(call->control))
	{
		struct control_share *s = container_of(l, struct control_share, link);

		if (strcmp(api_row_string(s->row, "ClientToken"), token) != 0 ||
		    s->phase >= SHARE_DELETING)
			continue;
		if (strcmp(api_row_string(s->row, "RequestDigest"), digest) != 0)
			return control_fail(&call->err, "InvalidParameters",
			    "The ClientToken was used before with other parameters.");
		api_out_string(call, "FileShareARN", s->arn);
		return 1;
	}
	return 0;
}

static bool
overlaps(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	return strncmp(a, b, la < lb ? la : lb) == 0;
}

/* Two shares must not export under one name, nor write to one part of a bucket. */
static int
check_neighbours(struct api_call *call, const struct control_share *self, const char *name,
    const char *bucket, const char *prefix, bool read_only)
{
	struct list *l;

	list_for_each(l, control_shares(call->control))
	{
		struct control_share *s = container_of(l, struct control_share, link);
		bool other_reads = json_is_true(json_object_get(s->row, "ReadOnly"));
		char *b, *p, text[256];
		bool clash = false;

		if (s == self)
			continue;
		if (strcmp(api_row_string(s->row, "FileShareName"), name) == 0)
			return control_fail(&call->err, "InvalidParameters",
			    "A file share with the name %.255s already exists.", name);
		if (control_location_parse(
			api_row_string(s->row, "LocationARN"), &b, &p, text, sizeof(text)) == 0)
			clash = !read_only && !other_reads && strcmp(b, bucket) == 0 &&
				overlaps(p, prefix);
		free(b);
		free(p);
		if (clash)
			return control_fail(&call->err, "InvalidParameters",
			    "The location overlaps that of file share %s; use prefixes of their "
			    "own, "
			    "or ReadOnly.",
			    s->id);
	}
	return 0;
}

/* NFS allows [A-Za-z0-9._-] in the name of a share. */
static int
check_name(struct api_call *call, const char *name)
{
	static const char ok[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	if (name[strspn(name, ok)] != '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return control_fail(&call->err, "InvalidParameters",
		    "FileShareName may hold letters, digits, '.', '_' and '-'.");
	return 0;
}

static int
check_kms(struct api_call *call, const json_t *row)
{
	const char *type = api_row_string(row, "EncryptionType");
	bool has_key = is_set(json_object_get(row, "KMSKey"));
	bool is_kms = json_is_true(json_object_get(row, "KMSEncrypted")) ||
		      strcmp(type, "SseKms") == 0 || strcmp(type, "DsseKms") == 0;

	if (is_kms && !has_key)
		return control_fail(&call->err, "InvalidParameters",
		    "KMSKey must be given when objects are encrypted with KMS.");
	if (!is_kms && has_key)
		return control_fail(&call->err, "InvalidParameters",
		    "KMSKey is given, but neither KMSEncrypted nor a KMS EncryptionType.");
	return 0;
}

static size_t
count_of_gateway(struct api_call *call, const struct control_gateway *g)
{
	struct list *l;
	size_t n = 0;

	list_for_each(l, control_shares(call->control)) n +=
	    strcmp(container_of(l, struct control_share, link)->gateway_arn, g->arn) == 0;
	return n;
}

/* Name (default: the bucket's), location and neighbours; sets FileShareName in row. */
static int
check_location(struct api_call *call, const struct control_share *self, json_t *row)
{
	const char *name = api_row_string(row, "FileShareName");
	char *bucket, *prefix, text[256];
	const struct cw_config *conf = control_config(call->control);
	int r = 0;

	if (control_location_parse(
		api_row_string(row, "LocationARN"), &bucket, &prefix, text, sizeof(text)) < 0)
		r = control_fail(&call->err, "InvalidParameters", "%s", text);
	else if (conf->volumes_bucket != NULL && strcmp(bucket, conf->volumes_bucket) == 0 &&
		 overlaps(prefix, conf->volumes_prefix))
		r = control_fail(&call->err, "InvalidParameters",
		    "The location overlaps that of the volumes; use a bucket or a prefix of its "
		    "own.");
	else if (name[0] == '\0' && prefix[0] != '\0')
		r = control_fail(&call->err, "InvalidParameters",
		    "FileShareName is required when the LocationARN has a prefix.");
	if (r == 0 && name[0] == '\0') {
		json_object_set_new(row, "FileShareName", json_string(bucket));
		name = bucket;
	}
	if (r == 0)
		r = check_name(call, name);
	if (r == 0)
		r = check_neighbours(call, self, name, bucket, prefix,
		    json_is_true(json_object_get(row, "ReadOnly")));
	free(bucket);
	free(prefix);
	return r;
}

static void
set_default(json_t *row, const char *name, json_t *value)
{
	if (!is_set(json_object_get(row, name)))
		json_object_set_new(row, name, value);
	else
		json_decref(value);
}

/* What Describe answers although nobody set it: the defaults of the API. */
static void
add_defaults(json_t *row)
{
	json_t *posix = json_pack("{s:s,s:s,s:i,s:i}", "FileMode", "0666", "DirectoryMode", "0777",
	    "GroupId", 65534, "OwnerId", 65534);

	json_object_update(posix, json_object_get(row, "NFSFileShareDefaults"));
	json_object_set_new(row, "NFSFileShareDefaults", posix);
	set_default(row, "DefaultStorageClass", json_string("S3_STANDARD"));
	set_default(row, "ObjectACL", json_string("private"));
	set_default(row, "Squash", json_string("RootSquash"));
	set_default(row, "ReadOnly", json_false());
	set_default(row, "GuessMIMETypeEnabled", json_true());
	set_default(row, "RequesterPays", json_false());
	set_default(row, "ClientList", json_pack("[s]", "0.0.0.0/0"));
	set_default(row, "NotificationPolicy", json_string("{}"));
}

static void
add_identity(struct api_call *call, json_t *row, const struct control_gateway *g)
{
	const char *region_name = api_row_string(g->row, "GatewayRegion");
	char id[24], arn[160];

	control_new_id(call->control, "share-", id);
	snprintf(arn, sizeof(arn), "arn:%s:storagegateway:%s:%s:share/%s",
	    control_partition(region_name), region_name, control_config(call->control)->account_id,
	    id);
	json_object_set_new(row, "FileShareId", json_string(id));
	json_object_set_new(row, "FileShareARN", json_string(arn));
}

int
api_create_nfs(struct api_call *call)
{
	struct control_gateway *g = api_gateway_of(call, "FILE_S3", NULL);
	char digest[2 * SHA256_LEN + 1];
	json_t *row, *tags;
	int r;

	if (g == NULL)
		return -EINVAL;
	api_digest(call->in, digest);
	r = find_by_token(call, digest);
	if (r != 0)
		return r > 0 ? 0 : r;
	if (count_of_gateway(call, g) >= CONTROL_SHARES_MAX)
		return control_fail(&call->err, "InvalidParameters",
		    "A gateway can have at most %d file shares.", CONTROL_SHARES_MAX);
	row = json_object();
	copy_known(row, call->in, api_create_nfs_in);
	tags = json_array();
	r = api_tags_merge(tags, json_object_get(call->in, "Tags"), &call->err);
	json_object_set_new(row, "Tags", tags);
	json_object_set_new(row, "RequestDigest", json_string(digest));
	add_defaults(row);
	if (r == 0)
		r = check_kms(call, row);
	if (r == 0)
		r = check_location(call, NULL, row);
	if (r == 0)
		r = api_ensure_cache(call, g);
	if (r < 0) {
		json_decref(row);
		return r;
	}
	add_identity(call, row, g);
	json_object_set(call->out, "FileShareARN", json_object_get(row, "FileShareARN"));
	return control_share_add(call->control, row, &call->err);
}

/* --- update, describe, list ---------------------------------------------------------------------------- */

static struct control_share *
share(struct api_call *call)
{
	return control_share_by_arn(call->control, api_in_string(call, "FileShareARN"), &call->err);
}

/* An update gives whole lists; an absent or null member stays as it is. */
int
api_update_nfs(struct api_call *call)
{
	const json_t *in = call->in;
	struct control_share *s = share(call);
	json_t *row, *posix;
	int r;

	if (s == NULL)
		return -EINVAL;
	if (s->phase >= SHARE_DELETING)
		return control_fail(
		    &call->err, "InvalidParameters", "The specified file share is being deleted.");
	row = json_copy(s->row);
	posix = json_deep_copy(json_object_get(row, "NFSFileShareDefaults"));
	copy_known(row, in, api_update_nfs_in);
	json_object_update(posix, json_object_get(in, "NFSFileShareDefaults"));
	json_object_set_new(row, "NFSFileShareDefaults", posix);
	if (json_is_false(json_object_get(in, "KMSEncrypted")) &&
	    !is_set(json_object_get(in, "EncryptionType")))
		json_object_del(row, "EncryptionType");
	if (!is_set(json_object_get(in, "KMSKey")) &&
	    (json_is_false(json_object_get(in, "KMSEncrypted")) ||
		strcmp(api_row_string(in, "EncryptionType"), "SseS3") == 0)) {
		json_object_del(row, "KMSKey");
		json_object_del(row, "KMSEncrypted");
	}
	r = check_kms(call, row);
	if (r == 0)
		r = check_location(call, s, row);
	if (r < 0) {
		json_decref(row);
		return r;
	}
	api_out_string(call, "FileShareARN", s->arn);
	return control_share_update(call->control, s, row, &call->err);
}

static json_t *
share_info(struct api_call *call, struct control_share *s)
{
	static const char *const hidden[] = {
	    "ClientToken", "RequestDigest", "SpaceId", "Phase", "SinceNs"};
	json_t *info = json_copy(s->row);
	char *path = xasprintf("/%s", api_row_string(s->row, "FileShareName"));
	const char *type = api_row_string(s->row, "EncryptionType");
	bool is_kms = json_is_true(json_object_get(s->row, "KMSEncrypted"));

	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
		json_object_del(info, hidden[i]);
	json_object_set_new(
	    info, "FileShareStatus", json_string(control_share_status(call->control, s)));
	json_object_set_new(info, "Path", json_string(path));
	json_object_set_new(info, "KMSEncrypted",
	    json_boolean(is_kms || strcmp(type, "SseKms") == 0 || strcmp(type, "DsseKms") == 0));
	if (type[0] == '\0')
		json_object_set_new(
		    info, "EncryptionType", json_string(is_kms ? "SseKms" : "SseS3"));
	free(path);
	return info;
}

int
api_describe_nfs(struct api_call *call)
{
	json_t *arns = json_object_get(call->in, "FileShareARNList"), *arn, *list = json_array();
	size_t i;

	json_object_set_new(call->out, "NFSFileShareInfoList", list);
	json_array_foreach(arns, i, arn)
	{
		struct control_share *s =
		    control_share_by_arn(call->control, json_string_value(arn), &call->err);

		if (s == NULL)
			return -EINVAL;
		json_array_append_new(list, share_info(call, s));
	}
	return 0;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *
list_info(struct api_call *call, const char *id)
{
	struct list *l;

	list_for_each(l, control_shares(call->control))
	{
		struct control_share *s = container_of(l, struct control_share, link);

		if (strcmp(s->id, id) == 0)
			return json_pack("{s:s,s:s,s:s,s:s,s:s}", "FileShareType", "NFS",
			    "FileShareARN", s->arn, "FileShareId", s->id, "FileShareStatus",
			    control_share_status(call->control, s), "GatewayARN", s->gateway_arn);
	}
	return json_object();
}

int
api_list_shares(struct api_call *call)
{
	const char *arn = api_in_string(call, "GatewayARN"), *marker;
	size_t n = 0, from, to;
	json_t *list;
	const char **ids;
	struct list *l;

	if (arn != NULL && control_gateway_by_arn(call->control, arn, &call->err) == NULL)
		return -EINVAL;
	list_for_each(l, control_shares(call->control)) n++;
	ids = xcalloc(n + 1, sizeof(*ids));
	n = 0;
	list_for_each(l, control_shares(call->control))
	{
		struct control_share *s = container_of(l, struct control_share, link);

		if (arn == NULL || strcmp(arn, s->gateway_arn) == 0)
			ids[n++] = s->id;
	}
	qsort(ids, n, sizeof(*ids), compare);
	list = json_array();
	if (api_page(call, ids, n, SHARES_PAGE, &from, &to))
		api_out_string(call, "NextMarker", ids[to - 1]);
	for (size_t i = from; i < to; i++)
		json_array_append_new(list, list_info(call, ids[i]));
	marker = api_in_string(call, "Marker");
	if (marker != NULL)
		api_out_string(call, "Marker", marker);
	json_object_set_new(call->out, "FileShareInfoList", list);
	free(ids);
	return 0;
}

/* --- delete, refresh, notify ------------------------------------------------------------------------------ */

int
api_delete_share(struct api_call *call)
{
	bool force = json_is_true(json_object_get(call->in, "ForceDelete"));
	struct control_share *s = share(call);

	if (s == NULL)
		return -EINVAL;
	api_out_string(call, "FileShareARN", s->arn);
	return control_share_delete(call->control, s, force, &call->err);
}

int
api_refresh(struct api_call *call)
{
	const json_t *folders = json_object_get(call->in, "FolderList");
	const json_t *recursive = json_object_get(call->in, "Recursive");
	struct control_share *s = share(call);
	char uuid[CONTROL_UUID_LEN];
	size_t i;
	json_t *f;
	int r;

	if (s == NULL)
		return -EINVAL;
	json_array_foreach(folders, i, f)
	{
		if (json_string_value(f)[0] != '/')
			return control_fail(&call->err, "InvalidParameters",
			    "A folder of FolderList must begin with a slash.");
	}
	r = control_refresh(call->control, s, is_set(folders) ? folders : NULL,
	    !json_is_false(recursive), uuid, &call->err);
	if (r < 0)
		return r;
	api_out_string(call, "FileShareARN", s->arn);
	api_out_string(call, "NotificationId", uuid);
	return 0;
}

int
api_notify(struct api_call *call)
{
	struct control_share *s = share(call);
	char uuid[CONTROL_UUID_LEN];
	int r;

	if (s == NULL)
		return -EINVAL;
	r = control_notify_uploaded(call->control, s, uuid, &call->err);
	if (r < 0)
		return r;
	api_out_string(call, "FileShareARN", s->arn);
	api_out_string(call, "NotificationId", uuid);
	return 0;
}
