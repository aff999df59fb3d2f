/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_fixture.h - a control plane in a temporary directory whose volumes are fakes, and requests to
 * its API as text.  Its clock is the system's plus fx_skip_ns.  The store answers nobody.
 */
#ifndef TEST_CONTROL_FIXTURE_H
#define TEST_CONTROL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/api/api_int.h"
#include "gateway/base/log.h"
#include "gateway/control_volume_int.h"
#include "tests/lib/testdir.h"
#include "tests/unit/volume_fake.h"

struct fx {
	char dir[64];
	struct cw_config conf;
	struct cache *cache;
	struct s3_client *s3;
	struct control *c;
	struct api_keyring *keyring;
};

static _Atomic int64_t fx_skip_ns;

static inline uint64_t
fx_mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static inline int64_t
fx_real(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec + fx_skip_ns;
}

static const char fx_conf[] =
    "[cache]\ncapacity = 64M\ndisk.cache = cache\ndisk.buffer = buffer\ndisk.working = working\n"
    "disk.stored = stored\ndisk_size.stored = 10G\ndisk.image = image\n"
    "[s3]\nendpoint = http://127.0.0.1:9\npath_style = yes\nmax_tries = 1\ntimeout_s = 1\n"
    "[iscsi]\nlisten = 127.0.0.1:3260\nany_interface = %s\n"
    "[volumes]\nbucket = vols\nprefix = p/\n"
    "[keys]\nmine = AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

