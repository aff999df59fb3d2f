/* SPDX-License-Identifier: Apache-2.0 */
/* mem_upload.c - multipart uploads of the bucket in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "s3/mem_bucket_int.h"
#include "s3/objstore_int.h"

#define NS_PER_MS 1000000

struct mem_part {
	unsigned int number;
	char *data;
	size_t len;
	uint8_t md5[MD5_LEN];
};

struct mem_upload {
	char *key;
	char id[40];
	int64_t initiated_ns;
	struct mem_object *attrs; /* only its attributes are used */
	struct mem_part *parts;	  /* sorted by number */
	size_t nparts;
	struct mem_upload *next;
};

static struct mem_upload **
upload_slot(struct mem_bucket *b, const struct objstore_req *req)
{
	struct mem_upload **u = &b->uploads;

	while (*u != NULL &&
	       (strcmp((*u)->id, req->upload_id_in) != 0 || strcmp((*u)->key, req->key) != 0))
		u = &(*u)->next;
	return u;
}

static void
upload_remove(struct mem_bucket *b, struct mem_upload **slot)
{
	struct mem_upload *u = *slot;

	*slot = u->next;
	for (size_t i = 0; i < u->nparts; i++)
		free(u->parts[i].data);
	free(u->parts);
	mem_object_free(u->attrs);
	free(u->key);
	free(u);
	b->nuploads--;
}

int
mem_upload_create(struct mem_bucket *b, struct objstore_req *req)
{
	struct mem_upload *u = xcalloc(1, sizeof(*u)), **at = &b->uploads;

	u->key = xstrdup(req->key);
	u->initiated_ns = clock_real_ns();
	u->attrs = mem_object_new(req->key, NULL, 0, req->attrs);
	snprintf(u->id, sizeof(u->id), "upload%08llu", (unsigned long long)++b->next_id);
	while (*at != NULL)
		at = &(*at)->next;
	*at = u;
	b->nuploads++;
	objstorei_copy(req->upload_id, sizeof(req->upload_id), u->id);
	return 0;
}

/* store_part - takes data. */
int
mem_upload_part(struct mem_bucket *b, struct objstore_req *req, char *data, size_t len)
{
	struct mem_upload *u = *upload_slot(b, req);
	struct mem_part *p;
	size_t i = 0;

	if (u == NULL) {
		free(data);
		return mem_fail(req, -ERR_NO_UPLOAD, 404, "NoSuchUpload");
	}
	while (i < u->nparts && u->parts[i].number < req->part_number)
		i++;
	if (i == u->nparts || u->parts[i].number != req->part_number) {
		u->parts = xrealloc(u->parts, (u->nparts + 1) * sizeof(*u->parts));
		memmove(&u->parts[i + 1], &u->parts[i], (u->nparts - i) * sizeof(*u->parts));
		u->nparts++;
	} else {
		free(u->parts[i].data);
	}
	p = &u->parts[i];
	p->number = req->part_number;
	p->data = data;
	p->len = len;
	digest_md5(data, len, p->md5);
	digest_hex(p->md5, sizeof(p->md5), req->etag);
	return 0;
}

int
mem_upload_part_copy(struct mem_bucket *b, struct objstore_req *req)
{
	const struct mem_object *src;
	size_t off, len;
	int err = mem_source_of(b, req, &src);

	if (err == 0)
		err = mem_range_of(src, req, &off, &len);
	if (err < 0)
		return err;
	return mem_upload_part(b, req, mem_copy_bytes(src->data + off, len), len);
}

/* join - the parts that the request names, as one object. */
static int
join(struct mem_upload *u, struct objstore_req *req, struct strbuf *data, struct strbuf *md5s)
{
	for (size_t i = 0; i < req->nparts; i++) {
		const struct mem_part *p = NULL;
		char etag[2 * MD5_LEN + 1];

		for (size_t k = 0; k < u->nparts && p == NULL; k++)
			if (u->parts[k].number == req->parts[i].number)
				p = &u->parts[k];
		if (i > 0 && req->parts[i].number <= req->parts[i - 1].number)
			return mem_fail(req, -EINVAL, 400, "InvalidPartOrder");
		if (p == NULL)
			return mem_fail(req, -EINVAL, 400, "InvalidPart");
		digest_hex(p->md5, sizeof(p->md5), etag);
		if (strcmp(etag, req->parts[i].etag) != 0)
			return mem_fail(req, -EINVAL, 400, "InvalidPart");
		strbuf_add(data, p->data, p->len);
		strbuf_add(md5s, p->md5, sizeof(p->md5));
	}
	return 0;
}

