/* SPDX-License-Identifier: Apache-2.0 */
/* fault.c - parsing and matching of fault rules. */
#include "s3/server/fault.h"

#include <fnmatch.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"

#define RULES_MAX 64

struct rule {
	char op[256];	  /* comma list of ops and classes, "*" = all */
	char key[256];	  /* glob, "" = any */
	char bucket[128]; /* glob, "" = any */
	double probability;
	int64_t count; /* how often it may fire, -1 = for ever */
	int64_t after; /* matches that pass first */
	struct fault_verdict effect;
	char action[24];
	uint64_t matched, fired;
	uint64_t rng;
};

struct faults {
	pthread_mutex_t lock;
	struct rule *rules;
	size_t n;
	uint64_t seed;
	char *path;
	struct stat seen;
};

static const char *const action_names[FAULT_ACTION_MAX] = {
    "none", "status", "drop", "lost-reply", "torn", "refuse"};

static uint64_t
next_random(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15u); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

struct faults *
faults_new(void)
{
	struct faults *f = xcalloc(1, sizeof *f);

	pthread_mutex_init(&f->lock, NULL);
	return f;
}

void
faults_free(struct faults *f)
{
	if (f == NULL)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f->rules);
	free(f->path);
	free(f);
}

static int
parse_action(struct rule *r, const char *name)
{
	size_t i;

	snprintf(r->action, sizeof r->action, "%s", name);
	if (strcmp(name, "expired-token") == 0) {
		r->effect.action = FAULT_STATUS;
		r->effect.status = 400;
		snprintf(r->effect.code, sizeof r->effect.code, "ExpiredToken");
		return 0;
	}
	if (strcmp(name, "latency") == 0 || strcmp(name, "bandwidth") == 0)
		return 0;
	for (i = 0; i < FAULT_ACTION_MAX; i++) {
		if (strcmp(action_names[i], name) == 0) {
			r->effect.action = (enum fault_action)i;
			return 0;
		}
	}
	return -EINVAL;
}

static const char *
default_code(int status)
{
	switch (status) {
	case 503:
		return "SlowDown";
	case 404:
		return "NoSuchKey";
	case 403:
		return "AccessDenied";
	case 412:
		return "PreconditionFailed";
	default:
		return status < 500 ? "InvalidRequest" : "InternalError";
	}
}

static int
parse_rule(json_t *j, struct rule *r, char *err_text, size_t cap)
{
	const char *op = "*", *key = "", *bucket = "", *action = "none", *code = NULL;
	json_int_t count = -1, after = 0, latency_ms = 0, bytes_per_s = 0;
	int status = 503;
	double probability = 1.0, at = 0.5, seconds = 1.0;
	json_error_t e;

	memset(r, 0, sizeof *r);
	if (json_unpack_ex(j, &e, JSON_STRICT,
		"{s?s,s?s,s?s,s?s,s?s,s?i,s?I,s?I,s?I,s?I,s?F,s?F,s?F}", "op", &op, "key", &key,
		"bucket", &bucket, "action", &action, "code", &code, "status", &status, "count",
		&count, "after", &after, "latency_ms", &latency_ms, "bytes_per_s", &bytes_per_s,
		"probability", &probability, "at", &at, "seconds", &seconds) != 0) {
		snprintf(err_text, cap, "bad rule: %s", e.text);
		return -EINVAL;
	}
	if (parse_action(r, action) != 0) {
		snprintf(err_text, cap, "unknown action \"%.40s\"", action);
		return -EINVAL;
	}
	if (status < 300 || status > 599 || latency_ms < 0 || latency_ms > 600000 ||
	    bytes_per_s < 0 || probability < 0 || probability > 1 || at < 0 || at >= 1 ||
	    seconds < 0 || seconds > 3600 || strlen(op) >= sizeof r->op ||
	    strlen(key) >= sizeof r->key || strlen(bucket) >= sizeof r->bucket) {
		snprintf(err_text, cap, "a value of a rule is out of range");
		return -EINVAL;
	}
	snprintf(r->op, sizeof r->op, "%s", op);
	snprintf(r->key, sizeof r->key, "%s", key);
	snprintf(r->bucket, sizeof r->bucket, "%s", bucket);
	if (r->effect.action == FAULT_STATUS && r->effect.status == 0) {
		r->effect.status = status;
		snprintf(r->effect.code, sizeof r->effect.code, "%s",
		    code != NULL ? code : default_code(status));
	}
	r->probability = probability;
	r->count = count;
	r->after = after;
	r->effect.latency_ms = (unsigned int)latency_ms;
	r->effect.bytes_per_s = (uint64_t)bytes_per_s;
	r->effect.at = at;
	r->effect.refuse_ms = (unsigned int)(seconds * 1000);
	return 0;
}

