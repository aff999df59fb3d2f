/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - INI text to struct cw_config, by one table of keys.
 *
 * inih splits the lines; it does not tell the handler which line it is on, so our reader counts the
 * lines that it hands out: the handler always runs for the last of them.
 */
#include "gateway/config.h"

#include <ctype.h>
#include <ini.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"

enum key_type {
	KEY_STR,
	KEY_PATH,
	KEY_ADDR,
	KEY_ADDRS,
	KEY_BOOL,
	KEY_NUM,
	KEY_SIZE,
	KEY_ACCOUNT,
	KEY_LEVEL,
	KEY_PREFIX
};

struct key {
	const char *section, *name;
	enum key_type type;
	size_t offset;	   /* in struct cw_config, or in struct config_cred for "credentials" */
	uint64_t min, max; /* KEY_NUM, KEY_SIZE */
};

#define AT(field) offsetof(struct cw_config, field)
#define CRED(field) offsetof(struct config_cred, field)
#define NUM_MAX 1000000000ull
#define KEY_FILE_MAX 4096

static const struct key keys[] = {
    {"gateway", "home", KEY_STR, AT(home), 0, 0},
    {"gateway", "log_level", KEY_LEVEL, AT(log_level), 0, 0},
    {"gateway", "user", KEY_STR, AT(user), 0, 0},
    {"gateway", "account_id", KEY_ACCOUNT, AT(account_id), 0, 0},
    {"gateway", "sandbox", KEY_BOOL, AT(is_sandboxed), 0, 0},
    {"nfs", "listen", KEY_ADDR, AT(nfs_listen), 0, 0},
    {"nfs", "mount_listen", KEY_ADDR, AT(nfs_mount_listen), 0, 0},
    {"nfs", "rpcbind", KEY_BOOL, AT(nfs_rpcbind), 0, 0},
    {"nfs", "loops", KEY_NUM, AT(nfs_loops), 0, 64},
    {"nfs", "spin_us", KEY_NUM, AT(nfs_spin_us), 0, 1000},
    {"nfs", "max_connections", KEY_NUM, AT(nfs_max_connections), 0, 65536},
    {"api", "listen", KEY_ADDR, AT(api_listen), 0, 0},
    {"api", "credentials", KEY_PATH, AT(api_credentials), 0, 0},
    {"cache", "index", KEY_PATH, AT(cache_index), 0, 0},
    {"cache", "capacity", KEY_SIZE, AT(cache_capacity_bytes), 1ull << 20, 1ull << 50},
    {"cache", "dirty_max", KEY_SIZE, AT(cache_dirty_max_bytes), 0, 1ull << 50},
    {"cache", "workers", KEY_NUM, AT(cache_workers), 0, 256},
    {"cache", "flush_interval_ms", KEY_NUM, AT(cache_flush_interval_ms), 0, 60000},
    {"s3", "endpoint", KEY_STR, AT(s3_endpoint), 0, 0},
    {"s3", "region", KEY_STR, AT(s3_region), 0, 0},
    {"s3", "path_style", KEY_BOOL, AT(s3_path_style), 0, 0},
    {"s3", "ca_file", KEY_PATH, AT(s3_ca_file), 0, 0},
    {"s3", "proxy", KEY_STR, AT(s3_proxy), 0, 0},
    {"s3", "insecure_tls", KEY_BOOL, AT(s3_insecure_tls), 0, 0},
    {"s3", "sse_c_key", KEY_STR, AT(s3_sse_c_key), 0, 0},
    {"s3", "max_connections", KEY_NUM, AT(s3_max_connections), 0, 1024},
    {"s3", "max_tries", KEY_NUM, AT(s3_max_tries), 0, 100},
    {"s3", "timeout_s", KEY_NUM, AT(s3_timeout_s), 0, 3600},
    {"sync", "settle_ms", KEY_NUM, AT(sync_settle_ms), 0, NUM_MAX},
    {"sync", "max_age_ms", KEY_NUM, AT(sync_max_age_ms), 0, NUM_MAX},
    {"sync", "early_parts", KEY_BOOL, AT(sync_early_parts), 0, 0},
    {"sync", "upload_threads", KEY_NUM, AT(sync_upload_threads), 0, 256},
    {"fuse", "socket", KEY_PATH, AT(fuse_socket), 0, 0},
    {"iscsi", "listen", KEY_ADDRS, AT(iscsi_listen), 0, 0},
    {"iscsi", "naming_authority", KEY_STR, AT(iscsi_naming_authority), 0, 0},
    {"iscsi", "any_interface", KEY_BOOL, AT(iscsi_any_interface), 0, 0},
    {"iscsi", "loops", KEY_NUM, AT(iscsi_loops), 0, 64},
    {"iscsi", "spin_us", KEY_NUM, AT(iscsi_spin_us), 0, 1000},
    {"iscsi", "max_connections", KEY_NUM, AT(iscsi_max_connections), 0, 65536},
    {"volumes", "bucket", KEY_STR, AT(volumes_bucket), 0, 0},
    {"volumes", "prefix", KEY_PREFIX, AT(volumes_prefix), 0, 0},
    {"volumes", "credentials", KEY_STR, AT(volumes_credentials), 0, 0},
    {"volumes", "key", KEY_STR, AT(volumes_key), 0, 0},
    {"volumes", "compression", KEY_BOOL, AT(volumes_is_compressed), 0, 0},
    {"volumes", "recovery_keep_s", KEY_NUM, AT(volumes_recovery_keep_s), 0, NUM_MAX},
    {"volumes", "seal_interval_ms", KEY_NUM, AT(volumes_seal_interval_ms), 0, 86400000},
    {"volumes", "seal_bytes", KEY_SIZE, AT(volumes_seal_bytes), 0, 1ull << 40},
    {"credentials", "source", KEY_STR, CRED(cred.source), 0, 0},
    {"credentials", "access_key", KEY_STR, CRED(cred.access_key), 0, 0},
    {"credentials", "secret_key", KEY_STR, CRED(cred.secret_key), 0, 0},
    {"credentials", "session_token", KEY_STR, CRED(cred.session_token), 0, 0},
    {"credentials", "file", KEY_PATH, CRED(cred.file), 0, 0},
    {"credentials", "profile", KEY_STR, CRED(cred.profile), 0, 0},
    {"credentials", "imds_endpoint", KEY_STR, CRED(cred.imds_endpoint), 0, 0},
    {"credentials", "role_arn", KEY_STR, CRED(role_arn), 0, 0},
};

