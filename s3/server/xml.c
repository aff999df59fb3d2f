/* SPDX-License-Identifier: Apache-2.0 */
/* xml.c - libxml2 without network, entities and DTDs. */
#include "s3/server/xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "s3/s3_sign.h"

#define DELETE_MAX 1000

void
xml_text(struct strbuf *b, const char *s)
{
	const char *run = s;

	for (;; s++) {
		unsigned char c = (unsigned char)*s;

		if (c != '\0' && c >= 0x20 && c != '&' && c != '<' && c != '>' && c != '"')
			continue;
		strbuf_add(b, run, (size_t)(s - run));
		run = s + 1;
		if (c == '\0')
			return;
		if (c == '&')
			strbuf_adds(b, "&amp;");
		else if (c == '<')
			strbuf_adds(b, "&lt;");
		else if (c == '>')
			strbuf_adds(b, "&gt;");
		else if (c == '"')
			strbuf_adds(b, "&quot;");
		else
			strbuf_addf(b, "&#x%x;", c);
	}
}

void
xml_element(struct strbuf *b, const char *name, const char *text)
{
	strbuf_addf(b, "<%s>", name);
	xml_text(b, text);
	strbuf_addf(b, "</%s>", name);
}

void
xml_key(struct strbuf *b, const char *name, const char *text, bool is_url)
{
	char *enc;

	if (!is_url) {
		xml_element(b, name, text);
		return;
	}
	enc = s3_uri_encode(text, true);
	strbuf_addf(b, "<%s>%s</%s>", name, enc, name);
	free(enc);
}

void
xml_time(struct strbuf *b, const char *name, int64_t ns)
{
	time_t t = (time_t)(ns / 1000000000);
	char text[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	strbuf_addf(b, "<%s>%s.%03dZ</%s>", name, text, (int)(ns / 1000000 % 1000), name);
}

static xmlDoc *
parse(const char *text, size_t len, const char *root_name)
{
	xmlDoc *doc = NULL;
	xmlNode *root;

	if (len > 0 && len < (64u << 20))
		doc = xmlReadMemory(text, (int)len, NULL, NULL,
		    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (doc == NULL)
		return NULL;
	root = xmlDocGetRootElement(doc);
	if (doc->intSubset != NULL || root == NULL ||
	    strcmp((const char *)root->name, root_name) != 0) {
		xmlFreeDoc(doc);
		return NULL;
	}
	return doc;
}

static bool
is_element(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, name) == 0;
}

/* Text of an element, malloced, never NULL. */
static char *
content(xmlNode *n)
{
	xmlChar *x = xmlNodeGetContent(n);
	char *s = xstrdup(x != NULL ? (const char *)x : "");

	xmlFree(x);
	return s;
}

/* An ETag with quotes and blanks around it taken off. */
static void
clean_etag(const char *in, char *out, size_t cap)
{
	static const char edge[] = "\" \t\r\n";
	size_t len;

	in += strspn(in, edge);
	len = strlen(in);
	while (len > 0 && strchr(edge, in[len - 1]) != NULL)
		len--;
	snprintf(out, cap, "%.*s", (int)(len < cap ? len : cap - 1), in);
}

static int
delete_item(xmlNode *object, struct xml_delete_item *it)
{
	xmlNode *n;
	char *s;

	memset(it, 0, sizeof *it);
	for (n = object->children; n != NULL; n = n->next) {
		if (is_element(n, "Key")) {
			free(it->key);
			it->key = content(n);
		} else if (is_element(n, "ETag")) {
			s = content(n);
			clean_etag(s, it->etag, sizeof it->etag);
			free(s);
		}
	}
	return it->key != NULL && it->key[0] != '\0' ? 0 : -EINVAL;
}

int
xml_parse_delete(const char *text, size_t len, struct xml_delete_item **out, bool *is_quiet)
{
	xmlDoc *doc = parse(text, len, "Delete");
	xmlNode *n;
	int count = 0, err = 0;
	char *s;

	*out = NULL;
	*is_quiet = false;
	if (doc == NULL)
		return -EINVAL;
	*out = xcalloc(DELETE_MAX + 1, sizeof **out);
	for (n = xmlDocGetRootElement(doc)->children; n != NULL && err == 0; n = n->next) {
		if (is_element(n, "Object")) {
			if (count == DELETE_MAX)
				err = -EINVAL;
			else
				err = delete_item(n, &(*out)[count++]);
		} else if (is_element(n, "Quiet")) {
			s = content(n);
			*is_quiet = strcmp(s, "true") == 0;
			free(s);
		}
	}
	xmlFreeDoc(doc);
	if (err == 0 && count > 0)
		return count;
	xml_delete_free(*out, count);
	*out = NULL;
	return -EINVAL;
}

void
xml_delete_free(struct xml_delete_item *items, int n)
{
	int i;

	for (i = 0; i < n; i++)
		free(items[i].key);
	free(items);
}

static int
complete_part(xmlNode *part, struct upload_part *p)
{
	xmlNode *n;
	char *s, *end;

	memset(p, 0, sizeof *p);
	for (n = part->children; n != NULL; n = n->next) {
		s = NULL;
		if (is_element(n, "PartNumber")) {
			s = content(n);
			p->number = (unsigned int)strtoul(s, &end, 10);
			if (*end != '\0')
				p->number = 0;
		} else if (is_element(n, "ETag")) {
			s = content(n);
			clean_etag(s, p->etag, sizeof p->etag);
		}
		free(s);
	}
	return p->number >= 1 && p->number <= UPLOAD_PART_MAX && p->etag[0] != '\0' ? 0 : -EINVAL;
}

int
xml_parse_complete(const char *text, size_t len, struct upload_part **out)
{
	xmlDoc *doc = parse(text, len, "CompleteMultipartUpload");
	int count = 0, err = 0;
	xmlNode *n;

	*out = NULL;
	if (doc == NULL)
		return -EINVAL;
	*out = xcalloc(UPLOAD_PART_MAX + 1, sizeof **out);
	for (n = xmlDocGetRootElement(doc)->children; n != NULL && err == 0; n = n->next) {
		if (!is_element(n, "Part"))
			continue;
		if (count == UPLOAD_PART_MAX)
			err = -EINVAL;
		else
			err = complete_part(n, &(*out)[count++]);
	}
	xmlFreeDoc(doc);
	if (err == 0 && count > 0)
		return count;
	free(*out);
	*out = NULL;
	return -EINVAL;
}
