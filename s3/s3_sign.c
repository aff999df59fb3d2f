/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_sign.c - AWS Signature Version 4: canonical request, string to sign, key derivation.
 *
 * The same code signs and verifies, so a disagreement between our client and our server would
 * have to be a disagreement with AWS's published examples, which the unit test holds.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "s3/s3_sign.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
same_name(const char *a, const char *b, size_t blen)
{
	size_t i;

	for (i = 0; i < blen && a[i] != '\0'; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return i == blen && a[i] == '\0';
}

static void
add_lower(struct strbuf *out, const char *s)
{
	for (; *s != '\0'; s++)
		strbuf_addc(out, lower(*s));
}

/* add_header_value - surrounding blanks cut, runs of blanks made one. */
static void
add_header_value(struct strbuf *out, const char *s)
{
	bool blank = false, any = false;

	for (; *s != '\0'; s++) {
		if (*s == ' ' || *s == '\t') {
			blank = true;
			continue;
		}
		if (blank && any)
			strbuf_addc(out, ' ');
		blank = false;
		any = true;
		strbuf_addc(out, *s);
	}
}

/* ---- canonical query ---- */

struct param {
	char *name, *value; /* encoded */
};

static int
param_compare(const void *a, const void *b)
{
	const struct param *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c != 0 ? c : strcmp(x->value, y->value);
}

/* recode - decode and encode again, so that every spelling of a parameter becomes one. */
static char *
recode(const char *s, size_t len)
{
	char *plain = s3_uri_decode(s, len), *out = NULL;

	if (plain != NULL)
		out = s3_uri_encode(plain, false);
	free(plain);
	return out;
}

static int
query_split(const char *query, const char *drop, struct param *params, size_t *n)
{
	char *dropped = drop != NULL ? s3_uri_encode(drop, false) : NULL;
	int err = 0;

	*n = 0;
	while (*query != '\0') {
		size_t len = strcspn(query, "&"), name_len = strcspn(query, "=&");
		size_t value_at = name_len < len ? name_len + 1 : len;
		struct param *p = &params[*n];

		if (len > 0) {
			p->name = recode(query, name_len);
			p->value = recode(query + value_at, len - value_at);
			(*n)++;
			if (p->name == NULL || p->value == NULL) {
				err = -EINVAL;
				break;
			}
			if (dropped != NULL && strcmp(p->name, dropped) == 0) {
				free(p->name);
				free(p->value);
				(*n)--;
			}
		}
		query += len;
		if (*query == '&')
			query++;
	}
	free(dropped);
	return err;
}

static int
add_query(struct strbuf *out, const char *query, const char *drop)
{
	size_t max = 1, n;
	struct param *params;
	int err;

	for (const char *q = query; *q != '\0'; q++)
		max += *q == '&';
	params = xcalloc(max, sizeof(*params));
	err = query_split(query, drop, params, &n);
	if (err == 0) {
		qsort(params, n, sizeof(*params), param_compare);
		for (size_t i = 0; i < n; i++)
			strbuf_addf(
			    out, "%s%s=%s", i > 0 ? "&" : "", params[i].name, params[i].value);
	}
	for (size_t i = 0; i < n; i++) {
		free(params[i].name);
		free(params[i].value);
	}
	free(params);
	return err;
}

/* ---- canonical headers ---- */

static int
name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* list_all - the ';' list of all headers: lower case, sorted, each once. */
static char *
list_all(const struct s3_sign_request *r)
{
	char **names = xcalloc(r->nheaders + 1, sizeof(*names));
	struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; i < r->nheaders; i++) {
		struct strbuf name = STRBUF_INIT;

		add_lower(&name, r->headers[i].name);
		names[i] = strbuf_take(&name);
	}
	qsort(names, r->nheaders, sizeof(*names), name_compare);
	for (size_t i = 0; i < r->nheaders; i++)
		if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
			strbuf_addf(&out, "%s%s", i > 0 ? ";" : "", names[i]);
	for (size_t i = 0; i < r->nheaders; i++)
		free(names[i]);
	free(names);
	return strbuf_take(&out);
}

