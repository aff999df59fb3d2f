/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_volume.c - block volumes: looked at through /v1, changed through the AWS API where that can say it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/cli/cli.h"
#include "s3/s3_sign.h"

#define WAIT_MS 60000

struct volume_opts {
	const char *size, *gateway, *interface, *snapshot, *from, *time, *key, *block_size, *disk,
	    *name, *secret, *target_secret, *start, *every, *keep, *description, *max;
	bool is_stored, is_keep_data, is_create_bucket, is_no_wait, is_force, is_discard, is_delete;
};

int
cli_size(const char *option, const char *text, uint64_t *out)
{
	if (text != NULL && config_parse_size(text, out) == 0)
		return CLI_OK;
	return cli_usage("%s wants a size such as 10G", option);
}

int
cli_volume(struct cli *c, const char *name, json_t **out)
{
	char *enc = s3_uri_encode(name, false), *path = xasprintf("/v1/volumes/%s", enc);
	int rc = cli_get(c, path, NULL, out);

	free(enc);
	free(path);
	return rc;
}

/* Its ARN, malloced. */
static int
arn_of(struct cli *c, const char *name, char **arn)
{
	json_t *v;
	int rc = cli_volume(c, name, &v);

	*arn = NULL;
	if (rc != CLI_OK)
		return rc;
	*arn = xstrdup(cli_str(v, "arn"));
	json_decref(v);
	return CLI_OK;
}

static int
post(struct cli *c, const char *name, const char *what, const char *query)
{
	char *enc = s3_uri_encode(name, false), *path = xasprintf("/v1/volumes/%s/%s", enc, what);
	json_t *out;
	int rc = cli_post(c, path, query, &out);

	free(enc);
	free(path);
	if (rc != CLI_OK)
		return rc;
	if (c->is_json)
		cli_print_json(out);
	json_decref(out);
	return CLI_OK;
}

/* An operation whose answer is printed as JSON, if at all. */
static int
aws(struct cli *c, const char *op, json_t *in)
{
	json_t *out;
	int rc = cli_aws(c, op, in, &out);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json)
		cli_print_json(out);
	json_decref(out);
	return CLI_OK;
}

/* --- looking ----------------------------------------------------------------------------------------- */

void
cli_print_volumes(const json_t *list)
{
	static const char *const head[] = {
	    "VOLUME", "TYPE", "SIZE", "USED", "DIRTY", "POINT AGE", "SESSIONS", "STATUS", "ID"};
	char b[CLI_TEXT];
	struct cli_table t;
	json_t *v;
	size_t i;

	cli_table_init(&t, 9, "llrrrrrll");
	for (i = 0; i < 9; i++)
		cli_table_add(&t, i, "%s", head[i]);
	cli_table_end_row(&t);
	json_array_foreach((json_t *)(uintptr_t)list, i, v)
	{
		const json_t *progress = json_object_get(v, "progress");
		const char *reason = cli_str(v, "reason");
		bool is_attached = strcmp(cli_str(v, "attachment"), "ATTACHED") == 0;

		cli_table_add(&t, 0, "%s", cli_str(v, "name"));
		cli_table_add(&t, 1, "%s", cli_str(v, "type"));
		cli_table_add(&t, 2, "%s", cli_bytes(cli_num(v, "size_bytes"), b));
		cli_table_add(&t, 3, "%s", cli_bytes(cli_num(v, "used_bytes"), b));
		cli_table_add(&t, 4, "%s", cli_bytes(cli_num(v, "dirty_bytes"), b));
		cli_table_add(&t, 5, "%s",
		    json_object_get(v, "recovery_point_age_s") != NULL
			? cli_age(cli_num(v, "recovery_point_age_s"), b)
			: "-");
		cli_table_add(&t, 6, "%" PRIu64, cli_num(v, "sessions"));
		if (progress != NULL)
			cli_table_add(&t, 7, "%s %.0f %%%s%s", cli_str(v, "status"),
			    100 * json_real_value(progress), reason[0] != '\0' ? ": " : "", reason);
		else
			cli_table_add(&t, 7, "%s%s%s",
			    is_attached ? cli_str(v, "status") : cli_str(v, "attachment"),
			    reason[0] != '\0' ? ": " : "", reason);
		cli_table_add(&t, 8, "%s", cli_str(v, "id"));
		cli_table_end_row(&t);
	}
	cli_table_print(&t);
}

