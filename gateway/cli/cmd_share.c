/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_share.c - NFS file shares, through the AWS API: create, list, show, delete, refresh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/cli/cli.h"

#define LIST_MAX 100
#define DESCRIBE_BATCH 10 /* DescribeNFSFileShares takes so many ARNs */
#define CREATE_WAIT_MS 15000

struct share_opts {
	const char *bucket, *prefix, *gateway, *role, *storage_class, *acl, *squash, *file_mode,
	    *dir_mode, *owner, *group, *stale;
	const char *clients[LIST_MAX], *folders[LIST_MAX];
	size_t nclients, nfolders;
	bool is_read_only, is_create_bucket, is_force, is_flat, is_requester_pays;
};

/* --- describing ---------------------------------------------------------------------------------- */

/* All shares, described. *out is an array. */
static int
describe_all(struct cli *c, json_t **out)
{
	json_t *list, *infos, *arns, *s;
	size_t n;
	int rc = cli_aws(c, "ListFileShares", json_object(), &list);

	*out = NULL;
	if (rc != CLI_OK)
		return rc;
	*out = json_array();
	infos = json_object_get(list, "FileShareInfoList");
	n = json_array_size(infos);
	for (size_t i = 0; i < n && rc == CLI_OK; i += DESCRIBE_BATCH) {
		json_t *batch;

		arns = json_array();
		for (size_t k = i; k < n && k < i + DESCRIBE_BATCH; k++) {
			s = json_array_get(infos, k);
			json_array_append(arns, json_object_get(s, "FileShareARN"));
		}
		rc = cli_aws(c, "DescribeNFSFileShares",
		    json_pack("{s:o}", "FileShareARNList", arns), &batch);
		if (rc == CLI_OK) {
			json_array_extend(*out, json_object_get(batch, "NFSFileShareInfoList"));
			json_decref(batch);
		}
	}
	json_decref(list);
	if (rc != CLI_OK) {
		json_decref(*out);
		*out = NULL;
	}
	return rc;
}

static const char *
share_name(const json_t *s)
{
	const char *path = cli_str(s, "Path");

	return path[0] == '/' ? path + 1 : cli_str(s, "FileShareName");
}

/* The share called name (name, id or ARN). *out is a new reference. */
static int
find_share(struct cli *c, const char *name, json_t **out)
{
	json_t *all, *s;
	size_t i;
	int rc = describe_all(c, &all);

	*out = NULL;
	if (rc != CLI_OK)
		return rc;
	if (name[0] == '/')
		name++;
	json_array_foreach(all, i, s)
	{
		if (*out == NULL && (strcmp(share_name(s), name) == 0 ||
					strcmp(cli_str(s, "FileShareId"), name) == 0 ||
					strcmp(cli_str(s, "FileShareARN"), name) == 0))
			*out = json_incref(s);
	}
	json_decref(all);
	if (*out == NULL) {
		cli_error("no share %s", name);
		return CLI_FAILED;
	}
	return CLI_OK;
}

static char *
join(const json_t *list)
{
	struct strbuf b = STRBUF_INIT;
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, v)
	{
		strbuf_addf(
		    &b, "%s%s", i > 0 ? "," : "", json_is_string(v) ? json_string_value(v) : "?");
	}
	return strbuf_take(&b);
}

static int
share_list(struct cli *c)
{
	static const char *const head[] = {
	    "SHARE", "LOCATION", "STATUS", "CLASS", "SQUASH", "CLIENTS", "ID"};
	struct cli_table t;
	json_t *all, *s;
	size_t i;
	int rc = describe_all(c, &all);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json) {
		json_t *o = json_pack("{s:O}", "shares", all);

		cli_print_json(o);
		json_decref(o);
	} else if (json_array_size(all) == 0) {
		puts("no shares");
	} else {
		cli_table_init(&t, 7, "lllllll");
		for (i = 0; i < 7; i++)
			cli_table_add(&t, i, "%s", head[i]);
		cli_table_end_row(&t);
		json_array_foreach(all, i, s)
		{
			char *clients = join(json_object_get(s, "ClientList"));

			cli_table_add(&t, 0, "/%s", share_name(s));
			cli_table_add(&t, 1, "%s", cli_str(s, "LocationARN"));
			cli_table_add(&t, 2, "%s%s", cli_str(s, "FileShareStatus"),
			    json_is_true(json_object_get(s, "ReadOnly")) ? " (read-only)" : "");
			cli_table_add(&t, 3, "%s", cli_str(s, "DefaultStorageClass"));
			cli_table_add(&t, 4, "%s", cli_str(s, "Squash"));
			cli_table_add(&t, 5, "%s", clients[0] != '\0' ? clients : "everybody");
			cli_table_add(&t, 6, "%s", cli_str(s, "FileShareId"));
			cli_table_end_row(&t);
			free(clients);
		}
		cli_table_print(&t);
	}
	json_decref(all);
	return CLI_OK;
}

