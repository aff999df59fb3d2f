/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of volume images: log headers, frames, checkpoints; the map against an array of blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/base/aead.h"
#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_ckpt.h"
#include "gateway/volume/vol_format.h"
#include "gateway/volume/vol_frame.h"
#include "gateway/volume/vol_image.h"

static uint64_t seed = 42;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

/* ---- log headers ---- */

static void
sample_log(struct vol_log *l)
{
	static struct vol_extent extents[3];
	static struct vol_origin_ref origin = {.source = 1, .term = 3, .seq = 9};
	static struct vol_range range = {.seq = 6, .count = 2};

	memset(l, 0, sizeof(*l));
	memset(l->uuid, 7, sizeof(l->uuid));
	*l = (struct vol_log){.term = 2,
	    .flags = VOL_LOG_COMMIT,
	    .seq = 7,
	    .epoch = 5,
	    .size_bytes = 1u << 30,
	    .time_ns = -3,
	    .prev_seq = 4,
	    .prev_term = 1,
	    .extents = extents,
	    .nextents = 3,
	    .origins = &origin,
	    .norigins = 1,
	    .ranges = &range,
	    .nranges = 1};
	l->header_bytes = (uint32_t)vol_log_header_bytes(3, 1, 1);
	extents[0] = (struct vol_extent){.block = 10,
	    .nblocks = 2,
	    .kind = VOL_DATA,
	    .stored_off = l->header_bytes,
	    .stored_len = 8192,
	    .crc = 0x12345678};
	extents[1] = (struct vol_extent){.block = 12, .nblocks = 100000, .kind = VOL_ZERO};
	extents[2] = (struct vol_extent){.block = 200000,
	    .nblocks = 16,
	    .kind = VOL_MOVED,
	    .comp = VOL_ZSTD,
	    .stored_off = l->header_bytes + 8192,
	    .stored_len = 1000,
	    .crc = 1,
	    .from_off = 4096};
	l->object_bytes = l->header_bytes + 9192;
}

static void
a_log_header_survives_the_round_trip(void **state)
{
	struct vol_log l, got;
	uint8_t bytes[512];
	uint32_t n;

	(void)state;
	sample_log(&l);
	vol_log_encode(&l, bytes);
	assert_int_equal(vol_log_peek(bytes, sizeof(bytes), &n), 0);
	assert_int_equal(n, l.header_bytes);
	assert_int_equal(vol_log_decode(bytes, sizeof(bytes), &got, NULL), 0);
	assert_int_equal(got.nextents, 3);
	assert_memory_equal(got.extents, l.extents, 3 * sizeof(*l.extents));
	assert_memory_equal(got.origins, l.origins, sizeof(*l.origins));
	assert_memory_equal(got.ranges, l.ranges, sizeof(*l.ranges));
	assert_true(got.time_ns == -3 && got.prev_seq == 4 && got.prev_term == 1);
	assert_true(got.term == 2 && got.seq == 7 && got.epoch == 5 && vol_log_is_commit(&got));
	vol_log_free(&got);
}

static void
every_flipped_bit_of_a_log_header_is_found(void **state)
{
	struct vol_log l, got;
	uint8_t bytes[512];

	(void)state;
	sample_log(&l);
	vol_log_encode(&l, bytes);
	for (size_t bit = 0; bit < 8u * l.header_bytes; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(vol_log_decode(bytes, sizeof(bytes), &got, NULL), -ERR_CHECKSUM);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t len = 0; len < l.header_bytes; len++)
		assert_int_equal(vol_log_decode(bytes, len, &got, NULL), -ERR_CHECKSUM);
}

static void
refuses(struct vol_log *l)
{
	uint8_t bytes[512];
	struct vol_log got;
	const char *why;

	vol_log_encode(l, bytes);
	assert_int_equal(vol_log_decode(bytes, sizeof(bytes), &got, &why), -ERR_CHECKSUM);
	assert_non_null(why);
	sample_log(l);
}

