/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_volume_conf.c - a volume's row, in the AWS API's words, to struct cw_volume_conf.  Pure.
 *
 * What that API has no member for is set by tags whose keys begin with "causeway:": block-size (512 or
 * 4096, when the volume is created); compression, recovery-keep-s, seal-interval-ms, which may change at
 * any time; keep-snapshots is the schedule's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "gateway/control_int.h"
#include "gateway/control_volume.h"

const struct config_key *
control_volume_key(const struct cw_config *conf, const char *kms_key)
{
	const char *name = strstr(kms_key, "alias/");

	if (name == NULL)
		name = strstr(kms_key, ":key/");
	name = name != NULL ? strchr(name, '/') : NULL;
	return name != NULL ? config_key_by_name(conf, name + 1) : NULL;
}

static int
tag_number(const char *key, const char *value, uint32_t *out, char *err_text, size_t err_cap)
{
	if (value[0] == '\0' || strlen(value) > 9 || strspn(value, "0123456789") != strlen(value)) {
		snprintf(err_text, err_cap, "Tag %s: %s is not a number.", key, value);
		return -EINVAL;
	}
	*out = (uint32_t)strtoul(value, NULL, 10);
	return 0;
}

static int
set_by_tag(
    const char *key, const char *value, struct cw_volume_conf *out, char *err_text, size_t err_cap)
{
	const char *what = key + strlen("causeway:");
	uint32_t v;
	int r;

	if (strcmp(what, "recovery-keep-s") == 0)
		return tag_number(key, value, &out->recovery_keep_s, err_text, err_cap);
	if (strcmp(what, "seal-interval-ms") == 0)
		return tag_number(key, value, &out->seal_interval_ms, err_text, err_cap);
	if (strcmp(what, "keep-snapshots") == 0)
		return tag_number(key, value, &v, err_text, err_cap);
	if (strcmp(what, "recovery-time") == 0) /* said what to restore, when it was created */
		return 0;
	if (strcmp(what, "block-size") == 0) {
		r = tag_number(key, value, &v, err_text, err_cap);
		if (r == 0 && v != 512 && v != 4096) {
			snprintf(err_text, err_cap, "Tag %s must be 512 or 4096.", key);
			return -EINVAL;
		}
		return r;
	}
	if (strcmp(what, "compression") == 0) {
		out->is_compressed = strcmp(value, "on") == 0;
		if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)
			return 0;
		snprintf(err_text, err_cap, "Tag %s must be on or off.", key);
		return -EINVAL;
	}
	snprintf(err_text, err_cap,
	    "Tag %s is unknown; tags that begin with causeway: are settings.", key);
	return -EINVAL;
}

static int
set_tags(const json_t *row, struct cw_volume_conf *out, char *err_text, size_t err_cap)
{
	const json_t *tag;
	size_t i;

	json_array_foreach(json_object_get(row, "Tags"), i, tag)
	{
		const char *key = controli_row_string(tag, "Key");
		int r;

		if (strncmp(key, "causeway:", 9) != 0)
			continue;
		r = set_by_tag(key, controli_row_string(tag, "Value"), out, err_text, err_cap);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
set_key(const json_t *row, const struct cw_config *conf, struct cw_volume_conf *out, char *err_text,
    size_t err_cap)
{
	const char *name = controli_row_string(row, "KeyName");
	const struct config_key *k;

	if (name[0] == '\0')
		return 0;
	k = config_key_by_name(conf, name);
	if (k == NULL) {
		snprintf(err_text, err_cap,
		    "the volume is encrypted with key %s, which section [keys] of the "
		    "configuration does not hold",
		    name);
		return -EINVAL;
	}
	out->key_id = xstrdup(name);
	memcpy(out->key, k->key, sizeof(out->key));
	return 0;
}

/* A stored volume's disk: its directory. */
static int
set_disk(const json_t *row, const struct cw_config *conf, struct cw_volume_conf *out,
    char *err_text, size_t err_cap)
{
	const char *name = controli_row_string(row, "DiskName");

	if (out->mode != CW_VOLUME_STORED)
		return 0;
	for (size_t i = 0; i < conf->ndisks; i++) {
		if (strcmp(conf->disks[i].name, name) == 0) {
			out->data_dir = xstrdup(conf->disks[i].dir);
			return 0;
		}
	}
	snprintf(err_text, err_cap,
	    "the volume's data lies on disk %s, which section [cache] of the configuration does "
	    "not name any more",
	    name);
	return -EINVAL;
}

int
control_volume_conf(const json_t *row, const struct cw_config *conf, struct cw_volume_conf *out,
    char *err_text, size_t err_cap)
{
	const char *target_arn = controli_row_string(row, "TargetARN");
	const char *iqn = strstr(target_arn, "/target/");
	const char *prefix = json_string_value(json_object_get(row, "Prefix"));
	json_int_t block = json_integer_value(json_object_get(row, "BlockBytes"));
	int r;

	cw_volume_conf_init(out);
	snprintf(out->id, sizeof(out->id), "%s", controli_row_string(row, "VolumeId"));
	out->target_name = xstrdup(controli_row_string(row, "TargetName"));
	out->iqn = xstrdup(iqn != NULL ? iqn + strlen("/target/") : "");
	out->listen_address = xstrdup(controli_row_string(row, "ListenAddress"));
	out->mode = strcmp(controli_row_string(row, "VolumeType"), "STORED") == 0
			? CW_VOLUME_STORED
			: CW_VOLUME_CACHED;
	out->size_bytes = (uint64_t)json_integer_value(json_object_get(row, "VolumeSizeInBytes"));
	out->block_bytes = block != 0 ? (uint32_t)block : 512;
	out->bucket = xstrdup(controli_row_string(row, "Bucket"));
	out->prefix = xstrdup(prefix != NULL ? prefix : "");
	out->is_compressed = conf->volumes_is_compressed;
	out->seal_interval_ms = (uint32_t)conf->volumes_seal_interval_ms;
	out->seal_bytes = conf->volumes_seal_bytes;
	out->recovery_keep_s = (uint32_t)conf->volumes_recovery_keep_s;
	r = set_key(row, conf, out, err_text, err_cap);
	if (r == 0)
		r = set_disk(row, conf, out, err_text, err_cap);
	if (r == 0)
		r = set_tags(row, out, err_text, err_cap);
	if (r == 0)
		r = cw_volume_conf_check(out, err_text, err_cap);
	return r;
}
