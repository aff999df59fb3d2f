/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration text in, struct or a message that names the line out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/config.h"

static void
refused(const char *text, const char *want)
{
	struct cw_config c;
	char err[512];

	assert_int_equal(config_parse(text, "/base", &c, err, sizeof(err)), -EINVAL);
	if (strstr(err, want) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err, want);
	config_free(&c);
}

static void
empty_file_has_usable_defaults(void **state)
{
	struct cw_config c;
	char err[512];

	(void)state;
	assert_int_equal(config_parse("", "/base", &c, err, sizeof(err)), 0);
	assert_string_equal(c.home, "/base");
	assert_string_equal(c.cache_index, "/base/cache/index.db");
	assert_string_equal(c.api_credentials, "/base/credentials");
	assert_int_equal(c.ndisks, 1);
	assert_string_equal(c.disks[0].dir, "/base/cache");
	assert_null(c.fuse_socket);
	assert_null(config_cred_for_role(&c, NULL));
	config_free(&c);
}

static void
every_kind_of_key_is_taken(void **state)
{
	struct cw_config c;
	char err[512];
	const char *text = "# comment\n[gateway]\nhome = /srv/cw\nlog_level = debug\nsandbox = no\n"
			   "[cache]\ncapacity = 2G\ndirty_max = 512M\ndisk.a = /mnt/a\ndisk.b = b\n"
			   "[s3]\nendpoint = http://127.0.0.1:9000\npath_style = yes\n"
			   "[credentials \"default\"]\nsource = static\naccess_key = AK\n"
			   "secret_key = a;b=c #d\n"
			   "[credentials \"other\"]\nrole_arn = arn:aws:iam::1:role/x\n"
			   "file = creds\n";

	(void)state;
	assert_int_equal(config_parse(text, "/base", &c, err, sizeof(err)), 0);
	assert_true(c.cache_capacity_bytes == 2ull << 30);
	assert_true(c.cache_dirty_max_bytes == 512ull << 20);
	assert_false(c.is_sandboxed);
	assert_true(c.s3_path_style);
	assert_string_equal(c.disks[0].dir, "/mnt/a");
	assert_string_equal(c.disks[1].dir, "/srv/cw/b");
	assert_string_equal(
	    config_cred_for_role(&c, "arn:aws:iam::1:role/none")->cred.secret_key, "a;b=c #d");
	assert_string_equal(
	    config_cred_for_role(&c, "arn:aws:iam::1:role/x")->cred.file, "/srv/cw/creds");
	assert_string_equal(config_cred_for_role(&c, "arn:aws:iam::1:role/x")->cred.source, "auto");
	config_free(&c);
}

static void
mistakes_are_named_with_their_line(void **state)
{
	char longline[6000];

	(void)state;
	refused("[gateway]\nhom = /x\n", "line 2: unknown key \"hom\" in [gateway]");
	refused("\n[gatway]\nhome = /x\n", "line 3: unknown section [gatway]");
	refused("home = /x\n", "line 1: \"home\" stands before the first [section]");
	refused("[cache]\n\ncapacity = lots\n", "line 3: capacity = lots: not a size");
	refused("[cache]\ncapacity = 1K\n", "must be between");
	refused("[cache]\ncapacity = 99999999999T\n", "must be between");
	refused("[cache]\ncapacity = 1G\ndirty_max = 2G\n", "dirty_max is larger");
	refused("[cache]\ndisk.a = /a\ndisk.a = /b\n", "line 3: disk.a stands twice");
	refused("[cache]\ndisk.a/b = /a\n", "line 2: disk.a/b");
	refused("[api]\nlisten = 8080\n", "line 2: listen = 8080: not an address:port");
	refused("[api]\nlisten = 127.0.0.1:99999\n", "not an address:port");
	refused("[nfs]\nrpcbind = perhaps\n", "not yes or no");
	refused("[nfs]\nloops = 1K\n", "not a number");
	refused("[s3]\nendpoint = 127.0.0.1:9000\n", "http://");
	refused("[gateway]\naccount_id = 12\n", "12 digits");
	refused("[gateway]\nlog_level = loud\n", "not one of");
	refused("[credentials]\naccess_key = x\n", "write [credentials \"NAME\"]");
	refused("[credentials \"a\"]\nsource = magic\n", "source = magic");
	refused("[credentials \"a\"]\nsource = static\n", "needs access_key");
	refused("[gateway]\nnonsense\n", "line 2: neither");
	memset(longline, 'x', sizeof(longline) - 1);
	longline[sizeof(longline) - 1] = '\0';
	refused(longline, "line 1: line is longer");
}

