/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_xml.c - one walk over the document with libxml2's pull parser.  What matters are leaves: an
 * element's text is given to take() together with its name and its parent's, and take() puts it
 * where it belongs.  Opening elements only start a new entry.
 */
#include "s3/s3_xml.h"

#include <libxml/xmlreader.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "s3/objstore_int.h"
#include "s3/s3_sign.h"
#include "s3/s3_time.h"

#define DEPTH_MAX 16
#define ENTRIES_MAX 10000
#define NAME_MAX_LEN 48
#define TEXT_MAX 8192

struct walk {
	struct s3_xml_answer *out;
	const char *root;
	char names[DEPTH_MAX][NAME_MAX_LEN];
	int depth; /* of the innermost open element, -1 = none */
	struct strbuf text;
	bool is_leaf; /* the innermost element has had no children */
	bool is_url_encoded;
	bool had_controls; /* the text had characters that XML does not allow */
};

static bool
is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* copy_etag - without quotes and a weak mark. */
static void
copy_etag(char *to, const char *text)
{
	size_t len;

	if (strncmp(text, "W/", 2) == 0)
		text += 2;
	text += *text == '"';
	objstorei_copy(to, OBJSTORE_ETAG_MAX, text);
	len = strlen(to);
	if (len > 0 && to[len - 1] == '"')
		to[len - 1] = '\0';
}

static int
to_u64(const char *text, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -ERR_PROTOCOL;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno != 0 || *end != '\0' ? -ERR_PROTOCOL : 0;
}

/* replace - a string of ours in place of the one before. */
static void
replace(char **to, const char *text)
{
	free(*to);
	*to = xstrdup(text);
}

/* ---- leaves by kind of document ---- */

static struct objstore_entry *
last_entry(struct walk *w)
{
	return w->out->list.n > 0 ? &w->out->list.entries[w->out->list.n - 1] : NULL;
}

static int
take_entry(struct walk *w, const char *name, const char *text)
{
	struct objstore_entry *e = last_entry(w);

	if (is(name, "Key")) {
		if (text[0] == '\0')
			return -ERR_PROTOCOL;
		replace(&e->key, text);
	} else if (is(name, "Size")) {
		return to_u64(text, &e->size);
	} else if (is(name, "LastModified") || is(name, "Initiated")) {
		return s3_time_iso(text, &e->mtime_ns) < 0 ? -ERR_PROTOCOL : 0;
	} else if (is(name, "ETag")) {
		copy_etag(e->etag, text);
	} else if (is(name, "StorageClass")) {
		objstorei_copy(e->storage_class, sizeof(e->storage_class), text);
	} else if (is(name, "UploadId")) {
		replace(&e->upload_id, text);
	} else if (is(name, "Prefix")) {
		e->is_prefix = true;
		replace(&e->key, text);
	}
	return 0;
}

static int
take_part(struct walk *w, const char *name, const char *text)
{
	struct objstore_part *p = &w->out->parts[w->out->nparts - 1];
	uint64_t v;

	if (is(name, "ETag")) {
		copy_etag(p->etag, text);
	} else if (is(name, "Size")) {
		return to_u64(text, &p->size);
	} else if (is(name, "PartNumber")) {
		if (to_u64(text, &v) < 0 || v < 1 || v > 10000)
			return -ERR_PROTOCOL;
		p->number = (unsigned int)v;
	}
	return 0;
}

static int
take_list_field(struct walk *w, const char *name, const char *text)
{
	struct objstore_list *l = &w->out->list;

	if (is(name, "IsTruncated"))
		l->truncated = is(text, "true");
	else if (is(name, "NextContinuationToken") || is(name, "NextKeyMarker") ||
		 is(name, "NextPartNumberMarker"))
		replace(&l->next_token, text);
	else if (is(name, "NextUploadIdMarker"))
		replace(&l->next_upload_marker, text);
	else if (is(name, "EncodingType"))
		w->is_url_encoded = is(text, "url");
	return 0;
}

