/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_model - random operations by several clients of one share, each held against an oracle in memory.
 *
 * usage: tool_model --url nfs://... [--fuse DIR] --seed N --ops N [--hook CMD] [--every N] [--dump DIR]
 *
 * Two NFS connections and (with --fuse) a FUSE mount take turns by chance, so every result is exact:
 * names, sizes, modes, times, link targets, bytes and errors.  Every N operations the hook is run
 * through the shell with one word: evict, drain, restart or kill (before a kill everything is
 * committed).  At the end the whole tree is compared and, with --dump, written to a local directory,
 * for a comparison with the bucket.  Exit 0, or 1 with the operation that differed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <nfsc/libnfs.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_NODES 400
#define MAX_FILE (3u << 20)
#define PATH_CAP 1200

enum kind { FREE_NODE, FILE_NODE, DIR_NODE, LINK_NODE };

struct mnode {
	enum kind kind;
	int parent; /* index; -1 for the root */
	char name[40];
	uint32_t mode;
	uint8_t *data;
	size_t size;
	char *target;
	int64_t mtime_s; /* known only after a utimes; 0 = not checked */
	bool is_dirty;	 /* unstable writes since the last commit */
};

static struct mnode nodes[MAX_NODES];
static struct nfs_context *nfs[2];
static const char *url_text, *fuse_dir, *hook;
static uint64_t rng, seed, op_no;
static char trace[4096];
static uint8_t scratch[MAX_FILE];