static int
count_address(void *arg, const char *address)
{
	unsigned int *n = arg;

	return strncmp(address, "127.0.0.", 8) == 0 && ++*n == 0;
}

static void
volumes_and_their_keys(void **state)
{
	struct cw_config c;
	char err[512];
	unsigned int n = 0;
	const char *text =
	    "[cache]\ndisk.a = a\ndisk.b = b\ndisk_size.b = 10G\n"
	    "[iscsi]\nlisten = 127.0.0.1:3260, 127.0.0.2:3260\nany_interface = yes\n"
	    "naming_authority = iqn.2026-11.org.example.storage\n"
	    "[volumes]\nbucket = v\nprefix = p/\nkey = k1\ncompression = no\nseal_bytes = 4M\n"
	    "[keys]\nk1 = AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

	(void)state;
	if (config_parse(text, "/base", &c, err, sizeof(err)) != 0)
		fail_msg("%s", err);
	assert_int_equal(config_each_address(c.iscsi_listen, count_address, &n), 0);
	assert_int_equal(n, 2);
	assert_true(c.iscsi_any_interface && !c.volumes_is_compressed);
	assert_true(c.disks[1].size_bytes == 10ull << 30 && c.volumes_seal_bytes == 4ull << 20);
	assert_int_equal(config_key_by_name(&c, "k1")->key[31], 31);
	assert_null(config_key_by_name(&c, "k2"));
	config_free(&c);
	assert_int_equal(config_parse("", "/base", &c, err, sizeof(err)), 0);
	assert_null(c.iscsi_listen);
	assert_string_equal(c.iscsi_naming_authority, "iqn.1997-05.com.amazon");
	assert_true(c.volumes_is_compressed);
	config_free(&c);
	refused("[iscsi]\nlisten = 127.0.0.1:3260, 3261\n", "not address:port");
	refused("[iscsi]\nnaming_authority = com.example\n", "iqn.YYYY-MM");
	refused("[iscsi]\nnaming_authority = iqn.2026-13.org.example\n", "iqn.YYYY-MM");
	refused("[volumes]\nprefix = /x/\n", "line 2: prefix = /x/");
	refused("[volumes]\nprefix = x\n", "ends in '/'");
	refused("[volumes]\nkey = none\n", "no such name");
	refused("[volumes]\ncredentials = none\n", "no such section");
	refused("[keys]\nk = c2hvcnQ=\n", "key k: not 32 bytes in base64");
	refused("[keys]\nk = file:/nonexistent/key\n", "/nonexistent/key: No such file");
	refused("[cache]\ndisk_size.a = 10G\ndisk.a = a\n", "stands before");
	refused("[cache]\ndisk.a = a\ndisk_size.a = 10M\n", "whole GiB");
}

static void
sizes_take_binary_suffixes(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(config_parse_size("0", &v), 0);
	assert_int_equal(config_parse_size("64k", &v), 0);
	assert_true(v == 65536);
	assert_int_equal(config_parse_size("3GiB", &v), 0);
	assert_true(v == 3ull << 30);
	assert_int_equal(config_parse_size("", &v), -EINVAL);
	assert_int_equal(config_parse_size("-1", &v), -EINVAL);
	assert_int_equal(config_parse_size("1.5G", &v), -EINVAL);
	assert_int_equal(config_parse_size("1GG", &v), -EINVAL);
	assert_int_equal(config_parse_size("18446744073709551616", &v), -ERANGE);
	assert_int_equal(config_parse_size("16777216T", &v), -ERANGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty_file_has_usable_defaults),
	    cmocka_unit_test(every_kind_of_key_is_taken),
	    cmocka_unit_test(mistakes_are_named_with_their_line),
	    cmocka_unit_test(volumes_and_their_keys),
	    cmocka_unit_test(sizes_take_binary_suffixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
