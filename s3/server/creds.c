/* SPDX-License-Identifier: Apache-2.0 */
/* creds.c - shared credentials file, re-read when inode, size or mtime say so. */
#include "s3/server/creds.h"

#include <ini.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define PROFILES_MAX 256

struct profile {
	char name[64];
	struct cred cred;
};

struct creds {
	char *path;
	pthread_mutex_t lock;
	struct stat seen;
	struct profile *profiles;
	size_t n;
};

struct parse {
	struct profile *profiles;
	size_t n;
};

static int
on_value(void *user, const char *section, const char *name, const char *value)
{
	struct parse *p = user;
	struct profile *f;
	size_t i;

	for (i = 0; i < p->n && strcmp(p->profiles[i].name, section) != 0; i++)
		;
	if (i == p->n) {
		if (p->n == PROFILES_MAX || strlen(section) >= sizeof f->name)
			return 0;
		p->profiles = xrealloc(p->profiles, (p->n + 1) * sizeof *p->profiles);
		memset(&p->profiles[p->n], 0, sizeof p->profiles[p->n]);
		snprintf(p->profiles[p->n++].name, sizeof f->name, "%s", section);
	}
	f = &p->profiles[i];
	if (strcmp(name, "aws_access_key_id") == 0)
		snprintf(f->cred.access_key, sizeof f->cred.access_key, "%s", value);
	else if (strcmp(name, "aws_secret_access_key") == 0)
		snprintf(f->cred.secret, sizeof f->cred.secret, "%s", value);
	else if (strcmp(name, "aws_session_token") == 0)
		snprintf(f->cred.token, sizeof f->cred.token, "%s", value);
	return 1;
}

static int
load(struct creds *c)
{
	struct parse p = {0};
	struct stat sb;
	size_t i, usable = 0;
	int line;

	if (stat(c->path, &sb) != 0)
		return -errno;
	line = ini_parse(c->path, on_value, &p);
	for (i = 0; i < p.n; i++)
		if (p.profiles[i].cred.access_key[0] != '\0' &&
		    p.profiles[i].cred.secret[0] != '\0')
			usable++;
	c->seen = sb;
	if (line != 0 || usable == 0) {
		free(p.profiles);
		return line < 0 ? -EACCES : -EINVAL;
	}
	free(c->profiles);
	c->profiles = p.profiles;
	c->n = p.n;
	return 0;
}

int
creds_open(const char *path, struct creds **out, char *err_text, size_t cap)
{
	struct creds *c = xcalloc(1, sizeof *c);
	int err;

	*out = NULL;
	c->path = xstrdup(path);
	pthread_mutex_init(&c->lock, NULL);
	err = load(c);
	if (err == -EINVAL)
		snprintf(err_text, cap, "credentials file %s has no usable profile", path);
	else if (err != 0)
		snprintf(err_text, cap, "cannot read credentials file %s: %s", path, err_str(err));
	if (err != 0) {
		creds_close(c);
		return err;
	}
	*out = c;
	return 0;
}

void
creds_close(struct creds *c)
{
	if (c == NULL)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c->profiles);
	free(c->path);
	free(c);
}

static void
refresh(struct creds *c)
{
	struct stat sb;
	int err;

	if (stat(c->path, &sb) != 0 ||
	    (sb.st_ino == c->seen.st_ino && sb.st_size == c->seen.st_size &&
		memcmp(&sb.st_mtim, &c->seen.st_mtim, sizeof sb.st_mtim) == 0))
		return;
	err = load(c);
	if (err != 0)
		log_warn("s3d.creds", "reload-failed", "path=%s err=\"%s\"; the old keys stay",
		    c->path, err_str(err));
	else
		log_info("s3d.creds", "reloaded", "path=%s profiles=%zu", c->path, c->n);
}

bool
creds_find(struct creds *c, const char *access_key, struct cred *out)
{
	bool found = false;
	size_t i;

	pthread_mutex_lock(&c->lock);
	refresh(c);
	for (i = 0; i < c->n && !found; i++) {
		found = c->profiles[i].cred.access_key[0] != '\0' &&
			strcmp(c->profiles[i].cred.access_key, access_key) == 0;
		if (found)
			*out = c->profiles[i].cred;
	}
	pthread_mutex_unlock(&c->lock);
	return found;
}