static uint32_t
rnd(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return n == 0 ? 0 : (uint32_t)((rng >> 11) % n);
}

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *fmt, ...)
{
	va_list ap;

	printf("DIFFERS seed %llu operation %llu (%s): ", (unsigned long long)seed,
	    (unsigned long long)op_no, trace);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

/* --- the clients: client 0 and 1 are NFS connections, 2 is the FUSE mount; all return 0/count or -errno */

static const char *
fuse_path(const char *path)
{
	static char full[2][PATH_CAP + 200];
	static int turn;

	turn ^= 1;
	snprintf(full[turn], sizeof(full[turn]), "%s%s", fuse_dir, path);
	return full[turn];
}

static int
sys(int r)
{
	return r < 0 ? -errno : r;
}

static int
c_mkdir(int c, const char *path, uint32_t mode)
{
	return c < 2 ? nfs_mkdir2(nfs[c], path, (int)mode) : sys(mkdir(fuse_path(path), mode));
}

static int
c_create(int c, const char *path, uint32_t mode)
{
	struct nfsfh *fh;
	int r;

	if (c < 2) {
		r = nfs_open2(nfs[c], path, O_CREAT | O_EXCL | O_RDWR, (int)mode, &fh);
		if (r == 0)
			nfs_close(nfs[c], fh);
		return r;
	}
	r = sys(open(fuse_path(path), O_CREAT | O_EXCL | O_RDWR, mode));
	if (r >= 0)
		close(r);
	return r < 0 ? r : 0;
}

static int
c_symlink(int c, const char *target, const char *path)
{
	return c < 2 ? nfs_symlink(nfs[c], target, path) : sys(symlink(target, fuse_path(path)));
}

static int
c_write(int c, const char *path, uint64_t off, size_t len, const uint8_t *data, bool sync)
{
	struct nfsfh *fh = NULL;
	size_t done = 0;
	int fd, r = 0;

	if (c < 2) {
		r = nfs_open(nfs[c], path, O_RDWR, &fh);
		while (r >= 0 && done < len) {
			r = nfs_pwrite(nfs[c], fh, off + done, len - done, data + done);
			done += r > 0 ? (size_t)r : 0;
		}
		if (r >= 0 && sync)
			r = nfs_fsync(nfs[c], fh);
		if (fh != NULL)
			nfs_close(nfs[c], fh);
		return r < 0 ? r : (int)done;
	}
	fd = sys(open(fuse_path(path), O_RDWR));
	if (fd < 0)
		return fd;
	while (r >= 0 && done < len) {
		r = sys((int)pwrite(fd, data + done, len - done, (off_t)(off + done)));
		done += r > 0 ? (size_t)r : 0;
	}
	if (r >= 0 && sync)
		r = sys(fsync(fd));
	close(fd);
	return r < 0 ? r : (int)done;
}

static int
c_read(int c, const char *path, uint64_t off, size_t len, uint8_t *data)
{
	struct nfsfh *fh;
	size_t done = 0;
	int fd, r;

	if (c < 2) {
		r = nfs_open(nfs[c], path, O_RDONLY, &fh);
		if (r < 0)
			return r;
		while (done < len) {
			r = nfs_pread(nfs[c], fh, off + done, len - done, data + done);
			if (r <= 0)
				break;
			done += (size_t)r;
		}
		nfs_close(nfs[c], fh);
		return r < 0 ? r : (int)done;
	}
	fd = sys(open(fuse_path(path), O_RDONLY));
	if (fd < 0)
		return fd;
	r = 0;
	while (done < len) {
		r = sys((int)pread(fd, data + done, len - done, (off_t)(off + done)));
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	close(fd);
	return r < 0 ? r : (int)done;
}

static int
c_truncate(int c, const char *path, uint64_t size)
{
	return c < 2 ? nfs_truncate(nfs[c], path, size)
		     : sys(truncate(fuse_path(path), (off_t)size));
}

static int
c_rename(int c, const char *from, const char *to)
{
	struct stat st;
	int r;

	if (c < 2)
		return nfs_rename(nfs[c], from, to);
	r = sys(rename(fuse_path(from), fuse_path(to)));
	if (r != -ESTALE)
		return r;
	/* Linux answers this by itself, without asking us, where another client has moved a directory
	 * that rename(2) looks up: under its rename lock it cannot move its own name of it (__d_unalias).
	 * A look from outside the rename puts that right. */
	(void)lstat(fuse_path(from), &st);
	(void)lstat(fuse_path(to), &st);
	return sys(rename(fuse_path(from), fuse_path(to)));
}

static int
c_unlink(int c, const char *path)
{
	return c < 2 ? nfs_unlink(nfs[c], path) : sys(unlink(fuse_path(path)));
}

static int
c_rmdir(int c, const char *path)
{
	return c < 2 ? nfs_rmdir(nfs[c], path) : sys(rmdir(fuse_path(path)));
}

static int
c_chmod(int c, const char *path, uint32_t mode)
{
	return c < 2 ? nfs_chmod(nfs[c], path, (int)mode) : sys(chmod(fuse_path(path), mode));
}

static int
c_utimes(int c, const char *path, int64_t s)
{
	struct timespec ts[2] = {{s, 0}, {s, 0}};
	struct timeval tv[2] = {{s, 0}, {s, 0}};

	if (c < 2)
		return nfs_utimes(nfs[c], path, tv);
	return sys(utimensat(AT_FDCWD, fuse_path(path), ts, 0));
}

static int
c_stat(int c, const char *path, uint64_t *size, uint32_t *mode, int64_t *mtime)
{
	struct nfs_stat_64 st;
	struct stat ss;
	int r;

	if (c < 2) {
		r = nfs_lstat64(nfs[c], path, &st);
		if (r == 0) {
			*size = st.nfs_size;
			*mode = (uint32_t)st.nfs_mode;
			*mtime = (int64_t)st.nfs_mtime;
		}
		return r;
	}
	r = sys(lstat(fuse_path(path), &ss));
	if (r == 0) {
		*size = (uint64_t)ss.st_size;
		*mode = ss.st_mode;
		*mtime = ss.st_mtime;
	}
	return r;
}

static int
c_readlink(int c, const char *path, char *buf, size_t cap)
{
	int r;

	if (c < 2) {
		r = nfs_readlink(nfs[c], path, buf, (int)cap);
		return r;
	}
	r = sys((int)readlink(fuse_path(path), buf, cap - 1));
	if (r >= 0)
		buf[r] = '\0';
	return r < 0 ? r : 0;
}

/* --- the oracle -------------------------------------------------------------------------------- */

static void
path_of(int n, char *out)
{
	char *at = out + PATH_CAP - 1;

	/* built from its end, then moved to the front */
	*at = '\0';
	for (; nodes[n].parent >= 0; n = nodes[n].parent) {
		size_t len = strlen(nodes[n].name);

		at -= len;
		memcpy(at, nodes[n].name, len);
		*--at = '/';
	}
	if (*at == '\0')
		*--at = '/';
	memmove(out, at, strlen(at) + 1);
}

static void
child_path(int dir, const char *name, char *out)
{
	path_of(dir, out);
	snprintf(
	    out + strlen(out), PATH_CAP - strlen(out), "%s%s", out[1] != '\0' ? "/" : "", name);
}

static int
find(int dir, const char *name)
{
	for (int i = 1; i < MAX_NODES; i++) {
		if (nodes[i].kind != FREE_NODE && nodes[i].parent == dir &&
		    strcmp(nodes[i].name, name) == 0)
			return i;
	}
	return -1;
}

static int
count_children(int dir)
{
	int n = 0;

	for (int i = 1; i < MAX_NODES; i++)
		n += nodes[i].kind != FREE_NODE && nodes[i].parent == dir;
	return n;
}

static int
depth(int n)
{
	int d = 0;

	for (; nodes[n].parent >= 0; n = nodes[n].parent)
		d++;
	return d;
}

static bool
is_inside(int n, int dir)
{
	for (; n >= 0; n = nodes[n].parent) {
		if (n == dir)
			return true;
	}
	return false;
}

static int
pick(enum kind kind)
{
	int at = (int)rnd(MAX_NODES);

	for (int i = 0; i < MAX_NODES; i++, at = (at + 1) % MAX_NODES) {
		if (nodes[at].kind == kind)
			return at;
	}
	return -1;
}

static int
alloc_node(void)
{
	for (int i = 1; i < MAX_NODES; i++) {
		if (nodes[i].kind == FREE_NODE)
			return i;
	}
	return -1;
}

static void
free_node(int n)
{
	free(nodes[n].data);
	free(nodes[n].target);
	memset(&nodes[n], 0, sizeof(nodes[n]));
}

static void
resize(struct mnode *f, size_t size)
{
	f->data = realloc(f->data, size + 1);
	if (size > f->size)
		memset(f->data + f->size, 0, size - f->size);
	f->size = size;
}

static void
expect(int got, int want)
{
	if (got != want)
		fail("answered %d (%s), should be %d (%s)", got, got < 0 ? strerror(-got) : "ok",
		    want, want < 0 ? strerror(-want) : "ok");
}

static void
random_name(char *out)
{
	static const char *const pool[] = {"a", "b", "Makefile", "x y", "caf\xc3\xa9", "%41",
	    "long-name-of-a-file.txt", "data.bin", "+plus", "~tilde"};

	if (rnd(3) == 0)
		snprintf(out, 40, "%s", pool[rnd(10)]);
	else
		snprintf(out, 40, "n%u", rnd(40));
}

/* --- operations -------------------------------------------------------------------------------- */

static void
op_make(int c, enum kind kind)
{
	int dir = pick(DIR_NODE), n = alloc_node();
	char path[PATH_CAP], name[40], target[40];
	int there, r;

	if (n < 0 || depth(dir) > 5)
		return;
	random_name(name);
	there = find(dir, name);
	child_path(dir, name, path);
	snprintf(trace, sizeof(trace), "client %d make %d %s", c, kind, path);
	snprintf(target, sizeof(target), "../t%u", rnd(1000));
	r = kind == FILE_NODE  ? c_create(c, path, 0640)
	    : kind == DIR_NODE ? c_mkdir(c, path, 0755)
			       : c_symlink(c, target, path);
	expect(r, there >= 0 ? -EEXIST : 0);
	if (there >= 0)
		return;
	nodes[n].kind = kind;
	nodes[n].parent = dir;
	memcpy(nodes[n].name, name, sizeof(name));
	nodes[n].mode = kind == FILE_NODE ? 0640 : 0755;
	nodes[n].target = kind == LINK_NODE ? strdup(target) : NULL;
}

static void
op_write(int c)
{
	int n = pick(FILE_NODE);
	bool sync = rnd(4) == 0;
	char path[PATH_CAP];
	size_t off, len;

	if (n < 0)
		return;
	len = rnd(10) == 0 ? 1 + rnd(1 << 20) : rnd(3) == 0 ? 4096 : 1 + rnd(20000);
	off = rnd(4) == 0 ? nodes[n].size : rnd((uint32_t)nodes[n].size + 70000);
	if (rnd(2) == 0)
		off &= ~(size_t)4095;
	if (off + len > MAX_FILE)
		return;
	for (size_t i = 0; i < len; i++)
		scratch[i] = (uint8_t)((op_no * 31 + i * 7) ^ (i >> 9));
	path_of(n, path);
	snprintf(trace, sizeof(trace), "client %d write %s off %zu len %zu", c, path, off, len);
	expect(c_write(c, path, off, len, scratch, sync), (int)len);
	if (off + len > nodes[n].size)
		resize(&nodes[n], off + len);
	memcpy(nodes[n].data + off, scratch, len);
	nodes[n].is_dirty = !sync;
	nodes[n].mtime_s = 0;
}

static void
op_read(int c)
{
	int n = pick(FILE_NODE);
	char path[PATH_CAP];
	size_t off, len, want;
	int r;

	if (n < 0)
		return;
	off = rnd((uint32_t)nodes[n].size + 1000);
	len = rnd(5) == 0 ? MAX_FILE : 1 + rnd(50000);
	want = off >= nodes[n].size ? 0 : nodes[n].size - off < len ? nodes[n].size - off : len;
	path_of(n, path);
	snprintf(trace, sizeof(trace), "client %d read %s off %zu len %zu size %zu", c, path, off,
	    len, nodes[n].size);
	r = c_read(c, path, off, len, scratch);
	expect(r, (int)want);
	for (size_t i = 0; i < want; i++) {
		if (scratch[i] != nodes[n].data[off + i])
			fail("byte %zu is %02x, should be %02x", off + i, scratch[i],
			    nodes[n].data[off + i]);
	}
}

static void
op_truncate(int c)
{
	int n = pick(FILE_NODE);
	char path[PATH_CAP];
	size_t size;

	if (n < 0)
		return;
	size = rnd(3) == 0 ? 0 : rnd((uint32_t)nodes[n].size + 30000);
	path_of(n, path);
	snprintf(trace, sizeof(trace), "client %d truncate %s from %zu to %zu", c, path,
	    nodes[n].size, size);
	expect(c_truncate(c, path, size), 0);
	resize(&nodes[n], size);
	nodes[n].mtime_s = 0;
}

/* What POSIX says of rename(2), for the cases that can come up here. */
static int
rename_result(int n, int to_dir, int there)
{
	if (nodes[n].kind == DIR_NODE && is_inside(to_dir, n))
		return -EINVAL;
	if (there < 0 || there == n)
		return 0;
	if (nodes[there].kind == DIR_NODE && nodes[n].kind != DIR_NODE)
		return -EISDIR;
	if (nodes[there].kind != DIR_NODE && nodes[n].kind == DIR_NODE)
		return -ENOTDIR;
	if (nodes[there].kind == DIR_NODE && count_children(there) > 0)
		return -ENOTEMPTY;
	return 0;
}

static void
op_rename(int c)
{
	int n = (int)rnd(MAX_NODES), to_dir = pick(DIR_NODE), there, want;
	char from[PATH_CAP], to[PATH_CAP], name[40];

	if (n == 0 || nodes[n].kind == FREE_NODE || depth(to_dir) > 5)
		return;
	random_name(name);
	there = find(to_dir, name);
	/* the kernel itself answers these before it asks the server, in its own order */
	if (there >= 0 && is_inside(n, there) && there != n)
		return;
	want = rename_result(n, to_dir, there);
	path_of(n, from);
	child_path(to_dir, name, to);
	snprintf(trace, sizeof(trace), "client %d rename %s to %s", c, from, to);
	{
		int r = c_rename(c, from, to);

		if (want == -EISDIR && r == -EEXIST)
			r = want; /* RFC 1813 3.3.14 allows NFS3ERR_EXIST */
		if (want == -ENOTDIR && r == -EEXIST)
			r = want;
		if (want == -ENOTEMPTY && r == -EEXIST)
			r = want;
		expect(r, want);
	}
	if (want < 0 || there == n)
		return;
	if (there >= 0)
		free_node(there);
	nodes[n].parent = to_dir;
	memcpy(nodes[n].name, name, sizeof(name));
}

static void
op_remove(int c)
{
	int n = (int)rnd(MAX_NODES);
	char path[PATH_CAP];
	int want = 0;

	if (n == 0 || nodes[n].kind == FREE_NODE)
		return;
	path_of(n, path);
	snprintf(trace, sizeof(trace), "client %d remove %s", c, path);
	if (nodes[n].kind == DIR_NODE) {
		want = count_children(n) > 0 ? -ENOTEMPTY : 0;
		expect(c_rmdir(c, path), want);
	} else {
		expect(c_unlink(c, path), 0);
	}
	if (want == 0)
		free_node(n);
}

static void
op_attr(int c)
{
	int n = (int)rnd(MAX_NODES);
	char path[PATH_CAP];

	if (n == 0 || nodes[n].kind == FREE_NODE || nodes[n].kind == LINK_NODE)
		return;
	path_of(n, path);
	if (rnd(2) == 0) {
		uint32_t mode = 0600 | rnd(0100);

		snprintf(trace, sizeof(trace), "client %d chmod %s %o", c, path, mode);
		expect(c_chmod(c, path, mode), 0);
		nodes[n].mode = mode;
	} else {
		int64_t s = 1000000000 + rnd(500000000);

		snprintf(trace, sizeof(trace), "client %d utimes %s %lld", c, path, (long long)s);
		expect(c_utimes(c, path, s), 0);
		nodes[n].mtime_s = nodes[n].kind == FILE_NODE ? s : 0;
	}
}

static void
check_node(int c, int n)
{
	uint32_t mode = 0, type;
	char path[PATH_CAP], target[64];
	uint64_t size = 0;
	int64_t mtime = 0;

	path_of(n, path);
	snprintf(trace, sizeof(trace), "client %d stat %s", c, path);
	expect(c_stat(c, path, &size, &mode, &mtime), 0);
	type = nodes[n].kind == FILE_NODE ? S_IFREG : nodes[n].kind == DIR_NODE ? S_IFDIR : S_IFLNK;
	if ((mode & S_IFMT) != type)
		fail("type %o, should be %o", mode & S_IFMT, type);
	if (nodes[n].kind != LINK_NODE && n != 0 && (mode & 07777) != nodes[n].mode)
		fail("mode %o, should be %o", mode & 07777, nodes[n].mode);
	if (nodes[n].kind == FILE_NODE && size != nodes[n].size)
		fail("size %llu, should be %zu", (unsigned long long)size, nodes[n].size);
	if (nodes[n].mtime_s != 0 && mtime != nodes[n].mtime_s)
		fail("mtime %lld, should be %lld", (long long)mtime, (long long)nodes[n].mtime_s);
	if (nodes[n].kind == LINK_NODE) {
		expect(c_readlink(c, path, target, sizeof(target)), 0);
		if (strcmp(target, nodes[n].target) != 0)
			fail("target %s, should be %s", target, nodes[n].target);
	}
}

static void
saw_name(int dir, const char *name, int *seen)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return;
	if (find(dir, name) < 0)
		fail("lists %s, which does not exist", name);
	(*seen)++;
}

static void
check_dir(int c, int dir)
{
	char path[PATH_CAP];
	int seen = 0;

	path_of(dir, path);
	snprintf(trace, sizeof(trace), "client %d readdir %s", c, path);
	if (c < 2) {
		struct nfsdirent *e;
		struct nfsdir *d;

		expect(nfs_opendir(nfs[c], path, &d), 0);
		while ((e = nfs_readdir(nfs[c], d)) != NULL)
			saw_name(dir, e->name, &seen);
		nfs_closedir(nfs[c], d);
	} else {
		DIR *d = opendir(fuse_path(path));
		struct dirent *e;

		if (d == NULL)
			fail("opendir: %s", strerror(errno));
		while ((e = readdir(d)) != NULL)
			saw_name(dir, e->d_name, &seen);
		closedir(d);
	}
	if (seen != count_children(dir))
		fail("lists %d names, should be %d", seen, count_children(dir));
}

static void
connect_nfs(void)
{
	for (int i = 0; i < 2; i++) {
		struct nfs_url *u;

		if (nfs[i] != NULL)
			nfs_destroy_context(nfs[i]);
		nfs[i] = nfs_init_context();
		u = nfs_parse_url_dir(nfs[i], url_text);
		if (u == NULL || nfs_mount(nfs[i], u->server, u->path) != 0)
			fail("mount: %s", nfs_get_error(nfs[i]));
		nfs_destroy_url(u);
		nfs_set_dircache(nfs[i], 0);
	}
}

static void
run_hook(const char *word)
{
	char *argv[] = {(char *)"sh", (char *)"-c", NULL, NULL};
	extern char **environ;
	char cmd[1024];
	int status;
	pid_t pid;

	snprintf(cmd, sizeof(cmd), "%s %s", hook, word);
	argv[2] = cmd;
	snprintf(trace, sizeof(trace), "hook %s", word);
	if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) != 0 ||
	    waitpid(pid, &status, 0) < 0)
		fail("could not run %s", cmd);
	if (status != 0)
		fail("%s ended with %d", cmd, status);
}

