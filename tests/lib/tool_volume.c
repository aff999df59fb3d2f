/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_volume - the remote image of a volume without a gateway around it, for tests and measurements.
 *
 * tool_volume make ENDPOINT BUCKET CREDENTIALS DIR [KEY-FILE]
 *     a volume p/vol-1 of 64 MiB with six epochs, a snapshot snap-1 of the third, a clone p/vol-2 of the
 *     snapshot with an epoch of its own.  What they must be: DIR/epoch-<n>.img, snap-1.img, clone.img
 * tool_volume grow ENDPOINT BUCKET CREDENTIALS PREFIX VOLUME EXTENTS
 *     takes a volume of the bucket and writes so many single blocks to random places of it, in epochs of 256 MiB; each
 *     block holds its number, so they compress well and the map is as large as it can be
 * tool_volume recover EXTENTS
 *     seconds that a blank appliance takes for a map of so many extents, over a store in memory
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"
#include "s3/objstore_mem.h"
#include "s3/objstore_s3.h"

#define SIZE (64u << 20)

static uint64_t seed = 1;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

static void
check(int err, const char *what, const char *why)
{
	if (err >= 0)
		return;
	fprintf(stderr, "tool_volume: %s: %s %s\n", what, err_str(err), why);
	exit(1);
}

static int
read_image(void *arg, uint64_t off, uint32_t len, void *buf)
{
	memcpy(buf, (uint8_t *)arg + off, len);
	return 0;
}

static void
save(const uint8_t *image, const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);

	check(osfile_write_atomic(path, image, SIZE, 0644), path, "");
	free(path);
}

/* epoch - change some of the image and upload it. */
static void
epoch(struct vol_remote *r, uint8_t *image)
{
	struct vol_run runs[64];
	uint64_t at = 0, next;
	size_t n = 0;

	while (n < 64) {
		uint64_t off = at + (uint64_t)rnd(400) * VOL_BLOCK;
		uint64_t len = (1 + rnd(rnd(4) == 0 ? 60 : 3)) * (uint64_t)VOL_BLOCK;

		if (off + len > SIZE)
			break;
		runs[n] = (struct vol_run){off, len, rnd(5) == 0};
		for (uint64_t i = off; i < off + len; i++)
			image[i] = (uint8_t)(runs[n].is_zero ? 0 : i % 8192 < 4096 ? rnd(256) : n);
		n++;
		at = off + len;
	}
	check(vol_remote_put_epoch(
		  r, vol_remote_epoch(r) + 1, SIZE, clock_real_ns(), runs, n, read_image, image),
	    "epoch", "");
	vol_remote_apply(r, vol_remote_epoch(r) + 1);
	check(vol_remote_tick(r, &next), "tick", "");
}

static void
make(struct objstore *s, const char *dir, const uint8_t *key)
{
	struct vol_remote_conf conf = {.volume_id = "vol-1",
	    .prefix = "p/",
	    .appliance_id = "tool",
	    .size_bytes = SIZE,
	    .block_bytes = 512,
	    .is_compressed = true,
	    .has_key = key != NULL,
	    .recovery_keep_s = 86400,
	    .store = s};
	struct cw_volume_origin from = {.source = CW_SOURCE_SNAPSHOT,
	    .volume_id = "vol-1",
	    .prefix = "p/",
	    .snapshot_id = "snap-1"};
	uint8_t *image = xcalloc(1, SIZE), *snapshot = xcalloc(1, SIZE);
	struct vol_remote *r, *clone;
	char why[256] = "", name[32];

	if (key != NULL)
		memcpy(conf.key, key, 32);
	check(objstore_probe(s, "probe/"), "probe", "");
	check(vol_remote_create(&conf, NULL, &r, why, sizeof(why)), "create", why);
	for (int i = 1; i <= 6; i++) {
		epoch(r, image);
		(void)snprintf(name, sizeof(name), "epoch-%d.img", i);
		save(image, dir, name);
		if (i == 3) {
			check(vol_remote_snapshot_create(r, "snap-1", "the third", 3), "snapshot",
			    "");
			memcpy(snapshot, image, SIZE);
			save(snapshot, dir, "snap-1.img");
		}
	}
	conf.volume_id = "vol-2";
	check(vol_remote_create(&conf, &from, &clone, why, sizeof(why)), "clone", why);
	epoch(clone, snapshot);
	save(snapshot, dir, "clone.img");
	vol_remote_close(clone);
	vol_remote_close(r);
	free(image);
	free(snapshot);
}

/* ---- many small extents ---- */

#define EPOCH_RUNS 65536u

static int
read_number(void *arg, uint64_t off, uint32_t len, void *buf)
{
	(void)arg;
	memset(buf, 0, len);
	for (uint32_t i = 0; i < len; i += VOL_BLOCK) {
		uint64_t block = (off + i) / VOL_BLOCK;

		memcpy((uint8_t *)buf + i, &block, sizeof(block));
	}
	return 0;
}

/* scatter - single blocks, ascending, in the whole of the volume; n at most. result: how many */
static size_t
scatter(struct vol_run *runs, size_t n, uint64_t size)
{
	uint32_t stride = (uint32_t)(size / VOL_BLOCK / n);

	for (size_t i = 0; i < n; i++)
		runs[i] = (struct vol_run){
		    ((uint64_t)i * stride + rnd(stride)) * VOL_BLOCK, VOL_BLOCK, false};
	return n;
}

