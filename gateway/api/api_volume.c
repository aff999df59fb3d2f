/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_volume.c - operations that make volumes: empty, from a snapshot, from another volume's recovery
 * point, from a raw image, and those that bring one here from the bucket (AttachVolume).
 *
 * The row of a volume is the request itself plus what the operation decided: see control_volume.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "gateway/api/api_int.h"
#include "gateway/base/clock.h"

#define GIB (1ull << 30)
#define IMAGE_NAME "disk.img" /* existing data of a disk, for PreserveExistingData */

static const struct api_shape size_bytes = {.type = API_INTEGER, .min = INT64_MIN};
static const struct api_shape snapshot_id = {.type = API_STRING,
    .matches = api_is_snapshot_id,
    .pattern = "\\Asnap-([0-9A-Fa-f]{8}|[0-9A-Fa-f]{17})\\z"};
static const struct api_shape target_name = {.type = API_STRING,
    .min = 1,
    .max = 200,
    .matches = api_is_target_name,
    .pattern = "^[-\\.;a-z0-9]+$"};
static const struct api_shape interface_id = {.type = API_STRING,
    .matches = api_is_address,
    .pattern = "\\A(25[0-5]|2[0-4]\\d|[0-1]?\\d?\\d)(\\.(25[0-5]|2[0-4]\\d|[0-1]?\\d?\\d)){3}\\z"};

const struct api_field api_create_cached_in[] = {{"GatewayARN", &api_gateway_arn, true},
    {"VolumeSizeInBytes", &size_bytes, true}, {"SnapshotId", &snapshot_id, false},
    {"TargetName", &target_name, true}, {"SourceVolumeARN", &api_volume_arn, false},
    {"NetworkInterfaceId", &interface_id, true}, {"ClientToken", &api_client_token, true},
    {"KMSEncrypted", &api_boolean, false}, {"KMSKey", &api_kms_key, false},
    {"Tags", &api_tags, false}, {NULL, NULL, false}};
const struct api_field api_create_stored_in[] = {{"GatewayARN", &api_gateway_arn, true},
    {"DiskId", &api_disk_id, true}, {"SnapshotId", &snapshot_id, false},
    {"PreserveExistingData", &api_boolean, true}, {"TargetName", &target_name, true},
    {"NetworkInterfaceId", &interface_id, true}, {"KMSEncrypted", &api_boolean, false},
    {"KMSKey", &api_kms_key, false}, {"Tags", &api_tags, false}, {NULL, NULL, false}};
const struct api_field api_attach_volume_in[] = {{"GatewayARN", &api_gateway_arn, true},
    {"TargetName", &target_name, false}, {"VolumeARN", &api_volume_arn, true},
    {"NetworkInterfaceId", &interface_id, true}, {"DiskId", &api_disk_id, false},
    {NULL, NULL, false}};

/* --- parts that every one of them has -------------------------------------------------------------- */

static json_int_t
number(const json_t *row, const char *name)
{
	return json_integer_value(json_object_get(row, name));
}

static void
copy(json_t *row, const json_t *from, const char *name)
{
	json_t *v = json_object_get(from, name);

	if (v != NULL && !json_is_null(v))
		json_object_set(row, name, v);
}

/* The volume that an earlier request with this ClientToken made: 1 and the answer, 0 for a new token. */
static int
find_by_token(struct api_call *call, const char *digest)
{
	const char *token = api_in_string(call, "ClientToken");
	struct list *l;

	list_for_each(l, control_volumes(call->control))
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->phase == VOLUME_DELETING ||
		    strcmp(api_row_string(v->row, "ClientToken"), token) != 0)
			continue;
		if (strcmp(api_row_string(v->row, "RequestDigest"), digest) != 0)
			return control_fail(&call->err, "InvalidParameters",
			    "The ClientToken was used before with other parameters.");
		api_out_string(call, "VolumeARN", v->arn);
		api_out_string(call, "TargetARN", v->target_arn);
		return 1;
	}
	return 0;
}

