/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/base/strbuf.h"
#include "gateway/export/export.h"

static const char *
time_text(int64_t ns, char buf[32])
{
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		buf[0] = '\0';
	return buf;
}

static int
list_volume(const struct export_conf *c, const char *id)
{
	struct vol_err e = {""};
	struct vol_info info;
	char when[32];
	int err = vol_read_info(c->store, c->prefix, id, &info, &e);

	if (err == -ENOENT)
		return 0; /* another kind of folder */
	if (err < 0) {
		export_error("%s", e.text);
		return err == -ERR_CHECKSUM ? 0 : err;
	}
	printf("%s size=%" PRIu64 " created=%s compression=%s encryption=%s%s", id, info.size_bytes,
	    time_text(info.created_ns, when), info.is_compressed ? "zstd" : "none",
	    info.has_key ? "aes-256-gcm" : "none", info.is_deleted ? " deleted" : "");
	if (info.origin_volume[0] != '\0')
		printf(" clone-of=%s epoch=%" PRIu64, info.origin_volume, info.origin_epoch);
	putchar('\n');
	return 0;
}

static enum export_exit
list_volumes(const struct export_conf *c)
{
	size_t skip = strlen(c->prefix);
	char *token = NULL;
	bool is_more = true;
	int err = 0;

	while (err == 0 && is_more) {
		struct objstore_req req = {
		    .op = OBJ_LIST, .prefix = c->prefix, .delimiter = "/", .token = token};

		err = objstore_call(c->store, &req);
		if (err < 0)
			export_error("listing: %s %s", err_str(err), req.error_code);
		for (size_t i = 0; err == 0 && i < req.list.n; i++) {
			const struct objstore_entry *entry = &req.list.entries[i];
			char id[VOL_ID_MAX];
			size_t n = strlen(entry->key);

			if (!entry->is_prefix || n <= skip + 1 || n - skip - 1 >= sizeof(id))
				continue;
			memcpy(id, entry->key + skip, n - skip - 1);
			id[n - skip - 1] = '\0';
			if (vol_id_is_valid(id))
				err = list_volume(c, id);
		}
		is_more = req.list.truncated;
		free(token);
		token = req.list.next_token;
		req.list.next_token = NULL;
		objstore_req_clear(&req);
	}
	free(token);
	return export_status(err);
}

static int
list_snapshot(void *arg, const char *rest, const struct objstore_entry *entry)
{
	const struct export_conf *c = arg;
	char when[32], *text;
	struct vol_pin pin;
	size_t len;
	int err;

	(void)rest;
	err = vol_get(c->store, entry->key, VOL_JSON_MAX, &text, &len, NULL);
	if (err < 0) {
		export_error("%s: %s", entry->key, err_str(err));
		return err == -ENOENT ? 0 : err;
	}
	err = vol_pin_decode(text, len, &pin);
	free(text);
	if (err < 0) {
		export_error("%s: damaged: not a snapshot", entry->key);
		return 0;
	}
	printf("%s %s epoch=%" PRIu64 " time=%s", pin.is_clone ? "clone" : "snapshot", pin.id,
	    pin.epoch, time_text(pin.time_ns, when));
	if (!pin.is_clone)
		printf(" size=%" PRIu64 " description=\"%s\"", pin.size_bytes,
		    pin.description != NULL ? pin.description : "");
	putchar('\n');
	free(pin.description);
	return 0;
}

/* list_points - what has a checkpoint to begin at. */
static int
list_points(const struct vol_place *pl, struct vol_err *e)
{
	uint64_t oldest = UINT64_MAX;
	struct vol_found found;
	struct vol_names maps;
	struct vol_image im;
	char when[32];
	int err = vol_replay_now(pl, &im, &found, e);

	if (err < 0)
		return err;
	err = vol_list_names(pl, "map/", 0, 0, &maps);
	for (size_t i = 0; err == 0 && i < maps.n; i++)
		if (maps.v[i].seq < oldest && vol_image_point(&im, maps.v[i].seq) != NULL)
			oldest = maps.v[i].seq;
	for (size_t i = 0; err == 0 && i < im.npoints; i++)
		if (im.points[i].epoch >= oldest)
			printf("point epoch=%" PRIu64 " time=%s size=%" PRIu64 "\n",
			    im.points[i].epoch, time_text(im.points[i].time_ns, when),
			    im.points[i].size_bytes);
	if (err == 0)
		vol_names_free(&maps);
	vol_image_free(&im);
	return err;
}

enum export_exit
export_list(const struct export_conf *c)
{
	struct vol_place pl = {.store = c->store, .prefix = c->prefix, .id = c->volume};
	char prefix[VOL_KEY_MAX];
	struct vol_err e = {""};
	struct vol_info info;
	int err;

	if (c->volume == NULL)
		return list_volumes(c);
	err = vol_read_info(c->store, c->prefix, c->volume, &info, &e);
	if (err == 0) {
		memcpy(pl.uuid, info.uuid, VOL_UUID_LEN);
		err = list_volume(c, c->volume);
	}
	if (err == 0)
		err = list_points(&pl, &e);
	if (err == 0) {
		vol_key(prefix, c->prefix, c->volume, "snap/");
		err = vol_list(c->store, prefix, NULL, list_snapshot, (void *)(uintptr_t)c);
	}
	if (err < 0)
		export_error("%s", e.text[0] != '\0' ? e.text : err_str(err));
	return export_status(err);
}