static void
a_header_with_a_good_checksum_is_not_believed_either(void **state)
{
	struct vol_log l;

	(void)state;
	sample_log(&l);
	l.extents[1].block = 11; /* overlap */
	refuses(&l);
	l.extents[2].block = (1u << 18) - 8; /* behind the end of the volume */
	refuses(&l);
	l.extents[0].nblocks = 17;
	refuses(&l);
	l.extents[0].stored_len = 4096;
	refuses(&l);
	l.extents[2].stored_off++;
	refuses(&l);
	l.extents[2].from = 1;
	refuses(&l);
	l.extents[1].crc = 1;
	refuses(&l);
	l.extents[1].kind = 4;
	refuses(&l);
	l.object_bytes++;
	refuses(&l);
	l.ranges[0].seq = 8; /* without itself */
	refuses(&l);
	l.ranges[0].count = UINT64_MAX;
	refuses(&l);
	l.flags = 0; /* ranges without commit */
	refuses(&l);
	l.size_bytes = 4097;
	refuses(&l);
}

static void
names_are_parsed_strictly(void **state)
{
	char key[VOL_KEY_MAX];
	uint32_t term;
	uint64_t seq;

	(void)state;
	vol_key_log(key, "p/", "vol-1", 0x12, 0xabcdef);
	assert_string_equal(key, "p/vol-1/log/00000012-0000000000abcdef");
	assert_true(vol_name_parse("00000012-0000000000abcdef", &term, &seq));
	assert_true(term == 0x12 && seq == 0xabcdef);
	assert_false(vol_name_parse("00000012-0000000000ABCDEF", &term, &seq));
	assert_false(vol_name_parse("00000012-0000000000abcde", &term, &seq));
	assert_false(vol_name_parse("00000012_0000000000abcdef", &term, &seq));
	assert_true(vol_id_is_valid("vol-0123456789abcdef0"));
	assert_false(vol_id_is_valid(""));
	assert_false(vol_id_is_valid("a/b"));
	assert_false(vol_id_is_valid("snap.clone"));
	assert_false(vol_id_is_valid("vol-01234567890123456789"));
}

/* ---- frames ---- */

static void
frame_round_trip(bool is_encrypted, bool is_compressed, bool is_text)
{
	static uint8_t plain[VOL_FRAME_BYTES], stored[VOL_FRAME_STORED_MAX], got[VOL_FRAME_BYTES];
	struct vol_extent e = {.block = 77, .nblocks = 16, .kind = VOL_DATA, .stored_off = 4242};
	struct vol_coder *c = vol_coder_new();
	const uint8_t key[32] = {1, 2, 3}, *k = is_encrypted ? key : NULL;
	const char *why;

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = is_text ? (uint8_t)("block"[i % 5]) : (uint8_t)rnd(256);
	vol_frame_encode(c, k, is_compressed, &e, plain, stored);
	assert_int_equal(e.comp, is_compressed && is_text ? VOL_ZSTD : VOL_PLAIN);
	if (e.comp == VOL_PLAIN)
		assert_int_equal(e.stored_len, sizeof(plain) + (is_encrypted ? 16 : 0));
	assert_int_equal(vol_frame_decode(c, k, &e, stored, got, &why), 0);
	assert_memory_equal(got, plain, sizeof(plain));
	if (is_encrypted)
		assert_memory_not_equal(stored, plain, 64);
	for (uint32_t i = 0; i < e.stored_len; i += e.stored_len / 13) {
		stored[i] ^= 4;
		assert_int_equal(vol_frame_decode(c, k, &e, stored, got, &why), -ERR_CHECKSUM);
		assert_non_null(why);
		stored[i] ^= 4;
	}
	if (is_encrypted) { /* in another place it is not this frame */
		e.block++;
		assert_int_equal(vol_frame_decode(c, k, &e, stored, got, NULL), -ERR_CHECKSUM);
	}
	vol_coder_free(c);
}

static void
frames_come_back_and_flips_are_found(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		frame_round_trip(i & 1, i & 2, i & 4);
}

