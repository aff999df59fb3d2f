/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_json.h - what a request may hold, as tables, and the check of a request against them.
 *
 * Shapes restate the public service model of the AWS Storage Gateway API (2013-06-30): type, lengths
 * in characters, ranges, patterns, enumerations, required members.  Members that no table names are
 * ignored, so newer clients are served.  Pure: no state, no I/O.
 */
#ifndef GATEWAY_API_JSON_H
#define GATEWAY_API_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/control.h"

enum api_type { API_STRING, API_INTEGER, API_BOOLEAN, API_LIST, API_OBJECT };

struct api_field;

struct api_shape {
	enum api_type type;
	int64_t min, max;    /* characters, value or elements; max 0 = no limit */
	const char *pattern; /* what the message names; NULL = none */
	bool (*matches)(const char *s);
	const char *const *values;	/* enumeration, NULL-terminated; NULL = free text */
	const struct api_shape *member; /* API_LIST */
	const struct api_field *fields; /* API_OBJECT */
};

struct api_field { /* a table ends with name NULL */
	const char *name;
	const struct api_shape *shape;
	bool is_required;
};

/* api_parse - body to a JSON object.
 * args:   body of len bytes, an empty one is {}; e filled in on error (SerializationException)
 * result: new reference or NULL; ctx: any thread
 * source: AWS JSON 1.1 protocol */
json_t *api_parse(const char *body, size_t len, struct control_error *e);

/* api_validate - check in against fields.
 * result: 0; -EINVAL with e: SerializationException for a wrong JSON type, else ValidationException
 *         that lists every constraint that failed, in AWS's words
 * ctx:    any thread */
int api_validate(
    const struct api_field *fields, const json_t *in, struct control_error *e) CW_MUST_CHECK;

/* Patterns of the model (api_shape.c). */
bool api_is_gateway_name(const char *s);
bool api_is_tag_key(const char *s);
bool api_is_file_mode(const char *s);
bool api_is_role_arn(const char *s);
bool api_is_kms_key(const char *s);
bool api_is_cidr(const char *s);
bool api_is_policy_text(const char *s);
bool api_is_dns_name(const char *s);
bool api_is_address(const char *s); /* IPv4 as the model has it, or IPv6 */
bool api_is_target_name(const char *s);
bool api_is_iqn(const char *s);
bool api_is_snapshot_id(const char *s);
bool api_is_volume_arn(const char *s);

/* Shapes that several operations use. */
extern const struct api_shape api_gateway_arn, api_share_arn, api_resource_arn, api_marker,
    api_limit, api_boolean, api_tags, api_tag_keys, api_client_token, api_kms_key, api_disk_id,
    api_volume_arn, api_target_arn;

#endif