int
faults_set(struct faults *f, const char *json, char *err_text, size_t cap)
{
	json_error_t e;
	json_t *top = json_loads(json, 0, &e), *list;
	struct rule *rules = NULL;
	uint64_t seed = 1;
	size_t i, n = 0;
	int err = 0;

	if (top == NULL || !json_is_object(top)) {
		snprintf(
		    err_text, cap, "not a JSON object: %s", top == NULL ? e.text : "another type");
		json_decref(top);
		return -EINVAL;
	}
	if (json_is_integer(json_object_get(top, "seed")))
		seed = (uint64_t)json_integer_value(json_object_get(top, "seed"));
	list = json_object_get(top, "rules");
	n = json_array_size(list);
	if (n > RULES_MAX) {
		snprintf(err_text, cap, "more than %d rules", RULES_MAX);
		err = -EINVAL;
	}
	rules = xcalloc(n + 1, sizeof *rules);
	for (i = 0; i < n && err == 0; i++) {
		err = parse_rule(json_array_get(list, i), &rules[i], err_text, cap);
		rules[i].rng = seed * 1000003 + i;
	}
	json_decref(top);
	if (err != 0) {
		free(rules);
		return err;
	}
	pthread_mutex_lock(&f->lock);
	free(f->rules);
	f->rules = rules;
	f->n = n;
	f->seed = seed;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static int
load_file(struct faults *f, char *err_text, size_t cap)
{
	char *text;
	size_t len;
	int err = osfile_read_all(f->path, 1 << 20, &text, &len);

	if (err != 0) {
		snprintf(err_text, cap, "%s", err_str(err));
		return err;
	}
	err = faults_set(f, text, err_text, cap);
	free(text);
	return err;
}

int
faults_watch(struct faults *f, const char *path, char *err_text, size_t cap)
{
	f->path = xstrdup(path);
	if (stat(path, &f->seen) != 0) {
		snprintf(err_text, cap, "%s", err_str(-errno));
		return -errno;
	}
	return load_file(f, err_text, cap);
}

static void
reload_if_changed(struct faults *f)
{
	char text[256];
	struct stat sb;
	bool changed;

	if (f->path == NULL || stat(f->path, &sb) != 0)
		return;
	pthread_mutex_lock(&f->lock);
	changed = sb.st_ino != f->seen.st_ino || sb.st_size != f->seen.st_size ||
		  memcmp(&sb.st_mtim, &f->seen.st_mtim, sizeof sb.st_mtim) != 0;
	if (changed)
		f->seen = sb;
	pthread_mutex_unlock(&f->lock);
	if (changed && load_file(f, text, sizeof text) != 0)
		log_warn("s3d.fault", "reload-failed", "path=%s err=\"%s\"", f->path, text);
}

char *
faults_get(struct faults *f)
{
	json_t *top, *list = json_array();
	char *text;
	size_t i;

	pthread_mutex_lock(&f->lock);
	for (i = 0; i < f->n; i++) {
		const struct rule *r = &f->rules[i];

		json_array_append_new(
		    list, json_pack("{s:s,s:s,s:s,s:s,s:f,s:I,s:I,s:I}", "op", r->op, "key", r->key,
			      "bucket", r->bucket, "action", r->action, "probability",
			      r->probability, "count", (json_int_t)r->count, "matched",
			      (json_int_t)r->matched, "fired", (json_int_t)r->fired));
	}
	top = json_pack("{s:I,s:o}", "seed", (json_int_t)f->seed, "rules", list);
	pthread_mutex_unlock(&f->lock);
	text = json_dumps(top, JSON_INDENT(1));
	json_decref(top);
	return text;
}

static bool
list_names(const char *list, const char *op, const char *op_class)
{
	size_t len;

	for (; *list != '\0'; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		if ((len == 1 && *list == '*') ||
		    (len == strlen(op) && strncasecmp(list, op, len) == 0) ||
		    (len == strlen(op_class) && strncasecmp(list, op_class, len) == 0))
			return true;
	}
	return false;
}

static bool
fires(struct rule *r, const char *op, const char *op_class, const char *bucket, const char *key)
{
	bool lucky;

	if (!list_names(r->op, op, op_class))
		return false;
	if (r->key[0] != '\0' && (key == NULL || fnmatch(r->key, key, 0) != 0))
		return false;
	if (r->bucket[0] != '\0' && (bucket == NULL || fnmatch(r->bucket, bucket, 0) != 0))
		return false;
	/* Every match draws, so that n-th match and n-th number belong together. */
	lucky = (double)(next_random(&r->rng) >> 11) * 0x1p-53 < r->probability;
	r->matched++;
	if (!lucky || (int64_t)r->matched <= r->after ||
	    (r->count >= 0 && (int64_t)r->fired >= r->count))
		return false;
	r->fired++;
	return true;
}

void
faults_decide(struct faults *f, const char *op, const char *op_class, const char *bucket,
    const char *key, struct fault_verdict *out)
{
	size_t i;

	memset(out, 0, sizeof *out);
	reload_if_changed(f);
	pthread_mutex_lock(&f->lock);
	for (i = 0; i < f->n && out->action == FAULT_NONE; i++) {
		struct rule *r = &f->rules[i];
		unsigned int latency_ms = out->latency_ms;
		uint64_t rate = out->bytes_per_s;

		if (!fires(r, op, op_class, bucket, key))
			continue;
		*out = r->effect;
		out->latency_ms += latency_ms;
		if (rate != 0 && (out->bytes_per_s == 0 || rate < out->bytes_per_s))
			out->bytes_per_s = rate;
	}
	pthread_mutex_unlock(&f->lock);
}