static int
take_error(struct walk *w, const char *name, const char *text)
{
	struct s3_xml_answer *a = w->out;

	if (is(name, "Code"))
		objstorei_copy(a->code, sizeof(a->code), text);
	else if (is(name, "Message"))
		objstorei_copy(a->message, sizeof(a->message), text);
	else if (is(name, "Region") || is(name, "BucketRegion"))
		objstorei_copy(a->region, sizeof(a->region), text);
	return 0;
}

static int
take_key_error(struct walk *w, const char *name, const char *text)
{
	struct s3_xml_key_error *e = &w->out->key_errors[w->out->nkey_errors - 1];

	if (is(name, "Key"))
		replace(&e->key, text);
	else if (is(name, "Code"))
		objstorei_copy(e->code, sizeof(e->code), text);
	return 0;
}

static int
take_root_field(struct walk *w, const char *name, const char *text)
{
	struct s3_xml_answer *a = w->out;

	if (is(name, "ETag"))
		copy_etag(a->etag, text);
	else if (is(name, "UploadId"))
		objstorei_copy(a->upload_id, sizeof(a->upload_id), text);
	else if (is(name, "LastModified"))
		return s3_time_iso(text, &a->mtime_ns) < 0 ? -ERR_PROTOCOL : 0;
	return take_list_field(w, name, text);
}

/* take - the text of a leaf. */
static int
take(struct walk *w)
{
	const char *name = w->names[w->depth];
	const char *parent = w->depth > 0 ? w->names[w->depth - 1] : "";
	const char *text = strbuf_str(&w->text);

	if (w->depth == 1)
		return w->out->is_error ? take_error(w, name, text)
					: take_root_field(w, name, text);
	if (w->depth != 2 || w->out->is_error)
		return 0;
	if (is(parent, "Contents") || is(parent, "CommonPrefixes") || is(parent, "Upload"))
		return take_entry(w, name, text);
	if (is(parent, "Part"))
		return take_part(w, name, text);
	if (is(parent, "Error"))
		return take_key_error(w, name, text);
	return 0;
}

/* ---- the walk ---- */

/* open_entry - an element of the second level that starts a new entry of a list. */
static int
open_entry(struct walk *w, const char *name)
{
	struct s3_xml_answer *a = w->out;

	if (a->list.n >= ENTRIES_MAX || a->nparts >= ENTRIES_MAX || a->nkey_errors >= ENTRIES_MAX)
		return -ERR_PROTOCOL;
	if (is(name, "Contents") || is(name, "CommonPrefixes") || is(name, "Upload")) {
		objstorei_list_add(&a->list, "", 0);
	} else if (is(name, "Part") && is(w->root, "ListPartsResult")) {
		a->parts = xrealloc(a->parts, (a->nparts + 1) * sizeof(*a->parts));
		memset(&a->parts[a->nparts++], 0, sizeof(*a->parts));
	} else if (is(name, "Error")) {
		a->key_errors =
		    xrealloc(a->key_errors, (a->nkey_errors + 1) * sizeof(*a->key_errors));
		memset(&a->key_errors[a->nkey_errors++], 0, sizeof(*a->key_errors));
	}
	return 0;
}

static int
open_element(struct walk *w, const char *name)
{
	if (w->depth + 1 >= DEPTH_MAX)
		return -ERR_PROTOCOL;
	w->depth++;
	objstorei_copy(w->names[w->depth], NAME_MAX_LEN, name);
	strbuf_reset(&w->text);
	w->is_leaf = true;
	if (w->depth == 0) {
		w->out->is_error = is(name, "Error");
		return w->out->is_error || is(name, w->root) ? 0 : -ERR_PROTOCOL;
	}
	return w->depth == 1 && !w->out->is_error ? open_entry(w, name) : 0;
}

