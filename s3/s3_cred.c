/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_cred.c - one fetch at a time: environment and file on a worker, then, if those are not what is
 * configured or have nothing, three requests to the metadata service on the loop.
 *
 * has keys | fetching | what s3_cred_get() gives
 * no       | no       | NULL and starts a fetch, unless one failed within a second
 * no       | yes      | NULL
 * yes      | no       | the keys; starts a fetch when they end soon or the file was not looked at
 *          |          | for a while
 * yes      | yes      | the keys, unless they have ended or were refused by the store
 */
#include "s3/s3_cred.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"

#define FILE_MAX (1u << 20)
#define ANSWER_MAX (64u << 10)
#define RETRY_MS 1000
#define LOOK_AGAIN_MS 5000
#define EARLY_S 300
#define IMDS_CONNECT_MS 1000
#define IMDS_TIMEOUT_S 5

enum source { STATIC, PROFILE, ENVIRONMENT, IMDS, AUTO };
enum imds_step { IMDS_TOKEN, IMDS_ROLE, IMDS_KEYS };

struct s3_cred {
	struct s3_cred_env env;
	enum source source;
	char *file, *profile, *imds_url;
	struct s3_http_pool *pool;
	/* on the loop */
	struct s3_creds keys; /* access_key NULL = none */
	uint64_t generation;
	bool is_fetching, was_refused, is_stopped;
	int err;	     /* of the last fetch */
	uint64_t fetched_ms; /* when it ended */
	struct s3_http_xfer xfer;
	enum imds_step step;
	char *imds_token, *url;
	struct s3_header header;
	struct strbuf answer;
	/* handed to the worker and back */
	struct work work;
	struct loop_task back;
	struct s3_creds found;
	int find_err;
};

/* ---- environment and file, on a worker ---- */

static char *
dup_env(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && s[0] != '\0' ? xstrdup(s) : NULL;
}

static int
find_in_environment(struct s3_creds *out)
{
	memset(out, 0, sizeof(*out));
	out->access_key = dup_env("AWS_ACCESS_KEY_ID");
	out->secret_key = dup_env("AWS_SECRET_ACCESS_KEY");
	out->session_token = dup_env("AWS_SESSION_TOKEN");
	if (out->access_key != NULL && out->secret_key != NULL)
		return 0;
	s3_creds_clear(out);
	return -ENOENT;
}

/* file_path - the configured one, $AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials; NULL = none. */
static char *
file_path(const struct s3_cred *c)
{
	const char *home = getenv("HOME");
	char *path = c->file != NULL ? xstrdup(c->file) : dup_env("AWS_SHARED_CREDENTIALS_FILE");

	if (path == NULL && home != NULL)
		path = xasprintf("%s/.aws/credentials", home);
	return path;
}

static int
find_in_file(const struct s3_cred *c, struct s3_creds *out)
{
	char *path = file_path(c), *text = NULL;
	char *profile = c->profile != NULL ? xstrdup(c->profile) : dup_env("AWS_PROFILE");
	size_t len;
	int err;

	memset(out, 0, sizeof(*out));
	err = path != NULL ? osfile_read_all(path, FILE_MAX, &text, &len) : -ENOENT;
	if (err >= 0)
		err = s3_creds_parse_file(text, profile != NULL ? profile : "default", out);
	if (err < 0 && c->source == PROFILE)
		log_warn("s3.cred", "profile-unusable", "file=%s profile=%s err=\"%s\"",
		    path != NULL ? path : "-", profile != NULL ? profile : "default", err_str(err));
	if (text != NULL)
		explicit_bzero(text, len);
	free(text);
	free(path);
	free(profile);
	return err < 0 ? err : 0;
}

static void
find(struct work *w)
{
	struct s3_cred *c = container_of(w, struct s3_cred, work);

	c->find_err = -ENOENT;
	if (c->source == ENVIRONMENT || c->source == AUTO)
		c->find_err = find_in_environment(&c->found);
	if (c->find_err < 0 && (c->source == PROFILE || c->source == AUTO))
		c->find_err = find_in_file(c, &c->found);
	loop_post(c->env.loop, &c->back);
}

