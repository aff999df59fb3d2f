/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gateway/cli/cli.h"

void
cli_error(const char *fmt, ...)
{
	va_list ap;

	fputs("causeway: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int
cli_usage(const char *fmt, ...)
{
	va_list ap;

	fputs("causeway: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" (see `causeway help')\n", stderr);
	return CLI_USAGE;
}

static const struct cli_opt *
find_opt(const struct cli_opt *opts, size_t nopts, const char *arg, const char **value)
{
	size_t len = strcspn(arg, "=");

	*value = NULL;
	if (arg[0] == '-' && arg[1] != '-') {
		for (size_t i = 0; i < nopts; i++) {
			if (opts[i].letter == 0 || opts[i].letter != arg[1])
				continue;
			if (arg[2] != '\0')
				*value = arg + 2;
			return &opts[i];
		}
		return NULL;
	}
	if (arg[len] == '=')
		*value = arg + len + 1;
	for (size_t i = 0; i < nopts; i++)
		if (strlen(opts[i].name) == len - 2 && strncmp(opts[i].name, arg + 2, len - 2) == 0)
			return &opts[i];
	return NULL;
}

static int
take_value(const struct cli_opt *o, const char *value)
{
	if (o->list != NULL) {
		if (*o->nlist == o->list_cap)
			return cli_usage("--%s was given too often", o->name);
		o->list[(*o->nlist)++] = value;
	} else {
		*o->value = value;
	}
	return CLI_OK;
}

int
cli_parse(struct cli_args *args, const struct cli_opt *opts, size_t nopts, bool until_word)
{
	int nwords = 0, i;
	bool is_rest = false;

	for (i = 0; i < args->argc; i++) {
		char *arg = args->argv[i];
		const struct cli_opt *o;
		const char *value;

		if (is_rest || arg[0] != '-' || arg[1] == '\0') {
			if (until_word)
				break;
			args->argv[nwords++] = arg;
			continue;
		}
		if (strcmp(arg, "--") == 0) {
			is_rest = true;
			continue;
		}
		o = find_opt(opts, nopts, arg, &value);
		if (o == NULL)
			return cli_usage("unknown option %s", arg);
		if (!o->has_value) {
			if (value != NULL)
				return cli_usage("%s takes no value", arg);
			*o->flag = true;
			continue;
		}
		if (value == NULL && ++i == args->argc)
			return cli_usage("%s needs a value", arg);
		if (take_value(o, value != NULL ? value : args->argv[i]) != CLI_OK)
			return CLI_USAGE;
	}
	if (until_word) {
		args->argv += i;
		args->argc -= i;
	} else {
		args->argc = nwords;
	}
	return CLI_OK;
}
