/* SPDX-License-Identifier: Apache-2.0 */
/* api_tag.c - tags of gateways, shares and volumes; they are the member "Tags" of the resource's row. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"

#define TAGS_MAX 50
#define TAGS_PAGE 50

const struct api_field api_add_tags_in[] = {
    {"ResourceARN", &api_resource_arn, true}, {"Tags", &api_tags, true}, {NULL, NULL, false}};
const struct api_field api_remove_tags_in[] = {{"ResourceARN", &api_resource_arn, true},
    {"TagKeys", &api_tag_keys, true}, {NULL, NULL, false}};
const struct api_field api_list_tags_in[] = {{"ResourceARN", &api_resource_arn, true},
    {"Marker", &api_marker, false}, {"Limit", &api_limit, false}, {NULL, NULL, false}};

static const char *
tag_key(const json_t *tag)
{
	const char *key = json_string_value(json_object_get(tag, "Key"));

	return key != NULL ? key : "";
}

static size_t
find_tag(const json_t *tags, const char *key)
{
	size_t i;
	json_t *tag;

	json_array_foreach(tags, i, tag)
	{
		if (strcmp(tag_key(tag), key) == 0)
			return i;
	}
	return SIZE_MAX;
}

int
api_tags_merge(json_t *tags, const json_t *more, struct control_error *e)
{
	json_t *tag;
	size_t i;

	json_array_foreach(more, i, tag)
	{
		size_t at = find_tag(tags, tag_key(tag));

		if (strncasecmp(tag_key(tag), "aws:", 4) == 0)
			return control_fail(e, "InvalidParameters",
			    "Tag keys that begin with aws: are reserved for system use.");
		if (at != SIZE_MAX)
			json_array_set(tags, at, tag);
		else
			json_array_append(tags, tag);
	}
	if (json_array_size(tags) > TAGS_MAX)
		return control_fail(
		    e, "InvalidParameters", "A resource can have at most %d tags.", TAGS_MAX);
	return 0;
}

/* The resource that ResourceARN names; exactly one of them is set. */
struct resource {
	struct control_gateway *gateway;
	struct control_share *share;
	struct control_volume *volume;
	json_t *row;
};

static int
find_resource(struct api_call *call, struct resource *r)
{
	const char *arn = api_in_string(call, "ResourceARN");

	memset(r, 0, sizeof(*r));
	if (strstr(arn, ":share/") != NULL) {
		r->share = control_share_by_arn(call->control, arn, &call->err);
		r->row = r->share != NULL ? r->share->row : NULL;
	} else if (strstr(arn, "/volume/") != NULL) {
		r->volume = control_volume_by_arn(call->control, arn, &call->err);
		r->row = r->volume != NULL ? r->volume->row : NULL;
	} else {
		r->gateway = control_gateway_by_arn(call->control, arn, &call->err);
		r->row = r->gateway != NULL ? r->gateway->row : NULL;
	}
	return r->row != NULL ? 0 : -EINVAL;
}

static json_t *
tags_copy(const json_t *row)
{
	json_t *tags = json_deep_copy(json_object_get(row, "Tags"));

	if (json_is_array(tags))
		return tags;
	json_decref(tags);
	return json_array();
}

/* A tag that is a setting must be one that the volume can have. row is freed when it is not. */
static int
check_volume(struct api_call *call, json_t *row)
{
	struct cw_volume_conf conf;
	char text[256];
	int r = control_volume_conf(row, control_config(call->control), &conf, text, sizeof(text));

	cw_volume_conf_free(&conf);
	if (r == 0)
		return 0;
	json_decref(row);
	return control_fail(&call->err, "InvalidParameters", "%s", text);
}

/* Store tags (taken) with the resource. */
static int
store(struct api_call *call, const struct resource *to, json_t *tags)
{
	json_t *row = json_copy(to->row);
	int r;

	json_object_set_new(row, "Tags", tags);
	if (to->share != NULL)
		return control_share_update(call->control, to->share, row, &call->err);
	if (to->volume != NULL)
		return check_volume(call, row) < 0
			   ? -EINVAL
			   : control_volume_put(call->control, to->volume, row, true, &call->err);
	r = control_gateway_put(call->control, to->gateway, row);
	return r < 0 ? control_fail_internal(&call->err, r, "the index takes no changes") : 0;
}

int
api_add_tags(struct api_call *call)
{
	struct resource to;
	json_t *tags;

	if (find_resource(call, &to) < 0)
		return -EINVAL;
	tags = tags_copy(to.row);
	if (api_tags_merge(tags, json_object_get(call->in, "Tags"), &call->err) < 0) {
		json_decref(tags);
		return -EINVAL;
	}
	api_out_string(call, "ResourceARN", api_in_string(call, "ResourceARN"));
	return store(call, &to, tags);
}

int
api_remove_tags(struct api_call *call)
{
	struct resource from;
	json_t *tags, *key;
	size_t i;

	if (find_resource(call, &from) < 0)
		return -EINVAL;
	tags = tags_copy(from.row);
	json_array_foreach(json_object_get(call->in, "TagKeys"), i, key)
	{
		size_t at = find_tag(tags, json_string_value(key));

		if (at != SIZE_MAX)
			json_array_remove(tags, at);
	}
	api_out_string(call, "ResourceARN", api_in_string(call, "ResourceARN"));
	return store(call, &from, tags);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int
api_list_tags(struct api_call *call)
{
	struct resource of;
	const char *keys[TAGS_MAX];
	size_t n = 0, i, from, to;
	json_t *tags, *tag, *page = json_array();

	if (find_resource(call, &of) < 0) {
		json_decref(page);
		return -EINVAL;
	}
	tags = json_object_get(of.row, "Tags");
	json_array_foreach(tags, i, tag)
	{
		if (n < TAGS_MAX)
			keys[n++] = tag_key(tag);
	}
	qsort(keys, n, sizeof(keys[0]), compare);
	if (api_page(call, keys, n, TAGS_PAGE, &from, &to))
		api_out_string(call, "Marker", keys[to - 1]);
	for (i = from; i < to; i++)
		json_array_append(page, json_array_get(tags, find_tag(tags, keys[i])));
	api_out_string(call, "ResourceARN", api_in_string(call, "ResourceARN"));
	json_object_set_new(call->out, "Tags", page);
	return 0;
}
