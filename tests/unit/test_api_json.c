/* SPDX-License-Identifier: Apache-2.0 */
/* Requests against the tables of their operations: who passes, and in which words the others fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/api/api_int.h"

#define GW "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12A3456B"
#define SH "arn:aws:storagegateway:us-east-1:123456789012:share/share-12A3456B"
#define ROLE "arn:aws:iam::123456789012:role/StorageGatewayS3Role"

static void
passes(const char *op, const char *body)
{
	char target[128];
	struct control_error e = {0};
	const struct api_op *found;
	json_t *in;

	snprintf(target, sizeof(target), "StorageGateway_20130630.%s", op);
	if (api_op_check(target, body, strlen(body), &found, &in, &e) != 0)
		fail_msg("%s %s: %s: %s", op, body, e.type, e.message);
	assert_string_equal(found->name, op);
	json_decref(in);
}

static void
fails(const char *op, const char *body, const char *type, const char *message)
{
	char target[128];
	struct control_error e = {0};
	const struct api_op *found;
	json_t *in;

	snprintf(target, sizeof(target), "StorageGateway_20130630.%s", op);
	assert_int_equal(api_op_check(target, body, strlen(body), &found, &in, &e), -EINVAL);
	assert_null(in);
	assert_string_equal(e.type, type);
	if (strstr(e.message, message) == NULL)
		fail_msg("\"%s\" does not hold \"%s\"", e.message, message);
}

static void
the_users_snippet_passes(void **state)
{
	(void)state;
	passes("CreateNFSFileShare",
	    "{\"ClientToken\":\"unique-token-12345\",\"GatewayARN\":\"" GW "\",\"Role\":\"" ROLE
	    "\",\"LocationARN\":\"arn:aws:s3:::my-file-gateway-bucket\","
	    "\"DefaultStorageClass\":\"S3_STANDARD_IA\",\"ObjectACL\":\"bucket-owner-full-"
	    "control\","
	    "\"ClientList\":[\"10.0.0.0/16\"],\"Squash\":\"RootSquash\",\"ReadOnly\":false,"
	    "\"GuessMIMETypeEnabled\":true,\"RequesterPays\":false,"
	    "\"Tags\":[{\"Key\":\"Environment\",\"Value\":\"Production\"}]}");
}

static void
newer_members_are_accepted(void **state)
{
	(void)state;
	passes("UpdateNFSFileShare",
	    "{\"FileShareARN\":\"" SH "\",\"EncryptionType\":\"DsseKms\",\"Brand\":{\"New\":[1]},"
	    "\"ClientList\":[\"2001:db8::/32\",\"192.0.2.1\"],\"KMSKey\":null}");
}

static void
an_empty_body_is_an_empty_request(void **state)
{
	(void)state;
	passes("ListGateways", "");
	passes("ListGateways", "{}");
	fails("DescribeGatewayInformation", "", "ValidationException",
	    "1 validation error detected: Value null at 'gatewayARN' failed to satisfy constraint: "
	    "Member must not be null");
}

static void
constraints_are_named_as_aws_names_them(void **state)
{
	(void)state;
	fails("DescribeGatewayInformation", "{\"GatewayARN\":\"short\"}", "ValidationException",
	    "Value 'short' at 'gatewayARN' failed to satisfy constraint: Member must have length "
	    "greater than or equal to 50");
	fails("ListGateways", "{\"Limit\":0}", "ValidationException",
	    "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater "
	    "than "
	    "or equal to 1");
	fails("UpdateGatewayInformation",
	    "{\"GatewayARN\":\"" GW "\",\"GatewayCapacity\":\"Huge\"}", "ValidationException",
	    "Member must satisfy enum value set: [Small, Medium, Large]");
	fails("UpdateGatewayInformation", "{\"GatewayARN\":\"" GW "\",\"GatewayName\":\"a/b\"}",
	    "ValidationException", "Member must satisfy regular expression pattern: ^[ -");
	fails("UpdateNFSFileShare",
	    "{\"FileShareARN\":\"" SH "\",\"ClientList\":[\"10.0.0.0/16\",\"10.0.0.0/33\"]}",
	    "ValidationException", "Value '10.0.0.0/33' at 'clientList.2.member' failed");
	fails("AddTagsToResource",
	    "{\"ResourceARN\":\"" GW "\",\"Tags\":[{\"Key\":\"\",\"Value\":\"v\"}]}",
	    "ValidationException", "at 'tags.1.member.key' failed");
	fails("DescribeNFSFileShares", "{\"FileShareARNList\":[]}", "ValidationException",
	    "Value '[]' at 'fileShareARNList' failed to satisfy constraint: Member must have "
	    "length "
	    "greater than or equal to 1");
	fails("CreateNFSFileShare", "{}", "ValidationException",
	    "4 validation errors detected: Value null at 'clientToken'");
	fails("UpdateNFSFileShare",
	    "{\"FileShareARN\":\"" SH "\",\"NFSFileShareDefaults\":{\"FileMode\":\"0999\"}}",
	    "ValidationException", "at 'nFSFileShareDefaults.fileMode'");
}

static void
wrong_json_is_a_serialization_exception(void **state)
{
	char deep[5000];

	(void)state;
	fails("ListGateways", "{", "SerializationException", "not JSON");
	fails("ListGateways", "[]", "SerializationException", "not a JSON object");
	fails("ListGateways", "{\"Limit\":\"5\"}", "SerializationException",
	    "STRING_VALUE can not be converted to a Long");
	fails("ListGateways", "{\"Limit\":1e3}", "SerializationException", "NUMBER_VALUE");
	fails("ListGateways", "{\"Marker\":\"a\\u0000b\"}", "SerializationException", "not JSON");
	fails("ListGateways", "{\"Marker\":\"\xff\"}", "SerializationException", "not JSON");
	fails("DeleteFileShare", "{\"FileShareARN\":\"" SH "\",\"ForceDelete\":\"true\"}",
	    "SerializationException", "STRING_VALUE can not be converted to a Boolean");
	fails("AddCache", "{\"GatewayARN\":\"" GW "\",\"DiskIds\":{}}", "SerializationException",
	    "STRUCTURE_VALUE can not be converted to a List");
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	fails("ListGateways", deep, "SerializationException", "not JSON");
}

static void
lengths_count_characters_and_not_bytes(void **state)
{
	char name[2 * 129 + 1], body[600];

	(void)state;
	for (size_t i = 0; i < 129; i++)
		memcpy(name + 2 * i, "\xc3\xa4", 3);
	snprintf(
	    body, sizeof(body), "{\"ResourceARN\":\"" GW "\",\"TagKeys\":[\"%.*s\"]}", 256, name);
	passes("RemoveTagsFromResource", body);
	snprintf(body, sizeof(body), "{\"ResourceARN\":\"" GW "\",\"TagKeys\":[\"%s\"]}", name);
	fails("RemoveTagsFromResource", body, "ValidationException",
	    "Member must have length less than or equal to 128");
}

static void
unknown_and_foreign_operations_differ(void **state)
{
	struct control_error e = {0};
	const struct api_op *op;
	json_t *in;

	(void)state;
	fails("Nonsense", "{}", "UnknownOperationException", "");
	fails("DescribeSMBSettings", "{\"GatewayARN\":\"" GW "\"}",
	    "InvalidGatewayRequestException",
	    "This operation is not valid for the specified gateway.");
	fails("ListTapes", "{}", "InvalidGatewayRequestException", "not valid");
	assert_int_equal(api_op_check("", "{}", 2, &op, &in, &e), -EINVAL);
	assert_int_equal(
	    api_op_check("DynamoDB_20120810.ListGateways", "{}", 2, &op, &in, &e), -EINVAL);
	assert_string_equal(e.type, "UnknownOperationException");
}

static void
patterns_of_the_model(void **state)
{
	(void)state;
	assert_true(api_is_role_arn(ROLE));
	assert_true(api_is_role_arn("arn:aws-us-gov:iam::1:role/path/to/x"));
	assert_false(api_is_role_arn("arn:aws:iam::123456789012:user/x"));
	assert_false(api_is_role_arn("arn:aws:iam:::role/x"));
	assert_false(api_is_role_arn("arn:awsx:iam::1:role/x"));
	assert_false(api_is_role_arn("arn:aws:iam::1:role/"));
	assert_true(api_is_kms_key("alias/mine"));
	assert_true(api_is_kms_key("arn:aws:kms:eu-west-1:1:key/abc"));
	assert_false(api_is_kms_key("arn:aws:kms:eu-west-1:1:grant/abc"));
	assert_true(api_is_cidr("10.0.0.0/16"));
	assert_true(api_is_cidr("10.1.2.3"));
	assert_true(api_is_cidr("::1"));
	assert_false(api_is_cidr("10.0.0"));
	assert_false(api_is_cidr("10.0.0.0/"));
	assert_false(api_is_cidr("10.0.0.256"));
	assert_false(api_is_cidr("example.com"));
	assert_false(api_is_cidr(""));
	assert_true(api_is_policy_text("{\"Upload\": {\"SettlingTimeInSeconds\": 60}}"));
	assert_true(api_is_policy_text("{}"));
	assert_false(api_is_policy_text("{\"a\": -1}"));
	assert_true(api_is_dns_name("vpce-1.s3.us-east-1.vpce.amazonaws.com"));
	assert_false(api_is_dns_name("a..b"));
	assert_false(api_is_dns_name("a-.b"));
	assert_false(api_is_dns_name("a/b"));
	assert_false(api_is_gateway_name("  "));
	assert_true(api_is_gateway_name("my gateway.1"));
	assert_false(api_is_tag_key("a\tb"));
}

static void
activation_queries(void **state)
{
	struct api_activation a;
	struct control_error e = {0};

	(void)state;
	assert_int_equal(
	    api_activation_parse("gatewayType=FILE_S3&activationRegion=eu-west-1", &a, &e), 0);
	assert_string_equal(a.region, "eu-west-1");
	assert_string_equal(a.gateway_type, "FILE_S3");
	assert_false(a.no_redirect);
	assert_int_equal(api_activation_parse("activationRegion=x&no_redirect", &a, &e), 0);
	assert_true(a.no_redirect);
	assert_int_equal(api_activation_parse("", &a, &e), -EINVAL);
	assert_int_equal(api_activation_parse("activationRegion=", &a, &e), -EINVAL);
	assert_int_equal(api_activation_parse("activationRegion=a%0d%0ab", &a, &e), -EINVAL);
	assert_int_equal(
	    api_activation_parse("activationRegion=a&gatewayType=FILE_NTFS", &a, &e), -EINVAL);
}

static void
activation_keys_are_good_once_and_for_half_an_hour(void **state)
{
	struct api_keyring *k = api_keyring_new();
	struct api_activation a = {.region = "eu-west-1"}, got;
	char key[API_ACTIVATION_KEY_LEN], other[API_ACTIVATION_KEY_LEN];
	struct control_error e = {0};

	(void)state;
	api_keyring_issue(k, &a, 1000, key);
	assert_int_equal(strlen(key), 29);
	assert_int_equal(api_keyring_find(k, key, 1000 + 1800, &got, &e), 0);
	assert_string_equal(got.region, "eu-west-1");
	assert_int_equal(api_keyring_find(k, key, 1000 + 1801, &got, &e), -EINVAL);
	assert_string_equal(e.code, "ActivationKeyExpired");
	api_keyring_use(k, key);
	assert_int_equal(api_keyring_find(k, key, 1000, &got, &e), -EINVAL);
	assert_string_equal(e.code, "ActivationKeyNotFound");
	assert_int_equal(api_keyring_find(k, "", 1000, &got, &e), -EINVAL);
	api_keyring_issue(k, &a, 1000, key);
	for (int i = 0; i < 64; i++)
		api_keyring_issue(k, &a, 1001 + i, other);
	assert_int_equal(
	    api_keyring_find(k, key, 1100, &got, &e), -EINVAL); /* the oldest made room */
	assert_int_equal(api_keyring_find(k, other, 1100, &got, &e), 0);
	api_keyring_free(k);
}