static void
grow(struct objstore *s, const char *prefix, const char *id, uint64_t extents)
{
	struct vol_remote_conf conf = {.volume_id = id,
	    .prefix = prefix,
	    .appliance_id = "tool",
	    .is_compressed = true,
	    .store = s};
	struct vol_run *runs = xcalloc(EPOCH_RUNS, sizeof(*runs));
	struct vol_remote *r;
	char why[256] = "";
	uint64_t next;

	check(objstore_probe(s, "probe/"), "probe", "");
	check(vol_remote_open_bucket(&conf, &r, why, sizeof(why)), "open", why);
	for (uint64_t done = 0; done < extents;) {
		uint64_t left = extents - done, size = vol_remote_size(r);
		size_t n = scatter(runs, left < EPOCH_RUNS ? left : EPOCH_RUNS, size);

		check(vol_remote_put_epoch(r, vol_remote_epoch(r) + 1, size, clock_real_ns(), runs,
			  n, read_number, NULL),
		    "epoch", "");
		vol_remote_apply(r, vol_remote_epoch(r) + 1);
		check(vol_remote_tick(r, &next), "tick", "");
		done += n;
	}
	vol_remote_close(r);
	free(runs);
}

/* ---- how long a recovery takes ---- */

/* fill - an image of a 1 TiB volume with so many single blocks mapped. */
static void
fill(struct vol_image *im, uint32_t n)
{
	uint32_t per = 2048, nobjects = n / per + 1;
	struct vol_change *c = vol_change_new(&im->map);

	for (uint32_t i = 0; i < nobjects; i++) {
		struct vol_object o = {.term = 1,
		    .seq = (1ull << 32) + i,
		    .bytes = (8u << 20) + 70000,
		    .blocks = per,
		    .birth = 1};

		(void)vol_image_add(im, &o);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct vol_piece p = {.block = (uint64_t)rnd(1u << 14) << 14 | rnd(1u << 14),
		    .nblocks = 1,
		    .object = i / per,
		    .stored_off = 70000 + i % per * VOL_BLOCK,
		    .stored_len = VOL_BLOCK,
		    .crc = i,
		    .frame_blocks = 1};

		vol_change_set(c, &p);
	}
	vol_change_seal(c);
	vol_change_apply(c);
	for (uint32_t i = 0; i < nobjects; i++)
		im->objects[i].live = (uint32_t)vol_change_delta(c, i);
	vol_change_free(c);
}

static void
recover(uint32_t n)
{
	struct objstore *s = objstore_mem_new("mem");
	struct vol_remote_conf conf = {.volume_id = "vol-1",
	    .prefix = "",
	    .appliance_id = "tool",
	    .size_bytes = 1ull << 40,
	    .block_bytes = 512,
	    .store = s};
	struct vol_remote *r;
	struct vol_remote_stats st;
	struct strbuf b = STRBUF_INIT;
	struct vol_ckpt head = {.term = 1, .floor = 1ull << 33};
	struct vol_image im;
	char why[256] = "";
	uint64_t start;

	check(vol_remote_create(&conf, NULL, &r, why, sizeof(why)), "create", why);
	vol_image_init(&im, r->info.uuid);
	vol_remote_close(r);
	start = clock_mono_ns();
	fill(&im, n);
	printf("building the map: %.2f s\n", (double)(clock_mono_ns() - start) / 1e9);
	im.at = (struct vol_point){.epoch = 1, .size_bytes = 1ull << 40, .term = 1, .seq = 1};
	vol_image_add_point(&im, &im.at);
	start = clock_mono_ns();
	vol_ckpt_encode(&im, &head, &b);
	printf("encoding a checkpoint: %.2f s, %.1f MiB, %.1f bytes an extent\n",
	    (double)(clock_mono_ns() - start) / 1e9, (double)b.len / (1 << 20),
	    (double)b.len / (double)im.map.nentries);
	objstore_mem_put(s, "vol-1/map/00000001-0000000000000001", b.s, b.len, NULL, 0, NULL);
	strbuf_free(&b);
	vol_image_free(&im);
	start = clock_mono_ns();
	check(vol_remote_open_bucket(&conf, &r, why, sizeof(why)), "open_bucket", why);
	vol_remote_get_stats(r, &st);
	printf("recovery of %llu extents: %.2f s, %.1f bytes of memory an extent\n",
	    (unsigned long long)st.extents, (double)(clock_mono_ns() - start) / 1e9,
	    (double)st.map_bytes / (double)st.extents);
	vol_remote_close(r);
	s->ops->close(s);
}

int
main(int argc, char **argv)
{
	struct s3_store_conf conf = {.region = (char *)(uintptr_t) "us-east-1", .path_style = true};
	struct s3_client *client;
	struct objstore *s;
	char why[256] = "", *key = NULL;
	size_t len = 0;
	bool is_grow;

	log_set_level(LOG_LEVEL_WARN);
	if (argc == 3 && strcmp(argv[1], "recover") == 0) {
		recover((uint32_t)strtoul(argv[2], NULL, 10));
		return 0;
	}
	is_grow = argc == 8 && strcmp(argv[1], "grow") == 0;
	if (!is_grow && (argc < 6 || strcmp(argv[1], "make") != 0)) {
		fprintf(stderr, "usage: tool_volume make|grow|recover ...\n");
		return 2;
	}
	conf.endpoint = argv[2];
	conf.bucket = argv[3];
	conf.cred.file = argv[4];
	conf.cred.source = (char *)(uintptr_t) "profile";
	if (!is_grow && argc > 6) {
		check(osfile_read_all(argv[6], 32, &key, &len), argv[6], "");
		if (len != 32)
			check(-EINVAL, argv[6], "");
	}
	check(s3_client_new(&client), "client", "");
	check(objstore_s3_new(client, &conf, &s, why, sizeof(why)), "store", why);
	if (is_grow)
		grow(s, argv[5], argv[6], strtoull(argv[7], NULL, 10));
	else
		make(s, argv[5], (const uint8_t *)key);
	free(key);
	s->ops->close(s);
	s3_client_free(client);
	return 0;
}
