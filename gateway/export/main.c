/* SPDX-License-Identifier: Apache-2.0 */
/* causeway-export - see causeway-export(1). */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"
#include "gateway/export/export.h"
#include "s3/objstore_s3.h"

void
export_error(const char *fmt, ...)
{
	va_list ap;

	fputs("causeway-export: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

enum export_exit
export_status(int err)
{
	if (err >= 0)
		return EXPORT_OK;
	if (err_is(err, ERR_CHECKSUM))
		return EXPORT_DAMAGED;
	if (err_is(err, EHOSTDOWN) || err_is(err, EACCES) || err_is(err, EAGAIN) ||
	    err_is(err, ENODEV))
		return EXPORT_STORE;
	return EXPORT_FAILED;
}

/* ---- options ---- */

static bool
parse_number(const char *s, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	return s[0] >= '0' && s[0] <= '9' && *end == '\0' && errno == 0 && *out <= INT64_MAX;
}

/* parse_time - 2026-11-25T12:00:00Z, or seconds since 1970. */
static bool
parse_time(const char *s, int64_t *ns)
{
	struct tm tm = {0};
	uint64_t seconds;
	const char *end;

	if (parse_number(s, &seconds)) {
		*ns =
		    (int64_t)(seconds < INT64_MAX / 1000000000 ? seconds * 1000000000 : INT64_MAX);
		return true;
	}
	end = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	if (end == NULL || strcmp(end, "Z") != 0)
		return false;
	/* of the whole second */
	*ns = (int64_t)timegm(&tm) * 1000000000 + 999999999;
	return true;
}

/* read_key - 32 bytes, or 64 hex digits. */
static bool
read_key(const char *path, uint8_t key[32])
{
	char *data;
	size_t len;
	bool is_good = false;

	if (osfile_read_all(path, 4096, &data, &len) < 0)
		return false;
	if (len == 32) {
		memcpy(key, data, 32);
		is_good = true;
	} else {
		data[strcspn(data, " \t\r\n")] = '\0';
		is_good = strlen(data) == 64 && digest_hex_decode(data, key, 32) == 32;
	}
	memset(data, 0, len);
	free(data);
	return is_good;
}

static int
usage(const char *why)
{
	export_error("%s (see causeway-export(1))", why);
	return EXPORT_USAGE;
}

enum opt {
	OPT_ENDPOINT = 256,
	OPT_REGION,
	OPT_BUCKET,
	OPT_PREFIX,
	OPT_PATH_STYLE,
	OPT_CA_FILE,
	OPT_INSECURE,
	OPT_CREDENTIALS,
	OPT_PROFILE,
	OPT_KEY_FILE,
	OPT_LIST,
	OPT_VOLUME,
	OPT_SNAPSHOT,
	OPT_EPOCH,
	OPT_TIME,
	OPT_OFFSET,
	OPT_LENGTH,
	OPT_OUTPUT,
	OPT_FORCE
};

static const struct option options[] = {
    {"endpoint", required_argument, NULL, OPT_ENDPOINT},
    {"region", required_argument, NULL, OPT_REGION},
    {"bucket", required_argument, NULL, OPT_BUCKET},
    {"prefix", required_argument, NULL, OPT_PREFIX},
    {"path-style", no_argument, NULL, OPT_PATH_STYLE},
    {"ca-file", required_argument, NULL, OPT_CA_FILE},
    {"insecure-tls", no_argument, NULL, OPT_INSECURE},
    {"credentials", required_argument, NULL, OPT_CREDENTIALS},
    {"profile", required_argument, NULL, OPT_PROFILE},
    {"key-file", required_argument, NULL, OPT_KEY_FILE},
    {"list", no_argument, NULL, OPT_LIST},
    {"volume", required_argument, NULL, OPT_VOLUME},
    {"snapshot", required_argument, NULL, OPT_SNAPSHOT},
    {"epoch", required_argument, NULL, OPT_EPOCH},
    {"time", required_argument, NULL, OPT_TIME},
    {"offset", required_argument, NULL, OPT_OFFSET},
    {"length", required_argument, NULL, OPT_LENGTH},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"force", no_argument, NULL, OPT_FORCE},
    {NULL, 0, NULL, 0},
};

static bool
take_store_option(int o, char *value, struct s3_store_conf *s)
{
	switch (o) {
	case OPT_ENDPOINT:
		s->endpoint = value;
		return true;
	case OPT_REGION:
		s->region = value;
		return true;
	case OPT_BUCKET:
		s->bucket = value;
		return true;
	case OPT_PATH_STYLE:
		s->path_style = true;
		return true;
	case OPT_CA_FILE:
		s->ca_file = value;
		return true;
	case OPT_INSECURE:
		s->insecure_tls = true;
		return true;
	case OPT_CREDENTIALS:
		s->cred.file = value;
		s->cred.source = (char *)(uintptr_t) "profile";
		return true;
	case OPT_PROFILE:
		s->cred.profile = value;
		s->cred.source = (char *)(uintptr_t) "profile";
		return true;
	default:
		return false;
	}
}

static bool
take_option(int o, const char *value, struct export_conf *c)
{
	switch (o) {
	case OPT_PREFIX:
		c->prefix = value;
		return true;
	case OPT_KEY_FILE:
		return c->has_key = read_key(value, c->key);
	case OPT_LIST:
		return c->is_list = true;
	case OPT_VOLUME:
		c->volume = value;
		return vol_id_is_valid(value);
	case OPT_SNAPSHOT:
		c->snapshot = value;
		return vol_id_is_valid(value);
	case OPT_EPOCH:
		return c->has_epoch = parse_number(value, &c->epoch);
	case OPT_TIME:
		return c->has_time = parse_time(value, &c->time_ns);
	case OPT_OFFSET:
		return c->has_offset = parse_number(value, &c->offset);
	case OPT_LENGTH:
		return c->has_length = parse_number(value, &c->length);
	case OPT_OUTPUT:
		c->output = value;
		return true;
	case OPT_FORCE:
		return c->is_forced = true;
	default:
		return false;
	}
}

static int
parse(int argc, char **argv, struct s3_store_conf *s, struct export_conf *c)
{
	int o, index = 0;

	while ((o = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (o == '?')
			return usage("unknown option");
		if (!take_store_option(o, optarg, s) && !take_option(o, optarg, c)) {
			export_error("--%s: %s cannot be", options[index].name, optarg);
			return EXPORT_USAGE;
		}
	}
	if (optind != argc)
		return usage("what is that argument?");
	if (s->bucket == NULL)
		return usage("--bucket is needed");
	if (c->volume == NULL && !c->is_list)
		return usage("--volume or --list is needed");
	if ((c->snapshot != NULL) + c->has_epoch + c->has_time > 1)
		return usage("one of --snapshot, --epoch, --time");
	if (strlen(c->prefix) >= VOL_PREFIX_MAX)
		return usage("the prefix is too long");
	return EXPORT_OK;
}

int
main(int argc, char **argv)
{
	struct s3_store_conf s = {.region = (char *)(uintptr_t) "us-east-1"};
	struct export_conf c = {.prefix = ""};
	struct s3_client *client;
	char why[256] = "";
	int status;

	s.cred.source = (char *)(uintptr_t) "auto";
	log_set_level(LOG_LEVEL_ERR);
	status = parse(argc, argv, &s, &c);
	if (status != EXPORT_OK)
		return status;
	if (s3_client_new(&client) < 0)
		return EXPORT_FAILED;
	if (objstore_s3_new(client, &s, &c.store, why, sizeof(why)) < 0) {
		export_error("%s", why);
		s3_client_free(client);
		return EXPORT_USAGE;
	}
	status = c.is_list ? export_list(&c) : export_image(&c);
	if (fflush(stdout) != 0 && status == EXPORT_OK) {
		export_error("writing: %s", err_str(-errno));
		status = EXPORT_FAILED;
	}
	c.store->ops->close(c.store);
	s3_client_free(client);
	return status;
}