static int
close_element(struct walk *w)
{
	int err = 0;

	if (w->is_leaf) {
		/* a "Part" outside a list of parts has no entry to go to */
		if (w->depth == 2 && is(w->names[1], "Part") && w->out->nparts == 0)
			err = -ERR_PROTOCOL;
		else
			err = take(w);
	}
	w->is_leaf = false;
	w->depth--;
	return err;
}

static int
step(struct walk *w, xmlTextReaderPtr r)
{
	const char *value;
	int err;

	switch (xmlTextReaderNodeType(r)) {
	case XML_READER_TYPE_ELEMENT:
		err = open_element(w, (const char *)xmlTextReaderConstLocalName(r));
		if (err == 0 && xmlTextReaderIsEmptyElement(r) == 1)
			err = close_element(w);
		return err;
	case XML_READER_TYPE_END_ELEMENT:
		return close_element(w);
	case XML_READER_TYPE_TEXT:
	case XML_READER_TYPE_CDATA:
	case XML_READER_TYPE_WHITESPACE:
	case XML_READER_TYPE_SIGNIFICANT_WHITESPACE:
		value = (const char *)xmlTextReaderConstValue(r);
		if (value == NULL || !w->is_leaf)
			return 0;
		if (w->text.len + strlen(value) > TEXT_MAX)
			return -ERR_PROTOCOL;
		strbuf_adds(&w->text, value);
		return 0;
	case XML_READER_TYPE_DOCUMENT_TYPE:
	case XML_READER_TYPE_ENTITY_REFERENCE:
		return -ERR_PROTOCOL;
	default:
		return 0;
	}
}

/* decode_url - percent-decoding in place, for encoding-type=url. Some stores write a blank as '+',
 * and all of them write a plus as %2B, so '+' is always a blank here. */
static int
decode_url(char **text)
{
	char *plain;

	if (*text == NULL)
		return 0;
	for (char *c = *text; *c != '\0'; c++)
		if (*c == '+')
			*c = ' ';
	plain = s3_uri_decode(*text, strlen(*text));
	if (plain == NULL)
		return -ERR_PROTOCOL;
	free(*text);
	*text = plain;
	return 0;
}

/* finish_list - decode what was url-encoded, check what later code relies on. */
static int
finish_list(struct walk *w)
{
	struct objstore_list *l = &w->out->list;
	int err = l->n > 0 && w->had_controls && !w->is_url_encoded ? -ERR_PROTOCOL : 0;

	for (size_t i = 0; i < l->n && err == 0; i++) {
		if (w->is_url_encoded)
			err = decode_url(&l->entries[i].key);
		if (err == 0 &&
		    (l->entries[i].key[0] == '\0' || strlen(l->entries[i].key) > OBJSTORE_KEY_MAX))
			err = -ERR_PROTOCOL;
		if (is(w->root, "ListMultipartUploadsResult") && !l->entries[i].is_prefix &&
		    (l->entries[i].upload_id == NULL || l->entries[i].upload_id[0] == '\0'))
			err = -ERR_PROTOCOL;
	}
	if (err == 0 && w->is_url_encoded && is(w->root, "ListMultipartUploadsResult"))
		err = decode_url(&l->next_token);
	if (err == 0 && l->truncated && (l->next_token == NULL || l->next_token[0] == '\0'))
		err = -ERR_PROTOCOL;
	for (size_t i = 0; i < w->out->nparts && err == 0; i++)
		if (w->out->parts[i].number == 0)
			err = -ERR_PROTOCOL;
	for (size_t i = 0; i < w->out->nkey_errors && err == 0; i++)
		if (w->out->key_errors[i].key == NULL)
			err = -ERR_PROTOCOL;
	return err;
}

/* control_reference - length of "&#N;" or "&#xN;" at s for a character that XML 1.0 does not allow,
 * else 0. Ceph RGW writes keys so where it echoes them. */
