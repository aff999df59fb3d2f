/* SPDX-License-Identifier: Apache-2.0 */
/* The store in memory keeps S3's semantics, because the gateway's tests believe it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "s3/objstore_mem.h"

static int
setup(void **state)
{
	*state = objstore_mem_new("test");
	return 0;
}

static int
teardown(void **state)
{
	struct objstore *s = *state;

	s->ops->close(s);
	return 0;
}

static int
put(struct objstore *s, const char *key, const char *text, const char *if_match, bool if_none_match,
    char etag[OBJSTORE_ETAG_MAX])
{
	struct objstore_req req = {.op = OBJ_PUT,
	    .key = key,
	    .body = text,
	    .body_len = strlen(text),
	    .if_match = if_match,
	    .if_none_match = if_none_match};
	int err = objstore_call(s, &req);

	if (etag != NULL)
		memcpy(etag, req.etag, OBJSTORE_ETAG_MAX);
	objstore_req_clear(&req);
	return err;
}

static void
assert_object(struct objstore *s, const char *key, const char *text)
{
	char *data = objstore_mem_get(s, key, NULL, NULL);

	assert_non_null(data);
	assert_string_equal(data, text);
	free(data);
}

static void
put_get_head_and_delete(void **state)
{
	struct objstore_meta meta[] = {{"file-mtime", "1ns"}, {"file-owner", "0"}};
	struct objstore_attrs attrs = {
	    .content_type = "text/plain", .storage_class = "STANDARD_IA", .meta = meta, .nmeta = 2};
	struct objstore_req req = {
	    .op = OBJ_PUT, .key = "a/b", .body = "hello", .body_len = 5, .attrs = &attrs};
	char buf[8], etag[OBJSTORE_ETAG_MAX];

	assert_int_equal(objstore_call(*state, &req), 0);
	assert_string_equal(req.etag, "5d41402abc4b2a76b9719d911017c592");
	memcpy(etag, req.etag, OBJSTORE_ETAG_MAX);
	objstore_req_clear(&req);

	req = (struct objstore_req){.op = OBJ_GET,
	    .key = "a/b",
	    .buf = buf,
	    .buf_cap = sizeof(buf),
	    .range_off = 1,
	    .range_len = 3,
	    .if_match = etag,
	    .want_meta = true};
	assert_int_equal(objstore_call(*state, &req), 0);
	assert_int_equal(req.got, 3);
	assert_int_equal(req.size, 5);
	assert_memory_equal(buf, "ell", 3);
	assert_string_equal(req.storage_class, "STANDARD_IA");
	assert_int_equal(req.meta->n, 2);
	assert_string_equal(req.meta->items[0].name, "file-mtime");
	assert_string_equal(req.meta->items[1].value, "0");
	objstore_req_clear(&req);

	req = (struct objstore_req){
	    .op = OBJ_GET, .key = "a/b", .buf = buf, .buf_cap = 8, .range_off = 5, .range_len = 1};
	assert_int_equal(objstore_call(*state, &req), -ERR_INVALID_RANGE);
	req = (struct objstore_req){.op = OBJ_GET, .key = "a/b", .buf = buf, .buf_cap = 4};
	assert_int_equal(objstore_call(*state, &req), -EFBIG);
	req = (struct objstore_req){.op = OBJ_DELETE, .key = "a/b"};
	assert_int_equal(objstore_call(*state, &req), 0);
	assert_int_equal(objstore_call(*state, &req), 0);
	req = (struct objstore_req){.op = OBJ_HEAD, .key = "a/b"};
	assert_int_equal(objstore_call(*state, &req), -ENOENT);
}

static void
conditions_hold(void **state)
{
	char first[OBJSTORE_ETAG_MAX], second[OBJSTORE_ETAG_MAX];

	assert_int_equal(put(*state, "k", "one", "0123", false, NULL), -ERR_PRECONDITION);
	assert_int_equal(put(*state, "k", "one", NULL, true, first), 0);
	assert_int_equal(put(*state, "k", "two", NULL, true, NULL), -ERR_PRECONDITION);
	assert_object(*state, "k", "one");
	assert_int_equal(put(*state, "k", "two", first, false, second), 0);
	assert_int_equal(put(*state, "k", "three", first, false, NULL), -ERR_PRECONDITION);
	assert_object(*state, "k", "two");
}

static void
copy_replaces_attributes_only_when_given(void **state)
{
	struct objstore_meta meta = {"file-mtime", "1ns"}, other = {"file-mtime", "2ns"};
	struct objstore_attrs attrs = {.meta = &other, .nmeta = 1};
	struct objstore_req req = {.op = OBJ_COPY, .key = "b", .src_key = "a"};
	char etag[OBJSTORE_ETAG_MAX], *value;

	objstore_mem_put(*state, "a", "data", 4, &meta, 1, etag);
	req.src_if_match = "wrong";
	assert_int_equal(objstore_call(*state, &req), -ERR_PRECONDITION);
	req.src_if_match = etag;
	assert_int_equal(objstore_call(*state, &req), 0);
	assert_string_equal(req.etag, etag);
	value = objstore_mem_get_meta(*state, "b", "file-mtime");
	assert_string_equal(value, "1ns");
	free(value);
	req.attrs = &attrs;
	req.key = "a"; /* onto itself */
	assert_int_equal(objstore_call(*state, &req), 0);
	value = objstore_mem_get_meta(*state, "a", "file-mtime");
	assert_string_equal(value, "2ns");
	free(value);
	assert_object(*state, "a", "data");
	req.src_key = "none";
	assert_int_equal(objstore_call(*state, &req), -ENOENT);
}