static void
locations(void **state)
{
	char *b, *p, text[256];

	(void)state;
	assert_int_equal(control_location_parse("arn:aws:s3:::bucket/a/b/", &b, &p, text, 256), 0);
	assert_string_equal(b, "bucket");
	assert_string_equal(p, "a/b/");
	free(b);
	free(p);
	static const char *const bad[] = {"arn:aws:s3:::my.bucket", "arn:aws:s3:::bucket/a",
	    "arn:aws:s3:::bucket/a//", "arn:aws:s3:::bucket/../", "arn:aws:s3:::b",
	    "arn:aws:s3:eu-west-1:123456789012:accesspoint/x", "arn:aws:ec2:::x", "bucket",
	    "arn:aws:s3:::Bucket"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(control_location_parse(bad[i], &b, &p, text, 256), -EINVAL);
		free(b);
		free(p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_users_snippet_passes),
	    cmocka_unit_test(newer_members_are_accepted),
	    cmocka_unit_test(an_empty_body_is_an_empty_request),
	    cmocka_unit_test(constraints_are_named_as_aws_names_them),
	    cmocka_unit_test(wrong_json_is_a_serialization_exception),
	    cmocka_unit_test(lengths_count_characters_and_not_bytes),
	    cmocka_unit_test(unknown_and_foreign_operations_differ),
	    cmocka_unit_test(patterns_of_the_model),
	    cmocka_unit_test(activation_queries),
	    cmocka_unit_test(activation_keys_are_good_once_and_for_half_an_hour),
	    cmocka_unit_test(locations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
