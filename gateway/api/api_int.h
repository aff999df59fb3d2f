/* SPDX-License-Identifier: Apache-2.0 */
/* api_int.h - private to gateway/api. */
#ifndef GATEWAY_API_INT_H
#define GATEWAY_API_INT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/api/api_json.h"
#include "gateway/base/strbuf.h"
#include "gateway/control.h"
#include "s3/s3_sign.h"

#define API_BODY_MAX (1u << 20)
#define API_HEADERS_MAX 64

/* One HTTP request, as read; everything borrowed. */
struct api_request {
	const char *method, *path; /* path as sent, still encoded */
	const char *query;	   /* without '?', still encoded; "" if none */
	struct s3_header headers[API_HEADERS_MAX];
	size_t nheaders;
	const char *body;
	size_t body_len;
};

struct api_reply {
	int status;
	const char *content_type;
	char *location;	    /* malloced; NULL = none */
	const char *allow;  /* 405: the Allow header */
	struct strbuf body; /* freed by the server */
};

/* api_header - value of a header, any case; NULL if absent. */
const char *api_header(const struct api_request *r, const char *name);
/* api_query - decoded value of a query parameter, malloced; NULL if absent or malformed. */
char *api_query(const char *query, const char *name);
/* api_reply_error - an AWS error document with the status that belongs to its type. */
void api_reply_error(struct api_reply *out, const struct control_error *e);
void api_reply_json(struct api_reply *out, int status, const json_t *body);
/* api_error - fill e: type (static) and message. result: -EINVAL */
int api_error(struct control_error *e, const char *type, const char *fmt, ...) CW_PRINTF(3, 4);

/* --- api_auth.c ------------------------------------------------------------------------------------ */
struct api_auth;
struct api_key { /* one profile of the credentials file */
	char *access_key, *secret_key, *session_token;
};
/* api_auth_new - credentials from an AWS shared-credentials file, read again when it changes. */
struct api_auth *api_auth_new(const char *path);
void api_auth_free(struct api_auth *a);
/* api_auth_check - is r signed by somebody of the file?
 * result: 0, -EINVAL with e; ctx: any thread; source: AWS General Reference, Signature Version 4 */
int api_auth_check(struct api_auth *a, const struct api_request *r, int64_t now_s,
    struct control_error *e) CW_MUST_CHECK;
/* api_auth_verify - the same against given keys; pure. */
int api_auth_verify(const struct api_key *keys, size_t nkeys, const struct api_request *r,
    int64_t now_s, struct control_error *e) CW_MUST_CHECK;
/* api_keys_parse - shared-credentials text to keys; profiles without a key pair are left out.
 * result: count or -EINVAL; keys malloced, freed by api_keys_free */
int api_keys_parse(const char *text, struct api_key **keys) CW_MUST_CHECK;
void api_keys_free(struct api_key *keys, size_t n);

/* --- api_activation.c -------------------------------------------------------------------------------- */
#define API_ACTIVATION_KEY_LEN 30 /* XXXXX-XXXXX-XXXXX-XXXXX-XXXXX and NUL */
struct api_activation {		  /* what GET /?activationRegion=... asked for */
	char region[32], gateway_type[24];
	bool no_redirect;
};
/* api_activation_parse - pure. result: 0; -EINVAL with a text for people in e */
int api_activation_parse(
    const char *query, struct api_activation *out, struct control_error *e) CW_MUST_CHECK;
struct api_keyring; /* activation keys handed out: one-time, 30 minutes, at most 64 */
struct api_keyring *api_keyring_new(void);
void api_keyring_free(struct api_keyring *k);
void api_keyring_issue(struct api_keyring *k, const struct api_activation *a, int64_t now_s,
    char key[API_ACTIVATION_KEY_LEN]);
/* api_keyring_find - what the key was issued for. result: 0, -EINVAL with e (unknown, expired) */
int api_keyring_find(struct api_keyring *k, const char *key, int64_t now_s,
    struct api_activation *out, struct control_error *e) CW_MUST_CHECK;
void api_keyring_use(struct api_keyring *k, const char *key);
void api_activation_reply(
    struct api_keyring *k, const struct api_request *r, struct api_reply *out);

/* --- operations --------------------------------------------------------------------------------------- */
struct api_call {
	struct control *control; /* locked while the operation runs */
	struct api_keyring *keyring;
	const json_t *in; /* checked against the operation's table */
	json_t *out;	  /* filled in */
	struct control_error err;
};
struct api_op {
	const char *name;
	const struct api_field *fields;
	int (*run)(struct api_call *call); /* 0, or negative with call->err */
};
/* api_op_find - result: NULL if there is no such operation; run NULL: known, but of another kind of
 * gateway than this appliance has */
const struct api_op *api_op_find(const char *name);
/* api_dispatch - one POST / with an X-Amz-Target, already authenticated. */
void api_dispatch(struct control *c, struct api_keyring *k, const char *target, const char *body,
    size_t len, struct api_reply *out);
/* api_op_check - the pure part of api_dispatch: target, JSON and table.
 * result: 0 with *op and *in (new reference), -EINVAL with e */
int api_op_check(const char *target, const char *body, size_t len, const struct api_op **op,
    json_t **in, struct control_error *e) CW_MUST_CHECK;

const char *api_in_string(const struct api_call *call, const char *name); /* NULL if absent */
void api_out_string(struct api_call *call, const char *name, const char *value);
/* api_tags_merge - tags (an array, changed) get what more says; at most 50 of them.
 * result: 0, -EINVAL with e */
int api_tags_merge(json_t *tags, const json_t *more, struct control_error *e) CW_MUST_CHECK;
/* api_page - the part of n sorted ids that Marker and Limit ask for: [*from, *to), at most max.
 * Items behind the marker, whether it still exists or not. result: is there more behind *to? */
bool api_page(const struct api_call *call, const char *const *ids, size_t n, size_t max,
    size_t *from, size_t *to);

extern const struct api_field api_activate_gateway_in[], api_describe_gateway_in[],
    api_list_gateways_in[], api_update_gateway_in[], api_local_disks_in[], api_add_cache_in[],
    api_create_nfs_in[], api_update_nfs_in[], api_describe_nfs_in[], api_list_shares_in[],
    api_delete_share_in[], api_refresh_in[], api_notify_in[], api_add_tags_in[],
    api_remove_tags_in[], api_list_tags_in[], api_maintenance_in[];
int api_activate_gateway(struct api_call *call);
int api_describe_gateway(struct api_call *call);
int api_list_gateways(struct api_call *call);
int api_update_gateway(struct api_call *call);
int api_delete_gateway(struct api_call *call);
int api_describe_maintenance(struct api_call *call);
int api_update_maintenance(struct api_call *call);
int api_list_local_disks(struct api_call *call);
int api_add_cache(struct api_call *call);
int api_describe_cache(struct api_call *call);
int api_create_nfs(struct api_call *call);
int api_update_nfs(struct api_call *call);
int api_describe_nfs(struct api_call *call);
int api_list_shares(struct api_call *call);
int api_delete_share(struct api_call *call);
int api_refresh(struct api_call *call);
int api_notify(struct api_call *call);
int api_add_tags(struct api_call *call);
int api_remove_tags(struct api_call *call);
int api_list_tags(struct api_call *call);

/* --- /v1 and /metrics ------------------------------------------------------------------------------------ */
void api_v1(struct control *c, const struct api_request *r, struct api_reply *out);
void api_metrics(struct control *c, struct api_reply *out);

#endif