/* collect - all pages of a listing as one text. */
static void
collect(struct objstore *s, const char *prefix, const char *delimiter, unsigned int page, char *out,
    size_t cap)
{
	size_t used = 0;
	char *token = NULL;
	bool more = true;

	out[0] = '\0';
	for (int pages = 0; more; pages++) {
		struct objstore_req req = {.op = OBJ_LIST,
		    .prefix = prefix,
		    .delimiter = delimiter,
		    .max_keys = page,
		    .token = token};

		assert_true(pages < 100);
		assert_int_equal(objstore_call(s, &req), 0);
		assert_true(req.list.n <= page);
		for (size_t i = 0; i < req.list.n; i++) {
			used += (size_t)snprintf(out + used, cap - used, "%s%s",
			    req.list.entries[i].key, req.list.entries[i].is_prefix ? "* " : " ");
			assert_true(used < cap);
		}
		more = req.list.truncated;
		free(token);
		token = req.list.next_token;
		req.list.next_token = NULL;
		objstore_req_clear(&req);
	}
	free(token);
}

static void
list_pages_are_complete_whatever_their_size(void **state)
{
	static const char *const keys[] = {"a", "a/1", "a/2", "a0", "b/x/1", "b/x/2", "b/y", "c"};
	char text[256];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		objstore_mem_put(*state, keys[i], "", 0, NULL, 0, NULL);
	for (unsigned int page = 1; page < 10; page++) {
		collect(*state, NULL, NULL, page, text, sizeof(text));
		assert_string_equal(text, "a a/1 a/2 a0 b/x/1 b/x/2 b/y c ");
		collect(*state, "", "/", page, text, sizeof(text));
		assert_string_equal(text, "a a/* a0 b/* c ");
		collect(*state, "b/", "/", page, text, sizeof(text));
		assert_string_equal(text, "b/x/* b/y ");
		collect(*state, "zz", "/", page, text, sizeof(text));
		assert_string_equal(text, "");
	}
}

static void
multipart_joins_what_complete_names(void **state)
{
	struct objstore_part parts[2] = {{.number = 2}, {.number = 7}};
	struct objstore_req create = {.op = OBJ_MPU_CREATE, .key = "m"}, req;
	char etag[OBJSTORE_ETAG_MAX];

	objstore_mem_put(*state, "src", "0123456789", 10, NULL, 0, etag);
	assert_int_equal(objstore_call(*state, &create), 0);
	req = (struct objstore_req){.op = OBJ_MPU_PART,
	    .key = "m",
	    .upload_id_in = create.upload_id,
	    .part_number = 7,
	    .body = "tail",
	    .body_len = 4};
	assert_int_equal(objstore_call(*state, &req), 0);
	memcpy(parts[1].etag, req.etag, OBJSTORE_ETAG_MAX);
	req = (struct objstore_req){.op = OBJ_MPU_PART_COPY,
	    .key = "m",
	    .upload_id_in = create.upload_id,
	    .part_number = 2,
	    .src_key = "src",
	    .range_off = 2,
	    .range_len = 3,
	    .src_if_match = etag};
	assert_int_equal(objstore_call(*state, &req), 0);
	memcpy(parts[0].etag, req.etag, OBJSTORE_ETAG_MAX);
	req = (struct objstore_req){
	    .op = OBJ_MPU_PARTS, .key = "m", .upload_id_in = create.upload_id, .max_keys = 1};
	assert_int_equal(objstore_call(*state, &req), 0);
	assert_int_equal(req.nparts, 1);
	assert_int_equal(req.parts[0].number, 2);
	assert_true(req.list.truncated);
	assert_string_equal(req.list.next_token, "2");
	objstore_req_clear(&req);
	req = (struct objstore_req){.op = OBJ_MPU_COMPLETE,
	    .key = "m",
	    .upload_id_in = create.upload_id,
	    .parts = parts,
	    .nparts = 2,
	    .if_match = "wrong"};
	assert_int_equal(objstore_call(*state, &req), -ERR_PRECONDITION);
	req.if_match = NULL;
	req.if_none_match = true;
	assert_int_equal(objstore_call(*state, &req), 0);
	assert_string_equal(req.etag + 32, "-2");
	assert_object(*state, "m", "234tail");
	assert_int_equal(objstore_call(*state, &req), -ERR_NO_UPLOAD);
	assert_int_equal(objstore_mem_uploads(*state), 0);
}

