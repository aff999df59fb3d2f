/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_list.c - uploads, conflicts, events: lists that the daemon keeps. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cli/cli.h"
#include "s3/s3_sign.h"

struct list_opts {
	const char *share, *type, *max;
};

static void
add_param(struct strbuf *q, const char *name, const char *value)
{
	char *enc;

	if (value == NULL)
		return;
	enc = s3_uri_encode(value, false);
	strbuf_addf(q, "%s%s=%s", q->len > 0 ? "&" : "", name, enc);
	free(enc);
}

/* Parse options, ask, and print JSON or leave *out for the caller's table. */
static int
get_list(struct cli *c, struct cli_args *a, const char *path, struct list_opts *o, json_t **out)
{
	const struct cli_opt opts[] = {
	    {.name = "type", .letter = 't', .has_value = true, .value = &o->type},
	    {.name = "max", .letter = 'n', .has_value = true, .value = &o->max},
	    {.name = "json", .letter = 'j', .flag = &c->is_json},
	};
	struct strbuf q = STRBUF_INIT;
	int rc = cli_parse(a, opts, sizeof(opts) / sizeof(opts[0]), false);

	*out = NULL;
	if (rc == CLI_OK && a->argc > 1)
		rc = cli_usage("one share at most");
	if (rc != CLI_OK)
		return rc;
	o->share = a->argc > 0 ? a->argv[0] : NULL;
	add_param(&q, "max", o->max);
	add_param(&q, "share", o->share);
	add_param(&q, "type", o->type);
	rc = cli_get(c, path, strbuf_str(&q), out);
	strbuf_free(&q);
	if (rc == CLI_OK && c->is_json) {
		cli_print_json(*out);
		json_decref(*out);
		*out = NULL;
	}
	return rc;
}

static void
print_head(struct cli_table *t, const char *const *names)
{
	for (size_t i = 0; i < t->ncols; i++)
		cli_table_add(t, i, "%s", names[i]);
	cli_table_end_row(t);
}

int
cmd_uploads(struct cli *c, struct cli_args *a)
{
	static const char *const head[] = {
	    "SHARE", "PATH", "WHAT", "DONE", "SIZE", "AGE", "TRIES", "ERROR"};
	struct list_opts o = {0};
	json_t *answer, *u;
	struct cli_table t;
	char b[CLI_TEXT];
	size_t i;
	int rc = get_list(c, a, "/v1/uploads", &o, &answer);

	if (rc != CLI_OK || answer == NULL)
		return rc;
	if (json_array_size(json_object_get(answer, "uploads")) == 0) {
		puts("nothing to upload");
		json_decref(answer);
		return CLI_OK;
	}
	cli_table_init(&t, 8, "lllrrrrl");
	print_head(&t, head);
	json_array_foreach(json_object_get(answer, "uploads"), i, u)
	{
		cli_table_add(&t, 0, "%s", cli_str(u, "share"));
		cli_table_add(&t, 1, "%s", cli_str(u, "path"));
		cli_table_add(&t, 2, "%s", cli_str(u, "what"));
		cli_table_add(&t, 3, "%s", cli_bytes(cli_num(u, "done_bytes"), b));
		cli_table_add(&t, 4, "%s", cli_bytes(cli_num(u, "size"), b));
		cli_table_add(&t, 5, "%s", cli_age(cli_num(u, "age_s"), b));
		cli_table_add(&t, 6, "%s", cli_count(cli_num(u, "tries"), b));
		cli_table_add(&t, 7, "%s", cli_str(u, "error"));
		cli_table_end_row(&t);
	}
	cli_table_print(&t);
	json_decref(answer);
	return CLI_OK;
}

/* The time of an event: seconds as AWS has them, nanoseconds as the index has them, or text. */
static void
add_time(struct cli_table *t, size_t col, const json_t *when)
{
	double v = json_number_value(when);
	char b[CLI_TEXT];

	if (json_is_string(when))
		cli_table_add(t, col, "%s", json_string_value(when));
	else
		cli_table_add(t, col, "%s", cli_time(v > 1e14 ? v / 1e9 : v, b));
}

/* "key=value key=value" of an object's plain members. */
static char *
flat(const json_t *o)
{
	struct strbuf b = STRBUF_INIT;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)o, key, v)
	{
		char *text = json_is_string(v) ? xstrdup(json_string_value(v))
					       : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		strbuf_addf(&b, "%s%s=%s", b.len > 0 ? " " : "", key, text);
		free(text);
	}
	return strbuf_take(&b);
}

static void
print_events(json_t *list)
{
	static const char *const head[] = {"ID", "TIME", "TYPE", "DETAIL"};
	struct cli_table t;
	json_t *e;
	size_t i;

	cli_table_init(&t, 4, "rlll");
	print_head(&t, head);
	json_array_foreach(list, i, e)
	{
		char *detail = flat(json_object_get(e, "detail"));

		cli_table_add(&t, 0, "%" PRIu64, cli_num(e, "id"));
		add_time(&t, 1, json_object_get(e, "time"));
		cli_table_add(&t, 2, "%s", cli_str(e, "type"));
		cli_table_add(&t, 3, "%s", detail);
		cli_table_end_row(&t);
		free(detail);
	}
	cli_table_print(&t);
}

int
cmd_events(struct cli *c, struct cli_args *a)
{
	struct list_opts o = {0};
	json_t *answer;
	int rc = get_list(c, a, "/v1/events", &o, &answer);

	if (rc != CLI_OK || answer == NULL)
		return rc;
	if (json_array_size(json_object_get(answer, "events")) == 0)
		puts("no events");
	else
		print_events(json_object_get(answer, "events"));
	json_decref(answer);
	return CLI_OK;
}

int
cmd_conflicts(struct cli *c, struct cli_args *a)
{
	struct list_opts o = {0};
	json_t *answer, *list, *e;
	size_t i;
	int rc = get_list(c, a, "/v1/conflicts", &o, &answer);

	if (rc != CLI_OK || answer == NULL)
		return rc;
	list = json_object_get(answer, "conflicts");
	if (json_array_size(list) == 0)
		puts("no conflicts");
	else if (json_object_get(json_array_get(list, 0), "detail") != NULL)
		print_events(list);
	else
		json_array_foreach(list, i, e)
		{
			char *text = flat(e);

			puts(text);
			free(text);
		}
	json_decref(answer);
	return CLI_OK;
}