static int
volume_list(struct cli *c)
{
	json_t *out;
	int rc = cli_get(c, "/v1/volumes", NULL, &out);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json)
		cli_print_json(out);
	else if (json_array_size(json_object_get(out, "volumes")) == 0)
		puts("no volumes");
	else
		cli_print_volumes(json_object_get(out, "volumes"));
	json_decref(out);
	return CLI_OK;
}

static void
print_members(const json_t *o)
{
	struct cli_table t;
	const char *key;
	json_t *v;

	cli_table_init(&t, 2, "ll");
	json_object_foreach((json_t *)(uintptr_t)o, key, v)
	{
		char *text = json_is_string(v) ? xstrdup(json_string_value(v))
					       : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		cli_table_add(&t, 0, "%s", key);
		cli_table_add(&t, 1, "%s", text);
		cli_table_end_row(&t);
		free(text);
	}
	cli_table_print(&t);
}

static int
volume_show(struct cli *c, const char *name)
{
	json_t *v;
	int rc = cli_volume(c, name, &v);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json)
		cli_print_json(v);
	else
		print_members(v);
	json_decref(v);
	return CLI_OK;
}

/* A page of a volume whose one member is a list; its members become the columns. */
static int
volume_page(struct cli *c, const char *name, const char *what, const char *query,
    const char *member, const char *const *columns, size_t ncolumns, const char *none)
{
	char *enc = s3_uri_encode(name, false), *path = xasprintf("/v1/volumes/%s/%s", enc, what);
	struct cli_table t;
	json_t *out, *list, *o;
	size_t i;
	int rc = cli_get(c, path, query, &out);

	free(enc);
	free(path);
	if (rc != CLI_OK)
		return rc;
	list = json_object_get(out, member);
	if (c->is_json) {
		cli_print_json(out);
	} else if (json_array_size(list) == 0) {
		puts(none);
	} else {
		cli_table_init(&t, ncolumns, "llll");
		json_array_foreach(list, i, o)
		{
			for (size_t k = 0; k < ncolumns; k++) {
				json_t *v = json_object_get(o, columns[k]);

				if (json_is_string(v))
					cli_table_add(&t, k, "%s", json_string_value(v));
				else
					cli_table_add(&t, k, "%" PRIu64, cli_num(o, columns[k]));
			}
			cli_table_end_row(&t);
		}
		cli_table_print(&t);
	}
	json_decref(out);
	return CLI_OK;
}

static int
volume_points(struct cli *c, const struct volume_opts *o, const char *name)
{
	static const char *const columns[] = {"when", "epoch"};
	char *query = o->max != NULL ? xasprintf("max=%s", o->max) : NULL;
	int rc = volume_page(c, name, "recovery-points", query, "recovery_points", columns, 2,
	    "no recovery points yet");

	free(query);
	return rc;
}

static int
volume_initiators(struct cli *c, const char *name)
{
	static const char *const columns[] = {"initiator", "peer"};

	return volume_page(
	    c, name, "initiators", NULL, "initiators", columns, 2, "nobody is logged in");
}

/* --- making -------------------------------------------------------------------------------------------- */

/* The address to serve it at: as asked for, else the configuration's own, else the gateway's. Malloced. */
static int
choose_interface(struct cli *c, const struct volume_opts *o, const char *gateway, char **out)
{
	const char *listen = c->has_conf ? c->conf.iscsi_listen : NULL;
	size_t n = listen != NULL ? strcspn(listen, ", ") : 0;
	json_t *info, *first;
	int rc;

	*out = NULL;
	while (n > 0 && listen[n] != ':')
		n--;
	if (o->interface != NULL)
		*out = xstrdup(o->interface);
	else if (n > 2 && listen[0] == '[' && strncmp(listen, "[::]", 4) != 0)
		*out = xstrndup(listen + 1, n - 2);
	else if (n > 0 && listen[0] != '[' && listen[0] != '*' &&
		 strncmp(listen, "0.0.0.0:", 8) != 0)
		*out = xstrndup(listen, n);
	if (*out != NULL)
		return CLI_OK;
	rc = cli_aws(
	    c, "DescribeGatewayInformation", json_pack("{s:s}", "GatewayARN", gateway), &info);
	if (rc != CLI_OK)
		return rc;
	first = json_array_get(json_object_get(info, "GatewayNetworkInterfaces"), 0);
	*out = xstrdup(first != NULL ? cli_str(first, "Ipv4Address") : "127.0.0.1");
	json_decref(info);
	return CLI_OK;
}

