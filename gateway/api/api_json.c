/* SPDX-License-Identifier: Apache-2.0 */
/* api_json.c - check a request against its table; messages as AWS words them. */
#include "gateway/api/api_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"

#define ERRORS_MAX 8
#define SHOWN_VALUE_MAX 64
#define PATH_MAX_BYTES 160

struct check {
	struct strbuf text; /* "Value ... at ... failed ...; Value ..." */
	unsigned int nerrors;
	struct control_error *e;
	bool is_bad_json;
};

json_t *
api_parse(const char *body, size_t len, struct control_error *e)
{
	json_error_t error;
	json_t *in;

	if (len == 0)
		return json_object();
	in = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(in))
		return in;
	e->type = "SerializationException";
	e->code = NULL;
	if (in != NULL)
		snprintf(e->message, sizeof(e->message), "The request body is not a JSON object");
	else
		snprintf(e->message, sizeof(e->message),
		    "The request body is not JSON: %.200s at line %d", error.text, error.line);
	json_decref(in);
	return NULL;
}

/* "GatewayARN" -> "gatewayARN", as AWS spells member names in messages. */
static void
join(char out[PATH_MAX_BYTES], const char *path, const char *name)
{
	size_t at;

	snprintf(out, PATH_MAX_BYTES, "%s%s%s", path, path[0] != '\0' ? "." : "", name);
	at = strlen(path) + (path[0] != '\0');
	if (at < strlen(out) && out[at] >= 'A' && out[at] <= 'Z')
		out[at] = (char)(out[at] - 'A' + 'a');
}

static size_t
count_chars(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80; /* not a UTF-8 continuation byte */
	return n;
}

/* A value as the message shows it, cut at a character's border. */
static void
add_value(struct strbuf *out, const json_t *v)
{
	char *text = json_is_string(v) ? xstrdup(json_string_value(v))
				       : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	size_t n = text != NULL ? strlen(text) : 0;

	if (n > SHOWN_VALUE_MAX) {
		n = SHOWN_VALUE_MAX;
		while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--;
		text[n] = '\0';
	}
	strbuf_addf(out, "'%s'", text != NULL ? text : "");
	free(text);
}

static void
violate(struct check *c, const char *path, const json_t *v, const char *constraint)
{
	if (c->nerrors++ >= ERRORS_MAX)
		return;
	if (c->text.len > 0)
		strbuf_adds(&c->text, "; ");
	strbuf_adds(&c->text, "Value ");
	if (v == NULL)
		strbuf_adds(&c->text, "null");
	else
		add_value(&c->text, v);
	strbuf_addf(&c->text, " at '%s' failed to satisfy constraint: %s", path, constraint);
}

static void check_object(
    struct check *c, const struct api_field *fields, const json_t *in, const char *path);

static const char *
type_name(enum api_type t)
{
	static const char *const names[] = {
	    [API_STRING] = "a String",
	    [API_INTEGER] = "a Long",
	    [API_BOOLEAN] = "a Boolean",
	    [API_LIST] = "a List",
	    [API_OBJECT] = "a Structure",
	};

	return names[t];
}

static const char *
json_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "STRUCTURE_VALUE";
	case JSON_ARRAY:
		return "LIST_VALUE";
	case JSON_STRING:
		return "STRING_VALUE";
	case JSON_INTEGER:
	case JSON_REAL:
		return "NUMBER_VALUE";
	case JSON_TRUE:
		return "TRUE_VALUE";
	case JSON_FALSE:
		return "FALSE_VALUE";
	case JSON_NULL:
		break;
	}
	return "NULL_VALUE";
}

static bool
type_matches(enum api_type t, const json_t *v)
{
	switch (t) {
	case API_STRING:
		return json_is_string(v);
	case API_INTEGER:
		return json_is_integer(v);
	case API_BOOLEAN:
		return json_is_boolean(v);
	case API_LIST:
		return json_is_array(v);
	case API_OBJECT:
		return json_is_object(v);
	}
	return false;
}

static void
check_range(
    struct check *c, const struct api_shape *s, const json_t *v, int64_t n, const char *path)
{
	const char *what = s->type == API_INTEGER ? "value" : "length";
	char text[96];

