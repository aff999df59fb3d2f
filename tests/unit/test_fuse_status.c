/* SPDX-License-Identifier: Apache-2.0 */
/* Every error the core may give becomes an errno a kernel takes, and "not now" is told from "no". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontends/fuse/cwfuse_int.h"

static void
every_code_becomes_an_errno_of_the_kernel(void **state)
{
	(void)state;
	for (int err = 1; err < ERR_MAX + 200; err++) {
		int e = cwfuse_errno(-err);

		if (e <= 0 || e >= 4096)
			fail_msg("%d becomes %d", -err, e);
	}
}

static void
plain_errnos_stay_as_they_are(void **state)
{
	static const int same[] = {ENOENT, EEXIST, EACCES, EPERM, ESTALE, ENOTDIR, EISDIR,
	    ENOTEMPTY, ENAMETOOLONG, EROFS, EINVAL, EFBIG, ENOSPC, EIO, EXDEV, EINTR};

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_int_equal(cwfuse_errno(-same[i]), same[i]);
	assert_int_equal(cwfuse_errno(0), 0);
	assert_int_equal(cwfuse_errno(4096), 0);
}

static void
project_codes_become_their_meaning(void **state)
{
	(void)state;
	assert_int_equal(cwfuse_errno(-ENOTSUP), EOPNOTSUPP);
	assert_int_equal(cwfuse_errno(-EBADCOOKIE), EINVAL);
	assert_int_equal(cwfuse_errno(-ETIME), EINVAL);
	assert_int_equal(cwfuse_errno(-ERR_PRECONDITION), EIO);
	assert_int_equal(cwfuse_errno(-ERR_CHECKSUM), EIO);
	assert_int_equal(cwfuse_errno(-ERR_ARCHIVED), EIO);
	assert_int_equal(cwfuse_errno(-ERR_OFFLINE), EHOSTDOWN);
	assert_int_equal(cwfuse_errno(-ERR_CREDENTIALS), EACCES);
}

static void
full_cache_is_waited_out_and_never_an_error(void **state)
{
	(void)state;
	assert_true(cwfuse_wait_ms(-ERR_BACKPRESSURE) == UINT64_MAX);
	assert_true(cwfuse_wait_ms(-ERR_THROTTLED) == UINT64_MAX);
}

static void
store_that_is_away_is_waited_for_within_bounds(void **state)
{
	uint64_t ms = cwfuse_wait_ms(-ERR_OFFLINE);

	(void)state;
	assert_true(ms >= 60000 && ms < UINT64_MAX);
	assert_true(cwfuse_wait_ms(-ERR_STORE) == ms);
	assert_int_equal(cwfuse_errno(-ERR_STORE), EIO);
}

static void
real_errors_are_not_waited_out(void **state)
{
	(void)state;
	assert_true(cwfuse_wait_ms(-EIO) == 0);
	assert_true(cwfuse_wait_ms(-ENOENT) == 0);
	assert_true(cwfuse_wait_ms(-ENOSPC) == 0);
	assert_true(cwfuse_wait_ms(-ERR_CREDENTIALS) == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_code_becomes_an_errno_of_the_kernel),
	    cmocka_unit_test(plain_errnos_stay_as_they_are),
	    cmocka_unit_test(project_codes_become_their_meaning),
	    cmocka_unit_test(full_cache_is_waited_out_and_never_an_error),
	    cmocka_unit_test(store_that_is_away_is_waited_for_within_bounds),
	    cmocka_unit_test(real_errors_are_not_waited_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
