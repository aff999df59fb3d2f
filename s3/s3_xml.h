/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_xml.h - the XML answers of S3, parsed with bounds: no DOCTYPE, no entities beyond XML's five,
 * no network, at most S3_XML_MAX bytes, 16 levels and 10,000 entries.  Pure.
 */
#ifndef S3_XML_H
#define S3_XML_H

#include "s3/objstore.h"

#define S3_XML_MAX (16u << 20)

struct s3_xml_key_error { /* one <Error> of a DeleteResult */
	char *key;
	char code[64];
};

struct s3_xml_answer {
	bool is_error; /* the root is <Error>: code, message and region say which */
	char code[64];
	char message[256];
	char region[64];
	char etag[OBJSTORE_ETAG_MAX]; /* copy, part copy, complete */
	char upload_id[OBJSTORE_UPLOAD_ID_MAX];
	int64_t mtime_ns; /* copy */
	struct objstore_list list;
	struct objstore_part *parts;
	size_t nparts;
	struct s3_xml_key_error *key_errors;
	size_t nkey_errors;
};

/* s3_xml_parse - parse an answer whose root element must be `root` or Error.
 * args:   data need not be NUL-terminated; out is set in any case, s3_xml_free() it
 * result: 0, -ERR_PROTOCOL
 * ctx:    any */
int s3_xml_parse(
    const char *root, const void *data, size_t len, struct s3_xml_answer *out) CW_MUST_CHECK;
void s3_xml_free(struct s3_xml_answer *a);

struct strbuf;
/* s3_xml_can_escape - XML 1.0 has no way to write control characters. */
bool s3_xml_can_escape(const char *text);
/* s3_xml_escape - append text as XML character data; it must be fit for that. */
void s3_xml_escape(struct strbuf *out, const char *text);

#endif
