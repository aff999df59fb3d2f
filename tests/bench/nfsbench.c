/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nfsbench.c - a light NFSv3 client that measures servers: raw socket, calls of a window sent with one
 * system call, replies taken as they come, nothing copied that need not be.
 *
 * usage: nfsbench --op OP [--host H] [--port P] [--mount-port P] [--export /PATH] [--depth N]
 *                 [--seconds S | --count N] [--size MIB] [--files N] [--dir NAME]
 * ops:   null getattr lookup read4k read1m write4k write1m small readdirplus; fill = only make the files
 *
 * Files lie in DIR of the export and stay there, so that a second run finds them.  write1m ends each
 * pass over the file with a COMMIT; small is CREATE + WRITE of 4 KiB FILE_SYNC, counted as one.
 * One line of JSON on stdout; exit status 1 if the run could not be made.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gateway/base/be.h"
#include "gateway/base/clock.h"
#include "tests/bench/latency.h"

#define MIB (1024u * 1024)
#define DEPTH_MAX 256u
#define CALL_MAX 512u
#define NFS 100003u
#define MOUNT 100005u

enum { NULLP, GETATTR, SETATTR, LOOKUP, ACCESS, READLINK, READ, WRITE, CREATE, MKDIR };
enum { READDIRPLUS = 17, COMMIT = 21 };

struct handle {
	uint32_t len;
	uint8_t data[64];
};

struct slot {
	uint8_t call[CALL_MAX]; /* record mark and all but the payload */
	uint32_t len, payload;	/* payload: bytes of `zeros` behind it */
	uint64_t sent_ns;
	bool is_second; /* small: the WRITE behind the CREATE */
	struct handle made;
};

struct bench {
	const char *host, *export, *op, *dir_name;
	unsigned int port, mount_port, depth;
	double seconds;
	uint64_t count, size_mib, nfiles;
	int fd;
	uint32_t xid;
	struct handle root, dir, file;
	struct slot slots[DEPTH_MAX];
	unsigned int ready[DEPTH_MAX], nready; /* slots to be sent */
	unsigned int nflying;
	uint8_t *rx;
	size_t rx_cap, rx_start, rx_len;
	uint64_t issued, completed, errors, bytes, entries, passes;
	uint64_t next_off, cookie, cookie_verf, rnd, stop_ns;
	bool is_stopped, is_committing;
	uint32_t first_error;
	struct latency latency;
	/* next - build the next call in s; false: no more */
	bool (*next)(struct bench *b, struct slot *s);
	/* reply - r behind the status word; true: s->call holds a follow-up */
	bool (*reply)(struct bench *b, struct slot *s, uint32_t stat, struct be_reader *r);
};

static uint8_t payload_bytes[MIB];

