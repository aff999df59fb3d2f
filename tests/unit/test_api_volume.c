/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on volumes, against a control plane whose volumes are fakes. */
#include "tests/unit/control_fixture.h"

static void
the_users_snippet_makes_a_volume(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *buffer = fx_disk(fx, g, "buffer");
	json_t *in = json_pack("{s:s,s:I,s:s,s:s,s:s,s:[{s:s,s:s}]}", "GatewayARN", g,
	    "VolumeSizeInBytes", (json_int_t)1099511627776ll, "TargetName", "prod-database-vol",
	    "NetworkInterfaceId", "10.0.1.100", "ClientToken", "unique-token-67890", "Tags", "Key",
	    "Environment", "Value", "Production");
	json_t *o = fx_call(fx, "CreateCachediSCSIVolume", json_deep_copy(in)), *d, *i;
	char *arn = xstrdup(api_row_string(o, "VolumeARN"));
	struct control_volume *v;

	assert_non_null(strstr(
	    api_row_string(o, "TargetARN"), "/target/iqn.1997-05.com.amazon:prod-database-vol"));
	json_decref(o);
	v = fx_wait(fx, arn, VOLUME_SERVING);
	assert_string_equal(v->volume->conf.iqn, "iqn.1997-05.com.amazon:prod-database-vol");
	assert_string_equal(v->volume->conf.listen_address, ""); /* none of ours: served at all */
	assert_string_equal(v->volume->conf.bucket, "vols");
	assert_true(v->volume->conf.size_bytes == 1ull << 40 && v->volume->conf.is_compressed);
	/* the same token: the same volume */
	o = fx_call(fx, "CreateCachediSCSIVolume", json_deep_copy(in));
	assert_string_equal(api_row_string(o, "VolumeARN"), arn);
	json_decref(o);
	json_object_set_new(in, "TargetName", json_string("other"));
	fx_fails(fx, "CreateCachediSCSIVolume", in, "InvalidParameters", "ClientToken");
	d = fx_describe(fx, arn);
	assert_string_equal(api_row_string(d, "VolumeStatus"), "UPLOAD BUFFER NOT CONFIGURED");
	json_decref(d);
	json_decref(fx_call(
	    fx, "AddUploadBuffer", json_pack("{s:s,s:[s]}", "GatewayARN", g, "DiskIds", buffer)));
	d = fx_describe(fx, arn);
	assert_string_equal(api_row_string(d, "VolumeStatus"), "AVAILABLE");
	assert_string_equal(api_row_string(d, "VolumeType"), "CACHED iSCSI");
	assert_string_equal(api_row_string(d, "VolumeAttachmentStatus"), "ATTACHED");
	assert_string_equal(api_row_string(d, "TargetName"), "prod-database-vol");
	assert_null(json_object_get(d, "VolumeProgress"));
	i = json_object_get(d, "VolumeiSCSIAttributes");
	assert_string_equal(api_row_string(i, "NetworkInterfaceId"), "10.0.1.100");
	assert_int_equal(json_integer_value(json_object_get(i, "NetworkInterfacePort")), 3260);
	assert_int_equal(json_integer_value(json_object_get(i, "LunNumber")), 0);
	json_decref(d);
	free(g);
	free(arn);
	free(buffer);
}

static void
statuses_are_those_of_the_volume(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	json_t *d;

	fake_state = "RESTORING";
	fake_progress = 0.5;
	d = fx_describe(fx, arn);
	assert_string_equal(api_row_string(d, "VolumeStatus"), "RESTORING");
	assert_true(json_real_value(json_object_get(d, "VolumeProgress")) == 0.5);
	json_decref(d);
	free(g);
	free(arn);
}