/* Room on the gateway, and a target name that nobody has. self: the volume that may have it */
static int
check_place(struct api_call *call, const struct control_gateway *g, const char *target,
    const struct control_volume *self)
{
	struct list *l;
	size_t n = 0;

	list_for_each(l, control_volumes(call->control))
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v == self || v->phase == VOLUME_DELETING)
			continue;
		n += v->phase != VOLUME_DETACHED && strcmp(v->gateway_arn, g->arn) == 0;
		if (v->phase != VOLUME_DETACHED &&
		    strcmp(api_row_string(v->row, "TargetName"), target) == 0)
			return control_fail(&call->err, "TargetAlreadyExists",
			    "The specified target already exists.");
	}
	if (n >= CONTROL_VOLUMES_MAX)
		return control_fail(&call->err, "MaximumVolumeCountExceeded",
		    "A gateway can have at most %d volumes.", CONTROL_VOLUMES_MAX);
	return 0;
}

/* NetworkInterfaceId and what follows from it. */
static int
set_interface(struct api_call *call, json_t *row)
{
	char listen[64];

	copy(row, call->in, "NetworkInterfaceId");
	if (api_check_interface(control_config(call->control),
		api_in_string(call, "NetworkInterfaceId"), listen, &call->err) < 0)
		return -EINVAL;
	json_object_set_new(row, "ListenAddress", json_string(listen));
	return 0;
}

/* Which configured key; an image that is continued keeps the key of its source. */
static int
set_key(struct api_call *call, json_t *row, const json_t *source)
{
	const struct cw_config *conf = control_config(call->control);
	const char *kms_key = api_in_string(call, "KMSKey");
	bool is_kms = json_is_true(json_object_get(call->in, "KMSEncrypted"));
	const char *of_source = source != NULL ? api_row_string(source, "KeyName") : "";
	const struct config_key *k;

	if (is_kms && kms_key == NULL)
		return control_fail(&call->err, "InvalidParameters",
		    "KMSKey must be given when the volume is encrypted with KMS.");
	if (kms_key != NULL && !is_kms)
		return control_fail(&call->err, "InvalidParameters",
		    "KMSKey is given, but KMSEncrypted is not true.");
	k = kms_key != NULL ? control_volume_key(conf, kms_key) : NULL;
	if (kms_key != NULL && k == NULL)
		return control_fail(&call->err, "InvalidParameters",
		    "KMSKey %.200s: section [keys] of the configuration holds no key of that name.",
		    kms_key);
	if (source != NULL && k != NULL && strcmp(k->name, of_source) != 0)
		return control_fail(&call->err, "InvalidParameters",
		    "A volume made of another's image has the key of that image (%s).",
		    of_source[0] != '\0' ? of_source : "none");
	if (source != NULL) {
		copy(row, source, "KeyName");
		copy(row, source, "KMSKey");
		copy(row, source, "KMSEncrypted");
		return 0;
	}
	if (k == NULL && conf->volumes_key != NULL)
		json_object_set_new(row, "KeyName", json_string(conf->volumes_key));
	if (k != NULL) {
		json_object_set_new(row, "KeyName", json_string(k->name));
		copy(row, call->in, "KMSKey");
		copy(row, call->in, "KMSEncrypted");
	}
	return 0;
}

static int
set_bucket(struct api_call *call, json_t *row)
{
	const struct cw_config *conf = control_config(call->control);

	if (conf->volumes_bucket == NULL)
		return control_fail(&call->err, "InvalidParameters",
		    "Section [volumes] of the gateway's configuration names no bucket.");
	json_object_set_new(row, "Bucket", json_string(conf->volumes_bucket));
	json_object_set_new(row, "Prefix", json_string(conf->volumes_prefix));
	return 0;
}

