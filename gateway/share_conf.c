/* SPDX-License-Identifier: Apache-2.0 */
/* share_conf.c - the settings of a share: defaults, copies, validation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "gateway/share.h"

#define PREFIX_MAX 512

void
cw_share_conf_init(struct cw_share_conf *c)
{
	memset(c, 0, sizeof(*c));
	c->prefix = xstrdup("");
	c->default_storage_class = xstrdup("STANDARD");
	c->object_acl = xstrdup("private");
	c->guess_mime_type = true;
	c->squash = CW_SQUASH_ROOT;
	c->file_mode = 0666;
	c->dir_mode = 0777;
	c->owner_id = c->group_id = 65534;
}

void
cw_share_conf_free(struct cw_share_conf *c)
{
	free(c->name);
	free(c->bucket);
	free(c->prefix);
	free(c->default_storage_class);
	free(c->object_acl);
	free(c->sse);
	free(c->sse_kms_key);
	free(c->clients);
	memset(c, 0, sizeof(*c));
}

static char *
dup_or_null(const char *s)
{
	return s != NULL ? xstrdup(s) : NULL;
}

int
cw_share_conf_copy(struct cw_share_conf *to, const struct cw_share_conf *from)
{
	*to = *from;
	to->name = dup_or_null(from->name);
	to->bucket = dup_or_null(from->bucket);
	to->prefix = xstrdup(from->prefix != NULL ? from->prefix : "");
	to->default_storage_class = dup_or_null(from->default_storage_class);
	to->object_acl = dup_or_null(from->object_acl);
	to->sse = dup_or_null(from->sse);
	to->sse_kms_key = dup_or_null(from->sse_kms_key);
	to->clients = NULL;
	if (from->nclients > 0) {
		to->clients = xcalloc(from->nclients, sizeof(*to->clients));
		memcpy(to->clients, from->clients, from->nclients * sizeof(*to->clients));
	}
	return 0;
}

static int
bad(char *err_text, size_t err_cap, const char *what, const char *why)
{
	snprintf(err_text, err_cap, "%s %s", what, why);
	return -EINVAL;
}

static bool
one_of(const char *s, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

static int
check_prefix(const char *p, char *err_text, size_t err_cap)
{
	size_t len = strlen(p);

	if (len == 0)
		return 0;
	if (len > PREFIX_MAX)
		return bad(err_text, err_cap, "prefix", "is too long");
	if (p[0] == '/' || p[len - 1] != '/' || strstr(p, "//") != NULL)
		return bad(
		    err_text, err_cap, "prefix", "must end in one '/' and not begin with one");
	return 0;
}

int
cw_share_conf_check(const struct cw_share_conf *c, char *err_text, size_t err_cap)
{
	static const char *const classes[] = {
	    "STANDARD", "INTELLIGENT_TIERING", "STANDARD_IA", "ONEZONE_IA", NULL};
	static const char *const acls[] = {"private", "public-read", "public-read-write",
	    "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control",
	    NULL};
	static const char *const sses[] = {"AES256", "aws:kms", "aws:kms:dsse", NULL};
	size_t i;
	int r;

	if (c->name == NULL || c->name[0] == '\0' || strlen(c->name) > CW_NAME_MAX)
		return bad(err_text, err_cap, "name", "must have 1 to 255 bytes");
	if (strchr(c->name, '/') != NULL || strcmp(c->name, ".") == 0 || strcmp(c->name, "..") == 0)
		return bad(err_text, err_cap, "name", "must not hold '/' or be a dot name");
	if (c->bucket == NULL || strlen(c->bucket) < 1 || strlen(c->bucket) > 255)
		return bad(err_text, err_cap, "bucket", "is missing or too long");
	r = check_prefix(c->prefix != NULL ? c->prefix : "", err_text, err_cap);
	if (r < 0)
		return r;
	if (c->default_storage_class != NULL && !one_of(c->default_storage_class, classes))
		return bad(err_text, err_cap, "storage class", "is not one that files can have");
	if (c->object_acl != NULL && !one_of(c->object_acl, acls))
		return bad(err_text, err_cap, "object ACL", "is not a canned ACL");
	if (c->sse != NULL && !one_of(c->sse, sses))
		return bad(
		    err_text, err_cap, "encryption", "is not AES256, aws:kms or aws:kms:dsse");
	if (c->file_mode > 0777 || c->dir_mode > 0777)
		return bad(err_text, err_cap, "default modes", "must be permission bits only");
	for (i = 0; i < c->nclients; i++)
		if (c->clients[i].prefix_bits > (c->clients[i].is_v6 ? 128u : 32u))
			return bad(err_text, err_cap, "client list", "has a bad prefix length");
	return 0;
}