static void
bad_requests_are_refused_in_awss_words(void **state)
{
	static const struct {
		const char *member, *value, *code, *text;
	} bad[] = {
	    {"GatewayARN", "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-00000000",
		"GatewayNotFound", "The specified gateway was not found."},
	    {"TargetName", "Upper", "ValidationException", "pattern"},
	    {"TargetName", "taken", "TargetAlreadyExists", "already exists"},
	    {"NetworkInterfaceId", "eth0", "ValidationException", "pattern"},
	    {"SnapshotId", "snap-00000000", "SnapshotNotFound", "was not found"},
	    {"SnapshotId", "snap-1", "ValidationException", "pattern"},
	    {"SourceVolumeARN",
		"arn:aws:storagegateway:us-east-1:1:gateway/sgw-1/volume/vol-12345678",
		"VolumeNotFound", "The specified volume was not found"},
	    {"KMSKey", "alias/mine", "InvalidParameters", "KMSEncrypted"},
	};
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *files = fx_gateway(fx, "FILE_S3", "gw-f");
	char *arn = fx_volume(fx, g, "taken");
	json_t *in;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		in = fx_cached_in(g, "fresh");
		json_object_set_new(in, bad[i].member, json_string(bad[i].value));
		fx_fails(fx, "CreateCachediSCSIVolume", in, bad[i].code, bad[i].text);
	}
	for (int i = 0; i < 4; i++) {
		static const long long sizes[] = {0, -1, (1ll << 30) + 1, (32ll << 40) + 4096};

		in = fx_cached_in(g, "fresh");
		json_object_set_new(in, "VolumeSizeInBytes", json_integer(sizes[i]));
		fx_fails(fx, "CreateCachediSCSIVolume", in, "InvalidParameters", "between 1 GiB");
	}
	in = fx_cached_in(g, "fresh");
	json_object_update_new(
	    in, json_pack("{s:b,s:s}", "KMSEncrypted", 1, "KMSKey", "alias/none"));
	fx_fails(fx, "CreateCachediSCSIVolume", in, "InvalidParameters", "[keys]");
	in = fx_cached_in(g, "fresh");
	json_object_set_new(
	    in, "Tags", json_pack("[{s:s,s:s}]", "Key", "causeway:block-size", "Value", "1024"));
	fx_fails(fx, "CreateCachediSCSIVolume", in, "InvalidParameters", "512 or 4096");
	fx_fails(fx, "CreateCachediSCSIVolume", fx_cached_in(files, "fresh"),
	    "UnsupportedOperationForGatewayType",
	    "This operation is not valid for the specified gateway.");
	fx_fails(fx, "DescribeStorediSCSIVolumes", json_pack("{s:[s]}", "VolumeARNs", arn),
	    "UnsupportedOperationForGatewayType", "not valid");
	fx_fails(fx, "DeleteVolume",
	    fx_arg("VolumeARN",
		"arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-1/volume/vol-1122AABB"),
	    "VolumeNotFound", "The specified volume was not found.");
	fx_fails(fx, "DeleteGateway", fx_arg("GatewayARN", g), "VolumeInUse", "delete or detach");
	free(g);
	free(files);
	free(arn);
}

static void
a_foreign_interface_is_refused_unless_allowed(void **state)
{
	struct fx *fx = *state;
	char *g;
	json_t *in;

	fx_stop(fx);
	fx_start(fx, "no");
	g = fx_gateway(fx, "CACHED", "gw-g");
	in = fx_cached_in(g, "t");
	json_object_set_new(in, "NetworkInterfaceId", json_string("10.0.1.100"));
	fx_fails(
	    fx, "CreateCachediSCSIVolume", in, "InvalidParameters", "10.0.1.100 is not an address");
	json_decref(fx_call(fx, "CreateCachediSCSIVolume", fx_cached_in(g, "t")));
	free(g);
}

static void
a_gateway_has_at_most_32_volumes(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), name[32];
	json_t *o, *marker;

	for (int i = 0; i < 32; i++) {
		snprintf(name, sizeof(name), "target-%d", i);
		json_decref(fx_call(fx, "CreateCachediSCSIVolume", fx_cached_in(g, name)));
	}
	fx_fails(fx, "CreateCachediSCSIVolume", fx_cached_in(g, "one-more"),
	    "MaximumVolumeCountExceeded", "at most 32");
	o = fx_call(fx, "ListVolumes", json_pack("{s:s,s:i}", "GatewayARN", g, "Limit", 20));
	assert_int_equal(json_array_size(json_object_get(o, "VolumeInfos")), 20);
	marker = json_incref(json_object_get(o, "Marker"));
	json_decref(o);
	o = fx_call(fx, "ListVolumes", json_pack("{s:o,s:s}", "Marker", marker, "GatewayARN", g));
	assert_int_equal(json_array_size(json_object_get(o, "VolumeInfos")), 12);
	assert_null(json_object_get(o, "Marker"));
	json_decref(o);
	free(g);
}

