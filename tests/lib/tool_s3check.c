/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_s3check - what the gateway relies on in a store, asked of a real one through our client.
 *
 * tool_s3check ENDPOINT BUCKET ACCESS SECRET REGION PREFIX [virtual]
 * Prints one line a fact, "ok" or "FAIL"; facts that only some stores have are "yes" or "no".
 * Exit 1 if one that is needed is missing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "s3/objstore_s3.h"

#define PART (5u << 20)

static struct objstore *store;
static const char *prefix;
static int failures;

static void
fact(bool holds, const char *text, const struct objstore_req *req)
{
	failures += !holds;
	printf("%s %s", holds ? "ok  " : "FAIL", text);
	if (!holds && req != NULL)
		printf(" (result %d \"%s\", status %d, code %s)", req->result, err_str(req->result),
		    req->http_status, req->error_code);
	printf("\n");
	fflush(stdout);
}

static void
trait(bool holds, const char *text)
{
	printf("%s %s\n", holds ? "yes " : "no  ", text);
}

/* key - prefix and name; a few live at a time. */
static const char *
key(const char *name)
{
	static char texts[8][OBJSTORE_KEY_MAX + 1];
	static unsigned int next;
	char *text = texts[next++ % 8];

	snprintf(text, sizeof(texts[0]), "%s%s", prefix, name);
	return text;
}

static int
put(const char *k, const void *data, size_t len, char etag[OBJSTORE_ETAG_MAX])
{
	struct objstore_req req = {.op = OBJ_PUT, .key = k, .body = data, .body_len = len};
	int err = objstore_call(store, &req);

	if (etag != NULL)
		memcpy(etag, req.etag, OBJSTORE_ETAG_MAX);
	objstore_req_clear(&req);
	return err;
}

static void
check_objects(void)
{
	static const struct objstore_meta meta[] = {{"file-permissions", "0100664"},
	    {"file-mtime", "1234567890123456789ns"}, {"user-agent", "causeway"}};
	struct objstore_attrs attrs = {
	    .content_type = "text/x-test", .storage_class = "STANDARD", .meta = meta, .nmeta = 3};
	struct objstore_req r = {
	    .op = OBJ_PUT, .key = key("a"), .body = "0123456789", .body_len = 10, .attrs = &attrs};
	char buf[32], etag[OBJSTORE_ETAG_MAX];
	int64_t now_ns = (int64_t)time(NULL) * 1000000000;

	fact(objstore_call(store, &r) == 0 &&
		 strcmp(r.etag, "781e5e245d69b566979b86e28d23f2c7") == 0,
	    "PUT answers the MD5 as ETag", &r);
	memcpy(etag, r.etag, OBJSTORE_ETAG_MAX);
	objstore_req_clear(&r);

	r = (struct objstore_req){.op = OBJ_HEAD, .key = key("a"), .want_meta = true};
	fact(objstore_call(store, &r) == 0 && r.size == 10 && strcmp(r.etag, etag) == 0,
	    "HEAD gives size and ETag", &r);
	fact(strcmp(r.content_type, "text/x-test") == 0, "HEAD gives the content type", &r);
	fact(r.mtime_ns > now_ns - 300ll * 1000000000 && r.mtime_ns < now_ns + 300ll * 1000000000,
	    "HEAD gives the time", &r);
	fact(r.meta != NULL && r.meta->n == 3, "HEAD gives all user metadata and only it", &r);
	objstore_req_clear(&r);

	r = (struct objstore_req){.op = OBJ_GET, .key = key("a"), .buf = buf, .buf_cap = 32};
	fact(objstore_call(store, &r) == 0 && r.got == 10 && memcmp(buf, "0123456789", 10) == 0,
	    "GET gives the bytes", &r);
	r.range_off = 3;
	r.range_len = 4;
	r.if_match = etag;
	fact(objstore_call(store, &r) == 0 && r.got == 4 && r.size == 10 &&
		 memcmp(buf, "3456", 4) == 0,
	    "GET of a range", &r);
	r.range_len = 100;
	fact(objstore_call(store, &r) == 0 && r.got == 7 && r.size == 10,
	    "GET of a range that goes past the end", &r);
	r.range_len = 0;
	fact(objstore_call(store, &r) == 0 && r.got == 7, "GET from an offset to the end", &r);
	r.range_off = 10;
	r.range_len = 1;
	fact(objstore_call(store, &r) == -ERR_INVALID_RANGE, "GET behind the end", &r);
	r.range_off = r.range_len = 0;
	r.if_match = "00000000000000000000000000000000";
	fact(objstore_call(store, &r) == -ERR_PRECONDITION, "GET with another ETag", &r);
	r = (struct objstore_req){.op = OBJ_GET, .key = key("none"), .buf = buf, .buf_cap = 32};
	fact(objstore_call(store, &r) == -ENOENT, "GET of nothing", &r);
	r = (struct objstore_req){.op = OBJ_HEAD, .key = key("none")};
	fact(objstore_call(store, &r) == -ENOENT, "HEAD of nothing", &r);
	r = (struct objstore_req){.op = OBJ_DELETE, .key = key("none")};
	fact(objstore_call(store, &r) == 0, "DELETE of nothing", &r);
}

