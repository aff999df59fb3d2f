/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_check.c - prove the promises of index and data files while no daemon has them open. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cache/cache.h"
#include "gateway/cli/cli.h"

struct check {
	bool is_json;
	json_t *lines;
};

static void
say(void *arg, const char *line)
{
	struct check *k = arg;

	if (k->is_json)
		json_array_append_new(k->lines, json_string(line));
	else
		puts(line);
}

static int
report(struct cli *c, struct check *k, int n, const struct cache_check_report *r)
{
	if (n < 0)
		return CLI_FAILED;
	if (c->is_json) {
		json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:O}", "files",
		    (json_int_t)r->files, "chunks", (json_int_t)r->chunks, "slots",
		    (json_int_t)r->slots, "dirty_blocks", (json_int_t)r->dirty_blocks, "problems",
		    (json_int_t)n, "lines", k->lines);

		cli_print_json(o);
		json_decref(o);
	} else {
		printf("%" PRIu64 " files, %" PRIu64 " chunks, %" PRIu64 " slots, %" PRIu64
		       " blocks to upload: %s\n",
		    r->files, r->chunks, r->slots, r->dirty_blocks,
		    n == 0 ? "all promises hold" : "PROBLEMS");
	}
	return n == 0 ? CLI_OK : CLI_PROBLEMS;
}

int
cmd_check(struct cli *c, struct cli_args *a)
{
	const struct cli_opt opts[] = {{.name = "json", .letter = 'j', .flag = &c->is_json}};
	const char *dirs[CONFIG_DISKS_MAX];
	struct cache_conf conf = {.data_dirs = dirs};
	struct cache_check_report r = {0};
	struct check k;
	int n, rc = cli_parse(a, opts, 1, false);

	if (rc == CLI_OK && a->argc != 0)
		rc = cli_usage("check takes no arguments");
	if (rc == CLI_OK)
		rc = cli_need_conf(c);
	if (rc != CLI_OK)
		return rc;
	conf.index_path = c->conf.cache_index;
	conf.capacity_bytes = c->conf.cache_capacity_bytes;
	conf.dirty_max_bytes = c->conf.cache_dirty_max_bytes;
	for (size_t i = 0; i < c->conf.ndisks; i++)
		dirs[conf.ndata_dirs++] = c->conf.disks[i].dir;
	k = (struct check){c->is_json, json_array()};
	n = cache_check(&conf, say, &k, &r);
	if (n == -EBUSY)
		cli_error("causewayd has the cache open: stop it first, or ask it with "
			  "`causeway status'");
	else if (n == -ENOENT)
		cli_error("%s: there is no index yet", conf.index_path);
	else if (n < 0)
		cli_error("%s: %s", conf.index_path, err_str(n));
	rc = report(c, &k, n, &r);
	json_decref(k.lines);
	return rc;
}