static void
volumes_survive_restarts(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	json_t *before = fx_describe(fx, arn), *after;
	uint32_t space;

	control_lock(fx->c);
	space = fx->c->volumes.next != &fx->c->volumes
		    ? container_of(fx->c->volumes.next, struct control_volume, link)->space_id
		    : 0;
	control_unlock(fx->c);
	fx_restart(fx);
	after = fx_describe(fx, arn); /* at once: it was opened before anybody is served */
	assert_true(json_equal(before, after));
	assert_int_equal(fx_wait(fx, arn, VOLUME_SERVING)->space_id, space);
	assert_true(fx->c->next_space_id > space);
	json_decref(before);
	json_decref(after);
	free(g);
	free(arn);
}

static void
a_volume_that_cannot_be_opened_says_why_and_is_tried_again(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	json_t *d;

	fx_stop(fx);
	fake_open_err = -EIO;
	fx_start(fx, "yes");
	d = fx_describe(fx, arn);
	assert_string_equal(api_row_string(d, "VolumeStatus"), "IRRECOVERABLE");
	json_decref(d);
	fake_open_err = 0;
	fx_wait(fx, arn, VOLUME_SERVING);
	free(g);
	free(arn);
}

static void
a_deleted_volume_is_gone_at_once_and_its_name_is_free(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	struct cw_target_session s = {.initiator = "iqn.x:y"};
	struct cw_volume *v = fx_wait(fx, arn, VOLUME_SERVING)->volume;
	int destroyed = fake_destroys;
	json_t *o, *in;

	cw_target_session_add(v, &s);
	o = fx_call(fx, "ListVolumeInitiators", fx_arg("VolumeARN", arn));
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(o, "Initiators"), 0)), "iqn.x:y");
	json_decref(o);
	fx_fails(fx, "DeleteVolume", fx_arg("VolumeARN", arn), "VolumeInUse", "logged in");
	cw_target_session_del(v, &s);
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	fx_fails(fx, "DeleteVolume", fx_arg("VolumeARN", arn), "VolumeNotFound", "not found");
	in = fx_cached_in(g, "t");
	json_object_set_new(in, "ClientToken", json_string("another"));
	free(arn);
	arn = fx_take(fx_call(fx, "CreateCachediSCSIVolume", in), "VolumeARN");
	fx_wait(fx, arn, VOLUME_SERVING);
	assert_int_equal(fake_destroys, destroyed + 1);
	free(g);
	free(arn);
}

/* wait_gone - until the row of a deleted volume is. */
static void
wait_gone(struct fx *fx, const char *arn)
{
	bool is_there = true;

	for (int i = 0; i < 5000 && is_there; i++) {
		clock_sleep_ms(2);
		control_lock(fx->c);
		is_there = control_volume_by_id(fx->c, strrchr(arn, '/') + 1) != NULL;
		control_unlock(fx->c);
	}
	assert_false(is_there);
}

static void
a_deletion_that_the_bucket_refuses_is_tried_again(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t"), *other;
	int destroyed = fake_destroys, tries = fake_destroy_tries;

	fx_wait(fx, arn, VOLUME_SERVING);
	fake_destroy_err = -ERR_OFFLINE;
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	for (int i = 0; i < 5000 && fake_destroy_tries == tries; i++)
		clock_sleep_ms(2);
	fx_fails(fx, "DeleteVolume", fx_arg("VolumeARN", arn), "VolumeNotFound", "not found");
	other = fx_volume(fx, g, "t"); /* its name is free meanwhile */
	fx_wait(fx, other, VOLUME_SERVING);
	tries = fake_destroy_tries;
	for (int i = 0; i < 5000 && fake_destroy_tries == tries; i++)
		clock_sleep_ms(2);
	assert_true(fake_destroy_tries > tries);
	fx_restart(fx);
	assert_int_equal(fake_destroys, destroyed);
	fake_destroy_err = 0;
	wait_gone(fx, arn);
	assert_int_equal(fake_destroys, destroyed + 1);
	free(g);
	free(arn);
	free(other);
}