static void
check_odd_keys(void)
{
	static const char *const names[] = {"blank name", "plus+sign", "per%25cent",
	    "\xc3\xa4\xe2\x82\xac", "a/../b", "./x", "dir//double", "q?s=1&t#f", "<xml>&\"'",
	    "tilde~!$()*,;:@=", "back\\slash", "trailing ", "new\nline", "\x01control"};
	char buf[8];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *k = xasprintf("%sodd/%s", prefix, names[i]), *text;
		struct objstore_req get = {.op = OBJ_GET, .key = k, .buf = buf, .buf_cap = 8};
		struct objstore_req list = {.op = OBJ_LIST, .prefix = k};
		bool ok =
		    put(k, "odd", 3, NULL) == 0 && objstore_call(store, &get) == 0 && get.got == 3;

		ok = ok && objstore_call(store, &list) == 0 && list.list.n >= 1 &&
		     strcmp(list.list.entries[0].key, k) == 0;
		text = xasprintf("key number %zu of the odd ones", i);
		fact(ok, text, get.result < 0 ? &get : &list);
		free(text);
		free(k);
		objstore_req_clear(&list);
	}
}

static void
check_conditions(void)
{
	char first[OBJSTORE_ETAG_MAX];
	struct objstore_req r = {
	    .op = OBJ_PUT, .key = key("cond"), .body = "one", .body_len = 3, .if_none_match = true};
	bool ok = objstore_call(store, &r) == 0;

	memcpy(first, r.etag, OBJSTORE_ETAG_MAX);
	ok = ok && objstore_call(store, &r) == -ERR_PRECONDITION;
	trait(ok, "PUT If-None-Match");
	r.if_none_match = false;
	r.if_match = first;
	r.body = "two";
	ok = objstore_call(store, &r) == 0;
	ok = ok && objstore_call(store, &r) == -ERR_PRECONDITION;
	trait(ok, "PUT If-Match");
	r.key = key("cond-none");
	trait(objstore_call(store, &r) == -ERR_PRECONDITION, "PUT If-Match on a key that is gone");
	fact(objstore_probe(store, prefix) == 0, "the probe of conditional writes", NULL);
	trait(store->has_conditional_put, "probe: conditional PUT");
	trait(store->has_conditional_complete, "probe: conditional complete");
}

static void
check_copies(void)
{
	static const struct objstore_meta meta = {"file-mtime", "5ns"};
	struct objstore_attrs attrs = {.content_type = "text/y", .meta = &meta, .nmeta = 1};
	char etag[OBJSTORE_ETAG_MAX];
	struct objstore_req r = {
	    .op = OBJ_COPY, .key = key("copy \xc3\xa4"), .src_key = key("src +%")};

	fact(put(key("src +%"), "copy me", 7, etag) == 0, "a source for copies", NULL);
	r.src_if_match = etag;
	fact(objstore_call(store, &r) == 0 && strcmp(r.etag, etag) == 0, "COPY keeps the ETag", &r);
	r.src_if_match = "00000000000000000000000000000000";
	fact(
	    objstore_call(store, &r) == -ERR_PRECONDITION, "COPY of another source is refused", &r);
	r.src_if_match = etag;
	r.key = r.src_key;
	r.attrs = &attrs;
	fact(objstore_call(store, &r) == 0, "COPY onto itself with new metadata", &r);
	r = (struct objstore_req){.op = OBJ_HEAD, .key = key("src +%"), .want_meta = true};
	fact(objstore_call(store, &r) == 0 && r.meta->n == 1 &&
		 strcmp(r.meta->items[0].value, "5ns") == 0 &&
		 strcmp(r.content_type, "text/y") == 0,
	    "... and the metadata is new", &r);
	objstore_req_clear(&r);
	r = (struct objstore_req){.op = OBJ_COPY, .key = key("x"), .src_key = key("none")};
	fact(objstore_call(store, &r) == -ENOENT, "COPY of nothing", &r);
}