struct parser {
	struct cw_config *conf;
	const char *next; /* what of the text was not handed out yet */
	int line;
	char *err_text;
	size_t err_cap;
	bool failed;
};

static void fail(struct parser *p, const char *fmt, ...) CW_PRINTF(2, 3);

/* The first message stands: later ones are often its consequences. */
static void
fail(struct parser *p, const char *fmt, ...)
{
	char msg[400];
	va_list ap;

	if (p->failed)
		return;
	p->failed = true;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (p->line > 0)
		snprintf(p->err_text, p->err_cap, "line %d: %s", p->line, msg);
	else
		snprintf(p->err_text, p->err_cap, "%s", msg);
}

/* fgets() over the text. A line that does not fit would be cut in two by inih: refuse it. */
static char *
read_line(char *buf, int cap, void *arg)
{
	struct parser *p = arg;
	size_t len;

	if (*p->next == '\0' || p->failed)
		return NULL;
	p->line++;
	len = strcspn(p->next, "\n");
	if (len + 3 > (size_t)cap) {
		fail(p, "line is longer than %d bytes", CONFIG_LINE_MAX - 3);
		return NULL;
	}
	if (p->next[0] == '[' && len > 48) {
		fail(p, "section name is longer than 46 bytes");
		return NULL;
	}
	memcpy(buf, p->next, len);
	p->next += len;
	if (*p->next == '\n') {
		buf[len++] = '\n';
		p->next++;
	}
	buf[len] = '\0';
	return buf;
}