/* is_waiting - is it open, and a target for nobody any more? */
static bool
is_waiting(const char *arn)
{
	struct cw_volume *v = cw_volume_by_id(strrchr(arn, '/') + 1);
	bool is;

	if (v == NULL)
		return false;
	is = v->is_retired;
	cw_volume_put(v);
	return is;
}

static void
a_deletion_waits_for_snapshots(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	int destroyed = fake_destroys;

	fx_wait(fx, arn, VOLUME_SERVING);
	fake_is_due = true;
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	fx_fails(fx, "DeleteVolume", fx_arg("VolumeARN", arn), "VolumeNotFound", "not found");
	clock_sleep_ms(1500);
	assert_true(is_waiting(arn));
	fx_restart(fx); /* opens it again, to go on */
	clock_sleep_ms(500);
	assert_true(is_waiting(arn));
	assert_int_equal(fake_destroys, destroyed);
	fake_is_due = false;
	wait_gone(fx, arn);
	assert_int_equal(fake_destroys, destroyed + 1);
	free(arn);
	arn = fx_volume(fx, g, "t");
	fx_wait(fx, arn, VOLUME_SERVING);
	fake_is_due = true; /* in vain where they can never be done */
	fake_state = "IRRECOVERABLE";
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	wait_gone(fx, arn);
	fake_state = "AVAILABLE";
	fake_is_due = false;
	free(g);
	free(arn);
}

static void
a_volume_that_others_may_have_is_deleted_here_alone(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	int tries = fake_destroy_tries;

	fx_wait(fx, arn, VOLUME_SERVING);
	fake_is_fenced = true; /* and the other one may have given it up again */
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	wait_gone(fx, arn);
	fake_is_fenced = false;
	free(arn);
	arn = fx_volume(fx, g, "t");
	fx_wait(fx, arn, VOLUME_SERVING);
	json_decref(fx_call(fx, "DetachVolume", fx_arg("VolumeARN", arn)));
	fx_wait(fx, arn, VOLUME_DETACHED);
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	wait_gone(fx, arn);
	assert_int_equal(fake_destroy_tries, tries);
	free(arn);
	arn = fx_volume(fx, g, "t");
	fx_wait(fx, arn, VOLUME_SERVING);
	fake_destroy_err = -ESTALE; /* nobody knew, but the bucket does */
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	wait_gone(fx, arn);
	fake_destroy_err = 0;
	assert_int_equal(fake_destroy_tries, tries + 1);
	free(g);
	free(arn);
}

static atomic_int fake_ended;

static void
end_session(struct cw_target_session *s)
{
	list_del(&s->link);
	fake_ended++;
}