static int
share_show(struct cli *c, const char *name)
{
	struct cli_table t;
	const char *key;
	json_t *s, *v;
	int rc = find_share(c, name, &s);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json) {
		cli_print_json(s);
	} else {
		cli_table_init(&t, 2, "ll");
		json_object_foreach(s, key, v)
		{
			char *text = json_is_string(v)
					 ? xstrdup(json_string_value(v))
					 : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

			cli_table_add(&t, 0, "%s", key);
			cli_table_add(&t, 1, "%s", text);
			cli_table_end_row(&t);
			free(text);
		}
		cli_table_print(&t);
	}
	json_decref(s);
	return CLI_OK;
}

/* --- creating ------------------------------------------------------------------------------------ */

static void
put_str(json_t *o, const char *key, const char *value)
{
	if (value != NULL)
		json_object_set_new(o, key, json_string(value));
}

static void
put_num(json_t *o, const char *key, const char *value)
{
	if (value != NULL)
		json_object_set_new(o, key, json_integer(strtoll(value, NULL, 10)));
}

static json_t *
create_request(const struct share_opts *o, const char *name, const char *gateway)
{
	json_t *in = json_object(), *defaults = json_object(), *clients = json_array();
	char token[33], *location;
	uint8_t raw[16];

	random_bytes(raw, sizeof(raw));
	digest_hex(raw, sizeof(raw), token);
	location = xasprintf("arn:aws:s3:::%s%s%s", o->bucket, o->prefix != NULL ? "/" : "",
	    o->prefix != NULL ? o->prefix : "");
	put_str(in, "ClientToken", token);
	put_str(in, "GatewayARN", gateway);
	put_str(in, "Role", o->role != NULL ? o->role : "arn:aws:iam::123456789012:role/causeway");
	put_str(in, "LocationARN", location);
	put_str(in, "FileShareName", name);
	put_str(in, "DefaultStorageClass", o->storage_class);
	put_str(in, "ObjectACL", o->acl);
	put_str(in, "Squash", o->squash);
	json_object_set_new(in, "ReadOnly", json_boolean(o->is_read_only));
	json_object_set_new(in, "RequesterPays", json_boolean(o->is_requester_pays));
	for (size_t i = 0; i < o->nclients; i++)
		json_array_append_new(clients, json_string(o->clients[i]));
	if (o->nclients > 0)
		json_object_set(in, "ClientList", clients);
	put_str(defaults, "FileMode", o->file_mode);
	put_str(defaults, "DirectoryMode", o->dir_mode);
	put_num(defaults, "OwnerId", o->owner);
	put_num(defaults, "GroupId", o->group);
	if (json_object_size(defaults) > 0)
		json_object_set(in, "NFSFileShareDefaults", defaults);
	if (o->stale != NULL)
		json_object_set_new(in, "CacheAttributes",
		    json_pack("{s:I}", "CacheStaleTimeoutInSeconds",
			(json_int_t)strtoll(o->stale, NULL, 10)));
	json_decref(clients);
	json_decref(defaults);
	free(location);
	return in;
}

/* Creation succeeds whatever the bucket says: wait for its word. result: CLI_OK when it is served */
static int
wait_available(struct cli *c, const char *arn)
{
	uint64_t until = clock_mono_ms() + CREATE_WAIT_MS;
	unsigned int pause_ms = 20;

	for (;;) {
		char status[32] = "";
		json_t *s;
		int rc = find_share(c, arn, &s);

		if (rc != CLI_OK)
			return rc;
		snprintf(status, sizeof(status), "%s", cli_str(s, "FileShareStatus"));
		json_decref(s);
		if (strcmp(status, "AVAILABLE") == 0)
			return CLI_OK;
		if (strcmp(status, "UNAVAILABLE") == 0 || clock_mono_ms() >= until) {
			cli_error(
			    "the share was created, but its status is %s: see `causeway status'",
			    status);
			return CLI_FAILED;
		}
		clock_sleep_ms(pause_ms);
		pause_ms = pause_ms < 500 ? pause_ms * 2 : pause_ms;
	}
}