/* ARNs of the volume in this gateway. */
static void
set_arns(struct api_call *call, json_t *row, const struct control_gateway *g)
{
	const struct cw_config *conf = control_config(call->control);
	char arn[600];

	json_object_set_new(row, "GatewayARN", json_string(g->arn));
	snprintf(arn, sizeof(arn), "%s/volume/%s", g->arn, api_row_string(row, "VolumeId"));
	json_object_set_new(row, "VolumeARN", json_string(arn));
	snprintf(arn, sizeof(arn), "%s/target/%s:%s", g->arn, conf->iscsi_naming_authority,
	    api_row_string(row, "TargetName"));
	json_object_set_new(row, "TargetARN", json_string(arn));
	copy(call->out, row, "VolumeARN");
	copy(call->out, row, "TargetARN");
}

static uint32_t
block_size(const json_t *tags)
{
	json_t *tag;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)tags, i, tag)
	{
		if (strcmp(api_row_string(tag, "Key"), "causeway:block-size") == 0 &&
		    strcmp(api_row_string(tag, "Value"), "4096") == 0)
			return 4096;
	}
	return 512;
}

static int
set_tags(struct api_call *call, json_t *row)
{
	json_t *tags = json_array();

	json_object_set_new(row, "Tags", tags);
	if (api_tags_merge(tags, json_object_get(call->in, "Tags"), &call->err) < 0)
		return -EINVAL;
	json_object_set_new(row, "BlockBytes", json_integer(block_size(tags)));
	return 0;
}

/* --- sources ------------------------------------------------------------------------------------------ */

/* "2026-11-25T22:45:01Z" or seconds since 1970. 0: it is neither */
static int64_t
parse_time(const char *text)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	char *rest;
	long long v;

	if (end != NULL && *end == '\0')
		return (int64_t)timegm(&tm) * 1000000000;
	v = strtoll(text, &rest, 10);
	return *rest == '\0' && v > 0 && v < 100000000000ll ? v * 1000000000 : 0;
}

/* causeway:recovery-time: not the latest recovery point of the source, but the newest not after this. */
static int
set_recovery_time(struct api_call *call, const json_t *row, json_t *origin)
{
	json_t *tag;
	size_t i;

	json_array_foreach(json_object_get(row, "Tags"), i, tag)
	{
		int64_t ns;

		if (strcmp(api_row_string(tag, "Key"), "causeway:recovery-time") != 0)
			continue;
		ns = parse_time(api_row_string(tag, "Value"));
		if (ns == 0)
			return control_fail(&call->err, "InvalidParameters",
			    "Tag causeway:recovery-time must be of the form 2026-11-25T22:45:01Z.");
		json_object_set_new(origin, "TimeNs", json_integer(ns));
	}
	return 0;
}

/* From a snapshot; *source is its row (borrowed). */
static int
from_snapshot(struct api_call *call, json_t *row, const json_t **source)
{
	const char *id = api_in_string(call, "SnapshotId");
	struct control_snapshot *s;
	const char *state;

	(void)control_snapshots(call->control); /* a fresh look */
	s = control_snapshot_by_id(call->control, id);
	state = s != NULL ? api_row_string(s->row, "State") : "";
	if (s == NULL || json_object_get(s->row, "Deleting") != NULL)
		return control_fail(
		    &call->err, "SnapshotNotFound", "The specified snapshot was not found.");
	if (strcmp(state, "pending") == 0)
		return control_fail(&call->err, "SnapshotInProgress",
		    "The specified snapshot is not completed yet.");
	if (strcmp(state, "completed") != 0)
		return control_fail(
		    &call->err, "SnapshotIdInvalid", "The specified snapshot did not complete.");
	json_object_set_new(row, "SourceSnapshotId", json_string(s->id));
	json_object_set_new(row, "Origin",
	    json_pack("{s:s,s:s,s:s,s:s}", "Source", "SNAPSHOT", "VolumeId", s->volume_id, "Prefix",
		api_row_string(s->row, "Prefix"), "SnapshotId", s->id));
	*source = s->row;
	return 0;
}