static inline void
fx_start(struct fx *fx, const char *any_interface)
{
	char text[1024], why[512], *index = xasprintf("%s/index.db", fx->dir);
	const char *dirs[1];
	struct cache_conf cc = {.index_path = index,
	    .data_dirs = dirs,
	    .ndata_dirs = 1,
	    .capacity_bytes = 64u << 20,
	    .flush_interval_ms = 100,
	    .workers = 2};

	snprintf(text, sizeof(text), fx_conf, any_interface);
	if (config_parse(text, fx->dir, &fx->conf, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	for (size_t i = 0; i < fx->conf.ndisks; i++)
		mkdir(fx->conf.disks[i].dir, 0700);
	dirs[0] = fx->conf.disks[0].dir;
	assert_int_equal(cache_open(&cc, &fx->cache, why, sizeof(why)), 0);
	assert_int_equal(cache_start(fx->cache), 0);
	assert_int_equal(s3_client_new(&fx->s3), 0);
	if (control_open(&fx->conf, fx->cache, fx->s3, &fx->c, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	fx->keyring = api_keyring_new();
	free(index);
}

static inline void
fx_stop(struct fx *fx)
{
	api_keyring_free(fx->keyring);
	control_close(fx->c);
	cache_close(fx->cache);
	s3_client_free(fx->s3);
	config_free(&fx->conf);
}

static inline void
fx_restart(struct fx *fx)
{
	fx_stop(fx);
	fx_start(fx, "yes");
}

static inline int
fx_setup(void **state)
{
	static const struct clock_ops ops = {.mono_ns = fx_mono, .real_ns = fx_real};
	struct fx *fx = xcalloc(1, sizeof(*fx));

	clock_install(&ops);
	log_set_level(getenv("CW_TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERR);
	snprintf(fx->dir, sizeof(fx->dir), "/tmp/cw-control-XXXXXX");
	if (mkdtemp(fx->dir) == NULL)
		abort();
	memset(fake_bucket, 0, sizeof(fake_bucket));
	memset(fake_made, 0, sizeof(fake_made));
	fake_state = "AVAILABLE";
	fake_progress = -1;
	fake_open_err = fake_detach_err = 0;
	fx_skip_ns = 0;
	fx_start(fx, "yes");
	*state = fx;
	return 0;
}

static inline int
fx_teardown(void **state)
{
	struct fx *fx = *state;

	fx_stop(fx);
	testdir_remove(fx->dir);
	free(fx);
	clock_install(NULL);
	return 0;
}

/* fx_raw - one request; the answer, whatever its status. */
static inline json_t *
fx_raw(struct fx *fx, int *status, const char *op, const char *body)
{
	struct api_reply reply = {0};
	char target[96];
	json_t *o;

	snprintf(target, sizeof(target), "StorageGateway_20130630.%s", op);
	api_dispatch(fx->c, fx->keyring, target, body, strlen(body), &reply);
	o = json_loads(strbuf_str(&reply.body), 0, NULL);
	assert_non_null(o);
	strbuf_free(&reply.body);
	*status = reply.status;
	return o;
}

/* fx_call - a request that must succeed. */
static inline json_t *
fx_call(struct fx *fx, const char *op, json_t *in)
{
	char *body = json_dumps(in, 0);
	int status;
	json_t *o = fx_raw(fx, &status, op, body);

	if (status != 200)
		fail_msg("%s %s: %s", op, body, api_row_string(o, "message"));
	free(body);
	json_decref(in);
	return o;
}

/* fx_fails - a request that must end with this errorCode, or, without one, this type; and hold text. */
static inline void
fx_fails(struct fx *fx, const char *op, json_t *in, const char *code, const char *text)
{
	char *body = json_dumps(in, 0);
	int status;
	json_t *o = fx_raw(fx, &status, op, body);
	const char *got = api_row_string(json_object_get(o, "error"), "errorCode");

	if (status == 200)
		fail_msg("%s %s went through", op, body);
	if (strcmp(got[0] != '\0' ? got : api_row_string(o, "__type"), code) != 0 ||
	    strstr(api_row_string(o, "message"), text) == NULL)
		fail_msg("%s %s: %s: %s; not %s: %s", op, body, got, api_row_string(o, "message"),
		    code, text);
	free(body);
	json_decref(in);
	json_decref(o);
}

/* fx_take - member of an answer as text to be freed; the answer is freed. */
static inline char *
fx_take(json_t *o, const char *name)
{
	char *s = xstrdup(api_row_string(o, name));

	assert_true(s[0] != '\0');
	json_decref(o);
	return s;
}

/* fx_gateway - activate one. ARN to be freed */
static inline char *
fx_gateway(struct fx *fx, const char *type, const char *name)
{
	struct api_activation a = {.region = "us-east-1"};
	char key[API_ACTIVATION_KEY_LEN];

	api_keyring_issue(fx->keyring, &a, clock_real_ns() / 1000000000, key);
	return fx_take(fx_call(fx, "ActivateGateway",
			   json_pack("{s:s,s:s,s:s,s:s,s:s}", "ActivationKey", key, "GatewayName",
			       name, "GatewayTimezone", "GMT+2:00", "GatewayRegion", "us-east-1",
			       "GatewayType", type)),
	    "GatewayARN");
}

static inline json_t *
fx_cached_in(const char *gateway, const char *target)
{
	return json_pack("{s:s,s:I,s:s,s:s,s:o}", "GatewayARN", gateway, "VolumeSizeInBytes",
	    (json_int_t)(1ll << 30), "TargetName", target, "NetworkInterfaceId", "127.0.0.1",
	    "ClientToken", json_sprintf("token-%s", target));
}

/* fx_wait - until the volume is in this phase and, unless it is detached, open. */
static inline struct control_volume *
fx_wait(struct fx *fx, const char *arn, enum volume_phase phase)
{
	struct control_error e;

	for (int i = 0; i < 5000; i++) {
		struct control_volume *v;
		bool is_there;

		control_lock(fx->c);
		v = control_volume_by_arn(fx->c, arn, &e);
		is_there = v != NULL && v->phase == phase && !v->is_busy &&
			   (phase == VOLUME_DETACHED || v->volume != NULL);
		control_unlock(fx->c);
		if (is_there)
			return v;
		clock_sleep_ms(2);
	}
	fail_msg("waited in vain for %s", arn);
	return NULL;
}

/* fx_volume - make a cached one and wait for it. ARN to be freed */
static inline char *
fx_volume(struct fx *fx, const char *gateway, const char *target)
{
	char *arn = fx_take(
	    fx_call(fx, "CreateCachediSCSIVolume", fx_cached_in(gateway, target)), "VolumeARN");

	fx_wait(fx, arn, VOLUME_SERVING);
	return arn;
}

static inline json_t *
fx_arg(const char *name, const char *value)
{
	return json_pack("{s:s}", name, value);
}

/* fx_describe - a cached volume. */
static inline json_t *
fx_describe(struct fx *fx, const char *arn)
{
	json_t *o =
	    fx_call(fx, "DescribeCachediSCSIVolumes", json_pack("{s:[s]}", "VolumeARNs", arn));
	json_t *v = json_incref(json_array_get(json_object_get(o, "CachediSCSIVolumes"), 0));

	json_decref(o);
	return v;
}

static inline char *
fx_disk(struct fx *fx, const char *gateway, const char *node)
{
	json_t *o = fx_call(fx, "ListLocalDisks", fx_arg("GatewayARN", gateway)), *d;
	char *id = NULL;
	size_t i;

	json_array_foreach(json_object_get(o, "Disks"), i, d)
	{
		if (strcmp(api_row_string(d, "DiskNode"), node) == 0)
			id = xstrdup(api_row_string(d, "DiskId"));
	}
	json_decref(o);
	assert_non_null(id);
	return id;
}

#endif
