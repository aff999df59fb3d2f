/* SPDX-License-Identifier: Apache-2.0 */
/* xml.h - the XML that requests carry, parsed strictly, and text for replies. */
#ifndef S3D_XML_H
#define S3D_XML_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/strbuf.h"
#include "s3/server/keyset.h"
#include "s3/server/upload.h"

/* xml_text - s escaped; control characters as references, as S3 does. */
void xml_text(struct strbuf *b, const char *s);
/* xml_element - <name>text</name>. */
void xml_element(struct strbuf *b, const char *name, const char *text);
/* xml_key - like xml_element; is_url = percent-encoded for encoding-type=url. */
void xml_key(struct strbuf *b, const char *name, const char *text, bool is_url);
/* xml_time - <name>2024-01-31T12:00:00.000Z</name>. */
void xml_time(struct strbuf *b, const char *name, int64_t ns);

struct xml_delete_item {
	char *key;
	char etag[ETAG_CAP]; /* "" = unconditional */
};

/* xml_parse_delete - <Delete><Object><Key/>[<ETag/>]</Object>...[<Quiet/>]</Delete>.
 * result: count (at most 1,000; caller frees with xml_delete_free) or -EINVAL */
int xml_parse_delete(
    const char *text, size_t len, struct xml_delete_item **out, bool *is_quiet) CW_MUST_CHECK;
void xml_delete_free(struct xml_delete_item *items, int n);

/* xml_parse_complete - <CompleteMultipartUpload><Part>...; number and etag are filled.
 * result: count (at most 10,000; caller frees) or -EINVAL */
int xml_parse_complete(const char *text, size_t len, struct upload_part **out) CW_MUST_CHECK;

#endif