static void
check_lists(void)
{
	struct objstore_req r;
	char *token = NULL;
	size_t objects = 0, prefixes = 0;
	bool more = true, sorted = true, ok = true;
	char last[OBJSTORE_KEY_MAX + 1] = "";

	for (int i = 0; i < 25 && ok; i++) {
		char name[64];

		snprintf(name, sizeof(name), "list/%c/%02d", 'a' + i % 3, i);
		ok = put(key(name), "x", 1, NULL) == 0;
		snprintf(name, sizeof(name), "list/%02d", i);
		ok = ok && put(key(name), "x", 1, NULL) == 0;
	}
	fact(ok, "50 objects to list", NULL);
	for (int pages = 0; more && ok && pages < 20; pages++) {
		r = (struct objstore_req){.op = OBJ_LIST,
		    .prefix = key("list/"),
		    .delimiter = "/",
		    .max_keys = 7,
		    .token = token};
		ok = objstore_call(store, &r) == 0 && r.list.n <= 7;
		for (size_t i = 0; i < r.list.n; i++) {
			sorted = sorted && strcmp(last, r.list.entries[i].key) < 0;
			snprintf(last, sizeof(last), "%s", r.list.entries[i].key);
			objects += !r.list.entries[i].is_prefix;
			prefixes += r.list.entries[i].is_prefix;
		}
		more = r.list.truncated;
		free(token);
		token = r.list.next_token != NULL ? xstrdup(r.list.next_token) : NULL;
		objstore_req_clear(&r);
	}
	free(token);
	fact(ok && objects == 25 && prefixes == 3, "LIST by pages of 7 gives each once", NULL);
	fact(sorted, "... in order", NULL);
	r = (struct objstore_req){.op = OBJ_LIST,
	    .prefix = key("list/"),
	    .start_after = key("list/23"),
	    .delimiter = "/"};
	fact(objstore_call(store, &r) == 0 && r.list.n == 4 && !r.list.truncated,
	    "LIST behind a key", &r);
	objstore_req_clear(&r);
}

static void
check_delete_many(void)
{
	char *names[30];
	int errs[30];
	struct objstore_req r = {.op = OBJ_DELETE_MANY,
	    .keys = (const char *const *)names,
	    .key_errs = errs,
	    .nkeys = 30};
	bool ok = true;

	for (int i = 0; i < 30; i++) {
		names[i] = xasprintf("%slist/%02d", prefix, i);
		errs[i] = 1;
	}
	free(names[29]);
	names[29] = xasprintf("%sodd/<xml>&\"'", prefix);
	ok = objstore_call(store, &r) == 0;
	for (int i = 0; i < 30; i++) {
		ok = ok && errs[i] == 0;
		free(names[i]);
	}
	fact(ok, "DeleteObjects, some of them gone already", &r);
	r = (struct objstore_req){.op = OBJ_HEAD, .key = key("list/07")};
	fact(objstore_call(store, &r) == -ENOENT, "... and they are gone", &r);
}

/* complete - result of completing with these parts. */
static int
complete(
    const char *k, const char *id, struct objstore_part *parts, size_t n, struct objstore_req *r)
{
	*r = (struct objstore_req){
	    .op = OBJ_MPU_COMPLETE, .key = k, .upload_id_in = id, .parts = parts, .nparts = n};
	return objstore_call(store, r);
}