/* settings.json comes from a bucket that others may write: members of the right type, nothing else. */
static json_t *
tags_of(const json_t *from)
{
	json_t *tags = json_array(), *tag;
	struct control_error ignored = {0};
	size_t i;

	json_array_foreach(json_object_get(from, "Tags"), i, tag)
	{
		json_t *one = json_pack("[{s:s,s:s}]", "Key", api_row_string(tag, "Key"), "Value",
		    api_row_string(tag, "Value"));

		if (api_row_string(tag, "Key")[0] != '\0' && json_array_size(tags) < 50 &&
		    api_tags_merge(tags, one, &ignored) < 0)
			i = json_array_size(json_object_get(from, "Tags"));
		json_decref(one);
	}
	return tags;
}

/* The schedule goes on as from now; NULL = none. */
static json_t *
schedule_of(const json_t *from)
{
	const json_t *o = json_object_get(from, "Schedule");
	json_int_t start = number(o, "StartAt"), every = number(o, "RecurrenceInHours");
	const char *zone = api_row_string(o, "Timezone"), *text = api_row_string(o, "Description");
	json_t *tags, *schedule;
	int minutes;

	if (!json_is_object(o) || start < 0 || start > 23 || every < 1 || every > 24 ||
	    control_schedule_zone(zone, &minutes) < 0)
		return NULL;
	tags = tags_of(o);
	schedule = control_schedule_make(
	    (int)start, (int)every, zone, text[0] != '\0' ? text : NULL, tags, clock_real_ns());
	json_decref(tags);
	return schedule;
}

/* What a row or settings.json says about a volume that may become one of ours. New reference */
static json_t *
cleaned(const json_t *from)
{
	static const char *const strings[] = {"VolumeId", "VolumeType", "TargetName", "KMSKey",
	    "KeyName", "SourceSnapshotId", "Bucket", "Prefix"};
	static const char *const numbers[] = {"BlockBytes", "CreatedNs", "VolumeSizeInBytes"};
	json_t *row = json_object(), *schedule = schedule_of(from);

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (json_is_string(json_object_get(from, strings[i])))
			copy(row, from, strings[i]);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(row, numbers[i], json_integer(number(from, numbers[i])));
	if (json_object_get(row, "KMSKey") != NULL)
		json_object_set_new(row, "KMSEncrypted", json_true());
	json_object_set_new(row, "Tags", tags_of(from));
	if (schedule != NULL)
		json_object_set_new(row, "Schedule", schedule);
	return row;
}

static const char *
id_of_arn(const char *arn)
{
	const char *at = strstr(arn, "/volume/");

	return at != NULL ? at + strlen("/volume/") : "";
}

static struct control_volume *
known_volume(struct api_call *call, const char *arn)
{
	struct control_volume *v = control_volume_by_id(call->control, id_of_arn(arn));

	return v != NULL && v->phase != VOLUME_DELETING ? v : NULL;
}

/* What the bucket says about a volume of another appliance, asked before anything else is looked up:
 * the control plane is unlocked meanwhile. NULL without an error: it is known here. */
static int
ask_bucket(struct api_call *call, const char *arn, json_t **out)
{
	json_t *settings;
	int r;

	*out = NULL;
	if (arn == NULL || known_volume(call, arn) != NULL)
		return 0;
	if (strlen(id_of_arn(arn)) >= CW_VOLUME_ID_MAX || strchr(id_of_arn(arn), '/') != NULL)
		return control_fail(
		    &call->err, "VolumeNotFound", "The specified volume was not found.");
	if (control_config(call->control)->volumes_bucket == NULL)
		return control_fail(
		    &call->err, "VolumeNotFound", "The specified volume was not found.");
	r = control_volume_fetch_settings(call->control, id_of_arn(arn), &settings, &call->err);
	if (r == 0) {
		*out = cleaned(settings);
		json_object_del(*out, "Bucket"); /* it lies where we looked */
		json_object_del(*out, "Prefix");
	}
	json_decref(settings);
	return r;
}