int
mem_upload_complete(struct mem_bucket *b, struct objstore_req *req)
{
	struct mem_upload **slot = upload_slot(b, req), *u = *slot;
	struct strbuf data = STRBUF_INIT, md5s = STRBUF_INIT;
	struct mem_object *o;
	uint8_t md5[MD5_LEN];
	char hex[2 * MD5_LEN + 1];
	int err;

	if (u == NULL)
		return mem_fail(req, -ERR_NO_UPLOAD, 404, "NoSuchUpload");
	if (req->nparts == 0)
		return mem_fail(req, -EINVAL, 400, "MalformedXML");
	err = join(u, req, &data, &md5s);
	if (err == 0)
		err = mem_check_target(b, req);
	if (err < 0)
		goto out;
	digest_md5(md5s.s, md5s.len, md5);
	digest_hex(md5, sizeof(md5), hex);
	o = u->attrs;
	u->attrs = mem_object_new(req->key, NULL, 0, NULL);
	o->len = data.len;
	o->data = strbuf_take(&data);
	o->mtime_ns = clock_real_ns();
	snprintf(o->etag, sizeof(o->etag), "%s-%zu", hex, req->nparts);
	objstorei_copy(req->etag, sizeof(req->etag), o->etag);
	mem_insert(b, o);
	upload_remove(b, slot);
out:
	strbuf_free(&data);
	strbuf_free(&md5s);
	return err;
}

int
mem_upload_abort(struct mem_bucket *b, struct objstore_req *req)
{
	struct mem_upload **slot = upload_slot(b, req);

	if (*slot == NULL)
		return mem_fail(req, -ERR_NO_UPLOAD, 404, "NoSuchUpload");
	upload_remove(b, slot);
	return 0;
}

/* run_mpu_list - all of them in one page; the order is S3's: by key, then by age. */
int
mem_upload_list(struct mem_bucket *b, struct objstore_req *req)
{
	const char *prefix = req->prefix != NULL ? req->prefix : "";

	for (const struct mem_upload *u = b->uploads; u != NULL; u = u->next) {
		struct objstore_entry *e;

		if (strncmp(u->key, prefix, strlen(prefix)) != 0)
			continue;
		e = objstorei_list_add(&req->list, u->key, strlen(u->key));
		e->upload_id = xstrdup(u->id);
		e->mtime_ns = u->initiated_ns / NS_PER_MS * NS_PER_MS;
	}
	objstorei_list_sort(&req->list);
	return 0;
}

int
mem_upload_parts(struct mem_bucket *b, struct objstore_req *req)
{
	const struct mem_upload *u = *upload_slot(b, req);
	unsigned long marker = req->token != NULL ? strtoul(req->token, NULL, 10) : 0;
	size_t max = req->max_keys > 0 ? req->max_keys : 1000;

	if (u == NULL)
		return mem_fail(req, -ERR_NO_UPLOAD, 404, "NoSuchUpload");
	req->parts = xcalloc(u->nparts + 1, sizeof(*req->parts));
	for (size_t i = 0; i < u->nparts; i++) {
		struct objstore_part *p = &req->parts[req->nparts];

		if (u->parts[i].number <= marker)
			continue;
		if (req->nparts == max) {
			req->list.truncated = true;
			req->list.next_token = xasprintf("%u", p[-1].number);
			break;
		}
		p->number = u->parts[i].number;
		p->size = u->parts[i].len;
		digest_hex(u->parts[i].md5, MD5_LEN, p->etag);
		req->nparts++;
	}
	return 0;
}

void
mem_upload_free_all(struct mem_bucket *b)
{
	while (b->uploads != NULL)
		upload_remove(b, &b->uploads);
}
