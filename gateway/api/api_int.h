/* SPDX-License-Identifier: Apache-2.0 */
/* api_int.h - private to gateway/api. */
#ifndef GATEWAY_API_INT_H
#define GATEWAY_API_INT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/api/api_json.h"
#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "gateway/control.h"
#include "gateway/control_volume.h"
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
/* api_auth_check - is r signed by somebody of the file, for this service ("storagegateway", "ec2")?
 * result: 0, -EINVAL with e; ctx: any thread; source: AWS General Reference, Signature Version 4 */
int api_auth_check(struct api_auth *a, const struct api_request *r, const char *service,
    int64_t now_s, struct control_error *e) CW_MUST_CHECK;
/* api_auth_verify - the same against given keys; pure. */
int api_auth_verify(const struct api_key *keys, size_t nkeys, const struct api_request *r,
    const char *service, int64_t now_s, struct control_error *e) CW_MUST_CHECK;
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
const char *api_row_string(const json_t *row, const char *name); /* "" if absent */
/* api_digest - of a request, for ClientToken. */
void api_digest(const json_t *in, char hex[2 * SHA256_LEN + 1]);
/* api_wrong_type - UnsupportedOperationForGatewayType. result: -EINVAL */
int api_wrong_type(struct api_call *call);
/* api_gateway_of - the gateway of the member GatewayARN, of one of two types (the second may be NULL).
 * result: borrowed; NULL with call->err */
struct control_gateway *api_gateway_of(
    struct api_call *call, const char *type, const char *or_type);
/* api_ensure_cache - a gateway that was given no cache takes the first free disk, so that the shortest
 * script works. result: 0 or -EINVAL with call->err */
int api_ensure_cache(struct api_call *call, struct control_gateway *g) CW_MUST_CHECK;
/* api_check_interface - may a target listen at NetworkInterfaceId? (api_net.c)
 * args: listen receives the address to restrict it to, "" for every one. result: 0, -EINVAL with e */
int api_check_interface(const struct cw_config *conf, const char *id, char listen[64],
    struct control_error *e) CW_MUST_CHECK;
/* api_interfaces - addresses at which this host can be reached, loopback only if there is nothing else:
 * [{"Ipv4Address": ...}]. New reference. */
json_t *api_interfaces(void);
/* api_time - "2026-11-25T22:45:01.123Z", malloced. */
char *api_time(int64_t ns);
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
    api_remove_tags_in[], api_list_tags_in[], api_maintenance_in[], api_create_cached_in[],
    api_create_stored_in[], api_describe_volumes_in[], api_volume_in[], api_attach_volume_in[],
    api_detach_volume_in[], api_update_chap_in[], api_describe_chap_in[], api_delete_chap_in[],
    api_create_snapshot_in[], api_update_schedule_in[];
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
int api_add_upload_buffer(struct api_call *call);
int api_add_working_storage(struct api_call *call);
int api_attach_volume(struct api_call *call);
int api_create_cached(struct api_call *call);
int api_create_snapshot(struct api_call *call);
int api_create_snapshot_from_point(struct api_call *call);
int api_create_stored(struct api_call *call);
int api_delete_chap(struct api_call *call);
int api_delete_schedule(struct api_call *call);
int api_delete_volume(struct api_call *call);
int api_describe_cached(struct api_call *call);
int api_describe_chap(struct api_call *call);
int api_describe_schedule(struct api_call *call);
int api_describe_stored(struct api_call *call);
int api_describe_upload_buffer(struct api_call *call);
int api_describe_working_storage(struct api_call *call);
int api_detach_volume(struct api_call *call);
int api_list_initiators(struct api_call *call);
int api_list_recovery_points(struct api_call *call);
int api_list_volumes(struct api_call *call);
int api_update_chap(struct api_call *call);
int api_update_schedule(struct api_call *call);

/* --- /v1 and /metrics ------------------------------------------------------------------------------------ */
/* api_v1_volumes - everything below /v1/volumes and /v1/snapshots; what: the path behind "/v1/". locked */
void api_v1_volumes(
    struct control *c, const struct api_request *r, const char *what, struct api_reply *out);
/* api_v1_volume - a volume as the status shows it. locked; new reference */
json_t *api_v1_volume(struct control *c, struct control_volume *v);
void api_v1_fail(struct api_reply *out, const char *type, const char *text);
void api_v1_ok(struct api_reply *out, json_t *body); /* body taken; NULL = {} */
void api_volume_metrics(struct control *c);	     /* locked */
/* api_ec2 - the EC2 Query API as far as snapshots go: one authenticated POST with a form. (api_ec2.c) */
void api_ec2(struct control *c, const struct api_request *r, struct api_reply *out);
/* Its pure parts: a field of a form (malloced, NULL if absent or malformed), '*' and '?' in a pattern, text
 * that may stand in XML. */
char *api_form_field(const char *form, const char *name);
bool api_wildcard_matches(const char *value, const char *pattern);
void api_xml_escape(struct strbuf *b, const char *s);
/* api_ec2_error - an EC2 error document. */
void api_ec2_error(struct api_reply *out, int status, const char *code, const char *message);
void api_v1(struct control *c, const struct api_request *r, struct api_reply *out);
void api_metrics(struct control *c, struct api_reply *out);

#endif