/* From a recovery point of the volume whose row or settings.json is source. */
static int
from_volume(struct api_call *call, json_t *row, const json_t *source)
{
	json_t *origin = json_pack("{s:s,s:s,s:s}", "Source", "VOLUME", "VolumeId",
	    api_row_string(source, "VolumeId"), "Prefix",
	    json_is_string(json_object_get(source, "Prefix"))
		? api_row_string(source, "Prefix")
		: control_config(call->control)->volumes_prefix);

	json_object_set_new(row, "Origin", origin);
	copy(row, call->in, "SourceVolumeARN");
	return set_recovery_time(call, row, origin);
}

/* --- CreateCachediSCSIVolume ----------------------------------------------------------------------------- */

static int
check_size(struct api_call *call, json_int_t size, const json_t *source, bool is_snapshot)
{
	json_int_t least = source != NULL ? number(source, "VolumeSizeInBytes") : 0;

	if (size < (json_int_t)CW_VOLUME_SIZE_MIN || size > (json_int_t)CW_VOLUME_CACHED_MAX ||
	    size % 4096 != 0)
		return control_fail(&call->err, "InvalidParameters",
		    "VolumeSizeInBytes must be between 1 GiB and 32 TiB, and a multiple of 4096.");
	if (size < least)
		return control_fail(&call->err, "InvalidParameters",
		    "VolumeSizeInBytes must be at least the size of the %s (%lld).",
		    is_snapshot ? "snapshot" : "source volume", (long long)least);
	return 0;
}

static int
fill_cached(struct api_call *call, json_t *row, const json_t *settings)
{
	const char *source_arn = api_in_string(call, "SourceVolumeARN");
	bool is_snapshot = api_in_string(call, "SnapshotId") != NULL;
	const json_t *source = NULL;
	struct control_volume *v;
	int r = set_tags(call, row);

	if (r == 0 && is_snapshot && source_arn != NULL)
		r = control_fail(
		    &call->err, "InvalidParameters", "Give one of SnapshotId and SourceVolumeARN.");
	if (r == 0 && is_snapshot)
		r = from_snapshot(call, row, &source);
	if (r == 0 && source_arn != NULL) {
		v = known_volume(call, source_arn);
		source = v != NULL ? v->row : settings;
		r = source != NULL ? from_volume(call, row, source)
				   : control_fail(&call->err, "VolumeNotFound",
					 "The specified volume was not found.");
	}
	if (r == 0)
		r = check_size(call, number(call->in, "VolumeSizeInBytes"), source, is_snapshot);
	if (r == 0)
		r = set_key(call, row, source);
	if (r == 0 && source != NULL)
		copy(row, source, "BlockBytes");
	if (r == 0)
		r = set_interface(call, row);
	return r == 0 ? set_bucket(call, row) : r;
}

/* Row to control plane; row is taken. */
static int
add(struct api_call *call, const struct control_gateway *g, json_t *row, const char *type)
{
	char id[CW_VOLUME_ID_MAX];

	control_volume_new_id(id);
	json_object_set_new(row, "VolumeId", json_string(id));
	json_object_set_new(row, "VolumeType", json_string(type));
	json_object_set_new(row, "CreatedNs", json_integer(clock_real_ns()));
	copy(row, call->in, "TargetName");
	set_arns(call, row, g);
	return control_volume_add(call->control, row, &call->err);
}

int
api_create_cached(struct api_call *call)
{
	struct control_gateway *g;
	char digest[2 * SHA256_LEN + 1];
	json_t *row, *settings;
	int r = ask_bucket(call, api_in_string(call, "SourceVolumeARN"), &settings);

	if (r < 0)
		return r;
	g = api_gateway_of(call, "CACHED", NULL);
	if (g == NULL) {
		json_decref(settings);
		return -EINVAL;
	}
	api_digest(call->in, digest);
	r = find_by_token(call, digest);
	if (r != 0) {
		json_decref(settings);
		return r > 0 ? 0 : r;
	}
	row = json_object();
	copy(row, call->in, "ClientToken");
	copy(row, call->in, "VolumeSizeInBytes");
	json_object_set_new(row, "RequestDigest", json_string(digest));
	r = check_place(call, g, api_in_string(call, "TargetName"), NULL);
	if (r == 0)
		r = fill_cached(call, row, settings);
	json_decref(settings);
	if (r == 0)
		r = api_ensure_cache(call, g);
	if (r < 0) {
		json_decref(row);
		return r;
	}
	return add(call, g, row, "CACHED");
}