static void
detach_then_attach(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *h = fx_gateway(fx, "CACHED", "gw-h");
	char *stored = fx_gateway(fx, "STORED", "gw-s"), *arn = fx_volume(fx, g, "t");
	struct cw_target_session s = {.initiator = "iqn.x:y", .end = end_session};
	json_t *d, *o;

	cw_target_session_add(fx_wait(fx, arn, VOLUME_SERVING)->volume, &s);
	fx_fails(fx, "DetachVolume", fx_arg("VolumeARN", arn), "VolumeInUse", "ForceDetach");
	fake_detach_err = -ERR_OFFLINE;
	json_decref(fx_call(
	    fx, "DetachVolume", json_pack("{s:s,s:b}", "VolumeARN", arn, "ForceDetach", 1)));
	assert_int_equal(fake_ended, 1);
	d = fx_describe(fx, arn);
	assert_string_equal(api_row_string(d, "VolumeAttachmentStatus"), "DETACHING");
	json_decref(d);
	fx_fails(fx, "AttachVolume",
	    json_pack("{s:s,s:s,s:s}", "GatewayARN", g, "VolumeARN", arn, "NetworkInterfaceId",
		"127.0.0.1"),
	    "VolumeInUse", "attached");
	fx_restart(fx); /* goes on with it */
	fake_detach_err = 0;
	fx_wait(fx, arn, VOLUME_DETACHED);
	d = fx_describe(fx, arn);
	assert_string_equal(api_row_string(d, "VolumeAttachmentStatus"), "DETACHED");
	json_decref(d);
	fx_restart(fx);
	fx_fails(fx, "AttachVolume",
	    json_pack("{s:s,s:s,s:s}", "GatewayARN", stored, "VolumeARN", arn, "NetworkInterfaceId",
		"127.0.0.1"),
	    "UnsupportedOperationForGatewayType", "not valid");
	o = fx_call(fx, "AttachVolume",
	    json_pack("{s:s,s:s,s:s}", "GatewayARN", h, "VolumeARN", arn, "NetworkInterfaceId",
		"127.0.0.1"));
	assert_non_null(strstr(api_row_string(o, "VolumeARN"), h));
	free(arn);
	arn = fx_take(o, "VolumeARN");
	assert_int_equal(fx_wait(fx, arn, VOLUME_SERVING)->volume->source, CW_SOURCE_BUCKET);
	free(g);
	free(h);
	free(stored);
	free(arn);
}

static void
chap_is_in_force_from_the_first_moment(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	char *target = xstrdup(fx_wait(fx, arn, VOLUME_SERVING)->target_arn);
	struct control_volume *v;
	json_t *o, *c;

	fx_fails(fx, "UpdateChapCredentials",
	    json_pack("{s:s,s:s,s:s}", "TargetARN", target, "InitiatorName", "iqn.x:y",
		"SecretToAuthenticateInitiator", "short"),
	    "InvalidParameters", "between 12 and 16");
	fx_fails(fx, "UpdateChapCredentials",
	    json_pack("{s:s,s:s,s:s,s:s}", "TargetARN", target, "InitiatorName", "iqn.x:y",
		"SecretToAuthenticateInitiator", "111111111111", "SecretToAuthenticateTarget",
		"111111111111"),
	    "InvalidParameters", "must be different");
	json_decref(fx_call(fx, "UpdateChapCredentials",
	    json_pack("{s:s,s:s,s:s,s:s}", "TargetARN", target, "InitiatorName", "iqn.x:y",
		"SecretToAuthenticateInitiator", "111111111111", "SecretToAuthenticateTarget",
		"222222222222")));
	v = fx_wait(fx, arn, VOLUME_SERVING);
	assert_int_equal(v->volume->nchaps, 1);
	fx_restart(fx);
	v = fx_wait(fx, arn, VOLUME_SERVING);
	assert_int_equal(v->volume->nchaps, 1);
	assert_string_equal(v->volume->chaps[0].secret_target, "222222222222");
	o = fx_call(fx, "DescribeChapCredentials", fx_arg("TargetARN", target));
	c = json_array_get(json_object_get(o, "ChapCredentials"), 0);
	assert_string_equal(api_row_string(c, "TargetARN"), target);
	assert_string_equal(api_row_string(c, "InitiatorName"), "iqn.x:y");
	assert_string_equal(api_row_string(c, "SecretToAuthenticateInitiator"), "111111111111");
	json_decref(o);
	json_decref(fx_call(fx, "DeleteChapCredentials",
	    json_pack("{s:s,s:s}", "TargetARN", target, "InitiatorName", "iqn.x:y")));
	assert_int_equal(fx_wait(fx, arn, VOLUME_SERVING)->volume->nchaps, 0);
	fx_fails(fx, "DeleteChapCredentials",
	    json_pack("{s:s,s:s}", "TargetARN", target, "InitiatorName", "iqn.x:y"),
	    "ChapCredentialNotFound", "not found");
	fx_fails(fx, "DescribeChapCredentials",
	    fx_arg("TargetARN",
		"arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-1/target/iqn.1:none"),
	    "TargetNotFound", "The specified target was not found.");
	free(g);
	free(arn);
	free(target);
}