static void
die(const char *what)
{
	fprintf(stderr, "nfsbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- calls -------------------------------------------------------------------------------------- */

static void
begin(struct bench *b, struct slot *s, struct be_writer *w, uint32_t prog, uint32_t proc)
{
	const uint32_t words[] = {0, 0, 0, 2, prog, 3, proc, 1, 28, 1, 5};

	be_writer_init(w, s->call, sizeof(s->call));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		be_put_u32(w, words[i]);
	be_put_bytes(w, "bench\0\0\0", 8);
	for (int i = 0; i < 5; i++) /* uid, gid, groups, verifier flavor and length */
		be_put_u32(w, 0);
	be_store_u32(s->call + 4, (++b->xid << 8) | (uint32_t)(s - b->slots));
}

static void
end(struct slot *s, struct be_writer *w, uint32_t payload)
{
	s->len = (uint32_t)be_written(w);
	s->payload = payload;
	be_store_u32(s->call, 0x80000000u | (s->len - 4 + payload));
}

static void
put_opaque(struct be_writer *w, const void *data, uint32_t len)
{
	be_put_u32(w, len);
	be_put_bytes(w, data, len);
	be_put_bytes(w, "\0\0\0", (0u - len) & 3);
}

static void
put_handle(struct be_writer *w, const struct handle *h)
{
	put_opaque(w, h->data, h->len);
}

static void
get_handle(struct be_reader *r, struct handle *h)
{
	uint32_t len = be_u32(r);
	const uint8_t *p = len <= 64 ? be_bytes(r, (len + 3) & ~3u) : NULL;

	h->len = 0;
	if (p == NULL)
		return;
	h->len = len;
	memcpy(h->data, p, len);
}

static void
put_name(struct be_writer *w, const struct handle *dir, const char *prefix, uint64_t n)
{
	char name[64];
	int len = snprintf(name, sizeof(name), "%s%07llu", prefix, (unsigned long long)n);

	put_handle(w, dir);
	put_opaque(w, name, (uint32_t)len);
}

static void
put_mode(struct be_writer *w, uint32_t mode)
{
	const uint32_t words[] = {1, mode, 0, 0, 0, 0, 0};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		be_put_u32(w, words[i]);
}

/* --- the engine ----------------------------------------------------------------------------------- */

static void
send_ready(struct bench *b)
{
	struct iovec iov[2 * DEPTH_MAX];
	unsigned int n = 0, at = 0;
	uint64_t now = clock_mono_ns();

	for (unsigned int i = 0; i < b->nready; i++) {
		struct slot *s = &b->slots[b->ready[i]];

		s->sent_ns = now;
		iov[n++] = (struct iovec){s->call, s->len};
		if (s->payload > 0)
			iov[n++] = (struct iovec){payload_bytes, s->payload};
	}
	b->nflying += b->nready;
	b->nready = 0;
	while (at < n) {
		ssize_t sent = writev(b->fd, iov + at, (int)(n - at));

		if (sent < 0)
			die("send");
		while (at < n && (size_t)sent >= iov[at].iov_len)
			sent -= (ssize_t)iov[at++].iov_len;
		if (at < n) {
			iov[at].iov_base = (uint8_t *)iov[at].iov_base + sent;
			iov[at].iov_len -= (size_t)sent;
		}
	}
}

static void
issue(struct bench *b, unsigned int slot)
{
	struct slot *s = &b->slots[slot];

	s->is_second = false;
	if (b->is_stopped || (b->count > 0 && b->issued >= b->count) || !b->next(b, s))
		return;
	b->issued++;
	b->ready[b->nready++] = slot;
}

static void
take_reply(struct bench *b, const uint8_t *data, size_t len, uint64_t now)
{
	struct be_reader r;
	uint32_t xid, slot, stat = 0;
	struct slot *s;
	bool is_accepted;

	be_reader_init(&r, data, len);
	xid = be_u32(&r);
	slot = xid & 255;
	s = &b->slots[slot];
	is_accepted = be_u32(&r) == 1 && be_u32(&r) == 0;
	be_u32(&r);
	be_u32(&r);
	is_accepted = be_u32(&r) == 0 && is_accepted && !r.bad;
	b->nflying--;
	if (be_left(&r) >= 4)
		stat = be_u32(&r);
	if (!is_accepted)
		stat = 99999;
	if (stat != 0) {
		b->errors++;
		if (b->first_error == 0)
			b->first_error = stat;
	}
	latency_note(&b->latency, now - s->sent_ns);
	if (b->reply != NULL && b->reply(b, s, stat, &r)) {
		b->ready[b->nready++] = slot;
		return;
	}
	b->completed++;
	issue(b, slot);
}

/* Receive once and take every complete reply. */
static void
receive(struct bench *b)
{
	ssize_t n;
	uint64_t now;

	if (b->rx_cap - b->rx_len < MIB + 4096 && b->rx_start > 0) {
		memmove(b->rx, b->rx + b->rx_start, b->rx_len - b->rx_start);
		b->rx_len -= b->rx_start;
		b->rx_start = 0;
	}
	n = recv(b->fd, b->rx + b->rx_len, b->rx_cap - b->rx_len, 0);
	if (n <= 0)
		die("receive");
	b->rx_len += (size_t)n;
	now = clock_mono_ns();
	b->is_stopped = b->is_stopped || (b->stop_ns > 0 && now >= b->stop_ns);
	while (b->rx_len - b->rx_start >= 4) {
		struct be_reader r;
		uint32_t len;

		be_reader_init(&r, b->rx + b->rx_start, 4);
		len = be_u32(&r) & 0x7fffffffu;
		if (b->rx_len - b->rx_start < 4 + (size_t)len)
			break;
		take_reply(b, b->rx + b->rx_start + 4, len, now);
		b->rx_start += 4 + (size_t)len;
	}
	if (b->rx_start == b->rx_len)
		b->rx_start = b->rx_len = 0;
}

static double
run(struct bench *b, unsigned int depth, double seconds, uint64_t count)
{
	uint64_t start = clock_mono_ns();

	b->issued = b->completed = b->errors = b->bytes = b->entries = b->passes = 0;
	b->first_error = 0;
	b->is_stopped = false;
	b->count = count;
	b->stop_ns = count > 0 ? 0 : start + (uint64_t)(seconds * 1e9);
	memset(&b->latency, 0, sizeof(b->latency));
	for (unsigned int i = 0; i < depth; i++)
		issue(b, i);
	while (b->nready > 0 || b->nflying > 0) {
		if (b->nready > 0)
			send_ready(b);
		receive(b);
	}
	return (double)(clock_mono_ns() - start) / 1e9;
}

/* --- one call at a time, for setting up ------------------------------------------------------------ */

static struct handle got;
static uint32_t got_stat;
static uint32_t want_handle; /* 1: nfs_fh3 follows, 2: post_op_fh3 follows */

static bool
take_one(struct bench *b, struct slot *s, uint32_t stat, struct be_reader *r)
{
	(void)b;
	(void)s;
	got_stat = stat;
	got.len = 0;
	if (stat == 0 && (want_handle == 1 || (want_handle == 2 && be_u32(r) == 1)))
		get_handle(r, &got);
	return false;
}

static uint32_t
one(struct bench *b, bool (*build)(struct bench *b, struct slot *s), uint32_t handle_kind)
{
	want_handle = handle_kind;
	b->next = build;
	b->reply = take_one;
	run(b, 1, 0, 1);
	return got_stat;
}

static bool
build_mnt(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, MOUNT, 1);
	put_opaque(&w, b->export, (uint32_t)strlen(b->export));
	end(s, &w, 0);
	return true;
}

static bool
build_mkdir(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, MKDIR);
	put_handle(&w, &b->root);
	put_opaque(&w, b->dir_name, (uint32_t)strlen(b->dir_name));
	put_mode(&w, 0777);
	end(s, &w, 0);
	return true;
}