static void
put_str(json_t *o, const char *key, const char *value)
{
	if (value != NULL)
		json_object_set_new(o, key, json_string(value));
}

static void
put_tag(json_t *in, const char *key, const char *value)
{
	json_t *tags = json_object_get(in, "Tags");

	if (value == NULL)
		return;
	if (tags == NULL)
		json_object_set_new(in, "Tags", tags = json_array());
	json_array_append_new(tags, json_pack("{s:s, s:s}", "Key", key, "Value", value));
}

static void
put_key(json_t *in, const char *key)
{
	char *kms = key != NULL ? xasprintf("alias/%s", key) : NULL;

	if (kms == NULL)
		return;
	put_str(in, "KMSKey", kms);
	json_object_set_new(in, "KMSEncrypted", json_true());
	free(kms);
}

static int
fill_cached(struct cli *c, const struct volume_opts *o, json_t *in)
{
	uint8_t raw[16];
	char token[33], *arn;
	uint64_t size = 0;
	json_t *v;
	int rc = CLI_OK;

	random_bytes(raw, sizeof(raw));
	digest_hex(raw, sizeof(raw), token);
	put_str(in, "ClientToken", token);
	put_str(in, "SnapshotId", o->snapshot);
	if (o->from != NULL) {
		rc = arn_of(c, o->from, &arn);
		if (rc != CLI_OK)
			return rc;
		put_str(in, "SourceVolumeARN", arn);
		free(arn);
	}
	if (o->size == NULL && o->from != NULL && (rc = cli_volume(c, o->from, &v)) == CLI_OK) {
		size = cli_num(v, "size_bytes");
		json_decref(v);
	} else if (rc == CLI_OK) {
		rc = cli_size("--size", o->size, &size);
	}
	json_object_set_new(in, "VolumeSizeInBytes", json_integer((json_int_t)size));
	put_tag(in, "causeway:recovery-time", o->time);
	return rc;
}

static int
fill_stored(struct cli *c, const struct volume_opts *o, const char *gateway, json_t *in)
{
	char *id;
	int rc;

	if (o->disk == NULL)
		return cli_usage("a stored volume needs --disk");
	if (o->size != NULL || o->from != NULL)
		return cli_usage("a stored volume has the size of its disk, and no --from");
	rc = cli_disk(c, gateway, o->disk, &id);
	if (rc != CLI_OK)
		return rc;
	put_str(in, "DiskId", id);
	put_str(in, "SnapshotId", o->snapshot);
	json_object_set_new(in, "PreserveExistingData", json_boolean(o->is_keep_data));
	free(id);
	return CLI_OK;
}

/* Until it is no longer being created. */
static int
wait_created(struct cli *c, const char *arn)
{
	uint64_t until = clock_mono_ms() + WAIT_MS;
	unsigned int pause_ms = 20;

	for (;;) {
		char status[64], reason[256];
		json_t *v;
		int rc = cli_volume(c, arn, &v);

		if (rc != CLI_OK)
			return rc;
		snprintf(status, sizeof(status), "%s", cli_str(v, "status"));
		snprintf(reason, sizeof(reason), "%s", cli_str(v, "reason"));
		json_decref(v);
		if (strcmp(status, "CREATING") != 0 && strcmp(status, "IRRECOVERABLE") != 0)
			return CLI_OK;
		if (strcmp(status, "IRRECOVERABLE") == 0 || clock_mono_ms() >= until) {
			cli_error("the volume is there, but its status is %s%s%s", status,
			    reason[0] != '\0' ? ": " : "", reason);
			return CLI_FAILED;
		}
		clock_sleep_ms(pause_ms);
		pause_ms = pause_ms < 500 ? pause_ms * 2 : pause_ms;
	}
}

/* Wait, unless told not to, and say what it is called. out is taken. */
static int
finish(struct cli *c, const struct volume_opts *o, json_t *out)
{
	const char *target = strstr(cli_str(out, "TargetARN"), "/target/");
	int rc = CLI_OK;

	if (!o->is_no_wait)
		rc = wait_created(c, cli_str(out, "VolumeARN"));
	if (c->is_json) {
		cli_print_json(out);
	} else {
		puts(cli_str(out, "VolumeARN"));
		if (target != NULL)
			puts(target + strlen("/target/"));
	}
	json_decref(out);
	return rc;
}