int
config_parse_size(const char *text, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	char *end;
	const char *at;
	uint64_t v;
	unsigned int shift = 0;

	*out = 0;
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0)
		return -ERANGE;
	if (*end != '\0') {
		at = strchr(suffixes, toupper((unsigned char)*end));
		if (at == NULL)
			return -EINVAL;
		shift = 10 * (unsigned int)(at - suffixes + 1);
		end++;
		if (strcmp(end, "") != 0 && strcmp(end, "iB") != 0 && strcmp(end, "B") != 0)
			return -EINVAL;
	}
	if (shift > 0 && v > UINT64_MAX >> shift)
		return -ERANGE;
	*out = v << shift;
	return 0;
}

static int
parse_bool(const char *v, bool *out)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < 4; i++) {
		if (strcasecmp(v, yes[i]) == 0 || strcasecmp(v, no[i]) == 0) {
			*out = strcasecmp(v, yes[i]) == 0;
			return 0;
		}
	}
	return -EINVAL;
}

/* "address:port" with a numeric port; the address itself is resolved where it is bound. */
static bool
is_address(const char *v)
{
	const char *colon = strrchr(v, ':');
	unsigned int port = 0, digits = 0;

	if (colon == NULL || colon == v)
		return false;
	for (const char *p = colon + 1; *p != '\0'; p++, digits++) {
		if (!isdigit((unsigned char)*p) || digits >= 5)
			return false;
		port = port * 10 + (unsigned int)(*p - '0');
	}
	return digits > 0 && port <= 65535;
}

int
config_each_address(const char *list, int (*fn)(void *, const char *), void *arg)
{
	static const char between[] = ", \t";
	int r = 0;

	while (r == 0 && list != NULL && *(list += strspn(list, between)) != '\0') {
		size_t n = strcspn(list, between);
		char *one = xstrndup(list, n);

		r = fn(arg, one);
		free(one);
		list += n;
	}
	return r;
}

static int
refuse_no_address(void *arg, const char *address)
{
	(void)arg;
	return is_address(address) ? 0 : -EINVAL;
}

static bool
is_account(const char *v)
{
	return strlen(v) == 12 && strspn(v, "0123456789") == 12;
}

static void
set_string(void *field, const char *value)
{
	char **s = field;

	free(*s);
	*s = value[0] == '\0' ? NULL : xstrdup(value);
}

static void
set_number(struct parser *p, const struct key *k, void *field, const char *value)
{
	uint64_t v;
	int r = config_parse_size(value, &v);

	if (r == 0 && k->type == KEY_NUM && strspn(value, "0123456789") != strlen(value))
		r = -EINVAL;
	if (r == -EINVAL)
		fail(p, "%s = %s: not a %s", k->name, value,
		    k->type == KEY_SIZE ? "size (bytes, or with K, M, G or T behind)" : "number");
	else if (r != 0 || v < k->min || v > k->max)
		fail(p, "%s = %s: must be between %llu and %llu", k->name, value,
		    (unsigned long long)k->min, (unsigned long long)k->max);
	else
		*(uint64_t *)field = v;
}

static void
set_key(struct parser *p, const struct key *k, void *base, const char *value)
{
	void *field = (char *)base + k->offset;
	enum log_level level;

	switch (k->type) {
	case KEY_ADDR:
		if (value[0] != '\0' && !is_address(value)) {
			fail(p, "%s = %s: not an address:port", k->name, value);
			return;
		}
		set_string(field, value);
		return;
	case KEY_ADDRS:
		if (config_each_address(value, refuse_no_address, NULL) != 0) {
			fail(p, "%s = %s: not address:port, or several with commas between them",
			    k->name, value);
			return;
		}
		set_string(field, value);
		return;
	case KEY_PREFIX:
		if (value[0] == '/' || (value[0] != '\0' && value[strlen(value) - 1] != '/')) {
			fail(p, "%s = %s: a prefix ends in '/' and does not begin with it", k->name,
			    value);
			return;
		}
		set_string(field, value);
		return;
	case KEY_ACCOUNT:
		if (!is_account(value)) {
			fail(p, "%s = %s: not 12 digits", k->name, value);
			return;
		}
		set_string(field, value);
		return;
	case KEY_LEVEL:
		if (log_parse_level(value, &level) != 0) {
			fail(p, "%s = %s: not one of err, warn, info, debug", k->name, value);
			return;
		}
		set_string(field, value);
		return;
	case KEY_BOOL:
		if (parse_bool(value, field) != 0)
			fail(p, "%s = %s: not yes or no", k->name, value);
		return;
	case KEY_NUM:
	case KEY_SIZE:
		set_number(p, k, field, value);
		return;
	case KEY_STR:
	case KEY_PATH:
		set_string(field, value);
		return;
	}
}

