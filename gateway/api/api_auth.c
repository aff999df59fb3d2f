/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_auth.c - who signed this request?  SigV4 over whatever SignedHeaders names, as long as it names
 * host, the date and the operation; error texts as AWS words them, clients match on them.
 */
#include <ini.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "gateway/api/api_int.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"

#define SKEW_S 900
#define KEYS_MAX 256
#define CREDENTIALS_MAX 65536

struct api_auth {
	pthread_mutex_t lock;
	char *path;
	struct timespec mtime;
	ino_t ino;
	off_t size;
	struct api_key *keys;
	size_t nkeys;
};

/* --- the credentials file --------------------------------------------------------------------------- */

struct parse {
	struct api_key *keys;
	char **names;
	size_t n;
};

static struct api_key *
profile(struct parse *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->names[i], name) == 0)
			return &p->keys[i];
	if (p->n == KEYS_MAX)
		return NULL;
	p->names[p->n] = xstrdup(name);
	return &p->keys[p->n++];
}

static int
take(void *arg, const char *section, const char *name, const char *value)
{
	struct api_key *k = profile(arg, section);
	char **field = NULL;

	if (k == NULL)
		return 0;
	if (strcmp(name, "aws_access_key_id") == 0)
		field = &k->access_key;
	else if (strcmp(name, "aws_secret_access_key") == 0)
		field = &k->secret_key;
	else if (strcmp(name, "aws_session_token") == 0)
		field = &k->session_token;
	if (field != NULL) {
		free(*field);
		*field = xstrdup(value);
	}
	return 1;
}

static void
key_clear(struct api_key *k)
{
	if (k->secret_key != NULL)
		explicit_bzero(k->secret_key, strlen(k->secret_key));
	free(k->access_key);
	free(k->secret_key);
	free(k->session_token);
	memset(k, 0, sizeof(*k));
}

void
api_keys_free(struct api_key *keys, size_t n)
{
	for (size_t i = 0; keys != NULL && i < n; i++)
		key_clear(&keys[i]);
	free(keys);
}

int
api_keys_parse(const char *text, struct api_key **keys)
{
	struct parse p = {.keys = xcalloc(KEYS_MAX, sizeof(*p.keys)),
	    .names = xcalloc(KEYS_MAX, sizeof(*p.names))};
	size_t n = 0;
	int bad;

	bad = ini_parse_string(text, take, &p);
	for (size_t i = 0; i < p.n; i++) {
		free(p.names[i]);
		if (p.keys[i].access_key != NULL && p.keys[i].secret_key != NULL &&
		    p.keys[i].access_key[0] != '\0') {
			struct api_key k = p.keys[i];

			memset(&p.keys[i], 0, sizeof(k));
			p.keys[n++] = k;
		} else {
			key_clear(&p.keys[i]);
		}
	}
	free(p.names);
	*keys = p.keys;
	if (bad == 0)
		return (int)n;
	api_keys_free(p.keys, n);
	*keys = NULL;
	return -EINVAL;
}

/* Locked. A file that cannot be read leaves the old keys: a half-written one must lock nobody out. */
static void
read_again(struct api_auth *a)
{
	struct api_key *keys = NULL;
	struct stat st;
	char *text = NULL;
	size_t len;
	int r;

	if (stat(a->path, &st) < 0) {
		log_warn("gateway.api", "no-credentials", "file=%s err=\"%s\"", a->path,
		    err_str(-errno));
		return;
	}
	if (st.st_mtim.tv_sec == a->mtime.tv_sec && st.st_mtim.tv_nsec == a->mtime.tv_nsec &&
	    st.st_ino == a->ino && st.st_size == a->size)
		return;
	r = osfile_read_all(a->path, CREDENTIALS_MAX, &text, &len);
	if (r == 0)
		r = api_keys_parse(text, &keys);
	if (text != NULL)
		explicit_bzero(text, len);
	free(text);
	if (r < 0) {
		log_warn("gateway.api", "credentials-unreadable", "file=%s err=\"%s\"", a->path,
		    err_str(r));
		return;
	}
	api_keys_free(a->keys, a->nkeys);
	a->keys = keys;
	a->nkeys = (size_t)r;
	a->mtime = st.st_mtim;
	a->ino = st.st_ino;
	a->size = st.st_size;
	log_info("gateway.api", "credentials", "file=%s keys=%zu", a->path, a->nkeys);
}

struct api_auth *
api_auth_new(const char *path)
{
	struct api_auth *a = xcalloc(1, sizeof(*a));

	pthread_mutex_init(&a->lock, NULL);
	a->path = xstrdup(path);
	return a;
}

void
api_auth_free(struct api_auth *a)
{
	if (a == NULL)
		return;
	api_keys_free(a->keys, a->nkeys);
	pthread_mutex_destroy(&a->lock);
	free(a->path);
	free(a);
}

int
api_auth_check(struct api_auth *a, const struct api_request *r, const char *service, int64_t now_s,
    struct control_error *e)
{
	int result;

	pthread_mutex_lock(&a->lock);
	read_again(a);
	result = api_auth_verify(a->keys, a->nkeys, r, service, now_s, e);
	pthread_mutex_unlock(&a->lock);
	return result;
}

/* --- the signature ------------------------------------------------------------------------------------- */

static bool
is_signed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; *p != '\0';) {
		size_t n = strcspn(p, ";");

		if (n == len && strncasecmp(p, name, len) == 0)
			return true;
		p += n + (p[n] == ';');
	}
	return false;
}

