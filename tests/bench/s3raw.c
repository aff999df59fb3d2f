/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3raw - the ceiling of an S3 store as seen from here: blocking sockets, one thread a connection,
 * keep-alive, one buffer, signed headers with UNSIGNED-PAYLOAD, no retries, nothing else.
 *
 * s3raw ADDR PORT BUCKET ACCESS SECRET put|get N SIZE DEPTH [PREFIX]   (path style, plain HTTP)
 * Prints seconds=... rate=... mb_s=... failed=..., as tool_s3 bench does, over the same keys.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "s3/s3_sign.h"

#define BUFFER (1u << 20)

static struct sockaddr_in addr;
static const char *host, *port, *bucket, *access_key, *prefix;
static bool is_put;
static unsigned int total;
static size_t size;
static char *data;
static uint8_t signing_key[32];
static char amz_date[17];
static atomic_uint next, failed;

static int
dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		perror("s3raw: connect");
		exit(1);
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static size_t
make_head(char *out, size_t cap, unsigned int i)
{
	char path[512], authority[128], sig[65];
	struct s3_header h[] = {{"host", authority}, {"x-amz-content-sha256", "UNSIGNED-PAYLOAD"},
	    {"x-amz-date", amz_date}};
	struct s3_sign_request r = {.method = is_put ? "PUT" : "GET",
	    .path = path,
	    .headers = h,
	    .nheaders = 3,
	    .payload_hash = "UNSIGNED-PAYLOAD",
	    .amz_date = amz_date,
	    .region = "us-east-1",
	    .service = "s3"};

	snprintf(path, sizeof(path), "/%s/%s%06u", bucket, prefix, i);
	snprintf(authority, sizeof(authority), "%s:%s", host, port);
	if (s3_sign_with_key(&r, signing_key, sig, NULL) < 0)
		abort();
	return (size_t)snprintf(out, cap,
	    "%s %s HTTP/1.1\r\nHost: %s\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"
	    "x-amz-date: %s\r\nAuthorization: AWS4-HMAC-SHA256 Credential=%s/%.8s/us-east-1/s3/"
	    "aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=%s\r\n"
	    "Content-Length: %zu\r\n\r\n",
	    r.method, path, authority, amz_date, access_key, amz_date, sig, is_put ? size : 0);
}

static bool
send_all(int fd, const char *head, size_t head_len)
{
	struct iovec iov[2] = {{(void *)(uintptr_t)head, head_len}, {data, is_put ? size : 0}};
	size_t left = head_len + iov[1].iov_len;

	while (left > 0) {
		ssize_t n = writev(fd, iov, 2);

		if (n <= 0)
			return false;
		left -= (size_t)n;
		for (int i = 0; i < 2; i++) {
			size_t used = (size_t)n < iov[i].iov_len ? (size_t)n : iov[i].iov_len;

			iov[i].iov_base = (char *)iov[i].iov_base + used;
			iov[i].iov_len -= used;
			n -= (ssize_t)used;
		}
	}
	return true;
}

/* answer - read one; result: was it a 200 of the right length? */
static bool
answer(int fd, char *buf)
{
	size_t have = 0, body, length = 0;
	char *end = NULL, *at;
	ssize_t n;

	while (end == NULL) {
		n = read(fd, buf + have, BUFFER - 1 - have);
		if (n <= 0)
			return false;
		have += (size_t)n;
		buf[have] = '\0';
		end = memmem(buf, have, "\r\n\r\n", 4);
	}
	at = strcasestr(buf, "\r\ncontent-length:");
	if (at != NULL && at < end)
		length = strtoul(at + 17, NULL, 10);
	for (body = have - (size_t)(end + 4 - buf); body < length; body += (size_t)n) {
		n = read(fd, buf + 64, BUFFER - 64);
		if (n <= 0)
			return false;
	}
	return strncmp(buf, "HTTP/1.1 200", 12) == 0 && (is_put || length == size);
}

static void *
client(void *arg)
{
	char *buf = xmalloc(BUFFER), head[2048];
	int fd = dial();

	(void)arg;
	for (;;) {
		unsigned int i = atomic_fetch_add(&next, 1);

		if (i >= total)
			break;
		if (!send_all(fd, head, make_head(head, sizeof(head), i)) || !answer(fd, buf)) {
			atomic_fetch_add(&failed, 1);
			close(fd);
			fd = dial();
		}
	}
	close(fd);
	free(buf);
	return NULL;
}

int
main(int argc, char **argv)
{
	unsigned int depth;
	pthread_t *threads;
	time_t now = time(NULL);
	uint64_t start, ns;
	char day[9];

	if (argc < 10)
		return 2;
	host = argv[1];
	port = argv[2];
	bucket = argv[3];
	access_key = argv[4];
	is_put = strcmp(argv[6], "put") == 0;
	total = (unsigned int)strtoul(argv[7], NULL, 10);
	size = strtoul(argv[8], NULL, 10);
	depth = (unsigned int)strtoul(argv[9], NULL, 10);
	prefix = argc > 10 ? argv[10] : "bench/";
	addr.sin_family = AF_INET;
	addr.sin_port = htons((uint16_t)atoi(port));
	inet_pton(AF_INET, host, &addr.sin_addr);
	strftime(amz_date, sizeof(amz_date), "%Y%m%dT%H%M%SZ", gmtime(&now));
	snprintf(day, sizeof(day), "%.8s", amz_date);
	s3_signing_key(argv[5], day, "us-east-1", "s3", signing_key);
	data = xmalloc(size + 1);
	random_bytes(data, size);
	threads = xcalloc(depth, sizeof(*threads));
	start = clock_mono_ns();
	for (unsigned int i = 0; i < depth; i++)
		pthread_create(&threads[i], NULL, client, NULL);
	for (unsigned int i = 0; i < depth; i++)
		pthread_join(threads[i], NULL);
	ns = clock_mono_ns() - start;
	printf("seconds=%.4f rate=%.1f mb_s=%.1f failed=%u\n", (double)ns / 1e9,
	    total * 1e9 / (double)ns, (double)total * (double)size * 1e3 / (double)ns, failed);
	return failed > 0;
}