static void
check_multipart(void)
{
	struct objstore_part parts[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
	struct objstore_req c = {.op = OBJ_MPU_CREATE, .key = key("mpu")}, r;
	char *data = xmalloc(PART), etag[OBJSTORE_ETAG_MAX], *back;

	for (size_t i = 0; i < PART; i++)
		data[i] = (char)(i * 2654435761u >> 13);
	fact(put(key("mpu-src"), data, PART, etag) == 0, "PUT of 5 MiB", NULL);
	fact(objstore_call(store, &c) == 0, "CreateMultipartUpload", &c);
	r = (struct objstore_req){.op = OBJ_MPU_PART,
	    .key = key("mpu"),
	    .upload_id_in = c.upload_id,
	    .part_number = 1,
	    .body = data,
	    .body_len = PART};
	fact(objstore_call(store, &r) == 0, "UploadPart", &r);
	memcpy(parts[0].etag, r.etag, OBJSTORE_ETAG_MAX);
	r.part_number = 3;
	r.body_len = 1000;
	fact(objstore_call(store, &r) == 0, "UploadPart, a short last one", &r);
	memcpy(parts[2].etag, r.etag, OBJSTORE_ETAG_MAX);
	r = (struct objstore_req){.op = OBJ_MPU_PART_COPY,
	    .key = key("mpu"),
	    .upload_id_in = c.upload_id,
	    .part_number = 2,
	    .src_key = key("mpu-src"),
	    .range_len = PART,
	    .src_if_match = etag};
	fact(objstore_call(store, &r) == 0, "UploadPartCopy", &r);
	memcpy(parts[1].etag, r.etag, OBJSTORE_ETAG_MAX);
	r.src_if_match = "00000000000000000000000000000000";
	trait(
	    objstore_call(store, &r) == -ERR_PRECONDITION, "UploadPartCopy If-Match of the source");
	r = (struct objstore_req){
	    .op = OBJ_MPU_PARTS, .key = key("mpu"), .upload_id_in = c.upload_id, .max_keys = 2};
	fact(objstore_call(store, &r) == 0 && r.nparts == 2 && r.list.truncated &&
		 r.parts[0].size == PART && strcmp(r.parts[1].etag, parts[1].etag) == 0,
	    "ListParts by page", &r);
	objstore_req_clear(&r);
	r = (struct objstore_req){.op = OBJ_MPU_LIST, .prefix = key("mpu")};
	fact(objstore_call(store, &r) == 0 && r.list.n == 1 &&
		 strcmp(r.list.entries[0].upload_id, c.upload_id) == 0,
	    "ListMultipartUploads", &r);
	objstore_req_clear(&r);
	fact(complete(key("mpu"), c.upload_id, parts, 3, &r) == 0 &&
		 (r.etag[0] == '\0' /* RGW leaves it out at times */ ||
		     strstr(r.etag, "-3") != NULL),
	    "CompleteMultipartUpload", &r);
	back = xmalloc(2 * PART + 1000);
	r = (struct objstore_req){
	    .op = OBJ_GET, .key = key("mpu"), .buf = back, .buf_cap = 2 * PART + 1000};
	fact(objstore_call(store, &r) == 0 && r.got == 2 * PART + 1000 &&
		 memcmp(back, data, PART) == 0 && memcmp(back + PART, data, PART) == 0 &&
		 memcmp(back + 2 * (size_t)PART, data, 1000) == 0,
	    "... and the object is its parts", &r);
	r = (struct objstore_req){
	    .op = OBJ_MPU_ABORT, .key = key("mpu"), .upload_id_in = c.upload_id};
	trait(objstore_call(store, &r) == -ERR_NO_UPLOAD, "abort of a completed upload is refused");
	fact(objstore_call(store, &c) == 0, "another upload", &c);
	r.upload_id_in = c.upload_id;
	fact(objstore_call(store, &r) == 0, "AbortMultipartUpload", &r);
	trait(complete(key("mpu"), c.upload_id, parts, 1, &r) == -ERR_NO_UPLOAD,
	    "CompleteMultipartUpload of an aborted one says so");
	free(data);
	free(back);
}

static void
check_bucket(void)
{
	struct objstore_req r = {.op = OBJ_BUCKET_HEAD};

	fact(objstore_call(store, &r) == 0, "HEAD of the bucket", &r);
	r = (struct objstore_req){.op = OBJ_BUCKET_CREATE};
	fact(objstore_call(store, &r) == 0, "making a bucket that is ours already", &r);
}

/* sweep - delete all below prefix. */
static void
sweep(void)
{
	for (int pages = 0; pages < 10; pages++) {
		struct objstore_req l = {.op = OBJ_LIST, .prefix = prefix};
		bool more;

		if (objstore_call(store, &l) < 0)
			break;
		for (size_t i = 0; i < l.list.n; i++) {
			struct objstore_req d = {.op = OBJ_DELETE, .key = l.list.entries[i].key};

			failures += objstore_call(store, &d) != 0;
		}
		more = l.list.truncated;
		objstore_req_clear(&l);
		if (!more)
			break;
	}
}

int
main(int argc, char **argv)
{
	struct s3_store_conf conf = {0};
	struct s3_client *client;
	char why[128] = "";

	if (argc < 7) {
		fprintf(stderr, "usage: tool_s3check ENDPOINT BUCKET ACCESS SECRET REGION PREFIX "
				"[virtual]\n");
		return 2;
	}
	conf.endpoint = argv[1];
	conf.bucket = argv[2];
	conf.cred.access_key = argv[3];
	conf.cred.secret_key = argv[4];
	conf.region = argv[5];
	conf.path_style = argc == 7;
	prefix = argv[6];
	log_set_level(getenv("CW_DEBUG_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERR);
	if (s3_client_new(&client) < 0 ||
	    objstore_s3_new(client, &conf, &store, why, sizeof(why)) < 0) {
		fprintf(stderr, "tool_s3check: %s\n", why);
		return 2;
	}
	check_bucket();
	check_objects();
	check_odd_keys();
	check_conditions();
	check_copies();
	check_lists();
	check_delete_many();
	check_multipart();
	sweep();
	store->ops->close(store);
	s3_client_free(client);
	printf("%d facts are missing\n", failures);
	return failures > 0;
}