/* ---- a fetch and its end ---- */

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* end_fetch - takes keys when err is 0. */
static void
end_fetch(struct s3_cred *c, int err, struct s3_creds *keys)
{
	c->is_fetching = c->was_refused = false;
	c->err = err;
	c->fetched_ms = clock_mono_ms();
	if (err == 0) {
		if (!same(c->keys.access_key, keys->access_key) ||
		    !same(c->keys.secret_key, keys->secret_key) ||
		    !same(c->keys.session_token, keys->session_token))
			c->generation++;
		s3_creds_clear(&c->keys);
		c->keys = *keys;
		c->keys.generation = c->generation;
		memset(keys, 0, sizeof(*keys));
	} else {
		log_warn("s3.cred", "fetch-failed", "err=\"%s\" next=\"again when needed\"",
		    err_str(err));
	}
	if (!c->is_stopped)
		c->env.changed(c->env.ctx);
}

static void imds_ask(struct s3_cred *c, enum imds_step step);

static void
found(struct loop_task *t)
{
	struct s3_cred *c = container_of(t, struct s3_cred, back);

	if (c->find_err == 0) {
		end_fetch(c, 0, &c->found);
	} else if (c->source == AUTO && !c->is_stopped) {
		imds_ask(c, IMDS_TOKEN);
	} else {
		end_fetch(c, -ERR_CREDENTIALS, NULL);
	}
}

static void
fetch(struct s3_cred *c)
{
	if (c->is_fetching || c->is_stopped || c->source == STATIC)
		return;
	c->is_fetching = true;
	if (c->source == IMDS)
		imds_ask(c, IMDS_TOKEN);
	else
		workq_submit(c->env.workq, &c->work);
}

/* ---- the metadata service. source: EC2 User Guide, "IMDSv2" ---- */

static void
imds_header(struct s3_http_xfer *x, const char *line, size_t len)
{
	(void)x;
	(void)line;
	(void)len;
}

static bool
imds_data(struct s3_http_xfer *x, const void *data, size_t len)
{
	struct s3_cred *c = container_of(x, struct s3_cred, xfer);

	if (c->answer.len + len > ANSWER_MAX)
		return false;
	strbuf_add(&c->answer, data, len);
	return true;
}

static void
imds_take_keys(struct s3_cred *c)
{
	struct s3_creds keys;
	int err = s3_creds_parse_imds(strbuf_str(&c->answer), c->answer.len, &keys);

	end_fetch(c, err < 0 ? -ERR_CREDENTIALS : 0, err < 0 ? NULL : &keys);
}

static void
imds_done(struct s3_http_xfer *x)
{
	struct s3_cred *c = container_of(x, struct s3_cred, xfer);

	if (x->net != S3_NET_OK || x->status != 200 || c->answer.len == 0) {
		log_warn("s3.cred", "imds-failed", "step=%d status=%d err=\"%s\"", (int)c->step,
		    x->status, x->error);
		end_fetch(c, -ERR_CREDENTIALS, NULL);
		return;
	}
	switch (c->step) {
	case IMDS_TOKEN:
		free(c->imds_token);
		c->imds_token = strbuf_take(&c->answer);
		imds_ask(c, IMDS_ROLE);
		break;
	case IMDS_ROLE:
		imds_ask(c, IMDS_KEYS);
		break;
	case IMDS_KEYS:
		imds_take_keys(c);
		break;
	}
}

static void
imds_ask(struct s3_cred *c, enum imds_step step)
{
	static const char roles[] = "/latest/meta-data/iam/security-credentials/";
	char *role = NULL;

	if (step == IMDS_KEYS) { /* the answer to the question before is the role's name */
		size_t len = strcspn(strbuf_str(&c->answer), "\r\n");
		char *name = xstrndup(strbuf_str(&c->answer), len);

		role = s3_uri_encode(name, false);
		free(name);
	}
	free(c->url);
	c->url = step == IMDS_TOKEN
		     ? xasprintf("%s/latest/api/token", c->imds_url)
		     : xasprintf("%s%s%s", c->imds_url, roles, role != NULL ? role : "");
	free(role);
	strbuf_reset(&c->answer);
	c->step = step;
	c->header = step == IMDS_TOKEN
			? (struct s3_header){"x-aws-ec2-metadata-token-ttl-seconds", "21600"}
			: (struct s3_header){"x-aws-ec2-metadata-token", c->imds_token};
	c->xfer = (struct s3_http_xfer){.method = step == IMDS_TOKEN ? "PUT" : "GET",
	    .has_body = step == IMDS_TOKEN,
	    .url = c->url,
	    .headers = &c->header,
	    .nheaders = 1,
	    .header = imds_header,
	    .data = imds_data,
	    .done = imds_done};
	s3_http_start(c->pool, &c->xfer);
}