static bool
is_name(const char *s, size_t max)
{
	size_t n = strlen(s);

	if (n == 0 || n > max)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && strchr("._-", s[i]) == NULL)
			return false;
	return true;
}

/* disk.NAME = DIR */
static void
add_disk(struct parser *p, const char *name, const char *dir)
{
	struct cw_config *c = p->conf;

	if (!is_name(name, 32)) {
		fail(p, "disk.%s: a disk's name is 1 to 32 letters, digits, '.', '_' or '-'", name);
		return;
	}
	if (dir[0] == '\0') {
		fail(p, "disk.%s: no directory given", name);
		return;
	}
	for (size_t i = 0; i < c->ndisks; i++) {
		if (strcmp(c->disks[i].name, name) == 0) {
			fail(p, "disk.%s stands twice", name);
			return;
		}
	}
	if (c->ndisks == CONFIG_DISKS_MAX) {
		fail(p, "more than %d disks", CONFIG_DISKS_MAX);
		return;
	}
	c->disks[c->ndisks].name = xstrdup(name);
	c->disks[c->ndisks++].dir = xstrdup(dir);
}

/* disk_size.NAME = SIZE; the disk stands above it. */
static void
set_disk_size(struct parser *p, const char *name, const char *value)
{
	struct cw_config *c = p->conf;
	uint64_t v;

	for (size_t i = 0; i < c->ndisks; i++) {
		if (strcmp(c->disks[i].name, name) != 0)
			continue;
		if (config_parse_size(value, &v) < 0 || v < 1ull << 30 || v % (1ull << 30) != 0)
			fail(p, "disk_size.%s = %s: not a number of whole GiB, such as 10G", name,
			    value);
		else
			c->disks[i].size_bytes = v;
		return;
	}
	fail(p, "disk_size.%s stands before disk.%s", name, name);
}

/* [keys] NAME = BASE64, or file:PATH of a file that holds that. */
static void
add_key(struct parser *p, const char *name, const char *text)
{
	struct cw_config *c = p->conf;

	if (!is_name(name, 32)) {
		fail(p, "a key's name is 1 to 32 letters, digits, '.', '_' or '-'");
		return;
	}
	if (config_key_by_name(c, name) != NULL) {
		fail(p, "key %s stands twice", name);
		return;
	}
	if (c->nkeys == CONFIG_KEYS_MAX) {
		fail(p, "more than %d keys", CONFIG_KEYS_MAX);
		return;
	}
	c->keys[c->nkeys].name = xstrdup(name);
	c->keys[c->nkeys++].text = xstrdup(text);
}

/* The entry of `credentials "NAME"`, made when its first key is seen. */
static struct config_cred *
cred_section(struct parser *p, const char *section)
{
	struct cw_config *c = p->conf;
	const char *at = section + strlen("credentials");
	struct config_cred *found = NULL;
	size_t len;
	char *name;

	at += strspn(at, " \t");
	len = strlen(at);
	if (len < 3 || at[0] != '"' || at[len - 1] != '"') {
		fail(p, "section [%s]: write [credentials \"NAME\"]", section);
		return NULL;
	}
	name = xstrndup(at + 1, len - 2);
	for (size_t i = 0; i < c->ncreds && found == NULL; i++)
		if (strcmp(c->creds[i].name, name) == 0)
			found = &c->creds[i];
	if (found == NULL && !is_name(name, 32)) {
		fail(p, "credentials \"%s\": 1 to 32 letters, digits, '.', '_' or '-'", name);
	} else if (found == NULL && c->ncreds == CONFIG_CREDS_MAX) {
		fail(p, "more than %d credentials sections", CONFIG_CREDS_MAX);
	} else if (found == NULL) {
		found = &c->creds[c->ncreds++];
		found->name = name;
		return found;
	}
	free(name);
	return found;
}