/* --- CreateStorediSCSIVolume ------------------------------------------------------------------------------- */

/* The raw image on the disk that is to be kept: its size in *size. */
static int
find_image(struct api_call *call, const struct control_disk *d, json_t *row, uint64_t *size)
{
	char *path = xasprintf("%s/%s", d->dir, IMAGE_NAME);
	struct stat st;
	int r = 0;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
		r = control_fail(&call->err, "InvalidParameters",
		    "PreserveExistingData: the disk holds no file %s.", IMAGE_NAME);
	} else {
		*size = (uint64_t)st.st_size;
		json_object_set_new(
		    row, "Origin", json_pack("{s:s,s:s}", "Source", "IMAGE", "ImagePath", path));
	}
	free(path);
	return r;
}

/* The disk that DiskId names, for data of a volume; sets DiskId and DiskName in row. */
static int
set_disk(struct api_call *call, json_t *row, struct control_disk *d)
{
	const char *id = api_in_string(call, "DiskId");

	if (control_disk_find(call->control, id != NULL ? id : "", d, &call->err) < 0)
		return -EINVAL;
	if (d->owner != NULL || d->is_first)
		return control_fail(&call->err, "DiskAlreadyAllocated",
		    d->owner != NULL ? "The specified disk is already allocated."
				     : "The specified disk holds the cache.");
	if (!d->is_present)
		return control_fail(
		    &call->err, "DiskDoesNotExist", "The directory of the disk does not exist.");
	json_object_set_new(row, "DiskId", json_string(d->id));
	json_object_set_new(row, "DiskName", json_string(d->name));
	return 0;
}

static int
fill_stored(struct api_call *call, json_t *row)
{
	bool is_kept = json_is_true(json_object_get(call->in, "PreserveExistingData"));
	bool is_snapshot = api_in_string(call, "SnapshotId") != NULL;
	const json_t *source = NULL;
	struct control_disk d;
	uint64_t size;
	int r = set_tags(call, row);

	if (r == 0)
		r = set_disk(call, row, &d);
	if (r == 0 && is_snapshot && is_kept)
		r = control_fail(&call->err, "InvalidParameters",
		    "PreserveExistingData cannot be true when SnapshotId is given.");
	if (r < 0)
		return r;
	size = d.size_bytes / GIB * GIB;
	if (size > CW_VOLUME_STORED_MAX)
		size = CW_VOLUME_STORED_MAX;
	if (is_snapshot)
		r = from_snapshot(call, row, &source);
	if (r == 0 && is_kept)
		r = find_image(call, &d, row, &size);
	if (r == 0 && (size < CW_VOLUME_SIZE_MIN || size % 4096 != 0))
		r = control_fail(&call->err, "DiskSizeLessThanVolumeSize",
		    "A stored volume needs a disk of at least 1 GiB, and an existing image a size "
		    "that is a multiple of 4096 bytes.");
	if (r == 0 && size > CW_VOLUME_STORED_MAX)
		r = control_fail(&call->err, "DiskSizeGreaterThanVolumeMaxSize",
		    "A stored volume has at most 16 TiB.");
	if (r == 0 && source != NULL && (json_int_t)size < number(source, "VolumeSizeInBytes"))
		r = control_fail(&call->err, "DiskSizeLessThanVolumeSize",
		    "The specified disk is smaller than the snapshot's volume.");
	if (r == 0)
		r = set_key(call, row, source);
	if (r == 0 && source != NULL)
		copy(row, source, "BlockBytes");
	if (r == 0)
		r = set_interface(call, row);
	if (r == 0)
		r = set_bucket(call, row);
	json_object_set_new(row, "VolumeSizeInBytes", json_integer((json_int_t)size));
	json_object_set_new(row, "PreservedExistingData", json_boolean(is_kept));
	return r;
}

