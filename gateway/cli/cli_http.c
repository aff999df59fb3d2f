/* SPDX-License-Identifier: Apache-2.0 */
/* cli_http.c - requests to the API port, signed with Signature Version 4 for "storagegateway". */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/base/digest.h"
#include "gateway/cli/cli.h"
#include "s3/s3_sign.h"

#define ANSWER_MAX (64u << 20)
#define SERVICE "storagegateway"

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
	struct strbuf *b = arg;

	if (b->len + size * n > ANSWER_MAX)
		return 0;
	strbuf_add(b, data, size * n);
	return size * n;
}

/* "http://host:port/x" -> "host:port" */
static char *
host_of(const char *url)
{
	const char *p = strstr(url, "://");

	p = p != NULL ? p + 3 : url;
	return xstrndup(p, strcspn(p, "/"));
}

static struct curl_slist *
add_header(struct curl_slist *list, const char *name, const char *value)
{
	char *line = xasprintf("%s: %s", name, value);

	list = curl_slist_append(list, line);
	free(line);
	return list;
}

/* Headers of a signed request, or NULL. */
static struct curl_slist *
sign(const struct cli *c, const char *method, const char *path, const char *query,
    const char *target, const char *body)
{
	struct s3_header h[5];
	struct s3_sign_request r = {.method = method,
	    .path = path,
	    .path_is_encoded = true,
	    .query = query,
	    .headers = h,
	    .region = c->region,
	    .service = SERVICE};
	struct curl_slist *list = NULL;
	char *host = host_of(c->api_url), *names = NULL, *auth = NULL;
	char hash[2 * SHA256_LEN + 1], date[32], sig[65];
	uint8_t sum[SHA256_LEN];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &tm);
	digest_sha256(body != NULL ? body : "", body != NULL ? strlen(body) : 0, sum);
	digest_hex(sum, sizeof(sum), hash);
	if (body != NULL)
		h[r.nheaders++] = (struct s3_header){"content-type", "application/x-amz-json-1.1"};
	h[r.nheaders++] = (struct s3_header){"host", host};
	h[r.nheaders++] = (struct s3_header){"x-amz-date", date};
	if (c->session_token != NULL)
		h[r.nheaders++] = (struct s3_header){"x-amz-security-token", c->session_token};
	if (target != NULL)
		h[r.nheaders++] = (struct s3_header){"x-amz-target", target};
	r.amz_date = date;
	r.payload_hash = hash;
	if (s3_sign(&r, c->secret_key, sig, &names) == 0) {
		auth = xasprintf("AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, "
				 "SignedHeaders=%s, Signature=%s",
		    c->access_key, date, c->region, SERVICE, names, sig);
		for (size_t i = 0; i < r.nheaders; i++)
			list = add_header(list, h[i].name, h[i].value);
		list = add_header(list, "authorization", auth);
		list = curl_slist_append(list, "expect:");
	}
	free(auth);
	free(names);
	free(host);
	return list;
}

int
cli_request(struct cli *c, const char *method, const char *path, const char *query,
    const char *target, const char *body, bool is_quiet, struct cli_reply *out)
{
	struct strbuf answer = STRBUF_INIT;
	char why[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = NULL;
	char *url = NULL;
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	CURL *h;

	memset(out, 0, sizeof(*out));
	h = curl_easy_init();
	if (h != NULL)
		headers = sign(c, method, path, query, target, body);
	if (headers != NULL) {
		url = xasprintf("%s%s%s%s", c->api_url, path, query != NULL && query[0] ? "?" : "",
		    query != NULL ? query : "");
		curl_easy_setopt(h, CURLOPT_URL, url);
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
		curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
		curl_easy_setopt(h, CURLOPT_WRITEDATA, &answer);
		curl_easy_setopt(h, CURLOPT_ERRORBUFFER, why);
		curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(h, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
		curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 10L);
		curl_easy_setopt(h, CURLOPT_TIMEOUT, 120L);
		if (body != NULL || strcmp(method, "POST") == 0)
			curl_easy_setopt(h, CURLOPT_POSTFIELDS, body != NULL ? body : "");
		rc = curl_easy_perform(h);
		curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &out->status);
	}
	if (rc != CURLE_OK && !is_quiet)
		cli_error("%s does not answer: %s", c->api_url,
		    why[0] != '\0' ? why : curl_easy_strerror(rc));
	curl_slist_free_all(headers);
	if (h != NULL)
		curl_easy_cleanup(h);
	free(url);
	if (rc != CURLE_OK) {
		strbuf_free(&answer);
		return CLI_UNREACHABLE;
	}
	out->len = answer.len;
	out->body = strbuf_take(&answer);
	return CLI_OK;
}

/* An error answer in the words of the server: AWS's shape, or the text as it is. */
static void
say_refusal(const struct cli *c, const char *what, const struct cli_reply *r, json_t *j)
{
	const char *type = cli_str(j, "__type"), *text = cli_str(j, "message");

	if (c->is_json && j != NULL)
		cli_print_json(j);
	if (text[0] == '\0')
		text = cli_str(j, "Message");
	if (text[0] == '\0')
		text = cli_str(j, "error");
	if (text[0] == '\0')
		text = r->len > 0 && r->len < 500 ? r->body : "no reason given";
	if (type[0] != '\0')
		cli_error("%s: %s (%s)", what, text, type);
	else
		cli_error("%s: HTTP %ld: %s", what, r->status, text);
}

static int
call(struct cli *c, const char *method, const char *path, const char *query, const char *target,
    const char *body, const char *what, bool is_quiet, json_t **out)
{
	struct cli_reply r;
	int rc = cli_need_api(c);

	*out = NULL;
	if (rc == CLI_OK)
		rc = cli_request(c, method, path, query, target, body, is_quiet, &r);
	if (rc != CLI_OK)
		return rc;
	*out = json_loadb(r.body, r.len, JSON_DECODE_ANY, NULL);
	if (r.status / 100 != 2) {
		say_refusal(c, what, &r, *out);
		rc = CLI_FAILED;
	} else if (*out == NULL && r.len > 0) {
		cli_error("%s: the answer is no JSON", what);
		rc = CLI_FAILED;
	} else if (*out == NULL) {
		*out = json_object();
	}
	if (rc != CLI_OK) {
		json_decref(*out);
		*out = NULL;
	}
	free(r.body);
	return rc;
}

int
cli_get(struct cli *c, const char *path, const char *query, json_t **out)
{
	return call(c, "GET", path, query, NULL, NULL, path, false, out);
}

int
cli_get_quiet(struct cli *c, const char *path, const char *query, json_t **out)
{
	return call(c, "GET", path, query, NULL, NULL, path, true, out);
}

int
cli_post(struct cli *c, const char *path, const char *query, json_t **out)
{
	return call(c, "POST", path, query, NULL, NULL, path, false, out);
}

int
cli_aws(struct cli *c, const char *op, json_t *in, json_t **out)
{
	char *body = json_dumps(in, JSON_COMPACT);
	char *target = xasprintf("StorageGateway_20130630.%s", op);
	int rc = call(c, "POST", "/", NULL, target, body, op, false, out);

	json_decref(in);
	free(body);
	free(target);
	return rc;
}

int
cli_delete(struct cli *c, const char *path, json_t **out)
{
	return call(c, "DELETE", path, NULL, NULL, NULL, path, false, out);
}