static bool
is_known_section(const char *name)
{
	if (strcmp(name, "keys") == 0)
		return true;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].section, name) == 0)
			return true;
	return false;
}

static int
handle(void *arg, const char *section, const char *name, const char *value)
{
	struct parser *p = arg;
	void *base = p->conf;
	const char *want = section;

	if (p->failed)
		return 0;
	if (strncmp(section, "credentials", 11) == 0) {
		want = "credentials";
		base = cred_section(p, section);
		if (base == NULL)
			return 0;
	}
	if (strcmp(section, "cache") == 0 && strncmp(name, "disk.", 5) == 0) {
		add_disk(p, name + 5, value);
		return !p->failed;
	}
	if (strcmp(section, "cache") == 0 && strncmp(name, "disk_size.", 10) == 0) {
		set_disk_size(p, name + 10, value);
		return !p->failed;
	}
	if (strcmp(section, "keys") == 0) {
		add_key(p, name, value);
		return !p->failed;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].section, want) == 0 && strcmp(keys[i].name, name) == 0) {
			set_key(p, &keys[i], base, value);
			return !p->failed;
		}
	}
	if (section[0] == '\0')
		fail(p, "\"%s\" stands before the first [section]", name);
	else if (!is_known_section(want))
		fail(p, "unknown section [%s]", section);
	else
		fail(p, "unknown key \"%s\" in [%s]", name, section);
	return 0;
}

static void
resolve(char **path, const char *base)
{
	char *full;

	if (*path == NULL || (*path)[0] == '/')
		return;
	full = xasprintf("%s/%s", base, *path);
	free(*path);
	*path = full;
}

static void
set_default(char **field, const char *value)
{
	if (*field == NULL)
		*field = xstrdup(value);
}

static void
check_creds(struct parser *p)
{
	static const char *const sources[] = {"static", "profile", "env", "imds", "auto"};
	struct cw_config *c = p->conf;

	for (size_t i = 0; i < c->ncreds; i++) {
		struct config_cred *k = &c->creds[i];
		bool known = false;

		set_default(&k->cred.source, k->cred.access_key != NULL ? "static" : "auto");
		for (size_t j = 0; j < sizeof(sources) / sizeof(sources[0]); j++)
			known |= strcmp(sources[j], k->cred.source) == 0;
		if (!known)
			fail(p,
			    "credentials \"%s\": source = %s: not one of static, profile, env, "
			    "imds, auto",
			    k->name, k->cred.source);
		else if (strcmp(k->cred.source, "static") == 0 &&
			 (k->cred.access_key == NULL || k->cred.secret_key == NULL))
			fail(p,
			    "credentials \"%s\": source = static needs access_key and secret_key",
			    k->name);
		resolve(&k->cred.file, c->home);
	}
}

/* The bytes of a key. What stands in a file is read with the configuration, so a start without it fails. */
static void
read_key(struct parser *p, struct config_key *k)
{
	char *path = NULL, *text = NULL;
	uint8_t bytes[CONFIG_KEY_LEN + 1];
	size_t len;
	int r = 0;

	if (strncmp(k->text, "file:", 5) == 0) {
		path = xstrdup(k->text + 5);
		resolve(&path, p->conf->home);
		r = osfile_read_all(path, KEY_FILE_MAX, &text, &len);
		if (r < 0)
			fail(p, "key %s: %s: %s", k->name, path, err_str(r));
		else
			text[strcspn(text, " \t\r\n")] = '\0';
	}
	if (r == 0 && digest_base64_decode(text != NULL ? text : k->text, bytes, sizeof(bytes)) !=
			  CONFIG_KEY_LEN)
		fail(p, "key %s: not %d bytes in base64", k->name, CONFIG_KEY_LEN);
	else if (r == 0)
		memcpy(k->key, bytes, CONFIG_KEY_LEN);
	explicit_bzero(bytes, sizeof(bytes));
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
	free(path);
}

