/* SPDX-License-Identifier: Apache-2.0 */
/* s3_cred_parse.c - the two texts that credentials come in. inih is not used here: it cuts lines at
 * 200 bytes and session tokens are longer. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_cred.h"
#include "s3/s3_time.h"

#define BLANKS " \t\r"

void
s3_creds_clear(struct s3_creds *c)
{
	if (c->secret_key != NULL)
		explicit_bzero(c->secret_key, strlen(c->secret_key));
	free(c->access_key);
	free(c->secret_key);
	free(c->session_token);
	memset(c, 0, sizeof(*c));
}

/* trim - shrink [*s, *s + *len) to what lies between blanks. */
static void
trim(const char **s, size_t *len)
{
	while (*len > 0 && strchr(BLANKS, **s) != NULL) {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && strchr(BLANKS, (*s)[*len - 1]) != NULL)
		(*len)--;
}

static bool
is_word(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(s, word, len) == 0;
}

static void
set(char **to, const char *s, size_t len)
{
	free(*to);
	*to = len > 0 ? xstrndup(s, len) : NULL;
}

static int
take_line(const char *line, size_t len, struct s3_creds *out)
{
	const char *equals = memchr(line, '=', len), *value;
	size_t name_len, value_len;

	if (equals == NULL)
		return -EINVAL;
	name_len = (size_t)(equals - line);
	value = equals + 1;
	value_len = len - name_len - 1;
	trim(&line, &name_len);
	trim(&value, &value_len);
	if (is_word(line, name_len, "aws_access_key_id"))
		set(&out->access_key, value, value_len);
	else if (is_word(line, name_len, "aws_secret_access_key"))
		set(&out->secret_key, value, value_len);
	else if (is_word(line, name_len, "aws_session_token"))
		set(&out->session_token, value, value_len);
	return 0;
}

/* is_section - "[name]" or, as in ~/.aws/config, "[profile name]". */
static bool
is_section(const char *line, size_t len, const char *profile)
{
	line++;
	len -= 2;
	trim(&line, &len);
	if (len > 8 && memcmp(line, "profile ", 8) == 0) {
		line += 8;
		len -= 8;
		trim(&line, &len);
	}
	return is_word(line, len, profile);
}

int
s3_creds_parse_file(const char *text, const char *profile, struct s3_creds *out)
{
	bool is_ours = false;
	int err = 0;

	memset(out, 0, sizeof(*out));
	while (*text != '\0' && err == 0) {
		size_t len = strcspn(text, "\n"), used = len;
		const char *line = text;

		trim(&line, &len);
		if (len > 0 && *line == '[') {
			if (len < 3 || line[len - 1] != ']')
				err = -EINVAL;
			else
				is_ours = is_section(line, len, profile);
		} else if (len > 0 && *line != '#' && *line != ';' && is_ours) {
			err = take_line(line, len, out);
		}
		text += used;
		text += *text == '\n';
	}
	if (err == 0 && (out->access_key == NULL || out->secret_key == NULL))
		err = -ENOENT;
	if (err < 0)
		s3_creds_clear(out);
	return err;
}

static char *
json_text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s != NULL && s[0] != '\0' ? xstrdup(s) : NULL;
}

int
s3_creds_parse_imds(const char *json, size_t len, struct s3_creds *out)
{
	json_t *root = json_loadb(json, len, 0, NULL);
	const char *expires = json_string_value(json_object_get(root, "Expiration"));
	int64_t ns = 0;
	int err = 0;

	memset(out, 0, sizeof(*out));
	out->access_key = json_text(root, "AccessKeyId");
	out->secret_key = json_text(root, "SecretAccessKey");
	out->session_token = json_text(root, "Token");
	if (out->access_key == NULL || out->secret_key == NULL ||
	    (expires != NULL && s3_time_iso(expires, &ns) < 0))
		err = -ERR_PROTOCOL;
	out->expires_s = ns / 1000000000;
	json_decref(root);
	if (err < 0)
		s3_creds_clear(out);
	return err;
}