static int
make_bucket(struct cli *c)
{
	int rc = cli_need_conf(c);

	if (rc != CLI_OK)
		return rc;
	if (c->conf.volumes_bucket == NULL) {
		cli_error("section [volumes] of the configuration names no bucket");
		return CLI_FAILED;
	}
	return cli_create_bucket(c, c->conf.volumes_credentials, c->conf.volumes_bucket);
}

static int
volume_create(struct cli *c, const struct volume_opts *o, const char *name)
{
	char *gateway = NULL, *interface = NULL;
	json_t *in = NULL, *out;
	int rc = o->is_create_bucket ? make_bucket(c) : CLI_OK;

	if (rc == CLI_OK && o->gateway != NULL)
		gateway = xstrdup(o->gateway);
	else if (rc == CLI_OK)
		rc = cli_gateway(c, o->is_stored ? "STORED" : "CACHED", &gateway);
	if (rc == CLI_OK)
		rc = choose_interface(c, o, gateway, &interface);
	if (rc == CLI_OK) {
		in = json_pack("{s:s, s:s, s:s}", "GatewayARN", gateway, "TargetName", name,
		    "NetworkInterfaceId", interface);
		put_key(in, o->key);
		put_tag(in, "causeway:block-size", o->block_size);
		rc = o->is_stored ? fill_stored(c, o, gateway, in) : fill_cached(c, o, in);
	}
	free(gateway);
	free(interface);
	if (rc != CLI_OK) {
		json_decref(in);
		return rc;
	}
	rc = cli_aws(
	    c, o->is_stored ? "CreateStorediSCSIVolume" : "CreateCachediSCSIVolume", in, &out);
	return rc == CLI_OK ? finish(c, o, out) : rc;
}

/* --- attach, detach, delete, resize ------------------------------------------------------------------------- */

/* ID: of a volume that was detached here, or that only the bucket knows. */
static int
volume_attach(struct cli *c, const struct volume_opts *o, const char *id)
{
	char *gateway = NULL, *interface = NULL, *arn = NULL, *disk = NULL;
	json_t *in, *out;
	int rc = CLI_OK;

	if (o->gateway != NULL)
		gateway = xstrdup(o->gateway);
	else
		rc = cli_gateway(c, o->is_stored ? "STORED" : "CACHED", &gateway);
	if (rc == CLI_OK)
		rc = choose_interface(c, o, gateway, &interface);
	if (rc == CLI_OK && o->disk != NULL)
		rc = cli_disk(c, gateway, o->disk, &disk);
	if (rc == CLI_OK && strncmp(id, "arn:", 4) == 0)
		arn = xstrdup(id);
	else if (rc == CLI_OK && strncmp(id, "vol-", 4) == 0)
		arn = xasprintf("%s/volume/%s", gateway, id);
	else if (rc == CLI_OK)
		rc = arn_of(c, id, &arn);
	if (rc == CLI_OK) {
		in = json_pack("{s:s, s:s, s:s}", "GatewayARN", gateway, "VolumeARN", arn,
		    "NetworkInterfaceId", interface);
		put_str(in, "TargetName", o->name);
		put_str(in, "DiskId", disk);
		rc = cli_aws(c, "AttachVolume", in, &out);
		if (rc == CLI_OK)
			rc = finish(c, o, out);
	}
	free(gateway);
	free(interface);
	free(arn);
	free(disk);
	return rc;
}

static int
wait_detached(struct cli *c, const char *arn)
{
	unsigned int pause_ms = 20;

	for (;;) {
		bool is_done;
		json_t *v;
		int rc = cli_volume(c, arn, &v);

		if (rc != CLI_OK)
			return rc;
		is_done = strcmp(cli_str(v, "attachment"), "DETACHED") == 0;
		json_decref(v);
		if (is_done)
			return CLI_OK;
		clock_sleep_ms(pause_ms);
		pause_ms = pause_ms < 500 ? pause_ms * 2 : pause_ms;
	}
}

static int
volume_detach(struct cli *c, const struct volume_opts *o, const char *name)
{
	char *arn;
	int rc = arn_of(c, name, &arn);

	if (rc != CLI_OK)
		return rc;
	if (o->is_discard)
		rc = post(c, arn, "detach", "discard");
	else
		rc = aws(c, "DetachVolume",
		    json_pack("{s:s, s:b}", "VolumeARN", arn, "ForceDetach", o->is_force));
	if (rc == CLI_OK && !o->is_no_wait)
		rc = wait_detached(c, arn);
	free(arn);
	return rc;
}