/* "iqn.1997-05.com.amazon": RFC 7143, 4.2.7.4 */
static bool
is_naming_authority(const char *s)
{
	unsigned int year, month;
	int n = 0;

	return sscanf(s, "iqn.%4u-%2u.%n", &year, &month, &n) == 2 && n == 12 && month >= 1 &&
	       month <= 12 && s[12] != '\0' && strlen(s) <= 100 &&
	       strspn(s + 12, "abcdefghijklmnopqrstuvwxyz0123456789.-") == strlen(s + 12);
}

static void
finish_volumes(struct parser *p)
{
	struct cw_config *c = p->conf;

	set_default(&c->iscsi_naming_authority, "iqn.1997-05.com.amazon");
	set_default(&c->volumes_prefix, "");
	if (!is_naming_authority(c->iscsi_naming_authority))
		fail(p,
		    "[iscsi] naming_authority = %s: not of the form iqn.YYYY-MM.reversed.domain",
		    c->iscsi_naming_authority);
	for (size_t i = 0; i < c->nkeys && !p->failed; i++)
		read_key(p, &c->keys[i]);
	if (c->volumes_key != NULL && config_key_by_name(c, c->volumes_key) == NULL)
		fail(p, "[volumes] key = %s: [keys] has no such name", c->volumes_key);
	if (c->volumes_credentials != NULL &&
	    config_cred_by_name(c, c->volumes_credentials) == NULL)
		fail(p, "[volumes] credentials = %s: no such section", c->volumes_credentials);
}

/* Defaults, absolute paths, and what only shows when all keys are known. */
static void
finish(struct parser *p, const char *base_dir)
{
	struct cw_config *c = p->conf;

	p->line = 0;
	set_default(&c->home, base_dir);
	resolve(&c->home, base_dir);
	set_default(&c->account_id, "000000000000");
	set_default(&c->nfs_listen, "0.0.0.0:2049");
	set_default(&c->api_listen, "127.0.0.1:8080");
	set_default(&c->api_credentials, "credentials");
	set_default(&c->cache_index, "cache/index.db");
	set_default(&c->s3_region, "us-east-1");
	resolve(&c->api_credentials, c->home);
	resolve(&c->cache_index, c->home);
	resolve(&c->s3_ca_file, c->home);
	resolve(&c->fuse_socket, c->home);
	if (c->ndisks == 0 && !p->failed)
		add_disk(p, "cache", "cache");
	for (size_t i = 0; i < c->ndisks; i++)
		resolve(&c->disks[i].dir, c->home);
	if (c->cache_dirty_max_bytes > c->cache_capacity_bytes)
		fail(p, "[cache] dirty_max is larger than capacity");
	if (c->s3_endpoint != NULL && strncmp(c->s3_endpoint, "http://", 7) != 0 &&
	    strncmp(c->s3_endpoint, "https://", 8) != 0)
		fail(p, "[s3] endpoint = %s: must begin with http:// or https://", c->s3_endpoint);
	check_creds(p);
	finish_volumes(p);
}