static void
aes_gcm_is_that_of_the_standard(void **state)
{
	/* NIST GCM test vectors, case 16 (AES-256, 96-bit IV, with additional data) */
	uint8_t key[32], nonce[12], aad[20], plain[60], want[76], got[76], back[60];

	(void)state;
	assert_int_equal(digest_hex_decode("feffe9928665731c6d6a8f9467308308"
					   "feffe9928665731c6d6a8f9467308308",
			     key, sizeof(key)),
	    32);
	(void)digest_hex_decode("cafebabefacedbaddecaf888", nonce, sizeof(nonce));
	(void)digest_hex_decode("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad, sizeof(aad));
	(void)digest_hex_decode("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
				"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
	    plain, sizeof(plain));
	(void)digest_hex_decode("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
				"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
				"76fc6ece0f4e1768cddf8853bb2d551b",
	    want, sizeof(want));
	aead_seal(key, nonce, aad, sizeof(aad), plain, sizeof(plain), got);
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(aead_open(key, nonce, aad, sizeof(aad), got, sizeof(plain), back), 0);
	assert_memory_equal(back, plain, sizeof(plain));
	aad[0] ^= 1;
	assert_int_equal(
	    aead_open(key, nonce, aad, sizeof(aad), got, sizeof(plain), back), -ERR_CHECKSUM);
}

/* ---- the map against an array ---- */

#define BLOCKS 5000u

struct cell {
	uint32_t object, frame, skip; /* object 0: nothing */
};

struct oracle {
	struct cell cells[BLOCKS];
};

static void
map_agrees(const struct vol_map *m, const struct oracle *o)
{
	uint64_t at = 0, mapped = 0;
	struct vol_piece p;

	while (vol_map_next(m, at, BLOCKS, &p)) {
		for (; at < p.block; at++)
			assert_int_equal(o->cells[at].object, 0);
		assert_true(p.nblocks >= 1 && p.skip + p.nblocks <= p.frame_blocks);
		for (uint32_t i = 0; i < p.nblocks; i++, at++) {
			assert_int_equal(o->cells[at].object, p.object);
			assert_int_equal(o->cells[at].frame, p.stored_off);
			assert_int_equal(o->cells[at].skip, p.skip + i);
			assert_int_equal(p.crc, p.stored_off ^ p.object);
		}
		mapped += p.nblocks;
	}
	for (; at < BLOCKS; at++)
		assert_int_equal(o->cells[at].object, 0);
	assert_int_equal(mapped, m->mapped_blocks);
}

static void
change_randomly(struct vol_change *c, struct oracle *o, uint32_t object)
{
	uint32_t frame = 128 + rnd(1000) * 4096, kind = rnd(5), n = 1 + rnd(16);
	uint32_t block = rnd(BLOCKS - 16);
	struct vol_piece p = {.block = block,
	    .nblocks = n,
	    .object = object,
	    .stored_off = frame,
	    .stored_len = n * 4096,
	    .crc = frame ^ object,
	    .frame_blocks = (uint8_t)n};

	if (kind == 0) {
		n = rnd(4) == 0 ? rnd(BLOCKS - block) : n;
		vol_change_zero(c, block, n);
		memset(&o->cells[block], 0, n * sizeof(o->cells[0]));
	} else if (kind == 1 && o->cells[block].object != 0) {
		struct cell old = o->cells[block];

		vol_change_move(c, &p, old.object, old.frame);
		for (uint32_t i = 0; i < n; i++)
			if (o->cells[block + i].object == old.object &&
			    o->cells[block + i].frame == old.frame)
				o->cells[block + i] = (struct cell){object, frame, i};
	} else {
		vol_change_set(c, &p);
		for (uint32_t i = 0; i < n; i++)
			o->cells[block + i] = (struct cell){object, frame, i};
	}
}

static void
the_map_is_the_array(void **state)
{
	static struct oracle o, before;
	int64_t live[300] = {0};
	struct vol_map m;

	(void)state;
	memset(&o, 0, sizeof(o));
	vol_map_init(&m);
	for (uint32_t round = 1; round < 300; round++) {
		struct vol_change *c = vol_change_new(&m);
		bool is_dropped = rnd(8) == 0;

		before = o;
		for (uint32_t i = rnd(40); i > 0; i--)
			change_randomly(c, &o, round);
		vol_change_seal(c);
		map_agrees(&m, &before); /* readers see the old one */
		if (is_dropped) {
			o = before;
		} else {
			for (uint32_t i = 0; i < 300; i++)
				live[i] += vol_change_delta(c, i);
			vol_change_apply(c);
		}
		vol_change_free(c);
		map_agrees(&m, &o);
		for (uint32_t i = 0; i < BLOCKS; i++)
			live[o.cells[i].object]--;
		for (uint32_t i = 1; i < 300; i++)
			assert_int_equal(live[i], 0);
		live[0] = 0;
		for (uint32_t i = 0; i < BLOCKS; i++)
			live[o.cells[i].object]++;
	}
	vol_map_free(&m);
}

/* ---- checkpoints ---- */

static void
sample_image(struct vol_image *im, uint32_t nobjects)
{
	const uint8_t uuid[16] = {9};
	struct vol_source s = {.id = "vol-src", .prefix = (char *)(uintptr_t) "a/", .epoch = 4};
	struct vol_change *c;

	vol_image_init(im, uuid);
	assert_int_equal(vol_image_add_source(im, &s), 1);
	for (uint32_t i = 0; i < nobjects; i++) {
		struct vol_object o = {.source = i % 7 == 0 ? 1 : 0,
		    .term = 1 + i % 2,
		    .seq = i,
		    .bytes = 1u << 23,
		    .blocks = 2000,
		    .birth = 1,
		    .is_sealed = i % 3 == 0};

		assert_int_equal(vol_image_add(im, &o), i);
	}
	c = vol_change_new(&im->map);
	for (uint32_t i = 0; i < 100 * nobjects; i++) {
		uint32_t n = 1 + rnd(16), object = rnd(nobjects);
		uint32_t comp = rnd(2), tag = im->objects[object].is_sealed ? 16 : 0;
		struct vol_piece p = {.block = rnd(1u << 20),
		    .nblocks = n,
		    .object = object,
		    .stored_off = 128 + rnd(1u << 22),
		    .stored_len = (comp != 0 ? 100 + rnd(n * 4096 - 100) : n * 4096) + tag,
		    .crc = rnd(UINT32_MAX),
		    .comp = (uint8_t)comp,
		    .frame_blocks = (uint8_t)n};

		vol_change_set(c, &p);
	}
	vol_change_seal(c);
	vol_change_apply(c);
	for (uint32_t i = 0; i < nobjects; i++)
		im->objects[i].live = (uint32_t)vol_change_delta(c, i);
	vol_change_free(c);
	vol_image_count(im);
	for (uint32_t i = 1; i <= 50; i++) {
		im->at = (struct vol_point){.epoch = 2 * i,
		    .size_bytes = 1ull << 33,
		    .seq = 3 * i,
		    .time_ns = 1000000000ll * i,
		    .term = 1};
		vol_image_add_point(im, &im->at);
	}
}

static void
images_are_equal(const struct vol_image *a, const struct vol_image *b)
{
	struct vol_piece p, q;
	uint64_t at = 0;

	assert_int_equal(a->map.mapped_blocks, b->map.mapped_blocks);
	assert_int_equal(a->map.nentries, b->map.nentries);
	while (vol_map_next(&a->map, at, UINT64_MAX, &p)) {
		assert_true(vol_map_next(&b->map, at, UINT64_MAX, &q));
		assert_int_equal(a->objects[p.object].seq, b->objects[q.object].seq);
		p.object = q.object;
		assert_memory_equal(&p, &q, offsetof(struct vol_piece, frame_blocks) + 1);
		at = p.block + p.nblocks;
	}
	assert_int_equal(a->object_bytes, b->object_bytes);
	assert_int_equal(a->live_bytes, b->live_bytes);
	assert_int_equal(a->npoints, b->npoints);
	for (size_t i = 0; i < a->npoints; i++) {
		const struct vol_point *x = &a->points[i], *y = &b->points[i];

		assert_true(x->epoch == y->epoch && x->size_bytes == y->size_bytes);
		assert_true(x->seq == y->seq && x->term == y->term && x->time_ns == y->time_ns);
	}
	assert_string_equal(a->sources[0].id, b->sources[0].id);
	assert_string_equal(a->sources[0].prefix, b->sources[0].prefix);
}

static void
a_checkpoint_brings_the_image_back(void **state)
{
	struct vol_ckpt head = {.term = 3, .floor = 99}, got_head;
	struct vol_image im, got;
	struct strbuf b = STRBUF_INIT;
	const char *why = NULL;

	(void)state;
	sample_image(&im, 3000); /* more than one chunk */
	vol_ckpt_encode(&im, &head, &b);
	assert_true(b.len > 5u << 18);
	assert_int_equal(vol_ckpt_decode(b.s, b.len, &got, &got_head, &why), 0);
	assert_true(got_head.term == 3 && got_head.floor == 99);
	images_are_equal(&im, &got);
	/* the map stays small */
	assert_true(im.map.memory_bytes < 40 * im.map.nentries + sizeof(im.map) + (1u << 18));
	vol_image_free(&got);
	vol_image_free(&im);
	strbuf_free(&b);
}

static void
a_damaged_checkpoint_is_found(void **state)
{
	struct vol_ckpt head = {.term = 1};
	struct strbuf b = STRBUF_INIT;
	struct vol_image im, got;
	const char *why;

	(void)state;
	sample_image(&im, 4);
	vol_ckpt_encode(&im, &head, &b);
	for (size_t i = 0; i < b.len; i++) {
		b.s[i] ^= (char)(1 << rnd(8));
		if (vol_ckpt_decode(b.s, b.len, &got, NULL, &why) == 0)
			fail_msg("flip at %zu", i);
		assert_non_null(why);
		free(memcpy(malloc(8), b.s, 8));
		sample_image(&got, 1); /* what a failure left is not to be freed */
		vol_image_free(&got);
		strbuf_reset(&b);
		vol_ckpt_encode(&im, &head, &b);
		if (i > 200)
			i += 37;
	}
	for (size_t len = 0; len < b.len; len += 1 + len / 16)
		assert_int_equal(vol_ckpt_decode(b.s, len, &got, NULL, NULL), -ERR_CHECKSUM);
	vol_image_free(&im);
	strbuf_free(&b);
}

static void
dropped_objects_are_not_in_the_checkpoint(void **state)
{
	struct vol_ckpt head = {.term = 1};
	struct strbuf b = STRBUF_INIT;
	struct vol_image im, got;
	struct vol_object dead = {.term = 9, .seq = 77, .bytes = 4096, .birth = 1, .death = 2};
	uint32_t at;

	(void)state;
	sample_image(&im, 5);
	at = vol_image_add(&im, &dead);
	assert_int_equal(vol_image_find(&im, 0, 9, 77), at);
	vol_image_drop(&im, at);
	assert_int_equal(vol_image_find(&im, 0, 9, 77), VOL_NO_OBJECT);
	vol_ckpt_encode(&im, &head, &b);
	assert_int_equal(vol_ckpt_decode(b.s, b.len, &got, NULL, NULL), 0);
	assert_int_equal(vol_image_find(&got, 0, 9, 77), VOL_NO_OBJECT);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(
		    vol_image_find(&im, im.objects[i].source, im.objects[i].term, i), i);
	images_are_equal(&im, &got);
	assert_int_equal(vol_image_add(&im, &dead), at); /* the place is used again */
	vol_image_free(&got);
	vol_image_free(&im);
	strbuf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_log_header_survives_the_round_trip),
	    cmocka_unit_test(every_flipped_bit_of_a_log_header_is_found),
	    cmocka_unit_test(a_header_with_a_good_checksum_is_not_believed_either),
	    cmocka_unit_test(names_are_parsed_strictly),
	    cmocka_unit_test(frames_come_back_and_flips_are_found),
	    cmocka_unit_test(aes_gcm_is_that_of_the_standard),
	    cmocka_unit_test(the_map_is_the_array),
	    cmocka_unit_test(a_checkpoint_brings_the_image_back),
	    cmocka_unit_test(a_damaged_checkpoint_is_found),
	    cmocka_unit_test(dropped_objects_are_not_in_the_checkpoint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
