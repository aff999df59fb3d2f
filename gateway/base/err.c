/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/err.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	int parent;
	const char *text;
} err_table[] = {
#define X(name, parent, text) {parent, text},
    CW_ERR_TABLE(X)
#undef X
};

static bool
is_project_code(int err)
{
	return err > ERR_BASE && err < ERR_MAX;
}

const char *
err_str(int err)
{
	static __thread char buf[96];

	err = abs(err);
	if (is_project_code(err))
		return err_table[err - ERR_BASE - 1].text;
	return strerror_r(err, buf, sizeof(buf));
}

bool
err_is(int err, int parent)
{
	err = abs(err);
	if (err == parent)
		return true;
	return is_project_code(err) && err_table[err - ERR_BASE - 1].parent == parent;
}

int
err_errno(int err)
{
	err = abs(err);
	if (is_project_code(err))
		err = err_table[err - ERR_BASE - 1].parent;
	return err < 4096 ? -err : -EIO;
}
