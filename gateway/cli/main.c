/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the `causeway` command: global options, then one command. Manual: causeway(8). */
#include <curl/curl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cli/cli.h"
#include "gateway/control.h"

static int cmd_version(struct cli *c, struct cli_args *a);
static int cmd_help(struct cli *c, struct cli_args *a);

static const struct command {
	const char *name, *help;
	int (*run)(struct cli *c, struct cli_args *a);
} commands[] = {
    {"status", "[SHARE] [--wait [--timeout S] | --watch]   shares, cache, what is pending",
	cmd_status},
    {"drain", "[SHARE] [--no-wait] [--timeout S]           upload everything now, and wait",
	cmd_drain},
    {"uploads", "[SHARE] [--max N]                           what is to be uploaded, oldest first",
	cmd_uploads},
    {"conflicts",
	"[SHARE] [--max N]                           copies kept because the bucket changed",
	cmd_conflicts},
    {"events", "[--type T] [--max N]                        what happened, newest first",
	cmd_events},
    {"share",
	"list | show NAME | create NAME --bucket B ... | delete NAME [--force] |\n"
	"              refresh NAME [--folder F]...",
	cmd_share},
    {"volume",
	"list | show V | create NAME --size S ... | delete V | resize V S | attach ID |\n"
	"              detach V | chap V ... | points V | schedule V ...   block volumes (iSCSI)",
	cmd_volume},
    {"snapshot", "list [V] | create V [--description D] | delete ID", cmd_snapshot},
    {"gateway",
	"list | activate [--type FILE_S3|CACHED|STORED] [--name N] [--timezone Z]\n"
	"              [--buffer DISK]                             activated gateways",
	cmd_gateway},
    {"mount", "SHARE DIR [-o allow_other,ro,cache=S] [--background]   a share by FUSE", cmd_mount},
    {"umount", "DIR", cmd_umount},
    {"check", "                                            prove index and cache, offline",
	cmd_check},
    {"version", "", cmd_version},
    {"help", "", cmd_help},
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static int
cmd_version(struct cli *c, struct cli_args *a)
{
	const struct cli_opt opts[] = {{.name = "json", .letter = 'j', .flag = &c->is_json}};
	int rc = cli_parse(a, opts, 1, false);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json) {
		json_t *o = json_pack("{s:s}", "version", CONTROL_VERSION);

		cli_print_json(o);
		json_decref(o);
	} else {
		puts("causeway " CONTROL_VERSION);
	}
	return CLI_OK;
}

static int
cmd_help(struct cli *c, struct cli_args *a)
{
	const struct cli_opt opts[] = {{.name = "json", .letter = 'j', .flag = &c->is_json}};
	int rc = cli_parse(a, opts, 1, false);

	if (rc != CLI_OK)
		return rc;
	if (c->is_json) {
		json_t *list = json_array(), *o;

		for (size_t i = 0; i < NCOMMANDS; i++)
			json_array_append_new(list, json_string(commands[i].name));
		o = json_pack("{s:o}", "commands", list);
		cli_print_json(o);
		json_decref(o);
		return CLI_OK;
	}
	puts("usage: causeway [--home DIR | --config FILE] [--api URL] [--credentials FILE]\n"
	     "                [--profile P] [--json] COMMAND ...\n");
	for (size_t i = 0; i < NCOMMANDS; i++)
		printf("  %-10s  %s\n", commands[i].name, commands[i].help);
	puts("\nExit status: 0 done, 1 refused or failed, 2 wrong use, 3 no answer, 4 check found\n"
	     "problems, 5 time ran out. The manual is causeway(8).");
	return CLI_OK;
}

static int
run(struct cli *c, struct cli_args *a)
{
	const char *name;

	if (a->argc == 0) {
		cmd_help(c, a);
		return CLI_USAGE;
	}
	name = a->argv[0];
	a->argv++;
	a->argc--;
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].run(c, a);
	return cli_usage("no command %s", name);
}

static char *
copy_of(const char *s)
{
	return s != NULL ? xstrdup(s) : NULL;
}

int
main(int argc, char **argv)
{
	const char *config = NULL, *home = NULL, *api = NULL, *credentials = NULL, *profile = NULL;
	bool is_help = false;
	struct cli c = {0};
	const struct cli_opt opts[] = {
	    {.name = "config", .letter = 'c', .has_value = true, .value = &config},
	    {.name = "home", .has_value = true, .value = &home},
	    {.name = "api", .has_value = true, .value = &api},
	    {.name = "credentials", .has_value = true, .value = &credentials},
	    {.name = "profile", .has_value = true, .value = &profile},
	    {.name = "json", .letter = 'j', .flag = &c.is_json},
	    {.name = "help", .letter = 'h', .flag = &is_help},
	};
	struct cli_args a = {argc - 1, argv + 1};
	int rc;

	setlocale(LC_CTYPE, "");
	curl_global_init(CURL_GLOBAL_DEFAULT);
	rc = cli_parse(&a, opts, sizeof(opts) / sizeof(opts[0]), true);
	if (rc == CLI_OK) {
		c.config_path = copy_of(config);
		c.home = copy_of(home);
		c.api_url = copy_of(api);
		c.credentials_path = copy_of(credentials);
		c.profile = copy_of(profile);
		rc = is_help ? cmd_help(&c, &a) : run(&c, &a);
	}
	cli_clear(&c);
	curl_global_cleanup();
	if (fflush(stdout) != 0 && rc == CLI_OK)
		rc = CLI_FAILED;
	return rc;
}
