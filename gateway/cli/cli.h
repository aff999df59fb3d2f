/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - folder-private: the `causeway` command.  One process, one thread, one command.
 *
 * Functions that can fail print the reason to stderr and return an exit status (enum cli_exit).
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"
#include "gateway/base/strbuf.h"
#include "gateway/config.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	     /* refused, or it did not work */
	CLI_USAGE = 2,	     /* wrong arguments, no or bad configuration */
	CLI_UNREACHABLE = 3, /* the daemon does not answer */
	CLI_PROBLEMS = 4,    /* check: broken promises were found */
	CLI_TIMEOUT = 5,     /* --wait: time ran out */
};

struct cli {
	char *config_path, *home, *api_url, *credentials_path, *profile; /* as given, or found */
	bool is_json;
	bool has_conf;
	struct cw_config conf;
	char *region;
	char *access_key, *secret_key, *session_token;
};

/* --- options: "--name VALUE", "--name=VALUE", "-n VALUE", flags ---------------------------------- */
struct cli_opt {
	const char *name; /* without dashes */
	char letter;	  /* 0 = none */
	bool has_value;
	const char **value; /* receives the last value; NULL with a flag */
	bool *flag;
	const char **list; /* receives every value, list_cap places; *nlist counts */
	size_t list_cap, *nlist;
};

struct cli_args {
	int argc;
	char **argv; /* positional arguments are moved to the front */
};

/* cli_parse - take options out of args. until_word: stop at the first positional argument. */
int cli_parse(struct cli_args *args, const struct cli_opt *opts, size_t nopts, bool until_word);
/* cli_usage - complain and point at the manual. result: CLI_USAGE */
int cli_usage(const char *fmt, ...) CW_PRINTF(1, 2);
void cli_error(const char *fmt, ...) CW_PRINTF(1, 2);

/* --- where the daemon is: configuration and credentials (cli_env.c) ------------------------------ */
int cli_need_conf(struct cli *c);
int cli_need_api(struct cli *c);
void cli_clear(struct cli *c);

/* --- requests (cli_http.c) ------------------------------------------------------------------------ */
struct cli_reply {
	long status;
	char *body; /* NUL-terminated */
	size_t len;
};
/* cli_request - one signed request. target: X-Amz-Target or NULL; body may be NULL.
 * result: CLI_OK with an answer of any HTTP status, CLI_UNREACHABLE (said why unless is_quiet) */
int cli_request(struct cli *c, const char *method, const char *path, const char *query,
    const char *target, const char *body, bool is_quiet, struct cli_reply *out);
/* cli_get, cli_post - /v1/...; *out is a new reference. */
int cli_get(struct cli *c, const char *path, const char *query, json_t **out);
int cli_post(struct cli *c, const char *path, const char *query, json_t **out);
/* cli_get_quiet - the same, silent when the daemon does not answer. */
int cli_get_quiet(struct cli *c, const char *path, const char *query, json_t **out);
/* cli_aws - an operation of the AWS API; in is taken; *out is a new reference. */
int cli_aws(struct cli *c, const char *op, json_t *in, json_t **out);

/* --- text (cli_text.c) ---------------------------------------------------------------------------- */
void cli_print_json(const json_t *j);
#define CLI_TEXT 32
/* Each writes at most CLI_TEXT bytes to buf and returns it. */
const char *cli_bytes(uint64_t n, char *buf); /* "3.2 MiB" */
const char *cli_count(uint64_t n, char *buf); /* "12,345" */
const char *cli_age(uint64_t seconds, char *buf);
const char *cli_time(double epoch_s, char *buf);

struct cli_table {
	size_t ncols, nrows, cap;
	const char *is_right; /* one letter a column: 'r' = right-aligned */
	char **cells;
};
void cli_table_init(struct cli_table *t, size_t ncols, const char *alignment);
void cli_table_add(struct cli_table *t, size_t col, const char *fmt, ...) CW_PRINTF(3, 4);
void cli_table_end_row(struct cli_table *t);
void cli_table_print(struct cli_table *t); /* and free */

const char *cli_str(const json_t *o, const char *key); /* "" when absent */
uint64_t cli_num(const json_t *o, const char *key);    /* 0 when absent */

/* --- commands; args hold what follows the command's name ------------------------------------------ */
int cmd_status(struct cli *c, struct cli_args *a);
int cmd_drain(struct cli *c, struct cli_args *a);
int cmd_uploads(struct cli *c, struct cli_args *a);
int cmd_conflicts(struct cli *c, struct cli_args *a);
int cmd_events(struct cli *c, struct cli_args *a);
int cmd_share(struct cli *c, struct cli_args *a);
int cmd_volume(struct cli *c, struct cli_args *a);
int cmd_snapshot(struct cli *c, struct cli_args *a);
int cmd_gateway(struct cli *c, struct cli_args *a);
int cmd_mount(struct cli *c, struct cli_args *a);
int cmd_umount(struct cli *c, struct cli_args *a);
int cmd_check(struct cli *c, struct cli_args *a);

/* cli_wait_uploaded - until nothing is pending (of share, NULL = all); timeout_s 0 = for ever. */
int cli_wait_uploaded(struct cli *c, const char *share, unsigned int timeout_s);
/* cli_gateway - ARN of the oldest gateway of the type, activating one when there is none. Malloced. */
int cli_gateway(struct cli *c, const char *type, char **arn);
int cli_activate(
    struct cli *c, const char *type, const char *name, const char *timezone, char **arn);
/* cli_disk - the id of the disk that has this node, path or id. Malloced. */
int cli_disk(struct cli *c, const char *gateway, const char *name, char **id);
/* cli_create_bucket - one that is there already is fine. credentials: a section's name, NULL = default */
int cli_create_bucket(struct cli *c, const char *credentials, const char *bucket);
/* cli_delete - DELETE /v1/...; *out is a new reference. */
int cli_delete(struct cli *c, const char *path, json_t **out);
/* cli_volume - what /v1/volumes says about it. *out is a new reference. */
int cli_volume(struct cli *c, const char *name, json_t **out);
/* cli_print_volumes - a table of what /v1/volumes lists. */
void cli_print_volumes(const json_t *list);
/* cli_size - "10G" or bytes. result: CLI_OK, CLI_USAGE */
int cli_size(const char *option, const char *text, uint64_t *out);

#endif