	if (n < s->min) {
		snprintf(text, sizeof(text), "Member must have %s greater than or equal to %lld",
		    what, (long long)s->min);
		violate(c, path, v, text);
	} else if (s->max != 0 && n > s->max) {
		snprintf(text, sizeof(text), "Member must have %s less than or equal to %lld", what,
		    (long long)s->max);
		violate(c, path, v, text);
	}
}

static void
check_string(struct check *c, const struct api_shape *s, const json_t *v, const char *path)
{
	const char *text = json_string_value(v);
	struct strbuf b = STRBUF_INIT;

	check_range(c, s, v, (int64_t)count_chars(text), path);
	if (s->matches != NULL && !s->matches(text)) {
		strbuf_addf(&b, "Member must satisfy regular expression pattern: %s", s->pattern);
		violate(c, path, v, b.s);
	}
	if (s->values != NULL) {
		const char *const *p = s->values;

		while (*p != NULL && strcmp(*p, text) != 0)
			p++;
		if (*p == NULL) {
			strbuf_adds(&b, "Member must satisfy enum value set: [");
			for (p = s->values; *p != NULL; p++)
				strbuf_addf(&b, "%s%s", p == s->values ? "" : ", ", *p);
			strbuf_adds(&b, "]");
			violate(c, path, v, b.s);
		}
	}
	strbuf_free(&b);
}

static void check_value(
    struct check *c, const struct api_shape *s, const json_t *v, const char *path);

static void
check_list(struct check *c, const struct api_shape *s, const json_t *v, const char *path)
{
	char sub[PATH_MAX_BYTES], step[32];
	json_t *item;
	size_t i;

	check_range(c, s, v, (int64_t)json_array_size(v), path);
	json_array_foreach(v, i, item)
	{
		if (c->is_bad_json || c->nerrors > ERRORS_MAX)
			return;
		snprintf(step, sizeof(step), "%zu.member", i + 1);
		join(sub, path, step);
		if (json_is_null(item))
			violate(c, sub, NULL, "Member must not be null");
		else
			check_value(c, s->member, item, sub);
	}
}

static void
check_value(struct check *c, const struct api_shape *s, const json_t *v, const char *path)
{
	if (!type_matches(s->type, v)) {
		if (!c->is_bad_json)
			snprintf(c->e->message, sizeof(c->e->message),
			    "%s can not be converted to %s (at '%s')", json_name(v),
			    type_name(s->type), path);
		c->is_bad_json = true;
		return;
	}
	switch (s->type) {
	case API_STRING:
		check_string(c, s, v, path);
		return;
	case API_INTEGER:
		check_range(c, s, v, json_integer_value(v), path);
		return;
	case API_LIST:
		check_list(c, s, v, path);
		return;
	case API_OBJECT:
		check_object(c, s->fields, v, path);
		return;
	case API_BOOLEAN:
		return;
	}
}

static void
check_object(struct check *c, const struct api_field *fields, const json_t *in, const char *path)
{
	char sub[PATH_MAX_BYTES];

	for (const struct api_field *f = fields; f->name != NULL && !c->is_bad_json; f++) {
		const json_t *v = json_object_get(in, f->name);

		join(sub, path, f->name);
		if (v == NULL || json_is_null(v)) {
			if (f->is_required)
				violate(c, sub, NULL, "Member must not be null");
			continue;
		}
		check_value(c, f->shape, v, sub);
	}
}

int
api_validate(const struct api_field *fields, const json_t *in, struct control_error *e)
{
	struct check c = {.e = e};
	int r = 0;

	check_object(&c, fields, in, "");
	if (c.is_bad_json) {
		e->type = "SerializationException";
		e->code = NULL;
		r = -EINVAL;
	} else if (c.nerrors > 0) {
		e->type = "ValidationException";
		e->code = NULL;
		snprintf(e->message, sizeof(e->message), "%u validation error%s detected: %s",
		    c.nerrors, c.nerrors == 1 ? "" : "s", c.text.s);
		r = -EINVAL;
	}
	strbuf_free(&c.text);
	return r;
}