static void
disturb(void)
{
	static const char *const words[] = {"evict", "drain", "restart", "kill"};
	const char *word = words[rnd(4)];
	char path[PATH_CAP];

	for (int i = 0; strcmp(word, "kill") == 0 && i < MAX_NODES; i++) {
		if (nodes[i].kind == FILE_NODE && nodes[i].is_dirty) {
			struct nfsfh *fh;

			path_of(i, path);
			snprintf(trace, sizeof(trace), "commit %s", path);
			expect(nfs_open(nfs[0], path, O_RDWR, &fh), 0);
			expect(nfs_fsync(nfs[0], fh), 0);
			nfs_close(nfs[0], fh);
			nodes[i].is_dirty = false;
		}
	}
	run_hook(word);
	if (word[0] == 'r' || word[0] == 'k')
		connect_nfs();
}

static void
step(int nclients)
{
	int c = (int)rnd((uint32_t)nclients), n;
	uint32_t dice = rnd(100);

	if (dice < 9)
		op_make(c, FILE_NODE);
	else if (dice < 12)
		op_make(c, DIR_NODE);
	else if (dice < 14)
		op_make(c, LINK_NODE);
	else if (dice < 36)
		op_write(c);
	else if (dice < 58)
		op_read(c);
	else if (dice < 64)
		op_truncate(c);
	else if (dice < 72)
		op_rename(c);
	else if (dice < 77)
		op_remove(c);
	else if (dice < 82)
		op_attr(c);
	else if (dice < 86)
		check_dir(c, pick(DIR_NODE));
	else if ((n = (int)rnd(MAX_NODES)) > 0 && nodes[n].kind != FREE_NODE)
		check_node(c, n);
}

