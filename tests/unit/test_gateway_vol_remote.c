/* SPDX-License-Identifier: Apache-2.0 */
/* The remote image of a volume over the store in memory: epochs, restarts, owners, faults. */
#include "tests/unit/vol_fixture.h"

static void
an_epoch_is_what_was_sealed(void **state)
{
	struct vf f;

	(void)state;
	vf_init(&f, 4000);
	vf_create(&f);
	vf_check(f.r, &f.now);
	for (int i = 0; i < 12; i++) {
		vf_epoch(&f, 40, 50, 20);
		vf_check(f.r, &f.now);
		vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
		if (i % 3 == 0)
			vf_tick(&f);
	}
	vf_tick(&f);
	vf_check(f.r, &f.now);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_free(&f);
}

static void
compressed_and_encrypted_images_read_back(void **state)
{
	(void)state;
	for (int i = 1; i < 4; i++) {
		uint64_t bytes;
		struct vf f;

		vf_init(&f, 3000);
		f.conf.is_compressed = i & 1;
		f.conf.has_key = i & 2;
		memset(f.conf.key, 0x5a, sizeof(f.conf.key));
		vf_create(&f);
		for (int k = 0; k < 8; k++) {
			vf_epoch(&f, 60, 30, 10);
			vf_tick(&f);
			vf_check(f.r, &f.now);
		}
		vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
		vf_reopen_local(&f);
		vf_check(f.r, &f.now);
		vf_reopen_bucket(&f);
		vf_check(f.r, &f.now);
		(void)vf_count(&f, "/log/", &bytes);
		if (i == 1)
			assert_true(bytes < f.written);
		vf_free(&f);
	}
}

