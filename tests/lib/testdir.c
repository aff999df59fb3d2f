/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/testdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "gateway/base/strbuf.h"

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

void
testdir_remove(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		abort();
}

void
testdir_copy(const char *from, const char *to)
{
	char buf[65536];
	FILE *in = fopen(from, "rb"), *out;
	size_t n;

	if (in == NULL)
		return;
	out = fopen(to, "wb");
	if (out == NULL)
		abort();
	while ((n = fread(buf, 1, sizeof(buf), in)) > 0) {
		if (fwrite(buf, 1, n, out) != n)
			abort();
	}
	fclose(in);
	if (fclose(out) != 0)
		abort();
}

void
testdir_copy_db(const char *from, const char *to)
{
	char *from_wal = xasprintf("%s-wal", from), *to_wal = xasprintf("%s-wal", to);

	testdir_copy(from, to);
	testdir_copy(from_wal, to_wal);
	free(from_wal);
	free(to_wal);
}
