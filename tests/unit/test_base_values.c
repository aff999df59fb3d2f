/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/base/be.h"
#include "gateway/base/digest.h"
#include "gateway/base/err.h"
#include "gateway/base/metrics.h"
#include "gateway/base/osfile.h"

static void
project_errors_match_their_parent_class(void **state)
{
	(void)state;
	assert_true(err_is(-ERR_THROTTLED, EAGAIN));
	assert_true(err_is(-ERR_THROTTLED, ERR_THROTTLED));
	assert_false(err_is(-ERR_THROTTLED, EIO));
	assert_true(err_is(-EIO, EIO));
	assert_int_equal(err_errno(-ERR_CHECKSUM), -EIO);
	assert_int_equal(err_errno(-99999), -EIO);
	assert_string_equal(err_str(-ERR_OFFLINE), "store cannot be reached");
}

static void
reading_past_the_end_turns_bad_and_yields_zero(void **state)
{
	const uint8_t data[6] = {0, 0, 1, 2, 9, 9};
	struct be_reader r;

	(void)state;
	be_reader_init(&r, data, sizeof(data));
	assert_int_equal(be_u32(&r), 258);
	assert_int_equal(be_u32(&r), 0);
	assert_true(r.bad);
	assert_null(be_bytes(&r, 1));
}

static void
writing_past_the_capacity_turns_bad(void **state)
{
	uint8_t mem[8];
	struct be_writer w;

	(void)state;
	be_writer_init(&w, mem, sizeof(mem));
	be_put_u64(&w, 0x0102030405060708ull);
	assert_false(w.bad);
	be_put_u32(&w, 1);
	assert_true(w.bad);
	assert_int_equal(mem[0], 1);
	assert_int_equal(mem[7], 8);
}

static void
digests_match_published_vectors(void **state)
{
	uint8_t out[32];
	char hex[65], b64[16];

	(void)state;
	digest_sha256("abc", 3, out); /* FIPS 180-2, appendix B.1 */
	digest_hex(out, 32, hex);
	assert_string_equal(
	    hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_hmac_sha256(
	    "Jefe", 4, "what do ya want for nothing?", 28, out); /* RFC 4231, case 2 */
	digest_hex(out, 32, hex);
	assert_string_equal(
	    hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	assert_int_equal(digest_crc32c(0, "123456789", 9), 0xe3069283u);
	digest_base64((const uint8_t *)"fooba", 5, b64); /* RFC 4648, section 10 */
	assert_string_equal(b64, "Zm9vYmE=");
	assert_int_equal(digest_base64_decode("Zm9vYmE=", out, sizeof(out)), 5);
	assert_memory_equal(out, "fooba", 5);
	assert_int_equal(digest_hex_decode("zz", out, sizeof(out)), -EINVAL);
}

static void
metrics_print_in_families(void **state)
{
	struct strbuf out = STRBUF_INIT;

	(void)state;
	metric_add(metrics_counter("cw_b_total", "share=\"x\"", "second"), 3);
	metric_set(metrics_gauge("cw_a_bytes", NULL, "first"), -7);
	metric_observe_ns(metrics_histogram("cw_c_seconds", NULL, "third"), 20000);
	metrics_print(&out);
	assert_non_null(strstr(out.s, "# TYPE cw_a_bytes gauge\ncw_a_bytes -7\n"));
	assert_non_null(strstr(out.s, "cw_b_total{share=\"x\"} 3\n"));
	assert_non_null(strstr(out.s, "cw_c_seconds_count 1\n"));
	assert_non_null(strstr(out.s, "cw_c_seconds_bucket{le=\"1.6384e-05\"} 0\n"));
	metrics_drop("share=\"x\"");
	strbuf_reset(&out);
	metrics_print(&out);
	assert_null(strstr(out.s, "share=\"x\""));
	strbuf_free(&out);
}

static void
data_files_read_zeros_past_the_end_and_after_a_punch(void **state)
{
	char dir[] = "/tmp/cw-base-XXXXXX", path[64];
	char buf[8192];
	struct osfile *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a/b", dir);
	assert_int_equal(osfile_mkdir_p(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/a/b/f", dir);
	assert_int_equal(osfile_posix.open(path, &f), 0);
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(osfile_posix.pwrite(f, buf, 4096, 4096), 0);
	assert_int_equal(osfile_posix.pread(f, buf, 8192, 4096, true), 0);
	assert_int_equal(buf[0], 'x');
	assert_int_equal(buf[4096], 0);
	assert_int_equal(osfile_posix.punch(f, 4096, 4096), 0);
	assert_int_equal(osfile_posix.pread(f, buf, 4096, 4096, false), 0);
	assert_int_equal(buf[0], 0);
	assert_int_equal(osfile_posix.sync(f), 0);
	osfile_posix.close(f);
	assert_int_equal(osfile_write_atomic(path, "new", 3, 0600), 0);
	unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(project_errors_match_their_parent_class),
	    cmocka_unit_test(reading_past_the_end_turns_bad_and_yields_zero),
	    cmocka_unit_test(writing_past_the_capacity_turns_bad),
	    cmocka_unit_test(digests_match_published_vectors),
	    cmocka_unit_test(metrics_print_in_families),
	    cmocka_unit_test(data_files_read_zeros_past_the_end_and_after_a_punch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