/* add_headers - one line per name of list; headers of the same name are joined by commas. */
static int
add_headers(struct strbuf *out, const struct s3_sign_request *r, const char *list)
{
	while (*list != '\0') {
		size_t len = strcspn(list, ";");
		bool found = false;

		for (size_t i = 0; i < len; i++)
			strbuf_addc(out, lower(list[i]));
		strbuf_addc(out, ':');
		for (size_t i = 0; i < r->nheaders; i++) {
			if (!same_name(r->headers[i].name, list, len))
				continue;
			if (found)
				strbuf_addc(out, ',');
			add_header_value(out, r->headers[i].value);
			found = true;
		}
		if (len == 0 || !found)
			return -EINVAL;
		strbuf_addc(out, '\n');
		list += len;
		if (*list == ';')
			list++;
	}
	return 0;
}

static int
canonical_request(const struct s3_sign_request *r, const char *list, struct strbuf *out)
{
	int err;

	strbuf_addf(out, "%s\n", r->method);
	if (r->path == NULL || r->path[0] == '\0') {
		strbuf_addc(out, '/');
	} else if (r->path_is_encoded) {
		strbuf_adds(out, r->path);
	} else {
		char *path = s3_uri_encode(r->path, true);

		strbuf_adds(out, path);
		free(path);
	}
	strbuf_addc(out, '\n');
	err = add_query(out, r->query != NULL ? r->query : "", r->drop_query_param);
	if (err < 0)
		return err;
	strbuf_addc(out, '\n');
	err = add_headers(out, r, list);
	if (err < 0)
		return err;
	strbuf_addf(out, "\n%s\n%s", list, r->payload_hash);
	return 0;
}

/* ---- signing ---- */

static void
hmac_text(const void *key, size_t keylen, const char *text, uint8_t out[32])
{
	digest_hmac_sha256(key, keylen, text, strlen(text), out);
}

void
s3_signing_key(
    const char *secret, const char *date, const char *region, const char *service, uint8_t key[32])
{
	char *start = xasprintf("AWS4%s", secret);
	uint8_t k[32];

	hmac_text(start, strlen(start), date, k);
	hmac_text(k, sizeof(k), region, key);
	hmac_text(key, 32, service, k);
	hmac_text(k, sizeof(k), "aws4_request", key);
	explicit_bzero(start, strlen(start));
	explicit_bzero(k, sizeof(k));
	free(start);
}

/* is_amz_date - YYYYMMDDTHHMMSSZ. */
static bool
is_amz_date(const char *s)
{
	for (int i = 0; i < 16; i++) {
		bool digit = s[i] >= '0' && s[i] <= '9';

		if (i == 8 ? s[i] != 'T' : i == 15 ? s[i] != 'Z' : !digit)
			return false;
	}
	return s[16] == '\0';
}

int
s3_sign_with_key(
    const struct s3_sign_request *r, const uint8_t key[32], char sig[65], char **signed_list)
{
	struct strbuf creq = STRBUF_INIT, to_sign = STRBUF_INIT;
	char *list, hash[65];
	uint8_t digest[32];
	int err;

	sig[0] = '\0';
	if (signed_list != NULL)
		*signed_list = NULL;
	if (r->amz_date == NULL || !is_amz_date(r->amz_date) || r->payload_hash == NULL)
		return -EINVAL;
	list = r->signed_headers != NULL ? xstrdup(r->signed_headers) : list_all(r);
	err = canonical_request(r, list, &creq);
	if (err < 0)
		goto out;
	digest_sha256(creq.s, creq.len, digest);
	digest_hex(digest, sizeof(digest), hash);
	strbuf_addf(&to_sign, ALGORITHM "\n%s\n%.8s/%s/%s/aws4_request\n%s", r->amz_date,
	    r->amz_date, r->region, r->service, hash);
	digest_hmac_sha256(key, 32, to_sign.s, to_sign.len, digest);
	digest_hex(digest, sizeof(digest), sig);
	if (signed_list != NULL) {
		*signed_list = list;
		list = NULL;
	}
out:
	strbuf_free(&creq);
	strbuf_free(&to_sign);
	free(list);
	return err;
}