static int
volume_delete(struct cli *c, const char *name)
{
	char *arn;
	int rc = arn_of(c, name, &arn);

	if (rc != CLI_OK)
		return rc;
	rc = aws(c, "DeleteVolume", json_pack("{s:s}", "VolumeARN", arn));
	free(arn);
	return rc;
}

static int
volume_resize(struct cli *c, const char *name, const char *text)
{
	uint64_t size;
	char *query;
	int rc = cli_size("volume resize", text, &size);

	if (rc != CLI_OK)
		return rc;
	query = xasprintf("size=%" PRIu64, size);
	rc = post(c, name, "resize", query);
	free(query);
	return rc;
}

/* --- CHAP, schedule ------------------------------------------------------------------------------------------- */

/* The TargetARN, malloced. */
static int
target_of(struct cli *c, const char *name, char **target)
{
	json_t *v;
	int rc = cli_volume(c, name, &v);

	*target = NULL;
	if (rc != CLI_OK)
		return rc;
	*target = xasprintf("%s/target/%s", cli_str(v, "gateway_arn"), cli_str(v, "iqn"));
	json_decref(v);
	return CLI_OK;
}

static int
chap_list(struct cli *c, const char *target)
{
	json_t *out, *v;
	size_t i;
	int rc =
	    cli_aws(c, "DescribeChapCredentials", json_pack("{s:s}", "TargetARN", target), &out);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json)
		cli_print_json(out);
	json_array_foreach(json_object_get(out, "ChapCredentials"), i, v)
	{
		if (!c->is_json) /* secrets are for those who ask for JSON */
			printf("%s%s\n", cli_str(v, "InitiatorName"),
			    json_object_get(v, "SecretToAuthenticateTarget") != NULL ? "  mutual"
										     : "");
	}
	if (!c->is_json && i == 0)
		puts("no credentials: everybody may log in");
	json_decref(out);
	return CLI_OK;
}

/* chap V; chap V INITIATOR --secret S [--target-secret S]; chap V INITIATOR --delete */
static int
volume_chap(struct cli *c, const struct volume_opts *o, const char *name, const char *initiator)
{
	json_t *in;
	char *target;
	int rc = target_of(c, name, &target);

	if (rc != CLI_OK)
		return rc;
	if (initiator == NULL) {
		rc = chap_list(c, target);
	} else if (o->is_delete) {
		rc = aws(c, "DeleteChapCredentials",
		    json_pack("{s:s, s:s}", "TargetARN", target, "InitiatorName", initiator));
	} else if (o->secret == NULL) {
		rc = cli_usage("volume chap wants --secret or --delete with an initiator");
	} else {
		in = json_pack("{s:s, s:s, s:s}", "TargetARN", target, "InitiatorName", initiator,
		    "SecretToAuthenticateInitiator", o->secret);
		put_str(in, "SecretToAuthenticateTarget", o->target_secret);
		rc = aws(c, "UpdateChapCredentials", in);
	}
	free(target);
	return rc;
}

static int
schedule_show(struct cli *c, const char *arn)
{
	json_t *out;
	int rc = cli_aws(c, "DescribeSnapshotSchedule", json_pack("{s:s}", "VolumeARN", arn), &out);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json)
		cli_print_json(out);
	else
		print_members(out);
	json_decref(out);
	return CLI_OK;
}

/* schedule V; schedule V --every H [--start H] [--keep N] [--description D]; schedule V --delete */
static int
volume_schedule(struct cli *c, const struct volume_opts *o, const char *name)
{
	json_t *in;
	char *arn;
	int rc = arn_of(c, name, &arn);

	if (rc != CLI_OK)
		return rc;
	if (o->keep != NULL)
		rc = aws(c, "AddTagsToResource",
		    json_pack("{s:s, s:[{s:s, s:s}]}", "ResourceARN", arn, "Tags", "Key",
			"causeway:keep-snapshots", "Value", o->keep));
	if (rc == CLI_OK && o->is_delete) {
		rc = aws(c, "DeleteSnapshotSchedule", json_pack("{s:s}", "VolumeARN", arn));
	} else if (rc == CLI_OK && o->every != NULL) {
		in = json_pack("{s:s, s:I, s:I}", "VolumeARN", arn, "StartAt",
		    (json_int_t)(o->start != NULL ? atoi(o->start) : 0), "RecurrenceInHours",
		    (json_int_t)atoi(o->every));
		put_str(in, "Description", o->description);
		rc = aws(c, "UpdateSnapshotSchedule", in);
	} else if (rc == CLI_OK && o->keep == NULL) {
		rc = schedule_show(c, arn);
	}
	free(arn);
	return rc;
}