int
api_create_stored(struct api_call *call)
{
	struct control_gateway *g = api_gateway_of(call, "STORED", NULL);
	json_t *row;
	int64_t now_ns = clock_real_ns();
	const char *zone;
	int minutes, r;

	if (g == NULL)
		return -EINVAL;
	row = json_object();
	r = check_place(call, g, api_in_string(call, "TargetName"), NULL);
	if (r == 0)
		r = fill_stored(call, row);
	if (r < 0) {
		json_decref(row);
		return r;
	}
	/* A stored volume has a snapshot a day unless told otherwise, from now on. */
	zone = api_row_string(g->row, "GatewayTimezone");
	if (control_schedule_zone(zone, &minutes) < 0)
		minutes = 0;
	json_object_set_new(row, "Schedule",
	    control_schedule_make((int)((now_ns / 60000000000 + minutes + 1440) / 60 % 24), 24,
		zone, NULL, NULL, now_ns));
	copy(call->out, row, "VolumeSizeInBytes");
	return add(call, g, row, "STORED");
}

/* --- AttachVolume --------------------------------------------------------------------------------------------- */

static int
fill_attached(struct api_call *call, const struct control_gateway *g, json_t *row, bool is_known)
{
	const char *type = api_row_string(row, "VolumeType");
	bool is_stored = strcmp(type, "STORED") == 0;
	struct control_disk d;
	int r = 0;

	if (strcmp(type, api_row_string(g->row, "GatewayType")) != 0)
		return api_wrong_type(call);
	if (is_stored != (api_in_string(call, "DiskId") != NULL))
		return control_fail(&call->err, "InvalidParameters",
		    is_stored ? "A stored volume needs a DiskId."
			      : "DiskId is for stored volumes only.");
	if (is_stored)
		r = set_disk(call, row, &d);
	if (r == 0 && is_stored && (json_int_t)d.size_bytes < number(row, "VolumeSizeInBytes"))
		r = control_fail(&call->err, "DiskSizeLessThanVolumeSize",
		    "The specified disk is smaller than the volume.");
	if (r == 0 && !api_is_target_name(api_row_string(row, "TargetName")))
		r = control_fail(&call->err, "InvalidParameters", "TargetName must be given.");
	if (r == 0)
		r = set_interface(call, row);
	if (r == 0 && strlen(api_row_string(row, "TargetName")) > 200)
		r = control_fail(&call->err, "InvalidParameters", "TargetName is too long.");
	return r == 0 && !is_known ? set_bucket(call, row) : r;
}

int
api_attach_volume(struct api_call *call)
{
	const char *arn = api_in_string(call, "VolumeARN");
	struct control_gateway *g;
	struct control_volume *v;
	json_t *settings, *row = NULL;
	int r = ask_bucket(call, arn, &settings);

	if (r < 0)
		return r;
	g = api_gateway_of(call, "CACHED", "STORED");
	v = known_volume(call, arn);
	if (g == NULL)
		r = -EINVAL;
	else if (v != NULL && v->phase != VOLUME_DETACHED)
		r = control_fail(&call->err, "VolumeInUse",
		    "The specified volume is attached to gateway %s.", v->gateway_arn);
	else if (v == NULL && settings == NULL)
		r = control_fail(
		    &call->err, "VolumeNotFound", "The specified volume was not found.");
	if (r == 0) {
		row = cleaned(v != NULL ? v->row : settings);
		copy(row, call->in, "TargetName");
		if (v !=
		    NULL) /* credentials stay with the volume that was here; none come from a bucket */
			copy(row, v->row, "Chap");
		r = fill_attached(call, g, row, v != NULL);
	}
	if (r == 0)
		r = check_place(call, g, api_row_string(row, "TargetName"), v);
	if (r == 0)
		r = api_ensure_cache(call, g);
	json_decref(settings);
	if (r < 0) {
		json_decref(row);
		return r;
	}
	set_arns(call, row, g);
	return control_volume_attach(call->control, v, row, &call->err);
}