/* What must be under the signature, or a third party could change it on the way. */
static const char *
unsigned_header(const struct api_request *r, const char *list)
{
	static const char *const must[] = {
	    "host", "x-amz-date", "x-amz-target", "x-amz-security-token"};

	for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++)
		if (api_header(r, must[i]) != NULL && !is_signed(list, must[i]))
			return must[i];
	return api_header(r, "host") == NULL ? "host" : NULL;
}

static void
amz_date(int64_t s, char out[20])
{
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 20, "%Y%m%dT%H%M%SZ", &tm);
}

static int
check_date(const char *date, const struct s3_auth *auth, int64_t now_s, struct control_error *e)
{
	char now[20], edge[20];
	struct tm tm = {0};
	const char *end = strptime(date, "%Y%m%dT%H%M%SZ", &tm);
	int64_t then;

	if (strlen(date) != 16 || end == NULL || *end != '\0')
		return api_error(e, "IncompleteSignatureException",
		    "Date must be in ISO-8601 'basic format'. Got '%.40s'. See "
		    "http://en.wikipedia.org/wiki/ISO_8601",
		    date);
	if (strncmp(date, auth->date, 8) != 0 || strlen(auth->date) != 8)
		return api_error(e, "InvalidSignatureException",
		    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of "
		    "date "
		    "from HTTP: '%.16s' != '%.8s', from '%.16s'.",
		    auth->date, date, date);
	then = timegm(&tm);
	amz_date(now_s, now);
	if (then < now_s - SKEW_S) {
		amz_date(now_s - SKEW_S, edge);
		return api_error(e, "InvalidSignatureException",
		    "Signature expired: %s is now earlier than %s (%s - 15 min.)", date, edge, now);
	}
	if (then > now_s + SKEW_S) {
		amz_date(now_s + SKEW_S, edge);
		return api_error(e, "InvalidSignatureException",
		    "Signature not yet current: %s is still later than %s (%s + 15 min.)", date,
		    edge, now);
	}
	return 0;
}

static const struct api_key *
find_key(const struct api_key *keys, size_t n, const char *access_key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(keys[i].access_key, access_key) == 0)
			return &keys[i];
	return NULL;
}

/* A token must be there and right when the key has one; one too many is refused too. */
static bool
token_matches(const struct api_key *k, const struct api_request *r)
{
	const char *token = api_header(r, "x-amz-security-token");
	bool has = k->session_token != NULL && k->session_token[0] != '\0';

	if (!has || token == NULL)
		return !has && token == NULL;
	return strlen(token) == strlen(k->session_token) &&
	       digest_equal(token, k->session_token, strlen(token));
}

static int
check_signature(const struct api_key *k, const struct api_request *r, const struct s3_auth *auth,
    const char *date, const char *service, struct control_error *e)
{
	char sig[65], hash[2 * SHA256_LEN + 1];
	uint8_t h[SHA256_LEN];
	struct s3_sign_request s = {
	    .method = r->method,
	    .path = r->path,
	    .path_is_encoded = true,
	    .query = r->query,
	    .headers = r->headers,
	    .nheaders = r->nheaders,
	    .signed_headers = auth->signed_headers,
	    .payload_hash = hash,
	    .amz_date = date,
	    .region = auth->region,
	    .service = service,
	};

	digest_sha256(r->body, r->body_len, h);
	digest_hex(h, sizeof(h), hash);
	if (s3_sign(&s, k->secret_key, sig, NULL) < 0 || strlen(auth->signature) != 64 ||
	    !digest_equal(sig, auth->signature, 64))
		return api_error(e, "InvalidSignatureException",
		    "The request signature we calculated does not match the signature you "
		    "provided. "
		    "Check your AWS Secret Access Key and signing method. Consult the service "
		    "documentation for details.");
	return 0;
}

int
api_auth_verify(const struct api_key *keys, size_t nkeys, const struct api_request *r,
    const char *service, int64_t now_s, struct control_error *e)
{
	const char *header = api_header(r, "authorization"), *missing;
	const char *date = api_header(r, "x-amz-date");
	const struct api_key *k;
	struct s3_auth auth;
	int result;

	if (header == NULL)
		return api_error(
		    e, "MissingAuthenticationTokenException", "Missing Authentication Token");
	if (s3_auth_parse(header, &auth) < 0)
		return api_error(e, "IncompleteSignatureException",
		    "Authorization header requires 'Credential' parameter, 'Signature' parameter "
		    "and "
		    "'SignedHeaders' parameter of AWS4-HMAC-SHA256.");
	if (date == NULL)
		return api_error(e, "IncompleteSignatureException",
		    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' "
		    "header.");
	missing = unsigned_header(r, auth.signed_headers);
	if (missing != NULL)
		return api_error(e, "InvalidSignatureException",
		    "'%s' must be a 'SignedHeader' in the AWS Authorization.", missing);
	if (strcmp(auth.service, service) != 0)
		return api_error(e, "InvalidSignatureException",
		    "Credential should be scoped to correct service: '%s'. ", service);
	result = check_date(date, &auth, now_s, e);
	if (result < 0)
		return result;
	k = find_key(keys, nkeys, auth.access_key);
	if (k == NULL || !token_matches(k, r))
		return api_error(e, "UnrecognizedClientException",
		    "The security token included in the request is invalid.");
	return check_signature(k, r, &auth, date, service, e);
}