static json_t *
stored_in(const char *gateway, const char *disk, bool keep)
{
	return json_pack("{s:s,s:s,s:b,s:s,s:s}", "GatewayARN", gateway, "DiskId", disk,
	    "PreserveExistingData", keep, "TargetName", keep ? "kept" : "st", "NetworkInterfaceId",
	    "127.0.0.1");
}

static void
a_stored_volume_has_its_disk_and_a_daily_snapshot(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "STORED", "gw-s"), *disk = fx_disk(fx, g, "stored");
	char *cache = fx_disk(fx, g, "cache"), *arn, *working = fx_disk(fx, g, "working");
	json_t *o, *d, *i;
	size_t n;
	bool found = false;

	fx_fails(fx, "CreateStorediSCSIVolume", stored_in(g, "nonsense", false), "DiskDoesNotExist",
	    "The specified disk does not exist.");
	fx_fails(fx, "CreateStorediSCSIVolume", stored_in(g, cache, false), "DiskAlreadyAllocated",
	    "holds the cache");
	fx_fails(fx, "CreateStorediSCSIVolume", stored_in(g, disk, true), "InvalidParameters",
	    "disk.img");
	fx_fails(fx, "AddCache", json_pack("{s:s,s:[s]}", "GatewayARN", g, "DiskIds", working),
	    "UnsupportedOperationForGatewayType", "not valid");
	o = fx_call(fx, "CreateStorediSCSIVolume", stored_in(g, disk, false));
	assert_int_equal(json_integer_value(json_object_get(o, "VolumeSizeInBytes")), 10ll << 30);
	arn = fx_take(o, "VolumeARN");
	assert_string_equal(
	    fx_wait(fx, arn, VOLUME_SERVING)->volume->conf.data_dir, fx->conf.disks[3].dir);
	fx_fails(fx, "CreateStorediSCSIVolume",
	    json_pack("{s:s,s:s,s:b,s:s,s:s}", "GatewayARN", g, "DiskId", disk,
		"PreserveExistingData", 0, "TargetName", "other", "NetworkInterfaceId",
		"127.0.0.1"),
	    "DiskAlreadyAllocated", "already allocated");
	o = fx_call(fx, "ListLocalDisks", fx_arg("GatewayARN", g));
	json_array_foreach(json_object_get(o, "Disks"), n, d)
	{
		if (strcmp(api_row_string(d, "DiskId"), disk) != 0)
			continue;
		found = true;
		assert_string_equal(api_row_string(d, "DiskAllocationType"), "STORED iSCSI VOLUME");
		assert_non_null(strstr(api_row_string(d, "DiskAllocationResource"),
		    "iqn.1997-05.com.amazon:st::0::us-east-1-vol-"));
	}
	assert_true(found);
	json_decref(o);
	o = fx_call(fx, "DescribeStorediSCSIVolumes", json_pack("{s:[s]}", "VolumeARNs", arn));
	i = json_array_get(json_object_get(o, "StorediSCSIVolumes"), 0);
	assert_string_equal(api_row_string(i, "VolumeStatus"), "WORKING STORAGE NOT CONFIGURED");
	assert_string_equal(api_row_string(i, "VolumeDiskId"), disk);
	assert_true(json_is_false(json_object_get(i, "PreservedExistingData")));
	json_decref(o);
	json_decref(fx_call(fx, "AddWorkingStorage",
	    json_pack("{s:s,s:[s]}", "GatewayARN", g, "DiskIds", working)));
	o = fx_call(fx, "DescribeWorkingStorage", fx_arg("GatewayARN", g));
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(o, "DiskIds"), 0)), working);
	assert_int_equal(json_integer_value(json_object_get(o, "WorkingStorageUsedInBytes")), 8192);
	json_decref(o);
	o = fx_call(fx, "DescribeSnapshotSchedule", fx_arg("VolumeARN", arn));
	assert_int_equal(json_integer_value(json_object_get(o, "RecurrenceInHours")), 24);
	assert_string_equal(api_row_string(o, "Timezone"), "GMT+2:00");
	json_decref(o);
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	for (n = 0; n < 5000; n++) { /* the disk is free again once the volume is gone */
		char *again = fx_disk(fx, g, "stored");
		struct control_disk cd;
		struct control_error e;

		control_lock(fx->c);
		assert_int_equal(control_disk_find(fx->c, again, &cd, &e), 0);
		control_unlock(fx->c);
		free(again);
		if (cd.owner == NULL)
			break;
		clock_sleep_ms(2);
	}
	assert_true(n < 5000);
	free(g);
	free(disk);
	free(cache);
	free(working);
	free(arn);
}