/* --- dispatch --------------------------------------------------------------------------------------------------- */

static int
dispatch(struct cli *c, const struct volume_opts *o, const char *verb, const char *name,
    const char *more)
{
	if (strcmp(verb, "list") == 0)
		return name == NULL ? volume_list(c) : cli_usage("volume list takes no name");
	if (name == NULL)
		return cli_usage("which volume?");
	if (strcmp(verb, "resize") == 0)
		return volume_resize(c, name, more);
	if (strcmp(verb, "chap") == 0)
		return volume_chap(c, o, name, more);
	if (more != NULL)
		return cli_usage("one volume at a time");
	if (strcmp(verb, "show") == 0)
		return volume_show(c, name);
	if (strcmp(verb, "create") == 0)
		return volume_create(c, o, name);
	if (strcmp(verb, "delete") == 0)
		return volume_delete(c, name);
	if (strcmp(verb, "attach") == 0)
		return volume_attach(c, o, name);
	if (strcmp(verb, "detach") == 0)
		return volume_detach(c, o, name);
	if (strcmp(verb, "drain") == 0)
		return post(c, name, "drain", NULL);
	if (strcmp(verb, "points") == 0)
		return volume_points(c, o, name);
	if (strcmp(verb, "initiators") == 0)
		return volume_initiators(c, name);
	if (strcmp(verb, "schedule") == 0)
		return volume_schedule(c, o, name);
	return cli_usage(
	    "volume list, show, create, delete, resize, attach, detach, drain, chap, points, "
	    "initiators or schedule, not \"%s\"",
	    verb);
}

int
cmd_volume(struct cli *c, struct cli_args *a)
{
	struct volume_opts o = {0};
	const struct cli_opt opts[] = {
	    {.name = "size", .letter = 's', .has_value = true, .value = &o.size},
	    {.name = "gateway", .has_value = true, .value = &o.gateway},
	    {.name = "interface", .has_value = true, .value = &o.interface},
	    {.name = "snapshot", .has_value = true, .value = &o.snapshot},
	    {.name = "from", .has_value = true, .value = &o.from},
	    {.name = "time", .has_value = true, .value = &o.time},
	    {.name = "key", .has_value = true, .value = &o.key},
	    {.name = "block-size", .has_value = true, .value = &o.block_size},
	    {.name = "stored", .flag = &o.is_stored},
	    {.name = "disk", .has_value = true, .value = &o.disk},
	    {.name = "keep-data", .flag = &o.is_keep_data},
	    {.name = "create-bucket", .flag = &o.is_create_bucket},
	    {.name = "name", .has_value = true, .value = &o.name},
	    {.name = "force", .flag = &o.is_force},
	    {.name = "discard", .flag = &o.is_discard},
	    {.name = "no-wait", .flag = &o.is_no_wait},
	    {.name = "secret", .has_value = true, .value = &o.secret},
	    {.name = "target-secret", .has_value = true, .value = &o.target_secret},
	    {.name = "start", .has_value = true, .value = &o.start},
	    {.name = "every", .has_value = true, .value = &o.every},
	    {.name = "keep", .has_value = true, .value = &o.keep},
	    {.name = "description", .has_value = true, .value = &o.description},
	    {.name = "delete", .flag = &o.is_delete},
	    {.name = "max", .letter = 'n', .has_value = true, .value = &o.max},
	    {.name = "json", .letter = 'j', .flag = &c->is_json},
	};
	int rc = cli_parse(a, opts, sizeof(opts) / sizeof(opts[0]), false);

	if (rc == CLI_OK && a->argc > 3)
		rc = cli_usage("too many arguments");
	if (rc == CLI_OK)
		rc = cli_need_api(c);
	if (rc != CLI_OK)
		return rc;
	return dispatch(c, &o, a->argc > 0 ? a->argv[0] : "list", a->argc > 1 ? a->argv[1] : NULL,
	    a->argc > 2 ? a->argv[2] : NULL);
}
