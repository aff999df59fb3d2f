/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_gateway.c - activated gateways, through the AWS API. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cli/cli.h"
#include "s3/s3_sign.h"

/* The activation flow of an appliance: GET / with the region gives the key. */
static int
activation_key(struct cli *c, const char *type, char **out)
{
	struct cli_reply r;
	char *query;
	int rc = cli_need_api(c);

	*out = NULL;
	if (rc != CLI_OK)
		return rc;
	query = xasprintf("activationRegion=%s&gatewayType=%s&no_redirect", c->region, type);
	rc = cli_request(c, "GET", "/", query, NULL, NULL, false, &r);
	free(query);
	if (rc != CLI_OK)
		return rc;
	if (r.status != 200 || r.len == 0 || r.len > 50 + 2) {
		cli_error("no activation key: HTTP %ld", r.status);
		rc = CLI_FAILED;
	} else {
		*out = xstrndup(r.body, strcspn(r.body, " \r\n"));
	}
	free(r.body);
	return rc;
}

int
cli_activate(struct cli *c, const char *type, const char *name, const char *timezone, char **arn)
{
	json_t *in, *out;
	char *key;
	int rc = activation_key(c, type, &key);

	*arn = NULL;
	if (rc != CLI_OK)
		return rc;
	in = json_pack("{s:s, s:s, s:s, s:s, s:s}", "ActivationKey", key, "GatewayName", name,
	    "GatewayTimezone", timezone, "GatewayRegion", c->region, "GatewayType", type);
	free(key);
	if (in == NULL)
		return cli_usage("the name is no UTF-8 text");
	rc = cli_aws(c, "ActivateGateway", in, &out);
	if (rc != CLI_OK)
		return rc;
	*arn = xstrdup(cli_str(out, "GatewayARN"));
	json_decref(out);
	return CLI_OK;
}

int
cli_gateway(struct cli *c, const char *type, char **arn)
{
	json_t *out, *g;
	size_t i;
	int rc = cli_aws(c, "ListGateways", json_object(), &out);
	char *name;

	*arn = NULL;
	if (rc != CLI_OK)
		return rc;
	json_array_foreach(json_object_get(out, "Gateways"), i, g)
	{
		if (*arn == NULL && strcmp(cli_str(g, "GatewayType"), type) == 0)
			*arn = xstrdup(cli_str(g, "GatewayARN"));
	}
	json_decref(out);
	if (*arn != NULL)
		return CLI_OK;
	if (strcmp(type, "FILE_S3") == 0)
		return cli_activate(c, type, "causeway", "GMT", arn);
	name = xasprintf("causeway-%s", strcmp(type, "STORED") == 0 ? "stored" : "cached");
	rc = cli_activate(c, type, name, "GMT", arn);
	free(name);
	return rc;
}

int
cli_disk(struct cli *c, const char *gateway, const char *name, char **id)
{
	json_t *out, *d;
	size_t i;
	int rc = cli_aws(c, "ListLocalDisks", json_pack("{s:s}", "GatewayARN", gateway), &out);

	*id = NULL;
	if (rc != CLI_OK)
		return rc;
	json_array_foreach(json_object_get(out, "Disks"), i, d)
	{
		if (*id == NULL && (strcmp(cli_str(d, "DiskNode"), name) == 0 ||
				       strcmp(cli_str(d, "DiskPath"), name) == 0 ||
				       strcmp(cli_str(d, "DiskId"), name) == 0))
			*id = xstrdup(cli_str(d, "DiskId"));
	}
	json_decref(out);
	if (*id != NULL)
		return CLI_OK;
	cli_error("no disk %s, or it is another gateway's: see ListLocalDisks", name);
	return CLI_FAILED;
}

/* Give it a disk as upload buffer, or as working storage when it is for stored volumes. */
static int
add_buffer(struct cli *c, const char *arn, const char *type, const char *disk)
{
	bool is_stored = strcmp(type, "STORED") == 0;
	json_t *out;
	char *id;
	int rc = cli_disk(c, arn, disk, &id);

	if (rc != CLI_OK)
		return rc;
	rc = cli_aws(c, is_stored ? "AddWorkingStorage" : "AddUploadBuffer",
	    json_pack("{s:s, s:[s]}", "GatewayARN", arn, "DiskIds", id), &out);
	free(id);
	if (rc == CLI_OK)
		json_decref(out);
	return rc;
}

static int
list(struct cli *c)
{
	static const char *const head[] = {"ID", "NAME", "TYPE", "STATE", "ARN"};
	static const char *const key[] = {
	    "GatewayId", "GatewayName", "GatewayType", "GatewayOperationalState", "GatewayARN"};
	struct cli_table t;
	json_t *out, *g;
	size_t i, col;
	int rc = cli_aws(c, "ListGateways", json_object(), &out);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json) {
		cli_print_json(out);
	} else if (json_array_size(json_object_get(out, "Gateways")) == 0) {
		puts("no gateway is activated");
	} else {
		cli_table_init(&t, 5, "lllll");
		for (col = 0; col < 5; col++)
			cli_table_add(&t, col, "%s", head[col]);
		cli_table_end_row(&t);
		json_array_foreach(json_object_get(out, "Gateways"), i, g)
		{
			for (col = 0; col < 5; col++)
				cli_table_add(&t, col, "%s", cli_str(g, key[col]));
			cli_table_end_row(&t);
		}
		cli_table_print(&t);
	}
	json_decref(out);
	return CLI_OK;
}

int
cmd_gateway(struct cli *c, struct cli_args *a)
{
	const char *name = "causeway", *timezone = "GMT", *type = "FILE_S3", *buffer = NULL, *verb;
	const struct cli_opt opts[] = {
	    {.name = "name", .has_value = true, .value = &name},
	    {.name = "timezone", .has_value = true, .value = &timezone},
	    {.name = "type", .letter = 't', .has_value = true, .value = &type},
	    {.name = "buffer", .has_value = true, .value = &buffer},
	    {.name = "json", .letter = 'j', .flag = &c->is_json},
	};
	char *arn;
	int rc = cli_parse(a, opts, sizeof(opts) / sizeof(opts[0]), false);

	if (rc != CLI_OK)
		return rc;
	verb = a->argc > 0 ? a->argv[0] : "list";
	if (strcmp(verb, "list") == 0 && a->argc <= 1)
		return list(c);
	if (strcmp(verb, "activate") != 0 || a->argc > 1)
		return cli_usage("gateway list, or gateway activate");
	rc = cli_activate(c, type, name, timezone, &arn);
	if (rc == CLI_OK && buffer != NULL)
		rc = add_buffer(c, arn, type, buffer);
	if (rc != CLI_OK) {
		free(arn);
		return rc;
	}
	if (c->is_json) {
		json_t *o = json_pack("{s:s}", "GatewayARN", arn);

		cli_print_json(o);
		json_decref(o);
	} else {
		puts(arn);
	}
	free(arn);
	return CLI_OK;
}
