/* SPDX-License-Identifier: Apache-2.0 */
/* s3_answer.c - from an answer to the results of a request; what it says is checked against what
 * was asked for before anybody believes it. */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"

#include "s3/s3_int.h"
#include "s3/s3_xml.h"

#define NS_PER_S 1000000000

static void
take_headers(struct s3_call *c)
{
	struct objstore_req *req = c->req;
	const struct s3_resp *r = &c->resp;

	memcpy(req->etag, r->etag, sizeof(req->etag));
	memcpy(req->content_type, r->content_type, sizeof(req->content_type));
	objstorei_copy(req->storage_class, sizeof(req->storage_class),
	    r->storage_class[0] != '\0' ? r->storage_class : "STANDARD");
	req->mtime_ns = r->mtime_s * NS_PER_S;
}

/* check_get - is it the range that was asked for, all of it, of the object that was meant? */
static int
check_get(struct s3_call *c)
{
	struct objstore_req *req = c->req;
	const struct s3_resp *r = &c->resp;
	bool is_part = req->range_off > 0 || req->range_len > 0;
	uint64_t want;

	if (req->if_match != NULL && r->etag[0] != '\0' && strcmp(r->etag, req->if_match) != 0)
		return -ERR_PRECONDITION; /* the store does not know If-Match */
	if (r->has_length && r->content_length != req->got)
		return -ERR_PROTOCOL;
	if (!is_part) {
		req->size = req->got;
		return c->xfer.status == 200 ? 0 : -ERR_PROTOCOL;
	}
	if (c->xfer.status == 200) {
		/* some stores answer a range that covers the object with all of it */
		req->size = req->got;
		return req->range_off == 0 && req->range_len >= req->got ? 0 : -ERR_PROTOCOL;
	}
	if (c->xfer.status != 206 || !r->has_range || r->range_first != req->range_off)
		return -ERR_PROTOCOL;
	req->size = r->range_total;
	want = r->range_total - req->range_off;
	if (req->range_len > 0 && req->range_len < want)
		want = req->range_len;
	return req->got == want && r->range_last - r->range_first + 1 == want ? 0 : -ERR_PROTOCOL;
}

/* take_key_errors - per-key results of DeleteObjects; in quiet mode only failures are named. */
static void
take_key_errors(struct objstore_req *req, const struct s3_xml_answer *a)
{
	if (req->key_errs == NULL)
		return;
	for (size_t i = 0; i < req->nkeys; i++)
		req->key_errs[i] = s3_xml_can_escape(req->keys[i]) ? 0 : -EILSEQ;
	for (size_t e = 0; e < a->nkey_errors; e++)
		for (size_t i = 0; i < req->nkeys; i++)
			if (strcmp(req->keys[i], a->key_errors[e].key) == 0)
				req->key_errs[i] = s3_retry_key_error(a->key_errors[e].code);
}

static int
take_xml(struct s3_call *c, struct s3_xml_answer *a)
{
	struct objstore_req *req = c->req;

	switch (req->op) {
	case OBJ_COPY:
	case OBJ_MPU_PART_COPY:
	case OBJ_MPU_COMPLETE:
		/* Ceph RGW answers a Complete that it found done already without one: HEAD tells */
		if (a->etag[0] == '\0' && req->op != OBJ_MPU_COMPLETE)
			return -ERR_PROTOCOL;
		memcpy(req->etag, a->etag, sizeof(req->etag));
		req->mtime_ns = a->mtime_ns;
		return 0;
	case OBJ_MPU_CREATE:
		if (a->upload_id[0] == '\0')
			return -ERR_PROTOCOL;
		memcpy(req->upload_id, a->upload_id, sizeof(req->upload_id));
		return 0;
	case OBJ_MPU_PARTS:
		req->parts = a->parts;
		req->nparts = a->nparts;
		a->parts = NULL;
		a->nparts = 0;
		__attribute__((fallthrough));
	case OBJ_LIST:
	case OBJ_MPU_LIST:
		req->list = a->list;
		memset(&a->list, 0, sizeof(a->list));
		if (req->op == OBJ_LIST && req->delimiter != NULL)
			objstorei_list_sort(&req->list);
		return 0;
	case OBJ_DELETE_MANY:
		take_key_errors(req, a);
		return 0;
	default:
		return 0;
	}
}

static int
answer_xml(struct s3_call *c, char code[64])
{
	struct s3_xml_answer a;
	int err;

	/* an answer to DeleteObjects that names no failures may come as an empty body */
	if (c->text.len == 0 && c->req->op == OBJ_DELETE_MANY) {
		memset(&a, 0, sizeof(a));
		take_key_errors(c->req, &a);
		return 0;
	}
	err = s3_xml_parse(c->wire.xml_root, strbuf_str(&c->text), c->text.len, &a);
	if (err == 0 && a.is_error)
		objstorei_copy(code, 64, a.code);
	else if (err == 0)
		err = take_xml(c, &a);
	s3_xml_free(&a);
	return err;
}

int
s3_answer_take(struct s3_call *c, char code[64])
{
	code[0] = '\0';
	if (c->wire.xml_root != NULL)
		return answer_xml(c, code);
	switch (c->req->op) {
	case OBJ_GET:
		take_headers(c);
		return check_get(c);
	case OBJ_HEAD:
		take_headers(c);
		c->req->size = c->resp.content_length;
		return c->resp.has_length ? 0 : -ERR_PROTOCOL;
	case OBJ_PUT:
		if (c->resp.has_version)
			__atomic_store_n(&c->store->base.keeps_versions, true, __ATOMIC_RELAXED);
		__attribute__((fallthrough));
	case OBJ_MPU_PART:
		memcpy(c->req->etag, c->resp.etag, sizeof(c->req->etag));
		return c->req->etag[0] != '\0' ? 0 : -ERR_PROTOCOL;
	default:
		return 0;
	}
}

void
s3_answer_error(struct s3_call *c, char code[64])
{
	struct s3_xml_answer a;

	objstorei_copy(code, 64, c->resp.error_code);
	if (c->text.len == 0)
		return;
	if (s3_xml_parse("Error", strbuf_str(&c->text), c->text.len, &a) == 0) {
		objstorei_copy(code, 64, a.code);
		if (c->resp.region[0] == '\0')
			objstorei_copy(c->resp.region, sizeof(c->resp.region), a.region);
		log_debug("s3.call", "error-answer",
		    "op=%s key=%s status=%d code=%s message=\"%s\"", objstore_op_name(c->req->op),
		    c->req->key != NULL ? c->req->key : "", c->xfer.status, a.code, a.message);
	}
	s3_xml_free(&a);
}
