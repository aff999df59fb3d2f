/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots by the API, by EC2's, by /v1 and by the clock, over fakes of the volumes. */
#include "tests/unit/control_fixture.h"

#define HOUR_NS 3600000000000ll

static struct cw_volume *
fake_of(struct fx *fx, const char *arn)
{
	return fx_wait(fx, arn, VOLUME_SERVING)->volume;
}

static char *
make_snapshot(struct fx *fx, const char *arn, const char *description)
{
	return fx_take(
	    fx_call(fx, "CreateSnapshot",
		json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "VolumeARN", arn, "SnapshotDescription",
		    description, "Tags", "Key", "k", "Value", "v")),
	    "SnapshotId");
}

/* The answer of the EC2 side as text, to be freed. */
static char *
ec2(struct fx *fx, int *status, const char *form)
{
	struct api_request r = {.method = "POST", .path = "/", .query = "", .body = form};
	struct api_reply reply = {0};

	r.body_len = strlen(form);
	api_ec2(fx->c, &r, &reply);
	*status = reply.status;
	return strbuf_take(&reply.body);
}

static void
ec2_says(struct fx *fx, const char *form, int want, const char *holds, const char *lacks)
{
	int status;
	char *text = ec2(fx, &status, form);

	if (status != want || strstr(text, holds) == NULL ||
	    (lacks != NULL && strstr(text, lacks) != NULL))
		fail_msg("%s: %d %s", form, status, text);
	free(text);
}

static json_t *
v1(struct fx *fx, const char *method, const char *path, const char *query, int want)
{
	struct api_request r = {.method = method, .path = path, .query = query, .body = ""};
	struct api_reply reply = {0};
	json_t *o;

	api_v1(fx->c, &r, &reply);
	o = json_loads(strbuf_str(&reply.body), 0, NULL);
	if (reply.status != want)
		fail_msg("%s: %d %s", path, reply.status, strbuf_str(&reply.body));
	strbuf_free(&reply.body);
	return o;
}

static void
a_snapshot_is_pending_then_completed(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw"), *arn = fx_volume(fx, g, "t");
	char *id = make_snapshot(fx, arn, "before <the> \"move\" & after"), form[96];
	json_t *in = fx_cached_in(g, "restored");

	snprintf(form, sizeof(form), "Action=DescribeSnapshots&SnapshotId.1=%s", id);
	ec2_says(fx, form, 200, "<status>pending</status>", "completed");
	ec2_says(fx, form, 200, "before &lt;the&gt; &quot;move&quot; &amp; after", NULL);
	json_object_set_new(in, "SnapshotId", json_string(id));
	fx_fails(fx, "CreateCachediSCSIVolume", json_deep_copy(in), "SnapshotInProgress",
	    "not completed");
	fake_complete(fake_of(fx, arn));
	ec2_says(fx, form, 200, "<status>completed</status>", NULL);
	ec2_says(fx, form, 200, "<progress>100%</progress>", NULL);
	ec2_says(fx, form, 200, "<volumeSize>1</volumeSize>", NULL);
	ec2_says(fx, form, 200, "<key>k</key><value>v</value>", NULL);
	free(arn);
	arn = fx_take(fx_call(fx, "CreateCachediSCSIVolume", in), "VolumeARN");
	assert_int_equal(fake_of(fx, arn)->source, CW_SOURCE_SNAPSHOT);
	assert_string_equal(fake_of(fx, arn)->origin_snapshot, id);
	free(g);
	free(arn);
	free(id);
}