static size_t
control_reference(const char *s, size_t len)
{
	bool is_hex = len > 2 && s[2] == 'x';
	size_t i = is_hex ? 3 : 2;
	unsigned int v = 0;

	if (len < 4 || s[0] != '&' || s[1] != '#')
		return 0;
	for (; i < len && i < 10 && s[i] != ';'; i++) {
		const char *digits = "0123456789abcdef", *at;
		char c = s[i] >= 'A' && s[i] <= 'F' ? (char)(s[i] - 'A' + 'a') : s[i];

		at = c != '\0' ? strchr(digits, c) : NULL;
		if (at == NULL || (!is_hex && at - digits > 9))
			return 0;
		v = v * (is_hex ? 16 : 10) + (unsigned int)(at - digits);
	}
	if (i >= len || s[i] != ';' || v >= 0x20 || v == '\t' || v == '\n' || v == '\r')
		return 0;
	return i + 1;
}

/* without_controls - a copy with every character that XML does not allow made '?'; NULL when there
 * is none. They occur in echoed keys, which we do not read: listings are asked for url-encoded. */
static char *
without_controls(const char *text, size_t len)
{
	char *copy = NULL;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		size_t n = c == '&' ? control_reference(text + i, len - i) : 0;

		if (n == 0 && c < 0x20 && c != '\t' && c != '\n' && c != '\r')
			n = 1;
		if (n == 0)
			continue;
		if (copy == NULL) {
			copy = xmalloc(len + 1);
			memcpy(copy, text, len);
			copy[len] = '\0';
		}
		memset(copy + i, '?', n);
		i += n - 1;
	}
	return copy;
}

int
s3_xml_parse(const char *root, const void *data, size_t len, struct s3_xml_answer *out)
{
	struct walk w = {.out = out, .root = root, .depth = -1};
	xmlTextReaderPtr r;
	int more = 0, err = 0;

	const char *text = data;
	char *copy;

	memset(out, 0, sizeof(*out));
	/* blanks keep a slow CompleteMultipartUpload's connection alive */
	while (len > 0 && strchr(" \t\r\n", *text) != NULL && *text != '\0') {
		text++;
		len--;
	}
	if (len == 0 || len > S3_XML_MAX)
		return -ERR_PROTOCOL;
	copy = without_controls(text, len);
	w.had_controls = copy != NULL;
	r = xmlReaderForMemory(copy != NULL ? copy : text, (int)len, NULL, NULL,
	    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_COMPACT);
	while (err == 0 && r != NULL && (more = xmlTextReaderRead(r)) == 1)
		err = step(&w, r);
	if (r == NULL)
		err = -ERR_PROTOCOL;
	else
		xmlFreeTextReader(r);
	free(copy);
	strbuf_free(&w.text);
	if (err == 0 && (more != 0 || w.depth != -1))
		err = -ERR_PROTOCOL;
	if (err == 0 && out->is_error && out->code[0] == '\0')
		err = -ERR_PROTOCOL;
	return err == 0 ? finish_list(&w) : err;
}

void
s3_xml_free(struct s3_xml_answer *a)
{
	struct objstore_req holder = {.op = OBJ_MPU_PARTS, .list = a->list, .parts = a->parts};

	objstore_req_clear(&holder);
	for (size_t i = 0; i < a->nkey_errors; i++)
		free(a->key_errors[i].key);
	free(a->key_errors);
	memset(a, 0, sizeof(*a));
}

bool
s3_xml_can_escape(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 && strchr("\t\n\r", *text) == NULL)
			return false;
	return true;
}

void
s3_xml_escape(struct strbuf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			strbuf_adds(out, "&amp;");
			break;
		case '<':
			strbuf_adds(out, "&lt;");
			break;
		case '>':
			strbuf_adds(out, "&gt;");
			break;
		case '"':
			strbuf_adds(out, "&quot;");
			break;
		case '\t':
		case '\n':
		case '\r': /* or a parser would make a blank of it */
			strbuf_addf(out, "&#%d;", *text);
			break;
		default:
			strbuf_addc(out, *text);
		}
	}
}
