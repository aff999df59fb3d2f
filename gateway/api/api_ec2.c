/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_ec2.c - snapshots for clients of EC2: DescribeSnapshots and DeleteSnapshot, in the EC2 Query
 * protocol (a form in, XML out, version 2016-11-15).
 *
 * Filters: snapshot-id, volume-id, status, description, owner-id, volume-size, encrypted, tag:KEY,
 * tag-key; '*' and '?' in values are wildcards.  All snapshots are of this appliance's account, so owners
 * are not told apart: OwnerIds "self" or the account's number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/api/api_int.h"
#include "gateway/base/clock.h"

#define XMLNS "http://ec2.amazonaws.com/doc/2016-11-15/"
#define VALUES_MAX 200
#define PAGE_MAX 1000

void
api_xml_escape(struct strbuf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch == '&')
			strbuf_adds(b, "&amp;");
		else if (ch == '<')
			strbuf_adds(b, "&lt;");
		else if (ch == '>')
			strbuf_adds(b, "&gt;");
		else if (ch == '"')
			strbuf_adds(b, "&quot;");
		else if (ch >= ' ' || ch == '\t' || ch == '\n')
			strbuf_addc(b, (char)ch);
		else
			strbuf_addc(b, '?'); /* XML 1.0 has no other control characters */
	}
}

static void
element(struct strbuf *b, const char *name, const char *value)
{
	strbuf_addf(b, "<%s>", name);
	api_xml_escape(b, value);
	strbuf_addf(b, "</%s>", name);
}