static bool
build_lookup_dir(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, LOOKUP);
	put_handle(&w, &b->root);
	put_opaque(&w, b->dir_name, (uint32_t)strlen(b->dir_name));
	end(s, &w, 0);
	return true;
}

static bool
build_create_big(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, CREATE);
	put_name(&w, &b->dir, "big", 0);
	be_put_u32(&w, 0);
	put_mode(&w, 0666);
	end(s, &w, 0);
	return true;
}

static bool
build_lookup_big(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, LOOKUP);
	put_name(&w, &b->dir, "big", 0);
	end(s, &w, 0);
	return true;
}

static bool
build_commit(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, COMMIT);
	put_handle(&w, &b->file);
	be_put_u64(&w, 0);
	be_put_u32(&w, 0);
	end(s, &w, 0);
	return true;
}

/* A socket bound to a port below 1024, which servers may insist on, when we may have one. */
static int
socket_from(uint16_t port)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (port != 0 && bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void
dial(struct bench *b, unsigned int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int yes = 1;

	if (inet_pton(AF_INET, b->host, &to.sin_addr) != 1)
		die("host");
	b->fd = -1;
	for (uint16_t p = 1023; p >= 699 && b->fd < 0; p--) {
		int fd = socket_from(p == 699 ? 0 : p);

		if (fd < 0)
			continue;
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
			b->fd = fd;
		else if (errno != EADDRNOTAVAIL && errno != EADDRINUSE)
			die("connect");
		else
			close(fd);
	}
	if (b->fd < 0)
		die("connect");
	setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	b->rx_start = b->rx_len = 0;
}

/* --- what is measured ------------------------------------------------------------------------------ */

static bool
next_null(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, NULLP);
	end(s, &w, 0);
	return true;
}