static void
ec2_filters_and_pages(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw"), *arn = fx_volume(fx, g, "t");
	char *other = fx_volume(fx, g, "u"), *a = make_snapshot(fx, arn, "one"),
	     *b = make_snapshot(fx, other, "two"), form[256], *text, *token;
	int status;

	snprintf(form, sizeof(form),
	    "Action=DescribeSnapshots&Filter.1.Name=volume-id&Filter.1.Value.1=%s",
	    strrchr(arn, '/') + 1);
	ec2_says(fx, form, 200, a, b);
	ec2_says(fx,
	    "Action=DescribeSnapshots&Filter.1.Name=description&Filter.1.Value.1=t%3Fo&"
	    "OwnerIds.1=self",
	    200, b, a);
	ec2_says(
	    fx, "Action=DescribeSnapshots&Filter.1.Name=tag%3Ak&Filter.1.Value.1=*", 200, a, NULL);
	ec2_says(fx, "Action=DescribeSnapshots&Filter.1.Name=status&Filter.1.Value.1=completed",
	    200, "<snapshotSet></snapshotSet>", a);
	ec2_says(fx, "Action=DescribeSnapshots&Filter.1.Name=colour&Filter.1.Value.1=x", 400,
	    "InvalidParameterValue", "snapshotSet");
	ec2_says(fx, "Action=DescribeSnapshots&SnapshotId.1=snap-00000000", 400,
	    "InvalidSnapshot.NotFound", NULL);
	ec2_says(fx, "Action=DescribeVolumes", 400, "InvalidAction", NULL);
	ec2_says(fx, "", 400, "InvalidAction", NULL);
	ec2_says(fx, "Action=DeleteSnapshot", 400, "MissingParameter", NULL);
	ec2_says(fx, "Action=DescribeSnapshots&DryRun=true", 412, "DryRunOperation", NULL);
	text = ec2(fx, &status, "Action=DescribeSnapshots&MaxResults=1");
	token = strstr(text, "<nextToken>");
	assert_non_null(token);
	snprintf(form, sizeof(form), "Action=DescribeSnapshots&MaxResults=1&NextToken=%.22s",
	    token + 11);
	ec2_says(fx, form, 200, strcmp(a, b) < 0 ? b : a, strcmp(a, b) < 0 ? a : b);
	free(text);
	free(g);
	free(arn);
	free(other);
	free(a);
	free(b);
}

static bool
is_in_fake(const char *id)
{
	bool is;

	pthread_mutex_lock(&fake_lock);
	is = fake_snapshot(id) != NULL;
	pthread_mutex_unlock(&fake_lock);
	return is;
}

static void
a_snapshot_of_a_deleted_volume_is_deleted_through_the_bucket(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw"), *arn = fx_volume(fx, g, "t");
	char *id = make_snapshot(fx, arn, "kept"), form[96];
	int destroyed, tries;

	fake_complete(fake_of(fx, arn));
	snprintf(form, sizeof(form), "Action=DescribeSnapshots&SnapshotId.1=%s", id);
	ec2_says(fx, form, 200, "completed", NULL);
	destroyed = fake_destroys;
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	for (int i = 0; i < 5000 && fake_destroys == destroyed; i++)
		clock_sleep_ms(2);
	fx_restart(fx);
	ec2_says(fx, form, 200, "completed", NULL);
	fake_destroy_err = -ERR_OFFLINE;
	tries = fake_destroy_tries;
	snprintf(form, sizeof(form), "Action=DeleteSnapshot&SnapshotId=%s", id);
	ec2_says(fx, form, 200, "<return>true</return>", NULL);
	ec2_says(fx, form, 400, "InvalidSnapshot.NotFound", NULL);
	for (int i = 0; i < 5000 && fake_destroy_tries == tries; i++)
		clock_sleep_ms(2);
	fx_restart(fx); /* goes on with it */
	assert_true(is_in_fake(id));
	fake_destroy_err = 0;
	for (int i = 0; i < 5000 && is_in_fake(id); i++)
		clock_sleep_ms(2);
	assert_false(is_in_fake(id));
	free(g);
	free(arn);
	free(id);
}

static void
a_snapshot_that_cannot_be_deleted_holds_up_no_other(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw"), *arn = fx_volume(fx, g, "t"), *ids[3], form[96];

	for (int i = 0; i < 3; i++)
		ids[i] = make_snapshot(fx, arn, "kept");
	fake_complete(fake_of(fx, arn));
	json_decref(fx_call(fx, "DeleteVolume", fx_arg("VolumeARN", arn)));
	snprintf(fake_refused, sizeof(fake_refused), "%s", ids[0]);
	for (int i = 0; i < 3; i++) {
		snprintf(form, sizeof(form), "Action=DeleteSnapshot&SnapshotId=%s", ids[i]);
		ec2_says(fx, form, 200, "<return>true</return>", NULL);
	}
	for (int i = 0; i < 5000 && (is_in_fake(ids[1]) || is_in_fake(ids[2])); i++)
		clock_sleep_ms(2);
	assert_false(is_in_fake(ids[1]) || is_in_fake(ids[2]));
	assert_true(is_in_fake(ids[0]));
	fake_refused[0] = '\0';
	for (int i = 0; i < 10000 && is_in_fake(ids[0]); i++)
		clock_sleep_ms(2);
	assert_false(is_in_fake(ids[0]));
	free(g);
	free(arn);
	for (int i = 0; i < 3; i++)
		free(ids[i]);
}