void
api_ec2_error(struct api_reply *out, int status, const char *code, const char *message)
{
	char id[CONTROL_UUID_LEN];

	control_uuid(id);
	out->status = status;
	out->content_type = "text/xml;charset=UTF-8";
	strbuf_adds(
	    &out->body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error>");
	element(&out->body, "Code", code);
	element(&out->body, "Message", message);
	strbuf_adds(&out->body, "</Error></Errors>");
	element(&out->body, "RequestID", id);
	strbuf_adds(&out->body, "</Response>");
}

static void
begin(struct api_reply *out, const char *action)
{
	char id[CONTROL_UUID_LEN];

	control_uuid(id);
	out->status = 200;
	out->content_type = "text/xml;charset=UTF-8";
	strbuf_addf(&out->body,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%sResponse xmlns=\"" XMLNS "\">", action);
	element(&out->body, "requestId", id);
}

static void
end(struct api_reply *out, const char *action)
{
	strbuf_addf(&out->body, "</%sResponse>", action);
}

/* --- the form ------------------------------------------------------------------------------------------- */

/* A field of the form, malloced; NULL if it is absent. '+' is a blank there. */
char *
api_form_field(const char *form, const char *name)
{
	char *copy = xstrdup(form), *value;

	for (char *p = copy; *p != '\0'; p++)
		if (*p == '+')
			*p = ' ';
	value = api_query(copy, name);
	free(copy);
	return value;
}

/* "PREFIX.1", "PREFIX.2", ...: how many there are (at most VALUES_MAX); values malloced. */
static size_t
fields(const char *form, const char *prefix, char *values[VALUES_MAX])
{
	size_t n = 0;

	while (n < VALUES_MAX) {
		char *name = xasprintf("%s.%zu", prefix, n + 1);

		values[n] = api_form_field(form, name);
		free(name);
		if (values[n] == NULL)
			break;
		n++;
	}
	return n;
}

static void
fields_free(char **values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(values[i]);
}

/* --- DescribeSnapshots -------------------------------------------------------------------------------------- */

static const char *
status_of(const struct control_snapshot *s)
{
	return api_row_string(s->row, "State");
}

static json_int_t
size_gib(const struct control_snapshot *s)
{
	return (json_integer_value(json_object_get(s->row, "VolumeSizeInBytes")) + (1 << 30) - 1) >>
	       30;
}

/* '*' and '?' in a pattern; its cost is at most the product of the two lengths. */
bool
api_wildcard_matches(const char *value, const char *pattern)
{
	const char *star = NULL, *mark = NULL;

	while (*value != '\0') {
		if (*pattern == '*') {
			star = ++pattern;
			mark = value;
		} else if (*pattern == '?' || *pattern == *value) {
			pattern++;
			value++;
		} else if (star != NULL) {
			pattern = star;
			value = ++mark;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static bool
matches(const char *value, char **patterns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (api_wildcard_matches(value, patterns[i]))
			return true;
	return false;
}

static bool
tag_matches(const struct control_snapshot *s, const char *name, char **patterns, size_t n)
{
	bool is_key = strcmp(name, "tag-key") == 0;
	json_t *tag;
	size_t i;

	json_array_foreach(json_object_get(s->row, "Tags"), i, tag)
	{
		if (is_key && matches(api_row_string(tag, "Key"), patterns, n))
			return true;
		if (!is_key && strcmp(api_row_string(tag, "Key"), name + strlen("tag:")) == 0 &&
		    matches(api_row_string(tag, "Value"), patterns, n))
			return true;
	}
	return false;
}

/* 1 passes, 0 does not, -EINVAL: no such filter */
static int
passes(
    struct control *c, const struct control_snapshot *s, const char *name, char **values, size_t n)
{
	char size[24];

	snprintf(size, sizeof(size), "%lld", (long long)size_gib(s));
	if (strcmp(name, "snapshot-id") == 0)
		return matches(s->id, values, n);
	if (strcmp(name, "volume-id") == 0)
		return matches(s->volume_id, values, n);
	if (strcmp(name, "status") == 0)
		return matches(status_of(s), values, n);
	if (strcmp(name, "description") == 0)
		return matches(api_row_string(s->row, "Description"), values, n);
	if (strcmp(name, "owner-id") == 0)
		return matches(control_config(c)->account_id, values, n);
	if (strcmp(name, "volume-size") == 0)
		return matches(size, values, n);
	if (strcmp(name, "encrypted") == 0)
		return matches(
		    json_object_get(s->row, "KeyName") != NULL ? "true" : "false", values, n);
	if (strcmp(name, "tag-key") == 0 || strncmp(name, "tag:", 4) == 0)
		return tag_matches(s, name, values, n);
	return -EINVAL;
}

static int
passes_filters(struct control *c, const struct control_snapshot *s, const char *form, char bad[128])
{
	int r = 1;

	for (unsigned int i = 1; r == 1; i++) {
		char *name = xasprintf("Filter.%u.Name", i), *key = xasprintf("Filter.%u.Value", i);
		char *values[VALUES_MAX], *filter = api_form_field(form, name);
		size_t n = 0;

		if (filter != NULL) {
			n = fields(form, key, values);
			r = passes(c, s, filter, values, n);
			if (r < 0)
				snprintf(bad, 128, "%s", filter);
			fields_free(values, n);
		}
		free(name);
		free(key);
		if (filter == NULL)
			break;
		free(filter);
	}
	return r;
}

static void
print_snapshot(struct control *c, const struct control_snapshot *s, struct strbuf *b)
{
	bool is_done = strcmp(status_of(s), "completed") == 0;
	char *when = api_time(json_integer_value(json_object_get(s->row, "StartNs")));
	json_t *tag;
	size_t i;

	strbuf_adds(b, "<item>");
	element(b, "snapshotId", s->id);
	element(b, "volumeId", s->volume_id);
	element(b, "status", status_of(s));
	element(b, "startTime", when);
	element(b, "progress", is_done ? "100%" : "0%");
	element(b, "ownerId", control_config(c)->account_id);
	strbuf_addf(b, "<volumeSize>%lld</volumeSize>", (long long)size_gib(s));
	element(b, "description", api_row_string(s->row, "Description"));
	element(b, "encrypted", json_object_get(s->row, "KeyName") != NULL ? "true" : "false");
	if (api_row_string(s->row, "KMSKey")[0] != '\0')
		element(b, "kmsKeyId", api_row_string(s->row, "KMSKey"));
	element(b, "storageTier", "standard");
	strbuf_adds(b, "<tagSet>");
	json_array_foreach(json_object_get(s->row, "Tags"), i, tag)
	{
		strbuf_adds(b, "<item>");
		element(b, "key", api_row_string(tag, "Key"));
		element(b, "value", api_row_string(tag, "Value"));
		strbuf_adds(b, "</item>");
	}
	strbuf_adds(b, "</tagSet></item>");
	free(when);
}

static int
compare(const void *a, const void *b)
{
	const struct control_snapshot *x = *(const struct control_snapshot *const *)a;
	const struct control_snapshot *y = *(const struct control_snapshot *const *)b;

	return strcmp(x->id, y->id);
}

/* One page of the sorted snapshots, behind NextToken (the last id of the page before). */
static int
print_page(struct control *c, const char *form, struct control_snapshot **all, size_t n, char **ids,
    size_t nids, struct api_reply *out)
{
	char *token = api_form_field(form, "NextToken"), *text = api_form_field(form, "MaxResults");
	unsigned long max = text != NULL ? strtoul(text, NULL, 10) : 0;
	const char *last = NULL;
	char bad[128] = "";
	size_t printed = 0;
	int r = 0;

	if (max == 0 || max > PAGE_MAX)
		max = text != NULL ? PAGE_MAX : n + 1;
	strbuf_adds(&out->body, "<snapshotSet>");
	for (size_t i = 0; i < n && r >= 0; i++) {
		if ((token != NULL && strcmp(all[i]->id, token) <= 0) ||
		    json_object_get(all[i]->row, "Deleting") != NULL ||
		    (nids > 0 && !matches(all[i]->id, ids, nids)))
			continue;
		r = passes_filters(c, all[i], form, bad);
		if (r < 1)
			continue;
		if (printed == max)
			break;
		print_snapshot(c, all[i], &out->body);
		last = all[i]->id;
		printed++;
	}
	strbuf_adds(&out->body, "</snapshotSet>");
	if (r >= 0 && printed == max && last != NULL)
		element(&out->body, "nextToken", last);
	free(token);
	free(text);
	if (r >= 0)
		return 0;
	strbuf_reset(&out->body);
	text = xasprintf("The filter '%s' is invalid", bad);
	api_ec2_error(out, 400, "InvalidParameterValue", text);
	free(text);
	return -EINVAL;
}

static bool
all_known(struct control *c, char **ids, size_t n, struct api_reply *out)
{
	for (size_t i = 0; i < n; i++) {
		struct control_snapshot *s = control_snapshot_by_id(c, ids[i]);
		char *text;

		if (s != NULL && json_object_get(s->row, "Deleting") == NULL)
			continue;
		text = xasprintf("The snapshot '%s' does not exist.", ids[i]);
		api_ec2_error(out, 400,
		    api_is_snapshot_id(ids[i]) ? "InvalidSnapshot.NotFound"
					       : "InvalidParameterValue",
		    text);
		free(text);
		return false;
	}
	return true;
}

static void
describe_snapshots(struct control *c, const char *form, struct api_reply *out)
{
	struct list *head = control_snapshots(c), *l;
	char *ids[VALUES_MAX];
	size_t nids = fields(form, "SnapshotId", ids), n = 0;
	struct control_snapshot **all;

	list_for_each(l, head) n++;
	all = xcalloc(n + 1, sizeof(struct control_snapshot *));
	n = 0;
	list_for_each(l, head) all[n++] = container_of(l, struct control_snapshot, link);
	qsort(all, n, sizeof(struct control_snapshot *), compare);
	if (all_known(c, ids, nids, out)) {
		begin(out, "DescribeSnapshots");
		if (print_page(c, form, all, n, ids, nids, out) == 0)
			end(out, "DescribeSnapshots");
	}
	fields_free(ids, nids);
	free(all);
}

/* --- DeleteSnapshot -------------------------------------------------------------------------------------------- */

static void
delete_snapshot(struct control *c, const char *form, struct api_reply *out)
{
	char *id = api_form_field(form, "SnapshotId");
	struct control_error e = {0};

	if (id == NULL) {
		api_ec2_error(out, 400, "MissingParameter",
		    "The request must contain the parameter SnapshotId");
		return;
	}
	(void)control_snapshots(c); /* a fresh look */
	if (all_known(c, &id, 1, out)) {
		if (control_snapshot_delete(c, control_snapshot_by_id(c, id), &e) < 0) {
			bool is_internal = strcmp(e.type, "InternalServerError") == 0;

			api_ec2_error(out, is_internal ? 500 : 400,
			    is_internal ? "InternalError" : "IncorrectState", e.message);
		} else {
			begin(out, "DeleteSnapshot");
			element(&out->body, "return", "true");
			end(out, "DeleteSnapshot");
		}
	}
	free(id);
}

void
api_ec2(struct control *c, const struct api_request *r, struct api_reply *out)
{
	char *form = xstrndup(r->body, r->body_len);
	char *action = api_form_field(form, "Action"), *dry = api_form_field(form, "DryRun");
	bool is_dry = dry != NULL && strcasecmp(dry, "true") == 0;
	bool is_describe = action != NULL && strcmp(action, "DescribeSnapshots") == 0;
	bool is_delete = action != NULL && strcmp(action, "DeleteSnapshot") == 0;

	control_lock(c);
	if (!is_describe && !is_delete)
		api_ec2_error(out, 400, "InvalidAction",
		    "The action is not valid for this web service: only DescribeSnapshots and "
		    "DeleteSnapshot are.");
	else if (is_dry)
		api_ec2_error(out, 412, "DryRunOperation",
		    "Request would have succeeded, but DryRun flag is set.");
	else if (is_describe)
		describe_snapshots(c, form, out);
	else
		delete_snapshot(c, form, out);
	control_unlock(c);
	free(form);
	free(action);
	free(dry);
}