static int
share_create(struct cli *c, const struct share_opts *o, const char *name)
{
	char *gateway = NULL, *arn;
	json_t *out;
	int rc;

	if (o->bucket == NULL)
		return cli_usage("share create NAME --bucket BUCKET");
	rc = cli_need_api(c);
	if (rc == CLI_OK && o->is_create_bucket)
		rc = cli_create_bucket(c, NULL, o->bucket);
	if (rc == CLI_OK && o->gateway != NULL)
		gateway = xstrdup(o->gateway);
	else if (rc == CLI_OK)
		rc = cli_gateway(c, "FILE_S3", &gateway);
	if (rc == CLI_OK)
		rc = cli_aws(c, "CreateNFSFileShare", create_request(o, name, gateway), &out);
	free(gateway);
	if (rc != CLI_OK)
		return rc;
	arn = xstrdup(cli_str(out, "FileShareARN"));
	if (c->is_json)
		cli_print_json(out);
	else
		puts(arn);
	json_decref(out);
	rc = wait_available(c, arn);
	free(arn);
	return rc;
}

/* --- the rest ------------------------------------------------------------------------------------ */

static int
call_on_share(struct cli *c, const char *name, const char *op, json_t *in)
{
	json_t *s, *out;
	int rc = find_share(c, name, &s);

	if (rc != CLI_OK) {
		json_decref(in);
		return rc;
	}
	json_object_set(in, "FileShareARN", json_object_get(s, "FileShareARN"));
	json_decref(s);
	rc = cli_aws(c, op, in, &out);
	if (rc != CLI_OK)
		return rc;
	if (c->is_json)
		cli_print_json(out);
	json_decref(out);
	return CLI_OK;
}

static int
share_refresh(struct cli *c, const struct share_opts *o, const char *name)
{
	json_t *in = json_pack("{s:b}", "Recursive", !o->is_flat), *folders = json_array();

	for (size_t i = 0; i < o->nfolders; i++)
		json_array_append_new(folders, json_string(o->folders[i]));
	if (o->nfolders > 0)
		json_object_set(in, "FolderList", folders);
	json_decref(folders);
	return call_on_share(c, name, "RefreshCache", in);
}

static int
dispatch(struct cli *c, const struct share_opts *o, const char *verb, const char *name)
{
	if (strcmp(verb, "list") == 0 && name == NULL)
		return share_list(c);
	if (name == NULL)
		return cli_usage("share %s NAME", verb);
	if (strcmp(verb, "create") == 0)
		return share_create(c, o, name);
	if (strcmp(verb, "show") == 0)
		return share_show(c, name);
	if (strcmp(verb, "delete") == 0)
		return call_on_share(
		    c, name, "DeleteFileShare", json_pack("{s:b}", "ForceDelete", o->is_force));
	if (strcmp(verb, "refresh") == 0)
		return share_refresh(c, o, name);
	return cli_usage("share list, show, create, delete or refresh, not \"%s\"", verb);
}

int
cmd_share(struct cli *c, struct cli_args *a)
{
	struct share_opts o = {0};
	const struct cli_opt opts[] = {
	    {.name = "bucket", .letter = 'b', .has_value = true, .value = &o.bucket},
	    {.name = "prefix", .letter = 'p', .has_value = true, .value = &o.prefix},
	    {.name = "gateway", .has_value = true, .value = &o.gateway},
	    {.name = "role", .has_value = true, .value = &o.role},
	    {.name = "storage-class", .has_value = true, .value = &o.storage_class},
	    {.name = "acl", .has_value = true, .value = &o.acl},
	    {.name = "squash", .has_value = true, .value = &o.squash},
	    {.name = "client",
		.has_value = true,
		.list = o.clients,
		.list_cap = LIST_MAX,
		.nlist = &o.nclients},
	    {.name = "file-mode", .has_value = true, .value = &o.file_mode},
	    {.name = "dir-mode", .has_value = true, .value = &o.dir_mode},
	    {.name = "owner", .has_value = true, .value = &o.owner},
	    {.name = "group", .has_value = true, .value = &o.group},
	    {.name = "stale-timeout", .has_value = true, .value = &o.stale},
	    {.name = "read-only", .flag = &o.is_read_only},
	    {.name = "requester-pays", .flag = &o.is_requester_pays},
	    {.name = "create-bucket", .flag = &o.is_create_bucket},
	    {.name = "force", .flag = &o.is_force},
	    {.name = "folder",
		.has_value = true,
		.list = o.folders,
		.list_cap = LIST_MAX,
		.nlist = &o.nfolders},
	    {.name = "no-recursive", .flag = &o.is_flat},
	    {.name = "json", .letter = 'j', .flag = &c->is_json},
	};
	int rc = cli_parse(a, opts, sizeof(opts) / sizeof(opts[0]), false);

	if (rc != CLI_OK)
		return rc;
	if (a->argc > 2)
		return cli_usage("one share at a time");
	return dispatch(c, &o, a->argc > 0 ? a->argv[0] : "list", a->argc > 1 ? a->argv[1] : NULL);
}
