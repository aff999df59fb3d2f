/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/testdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	static const char zeros[65536];
	char buf[sizeof(zeros)];
	FILE *in = fopen(from, "rb"), *out;
	long size = 0;
	size_t n;

	if (in == NULL)
		return;
	out = fopen(to, "wb");
	if (out == NULL)
		abort();
	while ((n = fread(buf, 1, sizeof(buf), in)) > 0) {
		size += (long)n;
		if (memcmp(buf, zeros, n) == 0 ? fseek(out, size, SEEK_SET) != 0
					       : fwrite(buf, 1, n, out) != n)
			abort();
	}
	if (fflush(out) != 0 || ftruncate(fileno(out), size) != 0)
		abort();
	fclose(in);
	if (fclose(out) != 0)
		abort();
}

void
testdir_copy_db(const char *from, const char *to)
{
	static const char *const tails[] = {"", "-wal", "-log"};

	for (unsigned int i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		char *a = xasprintf("%s%s", from, tails[i]), *b = xasprintf("%s%s", to, tails[i]);

		testdir_copy(a, b);
		free(a);
		free(b);
	}
}
