/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_activation.c - GET /?activationRegion=...: a one-time key, good for 30 minutes, as a redirect
 * whose Location carries it (what Terraform reads) or, with no_redirect, as the body.
 *
 * The key is worth nothing by itself: ActivateGateway must be signed.  Keys live in memory only.
 */
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"
#include "gateway/base/clock.h"
#include "gateway/base/digest.h"

#define KEYS_MAX 64
#define KEY_LIFE_S 1800

struct key {
	char text[API_ACTIVATION_KEY_LEN];
	struct api_activation what;
	int64_t issued_s;
};

struct api_keyring {
	pthread_mutex_t lock;
	struct key keys[KEYS_MAX]; /* text "" = free */
};

struct api_keyring *
api_keyring_new(void)
{
	struct api_keyring *k = xcalloc(1, sizeof(*k));

	pthread_mutex_init(&k->lock, NULL);
	return k;
}

void
api_keyring_free(struct api_keyring *k)
{
	if (k == NULL)
		return;
	pthread_mutex_destroy(&k->lock);
	free(k);
}

/* Five groups of five of a 32-letter alphabet without I, L, O and U: 125 random bits. */
static void
make_key(char out[API_ACTIVATION_KEY_LEN])
{
	static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint8_t b[25];
	char *p = out;

	random_bytes(b, sizeof(b));
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i > 0 && i % 5 == 0)
			*p++ = '-';
		*p++ = letters[b[i] & 31];
	}
	*p = '\0';
}

void
api_keyring_issue(struct api_keyring *k, const struct api_activation *a, int64_t now_s,
    char key[API_ACTIVATION_KEY_LEN])
{
	struct key *slot = &k->keys[0];

	make_key(key);
	pthread_mutex_lock(&k->lock);
	for (size_t i = 0; i < KEYS_MAX; i++) { /* a free one, else the oldest */
		if (k->keys[i].text[0] == '\0') {
			slot = &k->keys[i];
			break;
		}
		if (k->keys[i].issued_s < slot->issued_s)
			slot = &k->keys[i];
	}
	memcpy(slot->text, key, sizeof(slot->text));
	slot->what = *a;
	slot->issued_s = now_s;
	pthread_mutex_unlock(&k->lock);
}

int
api_keyring_find(struct api_keyring *k, const char *key, int64_t now_s, struct api_activation *out,
    struct control_error *e)
{
	int r = -ENOENT;

	pthread_mutex_lock(&k->lock);
	for (size_t i = 0; i < KEYS_MAX && r == -ENOENT; i++) {
		if (k->keys[i].text[0] == '\0' || strcmp(k->keys[i].text, key) != 0)
			continue;
		*out = k->keys[i].what;
		r = now_s - k->keys[i].issued_s > KEY_LIFE_S ? -ETIME : 0;
	}
	pthread_mutex_unlock(&k->lock);
	if (r == -ETIME)
		return control_fail(
		    e, "ActivationKeyExpired", "The specified activation key has expired.");
	if (r < 0)
		return control_fail(
		    e, "ActivationKeyNotFound", "The specified activation key was not found.");
	return 0;
}

void
api_keyring_use(struct api_keyring *k, const char *key)
{
	pthread_mutex_lock(&k->lock);
	for (size_t i = 0; i < KEYS_MAX; i++)
		if (strcmp(k->keys[i].text, key) == 0)
			memset(&k->keys[i], 0, sizeof(k->keys[i]));
	pthread_mutex_unlock(&k->lock);
}

static bool
is_plain(const char *s, size_t min, size_t max)
{
	size_t n = strlen(s);

	if (n < min || n > max)
		return false;
	for (; *s != '\0'; s++)
		if (!isalnum((unsigned char)*s) && *s != '-' && *s != '_')
			return false;
	return true;
}

int
api_activation_parse(const char *query, struct api_activation *out, struct control_error *e)
{
	char *region = api_query(query, "activationRegion");
	char *type = api_query(query, "gatewayType");
	char *flag = api_query(query, "no_redirect");
	int r = 0;

	memset(out, 0, sizeof(*out));
	if (region == NULL || !is_plain(region, 1, 25))
		r = control_fail(e, "RegionInvalid", "activationRegion is missing or malformed");
	else if (type != NULL && strcmp(type, "FILE_S3") != 0 && strcmp(type, "CACHED") != 0 &&
		 strcmp(type, "STORED") != 0 && strcmp(type, "VTL") != 0)
		r = control_fail(
		    e, "InvalidParameters", "gatewayType must be FILE_S3, CACHED, STORED or VTL");
	if (r == 0) {
		snprintf(out->region, sizeof(out->region), "%s", region);
		snprintf(
		    out->gateway_type, sizeof(out->gateway_type), "%s", type != NULL ? type : "");
		out->no_redirect = flag != NULL;
	}
	free(region);
	free(type);
	free(flag);
	return r;
}

/* The host that the client itself named, if it is nothing but a host and a port. */
static const char *
own_host(const struct api_request *r)
{
	const char *host = api_header(r, "host");
	size_t n = host != NULL ? strlen(host) : 0;

	if (n == 0 || n > 255)
		return "localhost";
	for (const char *p = host; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr(".-:[]", *p) == NULL)
			return "localhost";
	return host;
}

void
api_activation_reply(struct api_keyring *k, const struct api_request *r, struct api_reply *out)
{
	char key[API_ACTIVATION_KEY_LEN];
	struct control_error e = {0};
	struct api_activation a;

	out->content_type = "text/plain; charset=utf-8";
	if (api_activation_parse(r->query, &a, &e) < 0) {
		out->status = 400;
		strbuf_addf(&out->body, "%s\n", e.message);
		return;
	}
	api_keyring_issue(k, &a, clock_real_ns() / 1000000000, key);
	if (a.no_redirect) {
		out->status = 200;
		strbuf_adds(&out->body, key);
		return;
	}
	out->status = 302;
	out->location = xasprintf("http://%s/?activationKey=%s&activationRegion=%s&gatewayType=%s",
	    own_host(r), key, a.region, a.gateway_type);
	strbuf_adds(&out->body, "The Location header carries the activation key.\n");
}
