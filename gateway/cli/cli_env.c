/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_env.c - where the daemon listens and with which keys it is spoken to.
 *
 *   configuration  --config, else causeway.conf in --home, $CAUSEWAY_HOME, ./var, else
 *                  /etc/causeway/causeway.conf
 *   address        --api, else [api] listen of the configuration
 *   keys           --credentials, else [api] credentials, else $AWS_SHARED_CREDENTIALS_FILE; profile
 *                  --profile, else $AWS_PROFILE, else default
 */
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/cli/cli.h"

#define SYSTEM_CONF "/etc/causeway/causeway.conf"

static char *
find_conf(const struct cli *c)
{
	const char *home = c->home != NULL ? c->home : getenv("CAUSEWAY_HOME");
	char *path;

	if (c->config_path != NULL)
		return xstrdup(c->config_path);
	if (home != NULL && home[0] != '\0')
		return xasprintf("%s/causeway.conf", home);
	path = xstrdup("./var/causeway.conf");
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return xstrdup(SYSTEM_CONF);
}

int
cli_need_conf(struct cli *c)
{
	char text[512] = "";
	char *path;
	int err;

	if (c->has_conf)
		return CLI_OK;
	path = find_conf(c);
	err = config_load(path, &c->conf, text, sizeof(text));
	if (err < 0) {
		config_free(&c->conf);
		memset(&c->conf, 0, sizeof(c->conf));
		cli_error("%s", text[0] != '\0' ? text : err_str(err));
		if (err == -ENOENT)
			cli_error("say where the gateway is: --home DIR, --config FILE, or "
				  "CAUSEWAY_HOME in the environment");
		free(path);
		return CLI_USAGE;
	}
	free(c->config_path);
	c->config_path = path;
	c->has_conf = true;
	return CLI_OK;
}

struct keys {
	struct cli *c;
	const char *profile;
};

static int
key_found(void *arg, const char *section, const char *name, const char *value)
{
	struct keys *k = arg;
	char **to = NULL;

	if (strcmp(section, k->profile) != 0)
		return 1;
	if (strcmp(name, "aws_access_key_id") == 0)
		to = &k->c->access_key;
	else if (strcmp(name, "aws_secret_access_key") == 0)
		to = &k->c->secret_key;
	else if (strcmp(name, "aws_session_token") == 0)
		to = &k->c->session_token;
	if (to != NULL) {
		free(*to);
		*to = xstrdup(value);
	}
	return 1;
}

static int
read_keys(struct cli *c)
{
	const char *path = c->credentials_path, *profile = c->profile;
	struct keys k;

	if (path == NULL && c->has_conf)
		path = c->conf.api_credentials;
	if (path == NULL)
		path = getenv("AWS_SHARED_CREDENTIALS_FILE");
	if (path == NULL)
		return cli_usage("no credentials: give --credentials FILE");
	if (profile == NULL)
		profile = getenv("AWS_PROFILE");
	k = (struct keys){c, profile != NULL ? profile : "default"};
	if (ini_parse(path, key_found, &k) != 0) {
		cli_error("%s: cannot be read as an AWS credentials file", path);
		return CLI_USAGE;
	}
	if (c->access_key == NULL || c->secret_key == NULL) {
		cli_error("%s: no keys for profile %s", path, k.profile);
		return CLI_USAGE;
	}
	return CLI_OK;
}

/* "0.0.0.0:8080" is where a server listens; a client goes to the loopback then. */
static char *
url_of(const char *listen)
{
	const char *port = strrchr(listen, ':');

	if (strncmp(listen, "0.0.0.0:", 8) == 0 || listen[0] == ':' || listen[0] == '*')
		return xasprintf("http://127.0.0.1%s", port != NULL ? port : "");
	if (strncmp(listen, "[::]:", 5) == 0)
		return xasprintf("http://[::1]%s", port);
	return xasprintf("http://%s", listen);
}

int
cli_need_api(struct cli *c)
{
	int rc;

	if (c->access_key != NULL)
		return CLI_OK;
	if (c->api_url == NULL || c->credentials_path == NULL) {
		rc = cli_need_conf(c);
		if (rc != CLI_OK)
			return rc;
	}
	if (c->api_url == NULL) {
		if (c->conf.api_listen == NULL)
			return cli_usage("%s: no address in [api] listen", c->config_path);
		c->api_url = url_of(c->conf.api_listen);
	}
	c->region =
	    xstrdup(c->has_conf && c->conf.s3_region != NULL ? c->conf.s3_region : "us-east-1");
	return read_keys(c);
}

void
cli_clear(struct cli *c)
{
	if (c->has_conf)
		config_free(&c->conf);
	if (c->secret_key != NULL)
		explicit_bzero(c->secret_key, strlen(c->secret_key));
	free(c->config_path);
	free(c->home);
	free(c->api_url);
	free(c->credentials_path);
	free(c->profile);
	free(c->region);
	free(c->access_key);
	free(c->secret_key);
	free(c->session_token);
}
