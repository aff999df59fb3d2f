/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_nfsledger - an NFS client that remembers every promise and holds the server to it.
 *
 * usage: tool_nfsledger nfs://HOST/EXPORT?nfsport=P&mountport=P DIR SEED [ROUND-FILE]
 *
 * It works in DIR of the share with random creates, writes, commits, truncates, renames and removes.
 * Each 4 KiB block it writes is stamped with file, block and version.  When the server goes away it
 * reconnects (for 60 s at most), reads everything back and compares with what it was promised:
 *   - a reply to CREATE, RENAME, REMOVE, SETATTR is durable;
 *   - data is durable after COMMIT or a FILE_SYNC write; a later unstable write may be there or not;
 *   - the operation that got no reply happened or did not.
 * SIGTERM: verify once more, print "OK rounds=N ops=N" and exit 0.  A broken promise: a line that
 * says which, exit 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <nfsc/libnfs.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define NFILES 24
#define NBLOCKS 96
#define RECONNECT_S 60

struct block_state {
	uint32_t durable, latest; /* versions; 0 = zeros */
};

struct file_state {
	bool exists;
	uint32_t name;				   /* files are called f<name> */
	uint32_t id;				   /* stamped into blocks; stays over a rename */
	uint32_t durable_size, max_size, min_size; /* in blocks; any size between may be found */
	struct block_state block[NBLOCKS];
};

enum pending_op { P_NONE, P_CREATE, P_WRITE, P_TRUNCATE, P_RENAME, P_REMOVE };

static struct file_state files[NFILES];
static struct nfs_context *nfs;
static struct nfs_url *url;
static const char *url_text, *dir;
static uint32_t next_version = 1, next_name = 1;
static uint64_t nops, nrounds;
static volatile sig_atomic_t stopping;
static struct {
	enum pending_op op;
	unsigned int file;
	uint32_t name, size;
} pending;
static uint64_t rng;

static uint32_t
rnd(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)((rng >> 11) % n);
}

static void
on_term(int sig)
{
	(void)sig;
	stopping = 1;
}

static void
broken(const char *what, const struct file_state *f, uint32_t block, uint32_t got)
{
	printf("BROKEN %s: %s/f%u block %u: found %u, durable %u, latest %u, sizes %u..%u\n", what,
	    dir, f->name, block, got, f->block[block % NBLOCKS].durable,
	    f->block[block % NBLOCKS].latest, f->min_size, f->max_size);
	fflush(stdout);
	exit(1);
}

static void
fill(uint8_t *b, uint32_t id, uint32_t block, uint32_t version)
{
	uint32_t *w = (uint32_t *)(void *)b;

	for (uint32_t i = 0; i < BLOCK / 4; i += 4) {
		w[i] = id;
		w[i + 1] = block;
		w[i + 2] = version;
		w[i + 3] = i ^ version;
	}
}

/* The version that a block holds; exits if it is no whole block of ours. */
static uint32_t
version_of(const struct file_state *f, const uint8_t *b, uint32_t block)
{
	const uint32_t *w = (const uint32_t *)(const void *)b;
	uint8_t want[BLOCK];
	bool is_zero = true;

	for (uint32_t i = 0; i < BLOCK / 4 && is_zero; i++)
		is_zero = w[i] == 0;
	if (is_zero)
		return 0;
	fill(want, f->id, block, w[2]);
	if (memcmp(want, b, BLOCK) != 0)
		broken("torn or foreign block", f, block, w[2]);
	return w[2];
}

/* Is somebody listening? */
static bool
is_listening(const char *server)
{
	const char *port = strstr(url_text, "nfsport=");
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct pollfd p;
	int err = 0, fd;
	socklen_t len = sizeof(err);
	bool ok;

	sin.sin_port = htons((uint16_t)(port != NULL ? atoi(port + 8) : 2049));
	if (inet_pton(AF_INET, server, &sin.sin_addr) != 1)
		return true;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	(void)connect(fd, (struct sockaddr *)&sin, sizeof(sin));
	p.fd = fd;
	p.events = POLLOUT;
	ok = poll(&p, 1, 500) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 &&
	     err == 0;
	close(fd);
	return ok;
}

/* libnfs 4.0 crashes on some errors of a mount (it prints what is not there), for example when nobody answers
 * in time: a child tries first. */