static void
existing_data_gives_the_stored_volume_its_size(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "STORED", "gw-s"), *disk = fx_disk(fx, g, "image");
	char *path = xasprintf("%s/image/disk.img", fx->dir), *arn;
	FILE *f = fopen(path, "w");
	struct control_volume *v;

	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), 3ll << 30), 0);
	fclose(f);
	arn =
	    fx_take(fx_call(fx, "CreateStorediSCSIVolume", stored_in(g, disk, true)), "VolumeARN");
	v = fx_wait(fx, arn, VOLUME_SERVING);
	assert_int_equal(v->volume->source, CW_SOURCE_IMAGE);
	assert_true(v->volume->conf.size_bytes == 3ull << 30);
	free(g);
	free(disk);
	free(path);
	free(arn);
}

static void
clones_come_from_recovery_points(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t"), *clone;
	json_t *in = fx_cached_in(g, "clone"), *o;
	struct control_volume *v;

	json_object_set_new(in, "SourceVolumeARN", json_string(arn));
	json_object_set_new(in, "Tags",
	    json_pack(
		"[{s:s,s:s}]", "Key", "causeway:recovery-time", "Value", "2026-11-25T22:45:01Z"));
	clone = fx_take(fx_call(fx, "CreateCachediSCSIVolume", in), "VolumeARN");
	v = fx_wait(fx, clone, VOLUME_SERVING);
	assert_int_equal(v->volume->source, CW_SOURCE_VOLUME);
	assert_non_null(strstr(arn, v->volume->origin_volume));
	assert_true(v->volume->origin_ns == 1795646701000000000);
	o = fx_call(fx, "ListVolumeRecoveryPoints", fx_arg("GatewayARN", g));
	assert_int_equal(json_array_size(json_object_get(o, "VolumeRecoveryPointInfos")), 2);
	assert_string_equal(
	    api_row_string(json_array_get(json_object_get(o, "VolumeRecoveryPointInfos"), 0),
		"VolumeRecoveryPointTime"),
	    "2025-11-25T22:05:01.123Z");
	json_decref(o);
	in = fx_cached_in(g, "smaller");
	json_object_set_new(in, "SourceVolumeARN", json_string(clone));
	json_decref(fx_call(fx, "CreateCachediSCSIVolume", in));
	free(g);
	free(arn);
	free(clone);
}

static void
an_encrypted_volume_hands_its_key_to_its_clones(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn, *clone;
	json_t *in = fx_cached_in(g, "secret");
	struct control_volume *v;

	json_object_update_new(in, json_pack("{s:b,s:s}", "KMSEncrypted", 1, "KMSKey",
				       "arn:aws:kms:us-east-1:123456789012:key/mine"));
	arn = fx_take(fx_call(fx, "CreateCachediSCSIVolume", in), "VolumeARN");
	v = fx_wait(fx, arn, VOLUME_SERVING);
	assert_string_equal(v->volume->conf.key_id, "mine");
	assert_int_equal(v->volume->conf.key[31], 31);
	in = fx_cached_in(g, "clone");
	json_object_set_new(in, "SourceVolumeARN", json_string(arn));
	clone = fx_take(fx_call(fx, "CreateCachediSCSIVolume", in), "VolumeARN");
	assert_string_equal(fx_wait(fx, clone, VOLUME_SERVING)->volume->conf.key_id, "mine");
	free(g);
	free(arn);
	free(clone);
}