int
config_parse(
    const char *text, const char *base_dir, struct cw_config *out, char *err_text, size_t err_cap)
{
	struct parser p = {
	    .conf = out, .next = text, .line = 0, .err_text = err_text, .err_cap = err_cap};
	int bad_line;

	memset(out, 0, sizeof(*out));
	err_text[0] = '\0';
	out->is_sandboxed = true;
	out->nfs_rpcbind = true;
	out->sync_early_parts = true;
	out->volumes_is_compressed = true;
	out->cache_capacity_bytes = 64ull << 30;
	if (strlen(text) > CONFIG_FILE_MAX) {
		fail(&p, "larger than %u bytes", CONFIG_FILE_MAX);
		return -EINVAL;
	}
	ini_use_stack = false;
	ini_max_line = CONFIG_LINE_MAX;
	ini_allow_multiline = false;
	ini_allow_inline_comments = false;
	bad_line = ini_parse_stream(read_line, &p, handle, &p);
	if (bad_line < 0) {
		fail(&p, "out of memory");
	} else if (bad_line > 0) {
		p.line = bad_line;
		fail(&p, "neither [section] nor key = value");
	}
	finish(&p, base_dir);
	return p.failed ? -EINVAL : 0;
}

int
config_load(const char *path, struct cw_config *out, char *err_text, size_t err_cap)
{
	char reason[512], *text = NULL, *full, *copy;
	size_t len;
	int r;

	memset(out, 0, sizeof(*out));
	full = realpath(path, NULL);
	if (full == NULL) {
		r = -errno;
		snprintf(err_text, err_cap, "%s: %s", path, err_str(r));
		return r;
	}
	r = osfile_read_all(full, CONFIG_FILE_MAX, &text, &len);
	if (r < 0) {
		snprintf(err_text, err_cap, "%s: %s", path, err_str(r));
		free(full);
		return r;
	}
	copy = xstrdup(full);
	r = strlen(text) == len ? config_parse(text, dirname(copy), out, reason, sizeof(reason))
				: -EINVAL;
	if (strlen(text) != len)
		snprintf(reason, sizeof(reason), "holds a NUL byte, so it is no text file");
	if (r < 0)
		snprintf(err_text, err_cap, "%s: %s", path, reason);
	free(copy);
	free(text);
	free(full);
	return r;
}

void
config_free(struct cw_config *c)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct key *k = &keys[i];
		bool is_string = k->type == KEY_STR || k->type == KEY_PATH || k->type == KEY_ADDR ||
				 k->type == KEY_ACCOUNT || k->type == KEY_LEVEL ||
				 k->type == KEY_ADDRS || k->type == KEY_PREFIX;

		if (!is_string)
			continue;
		if (strcmp(k->section, "credentials") != 0) {
			free(*(char **)((char *)c + k->offset));
			continue;
		}
		for (size_t j = 0; j < c->ncreds; j++)
			free(*(char **)((char *)&c->creds[j] + k->offset));
	}
	for (size_t j = 0; j < c->ncreds; j++)
		free(c->creds[j].name);
	for (size_t i = 0; i < c->ndisks; i++) {
		free(c->disks[i].name);
		free(c->disks[i].dir);
	}
	for (size_t i = 0; i < c->nkeys; i++) {
		free(c->keys[i].name);
		explicit_bzero(c->keys[i].text, strlen(c->keys[i].text));
		free(c->keys[i].text);
	}
	explicit_bzero(c->keys, sizeof(c->keys));
	memset(c, 0, sizeof(*c));
}

const struct config_cred *
config_cred_for_role(const struct cw_config *c, const char *role_arn)
{
	for (size_t i = 0; role_arn != NULL && i < c->ncreds; i++)
		if (c->creds[i].role_arn != NULL && strcmp(c->creds[i].role_arn, role_arn) == 0)
			return &c->creds[i];
	return config_cred_by_name(c, NULL);
}

const struct config_cred *
config_cred_by_name(const struct cw_config *c, const char *name)
{
	if (name == NULL || name[0] == '\0')
		name = "default";
	for (size_t i = 0; i < c->ncreds; i++)
		if (strcmp(c->creds[i].name, name) == 0)
			return &c->creds[i];
	return NULL;
}

const struct config_key *
config_key_by_name(const struct cw_config *c, const char *name)
{
	for (size_t i = 0; i < c->nkeys; i++)
		if (strcmp(c->keys[i].name, name) == 0)
			return &c->keys[i];
	return NULL;
}
