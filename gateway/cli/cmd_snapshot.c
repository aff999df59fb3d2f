/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_snapshot.c - snapshots of volumes: listed and deleted through /v1, made through the AWS API. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/cli/cli.h"
#include "s3/s3_sign.h"

static int
snapshot_list(struct cli *c, const char *volume)
{
	static const char *const head[] = {
	    "SNAPSHOT", "VOLUME", "SIZE", "TIME", "STATE", "DESCRIPTION"};
	char *enc = volume != NULL ? s3_uri_encode(volume, false) : NULL;
	char *query = enc != NULL ? xasprintf("volume=%s", enc) : NULL, b[CLI_TEXT];
	struct cli_table t;
	json_t *out, *s;
	size_t i;
	int rc = cli_get(c, "/v1/snapshots", query, &out);

	free(enc);
	free(query);
	if (rc != CLI_OK)
		return rc;
	if (c->is_json) {
		cli_print_json(out);
	} else if (json_array_size(json_object_get(out, "snapshots")) == 0) {
		puts("no snapshots");
	} else {
		cli_table_init(&t, 6, "llrlll");
		for (i = 0; i < 6; i++)
			cli_table_add(&t, i, "%s", head[i]);
		cli_table_end_row(&t);
		json_array_foreach(json_object_get(out, "snapshots"), i, s)
		{
			cli_table_add(&t, 0, "%s", cli_str(s, "id"));
			cli_table_add(&t, 1, "%s", cli_str(s, "volume_id"));
			cli_table_add(&t, 2, "%s", cli_bytes(cli_num(s, "size_bytes"), b));
			cli_table_add(&t, 3, "%s", cli_str(s, "when"));
			cli_table_add(&t, 4, "%s", cli_str(s, "state"));
			cli_table_add(&t, 5, "%s", cli_str(s, "description"));
			cli_table_end_row(&t);
		}
		cli_table_print(&t);
	}
	json_decref(out);
	return CLI_OK;
}

static int
wait_completed(struct cli *c, const char *id)
{
	char *path = xasprintf("/v1/snapshots/%s", id);
	unsigned int pause_ms = 20;
	char state[32];
	int rc;

	for (;;) {
		json_t *s;

		(void)cli_get_quiet(c, "/v1/snapshots", NULL, &s); /* a fresh look at the volumes */
		json_decref(s);
		rc = cli_get(c, path, NULL, &s);
		if (rc != CLI_OK)
			break;
		snprintf(state, sizeof(state), "%s", cli_str(s, "state"));
		json_decref(s);
		if (strcmp(state, "pending") != 0) {
			rc = strcmp(state, "completed") == 0 ? CLI_OK : CLI_FAILED;
			if (rc != CLI_OK)
				cli_error("snapshot %s: %s", id, state);
			break;
		}
		clock_sleep_ms(pause_ms);
		pause_ms = pause_ms < 500 ? pause_ms * 2 : pause_ms;
	}
	free(path);
	return rc;
}

static int
snapshot_create(
    struct cli *c, const char *name, const char *description, bool is_last, bool is_no_wait)
{
	json_t *v, *out;
	char *id;
	int rc = cli_volume(c, name, &v);

	if (rc != CLI_OK)
		return rc;
	rc = cli_aws(c, is_last ? "CreateSnapshotFromVolumeRecoveryPoint" : "CreateSnapshot",
	    json_pack("{s:s, s:s}", "VolumeARN", cli_str(v, "arn"), "SnapshotDescription",
		description != NULL ? description : cli_str(v, "name")),
	    &out);
	json_decref(v);
	if (rc != CLI_OK)
		return rc;
	id = xstrdup(cli_str(out, "SnapshotId"));
	if (!is_no_wait)
		rc = wait_completed(c, id);
	if (c->is_json)
		cli_print_json(out);
	else
		puts(id);
	json_decref(out);
	free(id);
	return rc;
}

static int
snapshot_delete(struct cli *c, const char *id)
{
	char *enc = s3_uri_encode(id, false), *path = xasprintf("/v1/snapshots/%s", enc);
	json_t *out;
	int rc = cli_delete(c, path, &out);

	free(enc);
	free(path);
	if (rc != CLI_OK)
		return rc;
	if (c->is_json)
		cli_print_json(out);
	json_decref(out);
	return CLI_OK;
}

int
cmd_snapshot(struct cli *c, struct cli_args *a)
{
	const char *description = NULL, *verb, *name;
	bool is_last = false, is_no_wait = false;
	const struct cli_opt opts[] = {
	    {.name = "description", .letter = 'd', .has_value = true, .value = &description},
	    {.name = "last", .flag = &is_last},
	    {.name = "no-wait", .flag = &is_no_wait},
	    {.name = "json", .letter = 'j', .flag = &c->is_json},
	};
	int rc = cli_parse(a, opts, sizeof(opts) / sizeof(opts[0]), false);

	if (rc != CLI_OK)
		return rc;
	if (a->argc > 2)
		return cli_usage("too many arguments");
	verb = a->argc > 0 ? a->argv[0] : "list";
	name = a->argc > 1 ? a->argv[1] : NULL;
	if (strcmp(verb, "list") == 0)
		return snapshot_list(c, name);
	if (strcmp(verb, "create") == 0 && name != NULL)
		return snapshot_create(c, name, description, is_last, is_no_wait);
	if (strcmp(verb, "delete") == 0 && name != NULL)
		return snapshot_delete(c, name);
	return cli_usage("snapshot list [VOLUME], create VOLUME, or delete ID");
}