static void
check_everything(int nclients)
{
	char path[PATH_CAP];

	for (int n = 0; n < MAX_NODES; n++) {
		int c = (int)rnd((uint32_t)nclients);

		if (nodes[n].kind == FREE_NODE)
			continue;
		check_node(c, n);
		if (nodes[n].kind == DIR_NODE)
			check_dir(c, n);
		if (nodes[n].kind != FILE_NODE)
			continue;
		path_of(n, path);
		snprintf(trace, sizeof(trace), "client %d final read %s", c, path);
		expect(c_read(c, path, 0, nodes[n].size, scratch), (int)nodes[n].size);
		if (nodes[n].size > 0 && memcmp(scratch, nodes[n].data, nodes[n].size) != 0)
			fail("content differs");
	}
}

static void
dump_to(const char *dir)
{
	char path[PATH_CAP], full[PATH_CAP + 200];

	/* parents have been made before their children only by chance: go by depth */
	for (int d = 1; d < 64; d++) {
		for (int n = 1; n < MAX_NODES; n++) {
			if (nodes[n].kind == FREE_NODE || depth(n) != d)
				continue;
			path_of(n, path);
			snprintf(full, sizeof(full), "%s%s", dir, path);
			if (nodes[n].kind == DIR_NODE) {
				mkdir(full, 0700);
				chmod(full, nodes[n].mode);
			} else if (nodes[n].kind == LINK_NODE) {
				if (symlink(nodes[n].target, full) < 0)
					fail("dump %s: %s", full, strerror(errno));
			} else {
				int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);

				if (fd < 0 || write(fd, nodes[n].data, nodes[n].size) !=
						  (ssize_t)nodes[n].size)
					fail("dump %s: %s", full, strerror(errno));
				fchmod(fd, nodes[n].mode);
				close(fd);
			}
		}
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"url", 1, NULL, 'u'}, {"fuse", 1, NULL, 'f'},
	    {"seed", 1, NULL, 's'}, {"ops", 1, NULL, 'n'}, {"hook", 1, NULL, 'h'},
	    {"every", 1, NULL, 'e'}, {"dump", 1, NULL, 'd'}, {0}};
	uint64_t nops = 1000, every = 5000;
	const char *dump = NULL;
	int opt, nclients;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'u':
			url_text = optarg;
			break;
		case 'f':
			fuse_dir = optarg;
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			nops = strtoull(optarg, NULL, 0);
			break;
		case 'h':
			hook = optarg;
			break;
		case 'e':
			every = strtoull(optarg, NULL, 0);
			break;
		case 'd':
			dump = optarg;
			break;
		default:
			return 2;
		}
	}
	if (url_text == NULL)
		return 2;
	umask(0);
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	rng = seed * 0x9e3779b97f4a7c15ull + 12345;
	nclients = fuse_dir != NULL ? 3 : 2;
	nodes[0].kind = DIR_NODE;
	nodes[0].parent = -1;
	nodes[0].mode = 0777;
	connect_nfs();
	for (op_no = 1; op_no <= nops; op_no++) {
		step(nclients);
		if (hook != NULL && op_no % every == 0)
			disturb();
	}
	check_everything(nclients);
	if (hook != NULL) {
		run_hook("drain");
		run_hook("evict");
		check_everything(nclients);
	}
	if (dump != NULL) {
		mkdir(dump, 0700);
		dump_to(dump);
	}
	printf(
	    "OK seed %llu, %llu operations\n", (unsigned long long)seed, (unsigned long long)nops);
	return 0;
}