static void
snapshots_under_v1(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw"), *arn = fx_volume(fx, g, "vol-name");
	char *id = make_snapshot(fx, arn, "d"), path[96];
	json_t *o = v1(fx, "GET", "/v1/snapshots", "volume=vol-name", 200), *s;

	s = json_array_get(json_object_get(o, "snapshots"), 0);
	assert_string_equal(api_row_string(s, "id"), id);
	assert_string_equal(api_row_string(s, "state"), "pending");
	json_decref(o);
	o = v1(fx, "GET", "/v1/volumes/vol-name", "", 200);
	assert_string_equal(api_row_string(o, "iqn"), "iqn.1997-05.com.amazon:vol-name");
	assert_int_equal(json_integer_value(json_object_get(o, "dirty_bytes")), 8192);
	json_decref(o);
	o = v1(fx, "GET", "/v1/volumes/vol-name/recovery-points", "max=2", 200);
	assert_int_equal(json_array_size(json_object_get(o, "recovery_points")), 2);
	json_decref(o);
	json_decref(v1(fx, "POST", "/v1/volumes/vol-name/resize", "size=2147483648", 200));
	json_decref(v1(fx, "POST", "/v1/volumes/vol-name/resize", "size=1", 400));
	json_decref(v1(fx, "POST", "/v1/volumes/vol-name/drain", "", 200));
	json_decref(v1(fx, "POST", "/v1/volumes/vol-name/paint", "", 404));
	json_decref(v1(fx, "GET", "/v1/volumes/none", "", 404));
	o = v1(fx, "GET", "/v1/status", "", 200);
	assert_int_equal(json_array_size(json_object_get(o, "volumes")), 1);
	json_decref(o);
	snprintf(path, sizeof(path), "/v1/snapshots/%s", id);
	json_decref(v1(fx, "DELETE", path, "", 200));
	json_decref(v1(fx, "DELETE", path, "", 404));
	free(g);
	free(arn);
	free(id);
}

static void
recovery_points_become_snapshots(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw"), *arn = fx_volume(fx, g, "t");
	json_t *o = fx_call(fx, "CreateSnapshotFromVolumeRecoveryPoint",
	    json_pack("{s:s,s:s}", "VolumeARN", arn, "SnapshotDescription", "d"));

	assert_string_equal(
	    api_row_string(o, "VolumeRecoveryPointTime"), "2025-11-25T22:05:01.123Z");
	assert_false(fake_snapshot(api_row_string(o, "SnapshotId"))->is_now);
	json_decref(o);
	free(g);
	free(arn);
}

static void
times_of_a_schedule(void **state)
{
	struct snapshot_schedule s = {.every_hours = 4};
	int64_t midnight = 1795564800ll * 1000000000; /* 2026-11-25T00:00:00Z */
	int minutes;
	json_t *o;

	(void)state;
	s.anchor_ns = midnight + 3 * HOUR_NS;
	s.last_ns = midnight;
	assert_true(control_schedule_next(&s) == midnight + 3 * HOUR_NS);
	s.last_ns = midnight + 3 * HOUR_NS; /* just kept */
	assert_true(control_schedule_next(&s) == midnight + 7 * HOUR_NS);
	s.last_ns = midnight + 100 * HOUR_NS + 1;
	assert_true(control_schedule_next(&s) == midnight + 103 * HOUR_NS);
	s.last_ns = midnight - 2 * HOUR_NS; /* before the anchor */
	assert_true(control_schedule_next(&s) == midnight - HOUR_NS);
	assert_int_equal(control_schedule_zone("GMT", &minutes), 0);
	assert_int_equal(control_schedule_zone("GMT-4:30", &minutes), 0);
	assert_int_equal(minutes, -270);
	assert_int_equal(control_schedule_zone("CET", &minutes), -EINVAL);
	/* at 23:30 GMT it is the next day in GMT+2:00: StartAt 3 there is 1:00 GMT of that day */
	o = control_schedule_make(
	    3, 24, "GMT+2:00", NULL, NULL, midnight + 23 * HOUR_NS + HOUR_NS / 2);
	assert_true(json_integer_value(json_object_get(o, "AnchorNs")) == midnight + 25 * HOUR_NS);
	json_decref(o);
	o = control_schedule_make(3, 24, "GMT-8:00", NULL, NULL, midnight + HOUR_NS);
	assert_true(json_integer_value(json_object_get(o, "AnchorNs")) == midnight - 13 * HOUR_NS);
	json_decref(o);
}