static bool
next_getattr(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, GETATTR);
	put_handle(&w, &b->dir);
	end(s, &w, 0);
	return true;
}

static bool
next_lookup(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, LOOKUP);
	put_name(&w, &b->dir, "f", xorshift(&b->rnd) % b->nfiles);
	end(s, &w, 0);
	return true;
}

static bool
next_create(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, CREATE);
	put_name(&w, &b->dir, "f", b->issued);
	be_put_u32(&w, 0);
	put_mode(&w, 0644);
	end(s, &w, 0);
	return true;
}

static void
build_read(struct bench *b, struct slot *s, uint64_t off, uint32_t len)
{
	struct be_writer w;

	begin(b, s, &w, NFS, READ);
	put_handle(&w, &b->file);
	be_put_u64(&w, off);
	be_put_u32(&w, len);
	end(s, &w, 0);
}

static void
build_write(struct bench *b, struct slot *s, const struct handle *h, uint64_t off, uint32_t len,
    uint32_t stable)
{
	struct be_writer w;

	begin(b, s, &w, NFS, WRITE);
	put_handle(&w, h);
	be_put_u64(&w, off);
	be_put_u32(&w, len);
	be_put_u32(&w, stable);
	be_put_u32(&w, len);
	end(s, &w, len);
}

static bool
next_read4k(struct bench *b, struct slot *s)
{
	build_read(b, s, xorshift(&b->rnd) % (b->size_mib * 256) * 4096, 4096);
	return true;
}

static bool
next_read1m(struct bench *b, struct slot *s)
{
	build_read(b, s, b->next_off, MIB);
	b->next_off = (b->next_off + MIB) % (b->size_mib * MIB);
	return true;
}

static bool
reply_read(struct bench *b, struct slot *s, uint32_t stat, struct be_reader *r)
{
	(void)s;
	if (stat == 0 && be_u32(r) == 1)
		be_bytes(r, 84);
	if (stat == 0)
		b->bytes += be_u32(r);
	return false;
}

static bool
next_write4k(struct bench *b, struct slot *s)
{
	build_write(b, s, &b->file, xorshift(&b->rnd) % (b->size_mib * 256) * 4096, 4096, 0);
	return true;
}

/* Sequential writes; at the end of the file one COMMIT, sent when all writes are answered. */
static bool
next_write1m(struct bench *b, struct slot *s)
{
	if (b->is_committing)
		return false;
	build_write(b, s, &b->file, b->next_off, MIB, 0);
	b->next_off += MIB;
	if (b->next_off >= b->size_mib * MIB) {
		b->next_off = 0;
		b->is_committing = true;
	}
	return true;
}

static bool
reply_write(struct bench *b, struct slot *s, uint32_t stat, struct be_reader *r)
{
	(void)r;
	if (stat == 0)
		b->bytes += s->payload;
	return false;
}

static bool
next_small(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, CREATE);
	put_name(&w, &b->dir, "s", xorshift(&b->rnd) % 100000000);
	be_put_u32(&w, 0);
	put_mode(&w, 0644);
	end(s, &w, 0);
	return true;
}

static bool
reply_small(struct bench *b, struct slot *s, uint32_t stat, struct be_reader *r)
{
	if (s->is_second || stat != 0 || be_u32(r) != 1) {
		b->bytes += s->is_second && stat == 0 ? 4096 : 0;
		return false;
	}
	get_handle(r, &s->made);
	build_write(b, s, &s->made, 0, 4096, 2);
	s->is_second = true;
	return true;
}

static bool
next_readdirplus(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, READDIRPLUS);
	put_handle(&w, &b->dir);
	be_put_u64(&w, b->cookie);
	be_put_u64(&w, b->cookie_verf);
	be_put_u32(&w, 65536);
	be_put_u32(&w, 65536);
	end(s, &w, 0);
	return true;
}