int
s3_sign(const struct s3_sign_request *r, const char *secret, char sig[65], char **signed_list)
{
	char date[9];
	uint8_t key[32];
	int err;

	sig[0] = '\0';
	if (signed_list != NULL)
		*signed_list = NULL;
	if (r->amz_date == NULL || !is_amz_date(r->amz_date))
		return -EINVAL;
	memcpy(date, r->amz_date, 8);
	date[8] = '\0';
	s3_signing_key(secret, date, r->region, r->service, key);
	err = s3_sign_with_key(r, key, sig, signed_list);
	explicit_bzero(key, sizeof(key));
	return err;
}

void
s3_sign_chunk(const uint8_t key[32], const char *amz_date, const char *scope, const char *prev_sig,
    const char *chunk_sha256_hex, char sig[65])
{
	/* the hash of nothing stands where a trailer's hash would */
	static const char empty[] =
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	char *text = xasprintf(ALGORITHM "-PAYLOAD\n%s\n%s\n%s\n%s\n%s", amz_date, scope, prev_sig,
	    empty, chunk_sha256_hex);
	uint8_t digest[32];

	digest_hmac_sha256(key, 32, text, strlen(text), digest);
	digest_hex(digest, sizeof(digest), sig);
	free(text);
}

/* ---- the Authorization header ---- */

/* field - cut "name=value" at the comma that ends it; NULL when it is not there. */
static char *
field(char **at, const char *name)
{
	size_t len = strlen(name);
	char *value;

	*at += strspn(*at, " \t");
	if (strncmp(*at, name, len) != 0 || (*at)[len] != '=')
		return NULL;
	value = *at + len + 1;
	*at = value + strcspn(value, ", \t");
	if (**at != '\0') {
		*(*at)++ = '\0';
		*at += strspn(*at, ", \t");
	}
	return *value != '\0' ? value : NULL;
}

/* cut_last - split off what follows the last '/'. */
static char *
cut_last(char *s)
{
	char *slash = strrchr(s, '/');

	if (slash == NULL || slash[1] == '\0')
		return NULL;
	*slash = '\0';
	return slash + 1;
}

static int
parse_credential(char *credential, struct s3_auth *out)
{
	const char *terminator = cut_last(credential);

	if (terminator == NULL || strcmp(terminator, "aws4_request") != 0)
		return -EINVAL;
	out->service = cut_last(credential);
	out->region = out->service != NULL ? cut_last(credential) : NULL;
	out->date = out->region != NULL ? cut_last(credential) : NULL;
	if (out->date == NULL || strlen(out->date) != 8 || strspn(out->date, "0123456789") != 8 ||
	    credential[0] == '\0')
		return -EINVAL;
	out->access_key = credential;
	return 0;
}

int
s3_auth_parse(const char *authorization, struct s3_auth *out)
{
	size_t len = strlen(authorization);
	char *at, *value;

	memset(out, 0, sizeof(*out));
	if (len >= sizeof(out->text))
		return -EINVAL;
	memcpy(out->text, authorization, len + 1);
	at = out->text;
	if (strncmp(at, ALGORITHM " ", sizeof(ALGORITHM)) != 0)
		return -EINVAL;
	at += sizeof(ALGORITHM);
	/* the three fields may come in any order, each once */
	for (int i = 0; i < 3; i++) {
		if ((value = field(&at, "Credential")) != NULL) {
			if (out->access_key != NULL || parse_credential(value, out) < 0)
				return -EINVAL;
		} else if ((value = field(&at, "SignedHeaders")) != NULL) {
			out->signed_headers = value;
		} else if ((value = field(&at, "Signature")) != NULL) {
			out->signature = value;
		} else {
			return -EINVAL;
		}
	}
	if (*at != '\0' || out->access_key == NULL || out->signed_headers == NULL ||
	    out->signature == NULL || strlen(out->signature) != 64 ||
	    strspn(out->signature, "0123456789abcdef") != 64)
		return -EINVAL;
	return 0;
}