static bool
can_mount(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(nfs_mount(nfs, url->server, url->path) == 0 ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

/* libnfs 4.0 crashes as well where it cancels the calls that still wait (nfs_destroy_context prints the NULL it hands
 * to their callbacks as a string): the old context is left where it is, some kilobytes a cut, and only its connection ends. */
static void
abandon_server(void)
{
	int fd = nfs_get_fd(nfs);

	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
}

/* A context of the URL's ports and version; url: its parts. */
static void
new_context(void)
{
	if (url != NULL)
		nfs_destroy_url(url);
	nfs = nfs_init_context();
	url = nfs_parse_url_dir(nfs, url_text);
	if (url == NULL) {
		fprintf(stderr, "bad URL: %s\n", nfs_get_error(nfs));
		exit(2);
	}
	nfs_set_autoreconnect(nfs, 0);
	nfs_set_timeout(nfs, 4000);
}

static bool
connect_server(void)
{
	if (url != NULL && !is_listening(url->server))
		return false;
	if (nfs != NULL)
		abandon_server();
	new_context();
	return can_mount() && nfs_mount(nfs, url->server, url->path) == 0;
}

static void
path_of(uint32_t name, char *out)
{
	snprintf(out, 128, "%s/f%u", dir, name);
}

/* A retryable answer or a lost connection: the caller goes to recovery. */
static bool
lost(int r)
{
	return r < 0;
}

static bool
do_create(struct file_state *f)
{
	struct nfsfh *fh;
	char path[128];
	int r;

	f->name = next_name++;
	f->id = f->name;
	path_of(f->name, path);
	pending.op = P_CREATE;
	r = nfs_creat(nfs, path, 0644, &fh);
	if (lost(r))
		return false;
	f->exists = true;
	f->durable_size = f->min_size = f->max_size = 0;
	memset(f->block, 0, sizeof(f->block));
	nfs_close(nfs, fh);
	return true;
}

static void
made_durable(struct file_state *f)
{
	for (unsigned int i = 0; i < NBLOCKS; i++)
		f->block[i].durable = f->block[i].latest;
	f->min_size = f->max_size;
}

static bool
do_write(struct file_state *f)
{
	static uint8_t data[16 * BLOCK];
	uint32_t first = rnd(NBLOCKS), n = 1 + rnd(16), kind = rnd(3);
	struct nfsfh *fh;
	char path[128];
	int r;

	if (first + n > NBLOCKS)
		n = NBLOCKS - first;
	path_of(f->name, path);
	if (lost(nfs_open(nfs, path, kind == 0 ? O_RDWR | O_SYNC : O_RDWR, &fh)))
		return false;
	pending.op = P_WRITE;
	for (uint32_t i = 0; i < n; i++) {
		fill(data + i * BLOCK, f->id, first + i, next_version);
		f->block[first + i].latest = next_version++;
	}
	if (first + n > f->max_size)
		f->max_size = first + n;
	r = nfs_pwrite(nfs, fh, (uint64_t)first * BLOCK, (uint64_t)n * BLOCK, data);
	if (r == (int)(n * BLOCK) &&
	    kind == 0) { /* FILE_SYNC: these blocks and the size are durable */
		for (uint32_t i = first; i < first + n; i++)
			f->block[i].durable = f->block[i].latest;
		if (f->min_size < first + n)
			f->min_size = first + n;
	}
	if (!lost(r) && kind == 1) {
		r = nfs_fsync(nfs, fh);
		if (!lost(r))
			made_durable(f);
	}
	if (lost(r))
		return false;
	if (kind != 2) {
		nfs_close(nfs, fh);
		return true;
	}
	/* unstable, and closed without COMMIT: libnfs sends none on close */
	nfs_close(nfs, fh);
	return true;
}

static bool
do_truncate(struct file_state *f)
{
	uint32_t size = rnd(NBLOCKS);
	char path[128];

	path_of(f->name, path);
	pending.op = P_TRUNCATE;
	pending.size = size;
	if (lost(nfs_truncate(nfs, path, (uint64_t)size * BLOCK)))
		return false;
	for (uint32_t i = size; i < NBLOCKS; i++)
		f->block[i].durable = f->block[i].latest = 0;
	f->min_size = f->max_size = size;
	return true;
}

static bool
do_rename(struct file_state *f)
{
	char from[128], to[128];

	path_of(f->name, from);
	pending.op = P_RENAME;
	pending.name = next_name++;
	path_of(pending.name, to);
	if (lost(nfs_rename(nfs, from, to)))
		return false;
	f->name = pending.name;
	return true;
}

static bool
do_remove(struct file_state *f)
{
	char path[128];

	path_of(f->name, path);
	pending.op = P_REMOVE;
	if (lost(nfs_unlink(nfs, path)))
		return false;
	f->exists = false;
	return true;
}

static bool
step(void)
{
	struct file_state *f;
	uint32_t dice = rnd(100);
	bool ok;

	memset(&pending, 0, sizeof(pending));
	pending.file = rnd(NFILES);
	f = &files[pending.file];
	if (!f->exists)
		ok = do_create(f);
	else if (dice < 75)
		ok = do_write(f);
	else if (dice < 85)
		ok = do_truncate(f);
	else if (dice < 95)
		ok = do_rename(f);
	else
		ok = do_remove(f);
	if (ok) {
		nops++;
		pending.op = P_NONE;
	}
	return ok;
}

/* What the operation without a reply may have done widens what is permitted. */
static void
allow_pending(void)
{
	struct file_state *f = &files[pending.file];
	struct nfs_stat_64 st;
	char path[128];
	bool there;

	path_of(pending.op == P_RENAME ? pending.name : f->name, path);
	there = nfs_stat64(nfs, path, &st) == 0;
	switch (pending.op) {
	case P_CREATE:
		f->exists = there;
		f->min_size = f->max_size = 0;
		memset(f->block, 0, sizeof(f->block));
		break;
	case P_RENAME:
		if (there)
			f->name = pending.name;
		break;
	case P_REMOVE:
		f->exists = there;
		break;
	case P_TRUNCATE:
		if (pending.size < f->min_size)
			f->min_size = pending.size;
		if (pending.size > f->max_size)
			f->max_size = pending.size;
		for (uint32_t i = pending.size; i < NBLOCKS; i++)
			f->block[i].durable = 0;
		break;
	default:
		break;
	}
	pending.op = P_NONE;
}

/* Compare one file with what is permitted and take what was found as the new truth. false: connection lost */
static bool
verify_file(struct file_state *f)
{
	static uint8_t data[NBLOCKS * BLOCK];
	struct nfs_stat_64 st;
	struct nfsfh *fh;
	char path[128];
	uint32_t size;
	int r;

	path_of(f->name, path);
	r = nfs_stat64(nfs, path, &st);
	if (r == -ENOENT && f->exists)
		broken("file is gone", f, 0, 0);
	if (r == 0 && !f->exists)
		broken("removed file is back", f, 0, 0);
	if (r == -ENOENT)
		return true;
	if (r < 0)
		return false;
	size = (uint32_t)(st.nfs_size / BLOCK);
	if (st.nfs_size % BLOCK != 0 || size < f->min_size || size > f->max_size)
		broken("size", f, 0, (uint32_t)st.nfs_size);
	if (lost(nfs_open(nfs, path, O_RDONLY, &fh)))
		return false;
	r = size == 0 ? 0 : nfs_pread(nfs, fh, 0, (uint64_t)size * BLOCK, data);
	nfs_close(nfs, fh);
	if (r != (int)(size * BLOCK))
		return false;
	for (uint32_t i = 0; i < size; i++) {
		uint32_t v = version_of(f, data + i * BLOCK, i);

		if (v < f->block[i].durable || v > f->block[i].latest)
			broken("block", f, i, v);
		f->block[i].durable = f->block[i].latest = v;
	}
	for (uint32_t i = size; i < NBLOCKS; i++)
		f->block[i].durable = f->block[i].latest = 0;
	f->min_size = f->max_size = size;
	return true;
}

static bool
verify_all(void)
{
	struct nfsdirent *e;
	struct nfsdir *d;
	unsigned int want = 0, have = 0;

	if (pending.op != P_NONE)
		allow_pending();
	for (unsigned int i = 0; i < NFILES; i++) {
		if (!verify_file(&files[i]))
			return false;
		want += files[i].exists;
	}
	if (lost(nfs_opendir(nfs, dir, &d)))
		return false;
	while ((e = nfs_readdir(nfs, d)) != NULL)
		have += e->name[0] == 'f';
	nfs_closedir(nfs, d);
	if (have != want) {
		printf("BROKEN %s lists %u files, should be %u\n", dir, have, want);
		exit(1);
	}
	return true;
}

static void
recover(void)
{
	time_t end = time(NULL) + RECONNECT_S;

	for (;;) {
		if (connect_server() && verify_all())
			break;
		if (time(NULL) > end) {
			printf("FAILED the server did not come back within %d s: %s\n", RECONNECT_S,
			    nfs_get_error(nfs));
			exit(1);
		}
		usleep(200000);
	}
	nrounds++;
	printf("round %llu ok, %llu ops\n", (unsigned long long)nrounds, (unsigned long long)nops);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	int r;

	if (argc < 4) {
		fprintf(stderr, "usage: tool_nfsledger URL DIR SEED\n");
		return 2;
	}
	url_text = argv[1];
	dir = argv[2];
	rng = strtoull(argv[3], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
	printf("seed %s\n", argv[3]);
	signal(SIGTERM, on_term);
	signal(SIGPIPE, SIG_IGN);
	if (!connect_server()) {
		printf("FAILED to mount: %s\n", nfs_get_error(nfs));
		return 2;
	}
	r = nfs_mkdir(nfs, dir);
	if (r < 0 && r != -EEXIST) {
		printf("FAILED mkdir %s: %s\n", dir, nfs_get_error(nfs));
		return 2;
	}
	while (!stopping) {
		if (!step())
			recover();
	}
	if (!verify_all())
		recover();
	printf("OK rounds=%llu ops=%llu\n", (unsigned long long)nrounds, (unsigned long long)nops);
	return 0;
}