/* ---- interface ---- */

static bool
has_ended(const struct s3_cred *c, int64_t now_s)
{
	return c->keys.expires_s != 0 && now_s >= c->keys.expires_s;
}

const struct s3_creds *
s3_cred_get(struct s3_cred *c, int64_t now_s)
{
	uint64_t age_ms = clock_mono_ms() - c->fetched_ms;

	if (c->keys.access_key == NULL || has_ended(c, now_s)) {
		if (c->err == 0 || age_ms >= RETRY_MS)
			fetch(c);
		return NULL;
	}
	if (c->keys.expires_s != 0 && now_s >= c->keys.expires_s - EARLY_S && age_ms >= RETRY_MS)
		fetch(c);
	else if (c->source != IMDS && c->keys.expires_s == 0 && age_ms >= LOOK_AGAIN_MS)
		fetch(c);
	return c->was_refused ? NULL : &c->keys;
}

int
s3_cred_error(const struct s3_cred *c)
{
	return c->is_fetching ? 0 : c->err;
}

bool
s3_cred_refused(struct s3_cred *c, uint64_t generation)
{
	if (generation != c->keys.generation)
		return true; /* there are others already */
	if (c->source == STATIC || c->source == ENVIRONMENT)
		return false;
	fetch(c);
	c->was_refused = c->is_fetching;
	return true;
}

static int
source_of(const struct s3_cred_conf *conf, enum source *out, const char **why)
{
	static const char *const names[] = {"static", "profile", "env", "imds", "auto"};
	const char *name = conf->source != NULL	      ? conf->source
			   : conf->access_key != NULL ? "static"
						      : "auto";

	for (int i = STATIC; i <= AUTO; i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		*out = (enum source)i;
		*why = "static credentials need an access key and a secret key";
		return i == STATIC && (conf->access_key == NULL || conf->secret_key == NULL)
			   ? -EINVAL
			   : 0;
	}
	*why = "credentials source must be static, profile, env, imds or auto";
	return -EINVAL;
}

static char *
dup_or_null(const char *s)
{
	return s != NULL && s[0] != '\0' ? xstrdup(s) : NULL;
}

int
s3_cred_new(const struct s3_cred_conf *conf, const struct s3_cred_env *env, struct s3_cred **out,
    const char **why)
{
	struct s3_http_conf http = {
	    .proxy = "", .timeout_s = IMDS_TIMEOUT_S, .connect_timeout_ms = IMDS_CONNECT_MS};
	enum source source;
	struct s3_cred *c;
	int err = source_of(conf, &source, why);

	*out = NULL;
	if (err < 0)
		return err;
	c = xcalloc(1, sizeof(*c));
	c->env = *env;
	c->source = source;
	c->file = dup_or_null(conf->file);
	c->profile = dup_or_null(conf->profile);
	c->imds_url =
	    xstrdup(conf->imds_endpoint != NULL ? conf->imds_endpoint : "http://169.254.169.254");
	c->work.fn = find;
	c->back.fn = found;
	c->pool = s3_http_pool_new(env->http, &http);
	if (source == STATIC) {
		c->keys = (struct s3_creds){.access_key = xstrdup(conf->access_key),
		    .secret_key = xstrdup(conf->secret_key),
		    .session_token = dup_or_null(conf->session_token),
		    .generation = 1};
		c->generation = 1;
	}
	*out = c;
	return 0;
}

void
s3_cred_stop(struct s3_cred *c)
{
	c->is_stopped = true;
	s3_http_cancel(&c->xfer);
}

void
s3_cred_free(struct s3_cred *c)
{
	if (c == NULL)
		return;
	s3_http_pool_free(c->pool);
	s3_creds_clear(&c->keys);
	s3_creds_clear(&c->found);
	strbuf_free(&c->answer);
	free(c->imds_token);
	free(c->url);
	free(c->file);
	free(c->profile);
	free(c->imds_url);
	free(c);
}