static size_t
count_scheduled(struct fx *fx)
{
	struct list *l;
	size_t n = 0;

	control_lock(fx->c);
	list_for_each(l, control_snapshots(fx->c)) n += json_is_true(
	    json_object_get(container_of(l, struct control_snapshot, link)->row, "Scheduled"));
	control_unlock(fx->c);
	return n;
}

static void
the_schedule_is_kept_over_restarts_and_keeps_what_it_should(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw"), *arn = fx_volume(fx, g, "t");
	json_t *o;

	fx_fails(fx, "DescribeSnapshotSchedule", fx_arg("VolumeARN", arn),
	    "SnapshotScheduleNotFound", "not found");
	json_decref(fx_call(fx, "AddTagsToResource",
	    json_pack("{s:s,s:[{s:s,s:s}]}", "ResourceARN", arn, "Tags", "Key",
		"causeway:keep-snapshots", "Value", "2")));
	json_decref(fx_call(fx, "UpdateSnapshotSchedule",
	    json_pack("{s:s,s:i,s:i,s:s}", "VolumeARN", arn, "StartAt", 5, "RecurrenceInHours", 1,
		"Description", "hourly")));
	o = fx_call(fx, "DescribeSnapshotSchedule", fx_arg("VolumeARN", arn));
	assert_int_equal(json_integer_value(json_object_get(o, "StartAt")), 5);
	assert_string_equal(api_row_string(o, "Description"), "hourly");
	assert_string_equal(api_row_string(o, "Timezone"), "GMT+2:00");
	json_decref(o);
	controli_tick(fx->c);
	assert_int_equal(count_scheduled(fx), 0);
	fx_skip_ns = HOUR_NS;
	controli_tick(fx->c);
	controli_tick(fx->c);
	assert_int_equal(count_scheduled(fx), 1);
	fx_stop(fx); /* five times pass while nobody is there: they are kept once */
	fx_skip_ns = 6 * HOUR_NS;
	fx_start(fx, "yes");
	fx_wait(fx, arn, VOLUME_SERVING);
	controli_tick(fx->c);
	assert_int_equal(count_scheduled(fx), 2);
	for (int i = 7; i < 10; i++) {
		fake_complete(fake_of(fx, arn));
		fx_skip_ns = i * HOUR_NS;
		controli_tick(fx->c);
		fake_complete(fake_of(fx, arn));
		(void)count_scheduled(fx); /* a look */
		controli_tick(fx->c);
		assert_int_equal(count_scheduled(fx), 2);
	}
	json_decref(fx_call(fx, "DeleteSnapshotSchedule", fx_arg("VolumeARN", arn)));
	fx_skip_ns = 20 * HOUR_NS;
	controli_tick(fx->c);
	assert_int_equal(count_scheduled(fx), 2);
	free(g);
	free(arn);
}

static void
new_credentials_reach_the_volumes(void **state)
{
	struct fx *fx = *state;
	char *g = fx_gateway(fx, "CACHED", "gw"), *arn = fx_volume(fx, g, "t");
	int before = fake_replaced;

	control_reload(fx->c, &fx->conf);
	for (int i = 0; i < 5000 && fake_replaced == before; i++)
		clock_sleep_ms(2);
	assert_int_equal(fake_replaced, before + 1);
	free(g);
	free(arn);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fx_setup, fx_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(a_snapshot_is_pending_then_completed),
	    CASE(ec2_filters_and_pages),
	    CASE(a_snapshot_of_a_deleted_volume_is_deleted_through_the_bucket),
	    CASE(a_snapshot_that_cannot_be_deleted_holds_up_no_other),
	    CASE(snapshots_under_v1),
	    CASE(recovery_points_become_snapshots),
	    cmocka_unit_test(times_of_a_schedule),
	    CASE(the_schedule_is_kept_over_restarts_and_keeps_what_it_should),
	    CASE(new_credentials_reach_the_volumes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
