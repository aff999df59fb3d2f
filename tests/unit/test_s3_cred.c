/* SPDX-License-Identifier: Apache-2.0 */
/* The texts that credentials come in. How they are fetched and renewed: test_s3_store.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_cred.h"

static const char file[] = "# comment\n"
			   "[default]\r\n"
			   "aws_access_key_id=AKDEFAULT\r\n"
			   "aws_secret_access_key = se=cret/+ \r\n"
			   "\n"
			   "[ other ]\n"
			   "; comment\n"
			   "  aws_access_key_id = AKOTHER\n"
			   "aws_secret_access_key=s\n"
			   "aws_session_token = tok\n"
			   "region = eu-west-1\n"
			   "[profile third]\n"
			   "aws_access_key_id = AKTHIRD\n"
			   "aws_secret_access_key = t\n"
			   "[empty]\n"
			   "[half]\n"
			   "aws_access_key_id = x";

static void
profiles_of_a_file(void **state)
{
	struct s3_creds c;

	(void)state;
	assert_int_equal(s3_creds_parse_file(file, "default", &c), 0);
	assert_string_equal(c.access_key, "AKDEFAULT");
	assert_string_equal(c.secret_key, "se=cret/+");
	assert_null(c.session_token);
	s3_creds_clear(&c);
	assert_int_equal(s3_creds_parse_file(file, "other", &c), 0);
	assert_string_equal(c.session_token, "tok");
	s3_creds_clear(&c);
	assert_int_equal(s3_creds_parse_file(file, "third", &c), 0);
	assert_string_equal(c.access_key, "AKTHIRD");
	s3_creds_clear(&c);
	assert_int_equal(s3_creds_parse_file(file, "empty", &c), -ENOENT);
	assert_int_equal(s3_creds_parse_file(file, "half", &c), -ENOENT);
	assert_int_equal(s3_creds_parse_file(file, "none", &c), -ENOENT);
	assert_int_equal(s3_creds_parse_file("", "default", &c), -ENOENT);
}

static void
malformed_files(void **state)
{
	struct s3_creds c;

	(void)state;
	assert_int_equal(s3_creds_parse_file("[default\n", "default", &c), -EINVAL);
	assert_int_equal(s3_creds_parse_file("[]\n", "default", &c), -EINVAL);
	assert_int_equal(s3_creds_parse_file("[default]\nnonsense\n", "default", &c), -EINVAL);
	/* nonsense in somebody else's section is somebody else's business */
	assert_int_equal(s3_creds_parse_file("[x]\nnonsense\n[default]\naws_access_key_id=a\n"
					     "aws_secret_access_key=b",
			     "default", &c),
	    0);
	s3_creds_clear(&c);
}

static void
session_tokens_may_be_long(void **state)
{
	char *token = xmalloc(4001), *text;
	struct s3_creds c;

	(void)state;
	memset(token, 't', 4000);
	token[4000] = '\0';
	text = xasprintf(
	    "[d]\naws_access_key_id=a\naws_secret_access_key=b\naws_session_token=%s\n", token);
	assert_int_equal(s3_creds_parse_file(text, "d", &c), 0);
	assert_string_equal(c.session_token, token);
	s3_creds_clear(&c);
	free(text);
	free(token);
}

static void
answers_of_the_metadata_service(void **state)
{
	static const char good[] =
	    "{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
	    "\"Expiration\":\"2013-05-24T00:00:00Z\"}";
	static const char *const bad[] = {"", "{", "[]", "{}", "{\"AccessKeyId\":1}",
	    "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Expiration\":\"later\"}",
	    "{\"Code\":\"AssumeRoleUnauthorizedAccess\"}"};
	struct s3_creds c;

	(void)state;
	assert_int_equal(s3_creds_parse_imds(good, sizeof(good) - 1, &c), 0);
	assert_string_equal(c.access_key, "A");
	assert_string_equal(c.secret_key, "S");
	assert_string_equal(c.session_token, "T");
	assert_true(c.expires_s == 1369353600);
	s3_creds_clear(&c);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(s3_creds_parse_imds(bad[i], strlen(bad[i]), &c), -ERR_PROTOCOL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(profiles_of_a_file),
	    cmocka_unit_test(malformed_files), cmocka_unit_test(session_tokens_may_be_long),
	    cmocka_unit_test(answers_of_the_metadata_service)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