static bool
reply_readdirplus(struct bench *b, struct slot *s, uint32_t stat, struct be_reader *r)
{
	bool is_eof;

	(void)s;
	if (stat != 0) {
		b->is_stopped = true;
		return false;
	}
	if (be_u32(r) == 1)
		be_bytes(r, 84);
	b->cookie_verf = be_u64(r);
	while (be_u32(r) == 1) {
		be_u64(r);
		be_bytes(r, (be_u32(r) + 3) & ~3u);
		b->cookie = be_u64(r);
		if (be_u32(r) == 1)
			be_bytes(r, 84);
		if (be_u32(r) == 1)
			be_bytes(r, (be_u32(r) + 3) & ~3u);
		b->entries++;
	}
	is_eof = be_u32(r) != 0;
	if (r->bad) {
		b->errors++;
		b->is_stopped = true;
	}
	if (is_eof) {
		b->cookie = 0;
		b->passes++;
		b->is_stopped = b->is_stopped || (b->stop_ns == 0 && b->passes >= b->size_mib);
	}
	return false;
}

static double
run_write1m(struct bench *b, double seconds, uint64_t count)
{
	uint64_t start = clock_mono_ns(), completed = 0, bytes = 0, errors = 0, passes = 0;
	double elapsed;

	do {
		b->is_committing = false;
		b->next = next_write1m;
		b->reply = reply_write;
		run(b, b->depth, 0, b->size_mib);
		completed += b->completed;
		bytes += b->bytes;
		errors += b->errors;
		if (one(b, build_commit, 0) != 0)
			errors++;
		passes++;
		elapsed = (double)(clock_mono_ns() - start) / 1e9;
	} while (count > 0 ? passes < count : elapsed < seconds);
	b->completed = completed;
	b->bytes = bytes;
	b->errors = errors;
	b->passes = passes;
	return elapsed;
}

static void
print_result(const struct bench *b, double s)
{
	printf("{\"op\":\"%s\",\"depth\":%u,\"count\":%llu,\"seconds\":%.3f,\"ops_per_s\":%.0f,"
	       "\"mb_per_s\":%.1f,\"entries_per_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
	       "\"errors\":%llu,\"first_error\":%u}\n",
	    b->op, b->depth, (unsigned long long)b->completed, s, (double)b->completed / s,
	    (double)b->bytes / s / 1e6, (double)b->entries / s, latency_us(&b->latency, 0.5),
	    latency_us(&b->latency, 0.99), (unsigned long long)b->errors, b->first_error);
}

static const struct measure {
	const char *name;
	bool (*next)(struct bench *b, struct slot *s);
	bool (*reply)(struct bench *b, struct slot *s, uint32_t stat, struct be_reader *r);
	bool needs_file, needs_names;
} measures[] = {
    {"null", next_null, NULL, false, false},
    {"getattr", next_getattr, NULL, false, false},
    {"lookup", next_lookup, NULL, false, true},
    {"read4k", next_read4k, reply_read, true, false},
    {"read1m", next_read1m, reply_read, true, false},
    {"write4k", next_write4k, reply_write, true, false},
    {"write1m", next_write1m, reply_write, true, false},
    {"small", next_small, reply_small, false, false},
    {"readdirplus", next_readdirplus, reply_readdirplus, false, true},
    {"fill", NULL, NULL, true, true},
};

static void
make_file(struct bench *b)
{
	if (one(b, build_lookup_big, 1) == 0) {
		b->file = got;
		return;
	}
	if (one(b, build_create_big, 2) != 0 || got.len == 0) {
		fprintf(stderr, "nfsbench: cannot create the file: status %u\n", got_stat);
		exit(1);
	}
	b->file = got;
	b->next_off = 0;
	run_write1m(b, 0, 1);
	if (b->errors > 0) {
		fprintf(stderr, "nfsbench: filling failed: status %u\n", b->first_error);
		exit(1);
	}
}

/* The names exist when the last of them does. */
static bool
build_lookup_last(struct bench *b, struct slot *s)
{
	struct be_writer w;

	begin(b, s, &w, NFS, LOOKUP);
	put_name(&w, &b->dir, "f", b->nfiles - 1);
	end(s, &w, 0);
	return true;
}

static void
make_names(struct bench *b)
{
	if (one(b, build_lookup_last, 1) == 0)
		return;
	b->next = next_create;
	b->reply = NULL;
	run(b, b->depth > 32 ? b->depth : 32, 0, b->nfiles);
	if (b->errors > 0) {
		fprintf(stderr, "nfsbench: creating failed: status %u\n", b->first_error);
		exit(1);
	}
}