static void
growing_and_empty_epochs_count(void **state)
{
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	vf_create(&f);
	vf_epoch(&f, 30, 9, 0);
	f.now.nblocks = 3000;
	vf_epoch(&f, 0, 1, 0);
	vf_check(f.r, &f.now);
	vf_epoch(&f, 30, 40, 30);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_reopen_bucket(&f);
	assert_int_equal(vol_remote_epoch(f.r), f.epoch);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

static void
bad_epochs_are_refused(void **state)
{
	struct vol_run overlap[2] = {{0, 8192, false}, {4096, 4096, false}};
	struct vol_run beyond = {999 * 4096, 8192, false};
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	vf_create(&f);
	assert_int_equal(
	    vol_remote_put_epoch(f.r, 1, 1000 * 4096, 5, overlap, 2, vf_read, &f), -EINVAL);
	assert_int_equal(
	    vol_remote_put_epoch(f.r, 1, 1000 * 4096, 5, &beyond, 1, vf_read, &f), -EINVAL);
	assert_int_equal(
	    vol_remote_put_epoch(f.r, 2, 1000 * 4096, 5, NULL, 0, vf_read, &f), -EINVAL);
	assert_int_equal(
	    vol_remote_put_epoch(f.r, 1, 999 * 4096, 5, NULL, 0, vf_read, &f), -EINVAL);
	vf_free(&f);
}

/* ---- restarts ---- */

static void
a_restart_asks_the_bucket_nothing(void **state)
{
	struct vf f;
	uint64_t before;

	(void)state;
	vf_init(&f, 4000);
	vf_create(&f);
	for (int i = 0; i < 5; i++)
		vf_epoch(&f, 30, 30, 10);
	before = objstore_mem_count(f.store, OBJ_OP_MAX);
	vf_reopen_local(&f);
	assert_int_equal(objstore_mem_count(f.store, OBJ_OP_MAX), before);
	assert_int_equal(vol_remote_epoch(f.r), f.epoch);
	vf_check(f.r, &f.now);
	vf_epoch(&f, 30, 30, 10);
	vf_check(f.r, &f.now);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_free(&f);
}

static void
an_epoch_that_was_uploaded_is_adopted(void **state)
{
	struct vf f;
	uint64_t puts;

	(void)state;
	vf_init(&f, 4000);
	vf_create(&f);
	vf_epoch(&f, 30, 30, 10);
	vf_seal(&f, 60, 40, 10);
	assert_int_equal(vf_put(&f), 0);
	/* cut before the row is durable: the journal has it */
	vf_reopen_local(&f);
	assert_int_equal(vol_remote_epoch(f.r), f.epoch);
	vf_check(f.r, &f.now);
	puts = objstore_mem_count(f.store, OBJ_PUT);
	assert_int_equal(vf_put(&f), 0);
	assert_int_equal(objstore_mem_count(f.store, OBJ_PUT), puts);
	vf_apply(&f);
	vf_check(f.r, &f.now);
	vf_tick(&f);
	vf_epoch(&f, 30, 30, 10);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_reopen_bucket(&f);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

static void
an_epoch_that_only_the_bucket_knows_is_adopted(void **state)
{
	struct vf f;
	char save[160], from[160];
	uint64_t puts;

	(void)state;
	vf_init(&f, 4000);
	vf_create(&f);
	vf_epoch(&f, 30, 30, 10);
	(void)snprintf(from, sizeof(from), "%s.log", f.stem);
	(void)snprintf(save, sizeof(save), "%s/saved", f.dir);
	testdir_copy(from, save);
	vf_seal(&f, 60, 40, 10);
	assert_int_equal(vf_put(&f), 0);
	testdir_copy(save, from); /* cut between the bucket and the journal */
	vf_reopen_local(&f);
	puts = objstore_mem_count(f.store, OBJ_PUT);
	assert_int_equal(vf_put(&f), 0);
	assert_int_equal(objstore_mem_count(f.store, OBJ_PUT), puts);
	vf_apply(&f);
	vf_check(f.r, &f.now);
	vf_reopen_local(&f);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

static void
damaged_local_files_lead_to_the_bucket(void **state)
{
	static const char *const suffixes[] = {"", ".json", ".log"};
	struct vol_remote *r;
	struct vf f;

	(void)state;
	vf_init(&f, 4000);
	vf_create(&f);
	for (int i = 0; i < 3; i++)
		vf_epoch(&f, 30, 30, 10);
	vol_remote_close(f.r);
	f.r = NULL;
	for (int i = 0; i < 3; i++) {
		char path[160], *data;
		size_t len;

		(void)snprintf(path, sizeof(path), "%s%s", f.stem, suffixes[i]);
		assert_int_equal(osfile_read_all(path, 1u << 24, &data, &len), 0);
		for (size_t at = 0; at < len; at += 1 + len / 50) {
			data[at] ^= 0x20;
			assert_int_equal(osfile_write_atomic(path, data, len, 0600), 0);
			if (vol_remote_open_local(&f.conf, f.epoch, &r) == 0) {
				assert_int_equal(i, 1); /* a letter that does not matter */
				vol_remote_close(r);
			}
			data[at] ^= 0x20;
			if (i == 2 && at < len - 1) { /* cut short */
				assert_int_equal(osfile_write_atomic(path, data, at, 0600), 0);
				assert_int_equal(
				    vol_remote_open_local(&f.conf, f.epoch, &r), -EUCLEAN);
			}
		}
		assert_int_equal(osfile_write_atomic(path, data, len, 0600), 0);
		free(data);
	}
	assert_int_equal(vol_remote_open_local(&f.conf, f.epoch + 1, &r), -EUCLEAN);
	vf_reopen_local(&f);
	vf_check(f.r, &f.now);
	vol_remote_forget_local(f.stem);
	assert_int_equal(vol_remote_open_local(&f.conf, f.epoch, &r), -ENOENT);
	vf_reopen_bucket(&f);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

/* ---- owners ---- */

static void
of_two_owners_one_writes(void **state)
{
	struct vol_remote_stats st;
	struct vol_remote_owner who;
	struct vol_remote *old;
	struct vf f;
	uint64_t next;

	(void)state;
	vf_init(&f, 4000);
	vf_create(&f);
	vf_epoch(&f, 30, 30, 10);
	old = f.r;
	f.r = NULL;
	f.conf.appliance_id = "gw-b";
	vf_reopen_bucket(&f);
	assert_int_equal(vol_remote_read_owner(&f.conf, &who), 0);
	assert_string_equal(who.appliance_id, "gw-b");
	assert_int_equal(who.term, 2);
	/* the old one: sealed something, and hears about it */
	vf_seal(&f, 30, 30, 10);
	assert_int_equal(vol_remote_put_epoch(
			     old, 2, 4000u * VOL_BLOCK, f.time_ns, f.runs, f.nruns, vf_read, &f),
	    -ESTALE);
	assert_int_equal(vol_remote_tick(old, &next), -ESTALE);
	assert_int_equal(vol_remote_snapshot_create(old, "snap-1", "", 1), -ESTALE);
	vol_remote_get_stats(old, &st);
	assert_false(st.is_owner);
	assert_non_null(strstr(st.reason, "gw-b"));
	vol_remote_close(old);
	assert_int_equal(vf_put(&f), 0);
	vf_apply(&f);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_free(&f);
}

/* The terms of before sort their epochs behind those of now; a restart at term 1 would hide what came last. */
static void
an_owner_object_that_is_gone_ends_no_order_of_terms(void **state)
{
	struct vol_remote_stats st;
	struct vf_image old;
	char key[VOL_KEY_MAX];
	struct vf f;

	(void)state;
	vf_init(&f, 2000);
	vf_create(&f);
	for (int i = 0; i < 4; i++) {
		vf_epoch(&f, 30, 30, 10);
		vf_reopen_bucket(&f);
	}
	vol_remote_get_stats(f.r, &st);
	assert_int_equal(st.term, 5);
	vol_remote_close(f.r);
	f.r = NULL;
	old = f.now;
	vol_key(key, "p/", "vol-0001", "owner");
	assert_true(objstore_mem_delete(f.store, key));
	vf_reopen_bucket(&f);
	vf_check(f.r, &old);
	vol_remote_get_stats(f.r, &st);
	assert_true(st.term > 5 + 1); /* somebody may have taken 6 and not have used it yet */
	for (int i = 0; i < 3; i++)
		vf_epoch(&f, 30, 30, 10);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_reopen_bucket(&f);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

static void
a_new_volume_begins_with_the_first_term(void **state)
{
	struct vol_remote_stats st;
	struct vf f;

	(void)state;
	vf_init(&f, 2000);
	vf_create(&f);
	vol_remote_get_stats(f.r, &st);
	assert_int_equal(st.term, 1);
	vf_free(&f);
}

struct thief {
	struct vf *f;
	unsigned int at; /* the n-th request from now on */
	bool is_done;
	struct vol_remote *r;
	struct vf thief;
};

static void
take_over(struct objstore_req *req, void *ctx)
{
	struct thief *t = ctx;
	char key[VOL_KEY_MAX], *text;
	struct vol_owner o = {.appliance = "gw-b", .term = 9, .nonce = "x"};

	(void)req;
	if (t->is_done || t->at-- > 0)
		return;
	t->is_done = true;
	vol_key(key, "p/", "vol-0001", "owner");
	text = vol_owner_encode(&o);
	objstore_mem_put(t->f->store, key, text, strlen(text), NULL, 0, NULL);
	free(text);
}

static void
a_takeover_amid_an_upload_is_noticed(void **state)
{
	(void)state;
	for (unsigned int at = 0; at < 12; at++) {
		struct thief t = {.at = at};
		struct vf f;
		int err;

		vf_init(&f, 2000);
		vf_create(&f);
		vf_seal(&f, 60, 30, 10);
		t.f = &f;
		objstore_mem_before(f.store, take_over, &t);
		err = vf_put(&f);
		objstore_mem_before(f.store, NULL, NULL);
		if (!t.is_done)
			assert_int_equal(err, 0);
		else
			assert_int_equal(err, -ESTALE);
		vf_free(&f);
	}
}

static void
late_writes_of_an_old_owner_are_garbage(void **state)
{
	struct vol_remote *old;
	struct vf f;
	char *key, *late = NULL, *data = NULL;
	size_t len = 0;

	(void)state;
	vf_init(&f, 2000);
	vf_create(&f);
	vf_epoch(&f, 30, 30, 10);
	vf_seal(&f, 40, 30, 10);
	assert_int_equal(vf_put(&f), 0);
	/* its epoch 2 arrives late: take it out of the bucket */
	for (size_t i = 0; (key = objstore_mem_key_at(f.store, i)) != NULL; i++) {
		struct vol_log l;
		size_t n;
		char *bytes = objstore_mem_get(f.store, key, &n, NULL);

		if (strstr(key, "/log/") != NULL && vol_log_decode(bytes, n, &l, NULL) == 0) {
			if (l.epoch == 2 && vol_log_is_commit(&l)) {
				late = strdup(key);
				data = bytes;
				len = n;
				bytes = NULL;
			}
			vol_log_free(&l);
		}
		free(bytes);
		free(key);
	}
	assert_non_null(late);
	assert_true(objstore_mem_delete(f.store, late));
	old = f.r;
	f.r = NULL;
	f.conf.appliance_id = "gw-b";
	vf_reopen_bucket(&f);
	assert_int_equal(vol_remote_epoch(f.r), 1);
	objstore_mem_put(f.store, late, data, len, NULL, 0, NULL);
	free(late);
	free(data);
	vf_check_bucket(&f, "vol-0001", &f.now, 1);
	vf_epoch(&f, 50, 20, 10);
	vf_check_bucket(&f, "vol-0001", &f.now, 2);
	vol_remote_close(old);
	vf_reopen_bucket(&f);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

static void
a_released_volume_is_attached_by_another(void **state)
{
	struct vol_remote_owner who;
	struct vf f;

	(void)state;
	vf_init(&f, 2000);
	vf_create(&f);
	vf_epoch(&f, 30, 30, 10);
	assert_int_equal(vol_remote_release(f.r), 0);
	assert_int_equal(vol_remote_read_owner(&f.conf, &who), 0);
	assert_string_equal(who.appliance_id, "");
	vf_seal(&f, 3, 3, 0);
	assert_int_equal(vf_put(&f), -ESTALE);
	f.conf.appliance_id = "gw-b";
	vf_reopen_bucket(&f);
	vf_check(f.r, &f.now);
	vf_epoch(&f, 30, 30, 10);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

/* ---- faults ---- */

static void
store_errors_are_returned_and_the_call_continues(void **state)
{
	static const int errs[] = {
	    -ERR_OFFLINE, -ERR_THROTTLED, -ERR_CREDENTIALS, -EACCES, -ERR_STORE, -ERR_NO_BUCKET};
	struct vf f;

	(void)state;
	vf_init(&f, 4000);
	vf_create(&f);
	for (unsigned int i = 0; i < 60 / VF_CHECK_PART + 10; i++) {
		unsigned int tries = 0;
		int err;

		vf_seal(&f, 40, 40, 10);
		do {
			bool is_applied = vf_rnd(&f, 2) != 0;

			if (tries < 4)
				objstore_mem_fail_next(f.store,
				    vf_rnd(&f, 3) == 0 ? OBJ_HEAD : OBJ_PUT, errs[vf_rnd(&f, 6)],
				    is_applied, 1);
			err = vf_put(&f);
			objstore_mem_fail_next(f.store, OBJ_OP_MAX, 0, false, 0);
			objstore_mem_fail_next(f.store, OBJ_PUT, 0, false, 0);
			objstore_mem_fail_next(f.store, OBJ_HEAD, 0, false, 0);
			assert_true(err == 0 || tries < 4);
			if (err != 0 && vf_rnd(&f, 4) == 0) {
				vf_reopen_local(&f); /* a crash amid it */
				vf_check(f.r, &f.now);
			}
			tries++;
		} while (err != 0);
		vf_apply(&f);
		if (i % 5 == 0) {
			vf_tick(&f);
			vf_check(f.r, &f.now);
			vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
		}
	}
	vf_free(&f);
}

static char *
first_log(struct vf *f, size_t *len)
{
	char *key, *data = NULL;

	for (size_t i = 0; data == NULL && (key = objstore_mem_key_at(f->store, i)) != NULL; i++) {
		if (strstr(key, "/log/") != NULL)
			data = objstore_mem_get(f->store, key, len, NULL);
		free(key);
	}
	assert_non_null(data);
	return data;
}

/* keys are written with one content, ever */
static void
an_epoch_that_was_begun_ends_with_the_settings_of_its_beginning(void **state)
{
	uint64_t before, after;
	size_t len, len2;
	char *one, *two;
	struct vf f;

	(void)state;
	vf_init(&f, 4000);
	vf_create(&f);
	vf_seal(&f, 40, 10, 0);
	objstore_mem_fail_next(f.store, OBJ_PUT, -ERR_OFFLINE, true, 1);
	assert_int_equal(vf_put(&f), -ERR_OFFLINE); /* but its first object is there */
	one = first_log(&f, &len);
	vol_remote_set(f.r, true, 3600);
	assert_int_equal(vf_put(&f), 0);
	two = first_log(&f, &len2);
	assert_int_equal(len, len2);
	assert_memory_equal(one, two, len);
	vf_apply(&f);
	(void)vf_count(&f, "/log/", &before);
	assert_true(before > f.written);
	f.written = 0;
	vf_epoch(&f, 40, 10, 0);
	(void)vf_count(&f, "/log/", &after);
	assert_true(after - before < f.written); /* the next one is compressed */
	vf_check(f.r, &f.now);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	free(one);
	free(two);
	vf_free(&f);
}

static size_t
points(struct vf *f)
{
	size_t n;

	pthread_mutex_lock(&f->r->lock);
	n = f->r->im.npoints;
	pthread_mutex_unlock(&f->r->lock);
	return n;
}

static void
recovery_points_go_when_they_need_not_be_kept_any_more(void **state)
{
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	f.conf.recovery_keep_s = 3600;
	vf_create(&f);
	for (int i = 0; i < 8; i++) {
		vf_epoch(&f, 40, 40, 0);
		vf_tick(&f);
	}
	assert_true(points(&f) >= 8);
	vol_remote_set(f.r, false, 0);
	vf_epoch(&f, 40, 40, 0);
	vf_tick(&f);
	assert_true(points(&f) < 8);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_free(&f);
}

static void
an_error_of_the_cache_is_returned(void **state)
{
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	vf_create(&f);
	vf_seal(&f, 40, 40, 0);
	f.read_err = -EIO;
	assert_int_equal(vf_put(&f), -EIO);
	f.read_err = 0;
	assert_int_equal(vf_put(&f), 0);
	vf_apply(&f);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

static void
what_the_store_cannot_answer_now_is_not_lost(void **state)
{
	uint8_t *buf = malloc(1000 * VOL_BLOCK);
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	vf_create(&f);
	vf_epoch(&f, 40, 20, 0);
	/* a 500 is no gap in the data: an initiator would take its disk for broken */
	objstore_mem_fail_next(f.store, OBJ_GET, -ERR_STORE, false, 1);
	assert_int_equal(vf_fetch(f.r, 0, 1000 * VOL_BLOCK, buf), -ERR_STORE);
	objstore_mem_fail_next(f.store, OBJ_GET, 0, false, 0);
	vf_check(f.r, &f.now);
	vf_free(&f);
	free(buf);
}

static void
flipped_bits_are_never_served(void **state)
{
	uint8_t *buf = malloc(1000 * VOL_BLOCK);
	struct vol_err e = {""};
	struct vol_found found;
	struct vol_place pl;
	struct vol_image im;
	struct vf f;
	char *key;
	size_t n = 0;

	(void)state;
	vf_init(&f, 1000);
	vf_create(&f);
	for (int i = 0; i < 3; i++)
		vf_epoch(&f, 40, 20, 10);
	assert_int_equal(voli_checkpoint(f.r), 0);
	vf_epoch(&f, 40, 20, 10);
	vf_place(&f, "vol-0001", &pl);
	for (size_t i = 0; (key = objstore_mem_key_at(f.store, i)) != NULL; i++) {
		size_t len;
		char *data = objstore_mem_get(f.store, key, &len, NULL);

		for (int k = 0; k < 20 && i % VF_CHECK_PART == 0 && strstr(key, "/log/") != NULL;
		     k++) {
			size_t at = k < 10 ? vf_rnd(&f, 400) : vf_rnd(&f, (uint32_t)len);
			int err;

			data[at] ^= 1;
			objstore_mem_put(f.store, key, data, len, NULL, 0, NULL);
			err = vf_fetch(f.r, 0, 1000 * VOL_BLOCK, buf);
			if (err == 0) /* of a frame that is not live, or a header */
				vf_compare(&f.now, buf, 0, 1000, key);
			else
				assert_int_equal(err, -ERR_CHECKSUM);
			e.text[0] = '\0';
			err = vol_replay_now(&pl, &im, &found, &e);
			if (err == 0) {
				err = vol_extract(&pl, NULL, &im, 0, 1000 * VOL_BLOCK, buf, &e);
				vol_image_free(&im);
			}
			if (err == 0)
				vf_compare(&f.now, buf, 0, 1000, key);
			else
				assert_non_null(strstr(e.text, key));
			n += err < 0;
			data[at] ^= 1;
		}
		objstore_mem_put(f.store, key, data, len, NULL, 0, NULL);
		free(data);
		free(key);
	}
	assert_true(n > 20 / VF_CHECK_PART);
	free(buf);
	vf_check(f.r, &f.now);
	vf_free(&f);
}

static void
an_older_checkpoint_stands_in_for_a_damaged_one(void **state)
{
	struct vol_remote_stats st;
	char key[VOL_KEY_MAX];
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	f.conf.recovery_keep_s = 3600;
	vf_create(&f);
	for (int i = 0; i < 4; i++)
		vf_epoch(&f, 40, 20, 10);
	assert_int_equal(voli_checkpoint(f.r), 0);
	vf_epoch(&f, 40, 20, 10);
	vol_key_map(key, "p/", "vol-0001", 1, 4);
	objstore_mem_put(f.store, key, "not a checkpoint", 16, NULL, 0, NULL);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_reopen_bucket(&f);
	vf_check(f.r, &f.now);
	vol_remote_get_stats(f.r, &st);
	assert_non_null(strstr(st.reason, "damaged"));
	vf_free(&f);
}

static size_t
count_keys(struct vf *f, const char *part)
{
	size_t n = 0;
	char *key;

	for (size_t i = 0; (key = objstore_mem_key_at(f->store, i)) != NULL; i++) {
		n += strstr(key, part) != NULL;
		free(key);
	}
	return n;
}

/* Nobody knows what a manifest needs that cannot be read. Nothing goes; all else goes on, and the volume says why. */
static void
a_damaged_manifest_only_keeps_garbage(void **state)
{
	static const char manifest[] = "p/vol-0001/snap/snap-bad.json";
	struct vol_remote_stats st;
	struct vf f;
	size_t kept, n;

	(void)state;
	vf_init(&f, 1000);
	f.conf.recovery_keep_s = 0;
	vf_create(&f);
	vf_epoch(&f, 60, 60, 0);
	assert_int_equal(vol_remote_snapshot_create(f.r, "snap-good", NULL, 1), 0);
	objstore_mem_put(f.store, manifest, "{\"format\":1", 11, NULL, 0, NULL);
	kept = count_keys(&f, "/log/");
	for (unsigned int i = 0; i < 5; i++) {
		vf_epoch(&f, 60, 60, 0);
		assert_int_equal(vol_remote_snapshot_create(f.r, "snap-one", NULL, 1), 0);
		n = count_keys(&f, "/log/");
		assert_true(n > kept);
		kept = n;
		assert_int_equal(vol_remote_snapshot_delete(f.r, "snap-one"), 0);
		vf_tick(&f);
		assert_int_equal(count_keys(&f, "/log/"), kept);
	}
	vol_remote_get_stats(f.r, &st);
	assert_non_null(strstr(st.reason, manifest));
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	assert_int_equal(vol_remote_snapshot_delete(f.r, "snap-bad"), 0);
	assert_int_equal(vol_remote_snapshot_delete(f.r, "snap-bad"), -ENOENT);
	vol_remote_get_stats(f.r, &st);
	assert_string_equal(st.reason, "");
	assert_int_equal(vol_remote_snapshot_delete(f.r, "snap-good"), 0);
	vf_tick(&f);
	assert_true(count_keys(&f, "/log/") < kept);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	vf_free(&f);
}

static void
another_key_is_refused_up_front(void **state)
{
	struct vol_remote *r;
	char why[256];
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	f.conf.has_key = true;
	f.conf.key[3] = 9;
	vf_create(&f);
	vf_epoch(&f, 10, 10, 0);
	f.conf.key[3] = 8;
	assert_int_equal(vol_remote_open_bucket(&f.conf, &r, why, sizeof(why)), -EKEYREJECTED);
	assert_non_null(strstr(why, "another key"));
	assert_int_equal(vol_remote_open_local(&f.conf, f.epoch, &r), -EKEYREJECTED);
	f.conf.has_key = false;
	assert_int_equal(vol_remote_open_bucket(&f.conf, &r, why, sizeof(why)), -EKEYREJECTED);
	vf_epoch(&f, 10, 10, 0); /* and the owner was not disturbed */
	vf_free(&f);
}

static void
a_missing_volume_is_not_found(void **state)
{
	struct vol_remote *r;
	char why[256];
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	assert_int_equal(vol_remote_open_bucket(&f.conf, &r, why, sizeof(why)), -ENOENT);
	vf_create(&f);
	vf_epoch(&f, 3, 3, 0);
	assert_int_equal(vol_remote_create(&f.conf, NULL, &r, why, sizeof(why)), -EEXIST);
	vf_free(&f);
}

/* Also when the listing does not show its log yet, a volume of somebody else is not taken for a beginning of ours. */
static void
a_creation_of_another_appliance_is_left_alone(void **state)
{
	struct vol_remote *r;
	char why[256];
	uint64_t puts;
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	vf_create(&f);
	puts = objstore_mem_count(f.store, OBJ_PUT);
	f.conf.appliance_id = "gw-b";
	assert_int_equal(vol_remote_create(&f.conf, NULL, &r, why, sizeof(why)), -EEXIST);
	assert_non_null(strstr(why, "in the bucket already"));
	assert_int_equal(objstore_mem_count(f.store, OBJ_PUT), puts);
	vf_epoch(&f, 3, 3, 0);
	vf_free(&f);
}

/* last_key - the last key with this part; caller frees. */
static char *
last_key(struct vf *f, const char *part)
{
	char *found = NULL, *key;

	for (size_t i = 0; (key = objstore_mem_key_at(f->store, i)) != NULL; i++) {
		char *other = strstr(key, part) != NULL ? found : key;

		found = other == key ? found : key;
		free(other);
	}
	assert_non_null(found);
	return found;
}

/* open_left_alone - it is not opened, for this reason, and nothing was written. */
static void
open_left_alone(struct vf *f, int want, const char *why_part)
{
	uint64_t puts = objstore_mem_count(f->store, OBJ_PUT);
	struct vol_remote_owner who;
	char why[256] = "";

	assert_int_equal(vol_remote_open_bucket(&f->conf, &f->r, why, sizeof(why)), want);
	assert_non_null(strstr(why, why_part));
	assert_int_equal(objstore_mem_count(f->store, OBJ_PUT), puts);
	assert_int_equal(vol_remote_read_owner(&f->conf, &who), 0);
	assert_int_equal(who.term, 1);
}

/* What comes back must be found as it was: no checkpoint of an older epoch in front of it, and no other owner
 * was told to stop. */
static void
a_bucket_that_answers_wrongly_is_left_as_it_is(void **state)
{
	char *log, *map, *log_bytes, *map_bytes;
	size_t log_len, map_len;
	struct vf f;

	(void)state;
	vf_init(&f, 1000);
	vf_create(&f);
	for (unsigned int i = 0; i < 3; i++)
		vf_epoch(&f, 20, 20, 0);
	vol_remote_close(f.r);
	f.r = NULL;
	vol_remote_forget_local(f.stem);
	f.conf.is_epoch_known = true;
	f.conf.epoch = 2;
	open_left_alone(&f, -EUCLEAN, "holds epoch 3 of the volume, this gateway knows epoch 2");
	f.conf.epoch = 3;
	log = last_key(&f, "/log/");
	log_bytes = objstore_mem_get(f.store, log, &log_len, NULL);
	assert_true(objstore_mem_delete(f.store, log)); /* a listing of some time ago */
	open_left_alone(&f, -EUCLEAN, "holds epoch 2 of the volume, this gateway knows epoch 3");
	f.conf.is_epoch_known = false;
	f.conf.is_doubted = true;
	map = last_key(&f, "/map/");
	map_bytes = objstore_mem_get(f.store, map, &map_len, NULL);
	assert_true(objstore_mem_delete(f.store, map));
	open_left_alone(&f, -ENOENT, "no checkpoint");
	objstore_mem_put(f.store, map, map_bytes, map_len, NULL, 0, NULL);
	objstore_mem_put(f.store, log, log_bytes, log_len, NULL, 0, NULL);
	f.conf.is_epoch_known = true;
	f.conf.epoch = 2;
	f.conf.sealed_epoch = 3; /* its answer did not come any more */
	vf_reopen_bucket(&f);
	assert_int_equal(vol_remote_epoch(f.r), 3);
	vf_check(f.r, &f.now);
	f.epoch = 3;
	vf_epoch(&f, 10, 10, 0);
	vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
	free(log);
	free(map);
	free(log_bytes);
	free(map_bytes);
	vf_free(&f);
}

static void
a_creation_that_was_cut_goes_on(void **state)
{
	(void)state;
	for (unsigned int cut = 0; cut < 12; cut++) {
		struct vf f;
		char why[256];
		int err;

		vf_init(&f, 1000);
		objstore_mem_fail_next(f.store, OBJ_PUT, -ERR_OFFLINE, cut % 2, 1 + cut / 4);
		err = vol_remote_create(&f.conf, NULL, &f.r, why, sizeof(why));
		while (err < 0) {
			assert_int_equal(err, -ERR_OFFLINE);
			err = vol_remote_create(&f.conf, NULL, &f.r, why, sizeof(why));
		}
		vf_epoch(&f, 30, 20, 0);
		vf_check_bucket(&f, "vol-0001", &f.now, f.epoch);
		vf_free(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_epoch_is_what_was_sealed),
	    cmocka_unit_test(compressed_and_encrypted_images_read_back),
	    cmocka_unit_test(growing_and_empty_epochs_count),
	    cmocka_unit_test(bad_epochs_are_refused),
	    cmocka_unit_test(a_restart_asks_the_bucket_nothing),
	    cmocka_unit_test(an_epoch_that_was_uploaded_is_adopted),
	    cmocka_unit_test(an_epoch_that_only_the_bucket_knows_is_adopted),
	    cmocka_unit_test(damaged_local_files_lead_to_the_bucket),
	    cmocka_unit_test(of_two_owners_one_writes),
	    cmocka_unit_test(an_owner_object_that_is_gone_ends_no_order_of_terms),
	    cmocka_unit_test(a_new_volume_begins_with_the_first_term),
	    cmocka_unit_test(a_takeover_amid_an_upload_is_noticed),
	    cmocka_unit_test(late_writes_of_an_old_owner_are_garbage),
	    cmocka_unit_test(a_released_volume_is_attached_by_another),
	    cmocka_unit_test(store_errors_are_returned_and_the_call_continues),
	    cmocka_unit_test(an_epoch_that_was_begun_ends_with_the_settings_of_its_beginning),
	    cmocka_unit_test(recovery_points_go_when_they_need_not_be_kept_any_more),
	    cmocka_unit_test(an_error_of_the_cache_is_returned),
	    cmocka_unit_test(what_the_store_cannot_answer_now_is_not_lost),
	    cmocka_unit_test(flipped_bits_are_never_served),
	    cmocka_unit_test(an_older_checkpoint_stands_in_for_a_damaged_one),
	    cmocka_unit_test(a_damaged_manifest_only_keeps_garbage),
	    cmocka_unit_test(another_key_is_refused_up_front),
	    cmocka_unit_test(a_missing_volume_is_not_found),
	    cmocka_unit_test(a_creation_of_another_appliance_is_left_alone),
	    cmocka_unit_test(a_bucket_that_answers_wrongly_is_left_as_it_is),
	    cmocka_unit_test(a_creation_that_was_cut_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