static void
tags_of_volumes(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	json_t *o;

	json_decref(fx_call(fx, "AddTagsToResource",
	    json_pack(
		"{s:s,s:[{s:s,s:s}]}", "ResourceARN", arn, "Tags", "Key", "a", "Value", "1")));
	fx_fails(fx, "AddTagsToResource",
	    json_pack("{s:s,s:[{s:s,s:s}]}", "ResourceARN", arn, "Tags", "Key", "causeway:nonsense",
		"Value", "1"),
	    "InvalidParameters", "unknown");
	o = fx_call(fx, "ListTagsForResource", fx_arg("ResourceARN", arn));
	assert_int_equal(json_array_size(json_object_get(o, "Tags")), 1);
	json_decref(o);
	free(g);
	free(arn);
}

static void
tags_that_are_settings_are_in_force_at_once(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	const struct cw_volume_conf *conf =
	    cw_volume_conf(fx_wait(fx, arn, VOLUME_SERVING)->volume);
	uint32_t interval_ms = conf->seal_interval_ms, keep_s = conf->recovery_keep_s;
	json_t *in;

	assert_true(conf->is_compressed);
	json_decref(fx_call(fx, "AddTagsToResource",
	    json_pack("{s:s,s:[{s:s,s:s},{s:s,s:s},{s:s,s:s}]}", "ResourceARN", arn, "Tags", "Key",
		"causeway:compression", "Value", "off", "Key", "causeway:recovery-keep-s", "Value",
		"77", "Key", "causeway:seal-interval-ms", "Value", "1234")));
	assert_false(conf->is_compressed);
	assert_int_equal(conf->recovery_keep_s, 77);
	assert_int_equal(conf->seal_interval_ms, 1234);
	in = json_pack("{s:s,s:[s,s,s]}", "ResourceARN", arn, "TagKeys", "causeway:compression",
	    "causeway:recovery-keep-s", "causeway:seal-interval-ms");
	json_decref(fx_call(fx, "RemoveTagsFromResource", in));
	assert_true(conf->is_compressed);
	assert_int_equal(conf->recovery_keep_s, keep_s);
	assert_int_equal(conf->seal_interval_ms, interval_ms);
	free(g);
	free(arn);
}

static void
resize_grows_and_is_remembered(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw-g"), *arn = fx_volume(fx, g, "t");
	struct control_volume *v = fx_wait(fx, arn, VOLUME_SERVING);
	struct control_error e = {0};
	json_t *d;

	control_lock(fx->c);
	assert_int_equal(control_volume_resize(fx->c, v, 1 << 20, &e), -EINVAL);
	assert_int_equal(control_volume_resize(fx->c, v, 2ull << 30, &e), 0);
	control_unlock(fx->c);
	d = fx_describe(fx, arn);
	assert_int_equal(json_integer_value(json_object_get(d, "VolumeSizeInBytes")), 2ll << 30);
	json_decref(d);
	fx_restart(fx);
	assert_true(fx_wait(fx, arn, VOLUME_SERVING)->volume->conf.size_bytes == 2ull << 30);
	free(g);
	free(arn);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fx_setup, fx_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(the_users_snippet_makes_a_volume),
	    CASE(statuses_are_those_of_the_volume),
	    CASE(bad_requests_are_refused_in_awss_words),
	    CASE(a_foreign_interface_is_refused_unless_allowed),
	    CASE(a_gateway_has_at_most_32_volumes),
	    CASE(volumes_survive_restarts),
	    CASE(a_volume_that_cannot_be_opened_says_why_and_is_tried_again),
	    CASE(a_deleted_volume_is_gone_at_once_and_its_name_is_free),
	    CASE(a_deletion_that_the_bucket_refuses_is_tried_again),
	    CASE(a_deletion_waits_for_snapshots),
	    CASE(a_volume_that_others_may_have_is_deleted_here_alone),
	    CASE(detach_then_attach),
	    CASE(chap_is_in_force_from_the_first_moment),
	    CASE(a_stored_volume_has_its_disk_and_a_daily_snapshot),
	    CASE(existing_data_gives_the_stored_volume_its_size),
	    CASE(clones_come_from_recovery_points),
	    CASE(an_encrypted_volume_hands_its_key_to_its_clones),
	    CASE(tags_of_volumes),
	    CASE(tags_that_are_settings_are_in_force_at_once),
	    CASE(resize_grows_and_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