static void
set_up(struct bench *b, const struct measure *m)
{
	dial(b, b->mount_port);
	if (one(b, build_mnt, 1) != 0) {
		fprintf(stderr, "nfsbench: MNT %s: status %u\n", b->export, got_stat);
		exit(1);
	}
	b->root = got;
	close(b->fd);
	dial(b, b->port);
	one(b, build_mkdir, 2);
	if (one(b, build_lookup_dir, 1) != 0) {
		fprintf(stderr, "nfsbench: directory: status %u\n", got_stat);
		exit(1);
	}
	b->dir = got;
	if (m->needs_file)
		make_file(b);
	if (m->needs_names)
		make_names(b);
}

static void
parse(struct bench *b, int argc, char **argv)
{
	static const struct option options[] = {{"host", 1, NULL, 'h'}, {"port", 1, NULL, 'p'},
	    {"mount-port", 1, NULL, 'm'}, {"export", 1, NULL, 'e'}, {"op", 1, NULL, 'o'},
	    {"depth", 1, NULL, 'd'}, {"seconds", 1, NULL, 's'}, {"count", 1, NULL, 'c'},
	    {"size", 1, NULL, 'S'}, {"files", 1, NULL, 'f'}, {"dir", 1, NULL, 'D'},
	    {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			b->host = optarg;
			break;
		case 'p':
			b->port = (unsigned int)atoi(optarg);
			break;
		case 'm':
			b->mount_port = (unsigned int)atoi(optarg);
			break;
		case 'e':
			b->export = optarg;
			break;
		case 'o':
			b->op = optarg;
			break;
		case 'd':
			b->depth = (unsigned int)atoi(optarg);
			break;
		case 's':
			b->seconds = atof(optarg);
			break;
		case 'c':
			b->count = strtoull(optarg, NULL, 10);
			break;
		case 'S':
			b->size_mib = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			b->nfiles = strtoull(optarg, NULL, 10);
			break;
		case 'D':
			b->dir_name = optarg;
			break;
		default:
			exit(2);
		}
	}
	if (b->mount_port == 0)
		b->mount_port = b->port;
	if (b->depth < 1 || b->depth > DEPTH_MAX || b->size_mib < 1 || b->nfiles < 1) {
		fprintf(stderr, "nfsbench: depth 1..%u, size and files at least 1\n", DEPTH_MAX);
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	static struct bench b = {.host = "127.0.0.1",
	    .export = "/demo",
	    .op = "getattr",
	    .dir_name = "nfsbench",
	    .port = 2049,
	    .depth = 32,
	    .seconds = 1,
	    .size_mib = 256,
	    .nfiles = 10000};
	const struct measure *m = NULL;
	uint64_t count;
	double s;

	parse(&b, argc, argv);
	count = b.count;
	for (size_t i = 0; i < sizeof(measures) / sizeof(measures[0]); i++) {
		if (strcmp(measures[i].name, b.op) == 0)
			m = &measures[i];
	}
	if (m == NULL) {
		fprintf(stderr, "nfsbench: unknown op %s\n", b.op);
		return 2;
	}
	b.rnd = clock_mono_ns() | 1;
	b.xid = (uint32_t)(b.rnd >> 10); /* of this run alone: servers remember calls */
	b.rx_cap = 4 * MIB;
	b.rx = malloc(b.rx_cap);
	for (size_t i = 0; i < sizeof(payload_bytes); i++)
		payload_bytes[i] = (uint8_t)(xorshift(&b.rnd) >> 11);
	set_up(&b, m);
	if (m->next == NULL)
		return 0;
	b.next_off = b.cookie = b.cookie_verf = 0;
	b.next = m->next;
	b.reply = m->reply;
	if (m->next == next_readdirplus)
		b.depth = 1;
	if (m->next == next_write1m)
		s = run_write1m(&b, b.seconds, count);
	else
		s = run(&b, b.depth, b.seconds, count);
	print_result(&b, s);
	close(b.fd);
	free(b.rx);
	return 0;
}