static void
uploads_are_listed_and_aborted(void **state)
{
	struct objstore_req create = {.op = OBJ_MPU_CREATE, .key = "p/m"};
	struct objstore_req list = {.op = OBJ_MPU_LIST, .prefix = "p/"};
	struct objstore_req abort = {.op = OBJ_MPU_ABORT, .key = "p/m"};

	assert_int_equal(objstore_call(*state, &create), 0);
	assert_int_equal(objstore_call(*state, &list), 0);
	assert_int_equal(list.list.n, 1);
	assert_string_equal(list.list.entries[0].upload_id, create.upload_id);
	objstore_req_clear(&list);
	abort.upload_id_in = create.upload_id;
	assert_int_equal(objstore_call(*state, &abort), 0);
	assert_int_equal(objstore_call(*state, &abort), -ERR_NO_UPLOAD);
}

static void
a_lost_reply_is_applied_and_says_so(void **state)
{
	struct objstore_req req = {.op = OBJ_PUT, .key = "k", .body = "x", .body_len = 1};

	objstore_mem_fail_next(*state, OBJ_PUT, -ERR_OFFLINE, true, 1);
	assert_int_equal(objstore_call(*state, &req), -ERR_OFFLINE);
	assert_true(req.maybe_applied);
	assert_object(*state, "k", "x");
	objstore_mem_fail_next(*state, OBJ_OP_MAX, -ERR_THROTTLED, false, 2);
	req.key = "k2";
	assert_int_equal(objstore_call(*state, &req), -ERR_THROTTLED);
	assert_false(req.maybe_applied);
	assert_null(objstore_mem_get(*state, "k2", NULL, NULL));
	assert_int_equal(objstore_call(*state, &req), -ERR_THROTTLED);
	assert_int_equal(objstore_call(*state, &req), 0);
	assert_int_equal(objstore_mem_count(*state, OBJ_PUT), 4);
}

static void
count_done(struct objstore_req *req)
{
	__atomic_add_fetch((int *)req->ctx, 1, __ATOMIC_SEQ_CST);
}

static void
close_cancels_what_waits(void **state)
{
	struct objstore *s = objstore_mem_new("other");
	struct objstore_req reqs[5];
	int done = 0;

	(void)state;
	objstore_mem_hold(s, true);
	for (int i = 0; i < 5; i++) {
		reqs[i] = (struct objstore_req){
		    .op = OBJ_HEAD, .key = "k", .done = count_done, .ctx = &done};
		objstore_submit(s, &reqs[i]);
	}
	assert_int_equal(objstore_mem_waiting(s), 5);
	s->ops->close(s);
	assert_int_equal(done, 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(reqs[i].result, -ECANCELED);
}

static void
probe_tells_stores_apart(void **state)
{
	struct objstore *s = *state;

	assert_int_equal(objstore_probe(s, "pre/"), 0);
	assert_true(s->has_conditional_put);
	assert_true(s->has_conditional_complete);
	assert_int_equal(objstore_mem_objects(s), 0);
	assert_int_equal(objstore_mem_uploads(s), 0);
	objstore_mem_conditional(s, false);
	assert_int_equal(objstore_probe(s, NULL), 0);
	assert_false(s->has_conditional_put);
	assert_false(s->has_conditional_complete);
	assert_int_equal(objstore_mem_objects(s), 0);
	objstore_mem_conditional(s, true);
	objstore_mem_fail_next(s, OBJ_PUT, -ENOSYS, false, 2);
	assert_int_equal(objstore_probe(s, NULL), 0);
	assert_false(s->has_conditional_put);
	objstore_mem_fail_next(s, OBJ_PUT, -ERR_OFFLINE, false, 2);
	assert_int_equal(objstore_probe(s, NULL), -ERR_OFFLINE);
	assert_int_equal(objstore_mem_objects(s), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {T(put_get_head_and_delete), T(conditions_hold),
	    T(copy_replaces_attributes_only_when_given),
	    T(list_pages_are_complete_whatever_their_size), T(multipart_joins_what_complete_names),
	    T(uploads_are_listed_and_aborted), T(a_lost_reply_is_applied_and_says_so),
	    T(close_cancels_what_waits), T(probe_tells_stores_apart)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
