/* SPDX-License-Identifier: Apache-2.0 */
/* copy.c - in the kernel where the file system can (it shares blocks where it can), else by hand. */
#include "s3/server/copy.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "gateway/base/strbuf.h"

#define BUF_SIZE (256 * 1024)

static ssize_t
copy_some(int from, uint64_t off, size_t want, int to, struct digest *md5, char *buf)
{
	ssize_t n = pread(from, buf, want < BUF_SIZE ? want : BUF_SIZE, (off_t)off), done = 0, w;

	if (n > 0 && md5 != NULL)
		digest_update(md5, buf, (size_t)n);
	while (n > 0 && done < n) {
		w = write(to, buf + done, (size_t)(n - done));
		if (w < 0 && errno != EINTR)
			return -1;
		done += w > 0 ? w : 0;
	}
	return n;
}

int
copy_bytes(int from, uint64_t off, uint64_t len, int to, struct digest *md5)
{
	bool by_kernel = md5 == NULL, to_end = len == UINT64_MAX;
	char *buf = xmalloc(BUF_SIZE);
	int err = 0;

	while (len > 0 && err == 0) {
		size_t want = len < (64u << 20) ? (size_t)len : (64u << 20);
		off_t at = (off_t)off;
		ssize_t n;

		if (by_kernel) {
			n = copy_file_range(from, &at, to, NULL, want, 0);
			if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
					 errno == EOPNOTSUPP)) {
				by_kernel = false;
				continue;
			}
		} else {
			n = copy_some(from, off, want, to, md5, buf);
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err = -errno;
		} else if (n == 0) {
			err = to_end ? 0 : -ENODATA;
			break;
		} else {
			off += (uint64_t)n;
			len -= to_end ? 0 : (uint64_t)n;
		}
	}
	free(buf);
	return err;
}
