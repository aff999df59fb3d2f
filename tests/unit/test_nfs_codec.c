/* SPDX-License-Identifier: Apache-2.0 */
/* Hand-made bytes in, structs out, and back: RPC, AUTH_SYS, NFSv3 arguments and results, MOUNT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "frontends/nfs/mount3.h"
#include "frontends/nfs/nfs3_xdr.h"
#include "frontends/nfs/rpc_auth.h"
#include "frontends/nfs/rpc_record.h"
#include "frontends/nfs/rpcbind.h"

static uint8_t mem[4096];
static struct be_writer w;

static void
start(void)
{
	memset(mem, 0xee, sizeof(mem));
	be_writer_init(&w, mem, sizeof(mem));
}

static void
put_fh(void)
{
	rpc_put_opaque(&w, "HANDLE-OF-20-BYTES..", 20);
}

static void
put_name(const char *s)
{
	rpc_put_opaque(&w, s, (uint32_t)strlen(s));
}

/* mode 0644, no uid, gid 7, size 5, atime by server, mtime 9.8 */
static void
put_sattr(void)
{
	const uint32_t words[] = {1, 0644, 0, 1, 7, 1, 0, 5, 1, 2, 9, 8};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		be_put_u32(&w, words[i]);
}

static void
check_sattr(const struct nfs3_args *a)
{
	assert_int_equal(a->sattr.mask,
	    CW_SET_MODE | CW_SET_GID | CW_SET_SIZE | CW_SET_ATIME_NOW | CW_SET_MTIME);
	assert_int_equal(a->sattr.mode, 0644);
	assert_int_equal(a->sattr.gid, 7);
	assert_int_equal(a->sattr.size, 5);
	assert_int_equal(a->sattr.mtime_ns, 9 * 1000000000ll + 8);
	assert_false(a->is_bad_time);
}

static void
check_fh(const struct rpc_opaque *fh)
{
	assert_int_equal(fh->len, 20);
	assert_memory_equal(fh->data, "HANDLE-OF-20-BYTES..", 20);
}

static void
check_name(const struct rpc_opaque *o, const char *s)
{
	assert_int_equal(o->len, strlen(s));
	assert_memory_equal(o->data, s, o->len);
}

/* Decode all that was written; then show that each shorter version of it is refused. */
static void
decode(enum nfs3_procnum proc, struct nfs3_args *a)
{
	size_t len = be_written(&w);
	struct be_reader r;

	assert_false(w.bad);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *exact = malloc(cut + 1); /* so that the sanitizer sees a read past it */

		memcpy(exact, mem, cut);
		be_reader_init(&r, exact, cut);
		assert_false(nfs3_decode(proc, &r, a));
		free(exact);
	}
	be_reader_init(&r, mem, len);
	assert_true(nfs3_decode(proc, &r, a));
	assert_int_equal(be_left(&r), 0);
}

static void
handle_only_arguments(void **state)
{
	static const enum nfs3_procnum procs[] = {NFS3PROC_GETATTR, NFS3PROC_READLINK,
	    NFS3PROC_FSSTAT, NFS3PROC_FSINFO, NFS3PROC_PATHCONF};
	struct nfs3_args a;

	(void)state;
	for (size_t i = 0; i < sizeof(procs) / sizeof(procs[0]); i++) {
		start();
		put_fh();
		decode(procs[i], &a);
		check_fh(&a.fh);
	}
}

static void
name_arguments(void **state)
{
	static const enum nfs3_procnum procs[] = {NFS3PROC_LOOKUP, NFS3PROC_REMOVE, NFS3PROC_RMDIR};
	struct nfs3_args a;

	(void)state;
	for (size_t i = 0; i < sizeof(procs) / sizeof(procs[0]); i++) {
		start();
		put_fh();
		put_name("hello");
		decode(procs[i], &a);
		check_fh(&a.fh);
		check_name(&a.name, "hello");
	}
}

static void
setattr_arguments(void **state)
{
	struct nfs3_args a;

	(void)state;
	start();
	put_fh();
	put_sattr();
	be_put_u32(&w, 1);
	be_put_u32(&w, 100);
	be_put_u32(&w, 200);
	decode(NFS3PROC_SETATTR, &a);
	check_sattr(&a);
	assert_true(a.has_guard);
	assert_int_equal(a.guard_ctime_ns, 100 * 1000000000ll + 200);
	start();
	put_fh();
	put_sattr();
	be_put_u32(&w, 0);
	decode(NFS3PROC_SETATTR, &a);
	assert_false(a.has_guard);
}

static void
io_arguments(void **state)
{
	struct nfs3_args a;

	(void)state;
	start();
	put_fh();
	be_put_u32(&w, 0x3f);
	decode(NFS3PROC_ACCESS, &a);
	assert_int_equal(a.access, 0x3f);

	start();
	put_fh();
	be_put_u64(&w, 1ull << 40);
	be_put_u32(&w, 4096);
	decode(NFS3PROC_READ, &a);
	assert_true(a.offset == 1ull << 40);
	assert_int_equal(a.count, 4096);
	decode(NFS3PROC_COMMIT, &a);
	assert_true(a.offset == 1ull << 40);

	start();
	put_fh();
	be_put_u64(&w, 77);
	be_put_u32(&w, 3);
	be_put_u32(&w, NFS3_FILE_SYNC);
	put_name("abc"); /* one byte of padding */
	decode(NFS3PROC_WRITE, &a);
	assert_int_equal(a.offset, 77);
	assert_int_equal(a.count, 3);
	assert_int_equal(a.stable, NFS3_FILE_SYNC);
	check_name(&a.data, "abc");
	assert_ptr_equal(a.data.data, mem + be_written(&w) - 4); /* no copy */
}

static void
making_arguments(void **state)
{
	struct nfs3_args a;

	(void)state;
	start();
	put_fh();
	put_name("f");
	be_put_u32(&w, NFS3_GUARDED);
	put_sattr();
	decode(NFS3PROC_CREATE, &a);
	assert_int_equal(a.create_mode, NFS3_GUARDED);
	check_name(&a.name, "f");
	check_sattr(&a);

	start();
	put_fh();
	put_name("f");
	be_put_u32(&w, NFS3_EXCLUSIVE);
	be_put_u64(&w, 0x1122334455667788ull);
	decode(NFS3PROC_CREATE, &a);
	assert_true(a.verf == 0x1122334455667788ull);

	start();
	put_fh();
	put_name("d");
	put_sattr();
	decode(NFS3PROC_MKDIR, &a);
	check_sattr(&a);

	start();
	put_fh();
	put_name("l");
	put_sattr();
	put_name("../target");
	decode(NFS3PROC_SYMLINK, &a);
	check_name(&a.data, "../target");

	start();
	put_fh();
	put_name("dev");
	be_put_u32(&w, NF3CHR);
	put_sattr();
	be_put_u64(&w, 5);
	decode(NFS3PROC_MKNOD, &a);
	assert_int_equal(a.type, NF3CHR);
	start();
	put_fh();
	put_name("pipe");
	be_put_u32(&w, NF3FIFO);
	put_sattr();
	decode(NFS3PROC_MKNOD, &a);
	assert_int_equal(a.type, NF3FIFO);
}

static void
two_place_arguments(void **state)
{
	struct nfs3_args a;

	(void)state;
	start();
	put_fh();
	put_name("old");
	put_fh();
	put_name("new name");
	decode(NFS3PROC_RENAME, &a);
	check_name(&a.name, "old");
	check_fh(&a.fh2);
	check_name(&a.name2, "new name");

	start();
	put_fh();
	put_fh();
	put_name("link");
	decode(NFS3PROC_LINK, &a);
	check_fh(&a.fh2);
	check_name(&a.name2, "link");
}

static void
directory_arguments(void **state)
{
	struct nfs3_args a;

	(void)state;
	start();
	put_fh();
	be_put_u64(&w, 12);
	be_put_u64(&w, 34);
	be_put_u32(&w, 8192);
	decode(NFS3PROC_READDIR, &a);
	assert_int_equal(a.cookie, 12);
	assert_int_equal(a.verf, 34);
	assert_int_equal(a.count, 8192);
	be_put_u32(&w, 65536);
	decode(NFS3PROC_READDIRPLUS, &a);
	assert_int_equal(a.dircount, 8192);
	assert_int_equal(a.count, 65536);
}

static void
values_out_of_range_are_garbage(void **state)
{
	struct be_reader r;
	struct nfs3_args a;

	(void)state;
	start();
	be_put_u32(&w, 65); /* a handle of 65 bytes */
	be_put_bytes(&w, mem + 100, 68);
	be_reader_init(&r, mem, be_written(&w));
	assert_false(nfs3_decode(NFS3PROC_GETATTR, &r, &a));

	start();
	put_fh();
	be_put_u64(&w, 0);
	be_put_u32(&w, 0);
	be_put_u32(&w, 3); /* stable_how 3 */
	be_put_u32(&w, 0);
	be_reader_init(&r, mem, be_written(&w));
	assert_false(nfs3_decode(NFS3PROC_WRITE, &r, &a));

	start();
	put_fh();
	be_put_u32(&w, 2); /* a bool of 2 */
	for (int i = 0; i < 10; i++)
		be_put_u32(&w, 0);
	be_reader_init(&r, mem, be_written(&w));
	assert_false(nfs3_decode(NFS3PROC_SETATTR, &r, &a));

	start();
	put_fh();
	be_put_u64(&w, 0);
	be_put_u32(&w, 0);
	be_put_u32(&w, 0);
	be_put_u32(&w, 0xffffffffu); /* data of 4 GiB - 1 */
	be_reader_init(&r, mem, be_written(&w));
	assert_false(nfs3_decode(NFS3PROC_WRITE, &r, &a));
}

static void
bad_nanoseconds_are_marked(void **state)
{
	struct be_reader r;
	struct nfs3_args a;

	(void)state;
	start();
	put_fh();
	for (int i = 0; i < 5; i++)
		be_put_u32(&w, 0);
	be_put_u32(&w, 2); /* mtime by client */
	be_put_u32(&w, 1);
	be_put_u32(&w, 1000000000);
	be_put_u32(&w, 0);
	be_reader_init(&r, mem, be_written(&w));
	assert_true(nfs3_decode(NFS3PROC_SETATTR, &r, &a));
	assert_true(a.is_bad_time);
}

static void
attributes_are_encoded_as_rfc1813_says(void **state)
{
	const struct cw_attr attr = {.ino = 0x100000002ull,
	    .mode = S_IFDIR | 01755,
	    .nlink = 3,
	    .uid = 10,
	    .gid = 11,
	    .size = 0x500000006ull,
	    .used_bytes = 4096,
	    .atime_ns = -5,
	    .mtime_ns = 7 * 1000000000ll + 8,
	    .ctime_ns = INT64_MAX,
	    .share_id = 9};
	const uint32_t expect[] = {
	    NF3DIR, 01755, 3, 10, 11, 5, 6, 0, 4096, 0, 0, 0, 9, 1, 2, 0, 0, 7, 8, UINT32_MAX, 0};
	struct cw_wcc wcc = {.has_pre = true, .pre_size = 1, .pre_mtime_ns = 2, .pre_ctime_ns = 3};
	struct be_reader r;

	(void)state;
	start();
	nfs3_put_attr(&w, &attr);
	assert_int_equal(be_written(&w), NFS3_ATTR_LEN);
	be_reader_init(&r, mem, be_written(&w));
	for (size_t i = 0; i < sizeof(expect) / sizeof(expect[0]); i++) {
		if (i == 19) /* INT64_MAX ns lies in 2262: clamped */
			assert_int_equal(be_u32(&r), UINT32_MAX);
		else
			assert_int_equal(be_u32(&r), expect[i]);
	}
	start();
	nfs3_put_wcc(&w, &wcc);
	assert_int_equal(be_written(&w), 4 + 24 + 4);
	start();
	nfs3_put_wcc(&w, NULL);
	assert_int_equal(be_written(&w), 8);
	wcc.has_post = true;
	start();
	nfs3_put_wcc(&w, &wcc);
	assert_int_equal(be_written(&w), 4 + 24 + 4 + NFS3_ATTR_LEN);
}

/* --- RPC ---------------------------------------------------------------------------------------- */

static void
put_call(uint32_t flavor, const void *cred, uint32_t len)
{
	be_put_u32(&w, 0xabcd);
	be_put_u32(&w, RPC_CALL);
	be_put_u32(&w, 2);
	be_put_u32(&w, NFS3_PROGRAM);
	be_put_u32(&w, 3);
	be_put_u32(&w, 1);
	be_put_u32(&w, flavor);
	rpc_put_opaque(&w, cred, len);
	be_put_u32(&w, RPC_AUTH_NONE);
	be_put_u32(&w, 0);
}

static void
call_headers(void **state)
{
	struct rpc_header h;
	struct be_reader r;

	(void)state;
	start();
	put_call(RPC_AUTH_SYS, "12345", 5);
	for (size_t cut = 0; cut < be_written(&w); cut++) {
		be_reader_init(&r, mem, cut);
		assert_int_equal(rpc_decode_call(&r, &h), -EBADMSG);
	}
	be_reader_init(&r, mem, be_written(&w));
	assert_int_equal(rpc_decode_call(&r, &h), 0);
	assert_int_equal(h.xid, 0xabcd);
	assert_int_equal(h.prog, NFS3_PROGRAM);
	assert_int_equal(h.cred.len, 5);
	mem[11] = 3; /* RPC version 3 */
	be_reader_init(&r, mem, 12);
	assert_int_equal(rpc_decode_call(&r, &h), 0);
	assert_int_equal(h.rpcvers, 3);
	mem[7] = RPC_REPLY;
	be_reader_init(&r, mem, be_written(&w));
	assert_int_equal(rpc_decode_call(&r, &h), -EBADMSG);
}

static void
auth_sys_with_sixteen_groups_and_not_more(void **state)
{
	uint8_t body[256];
	struct rpc_header h = {.cred_flavor = RPC_AUTH_SYS};
	struct be_writer b;
	struct cw_cred cred;

	(void)state;
	for (uint32_t n = 0; n <= 17; n++) {
		be_writer_init(&b, body, sizeof(body));
		be_put_u32(&b, 1);
		rpc_put_opaque(&b, "host", 4);
		be_put_u32(&b, 1000);
		be_put_u32(&b, 1001);
		be_put_u32(&b, n);
		for (uint32_t i = 0; i < n; i++)
			be_put_u32(&b, 50 + i);
		h.cred.data = body;
		h.cred.len = (uint32_t)be_written(&b);
		if (n == 17) {
			assert_int_equal(rpc_auth_decode(&h, &cred), RPC_AUTH_BADCRED);
			break;
		}
		assert_int_equal(rpc_auth_decode(&h, &cred), RPC_AUTH_OK);
		assert_int_equal(cred.uid, 1000);
		assert_int_equal(cred.gid, 1001);
		assert_int_equal(cred.ngroups, n);
		if (n > 0)
			assert_int_equal(cred.groups[n - 1], 50 + n - 1);
		h.cred.len -= 4;
		assert_int_equal(rpc_auth_decode(&h, &cred), RPC_AUTH_BADCRED);
	}
	h.cred_flavor = RPC_AUTH_NONE;
	assert_int_equal(rpc_auth_decode(&h, &cred), RPC_AUTH_OK);
	assert_int_equal(cred.uid, RPC_NOBODY);
	h.cred_flavor = 6; /* RPCSEC_GSS */
	assert_int_equal(rpc_auth_decode(&h, &cred), RPC_AUTH_BADCRED);
}

static void
records_come_in_any_fragments(void **state)
{
	/* "abc", "", "defgh" (last), then the next record's first byte */
	static const uint8_t stream[] = {
	    0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 0x80, 0, 0, 5, 'd', 'e', 'f', 'g', 'h', 0x80};
	uint8_t buf[sizeof(stream)];

	(void)state;
	for (size_t step = 1; step <= sizeof(stream); step++) {
		struct rpc_record rec = {0};
		enum rpc_record_state s = RPC_RECORD_NEED;
		size_t have = 0, need = 0;

		while (s == RPC_RECORD_NEED) {
			size_t n = sizeof(stream) - have < step ? sizeof(stream) - have : step;

			assert_true(n > 0);
			memcpy(buf + have, stream + have, n);
			have += n;
			s = rpc_record_next(&rec, buf, have, &need);
			if (s == RPC_RECORD_NEED)
				assert_true(need > have);
		}
		assert_int_equal(s, RPC_RECORD_READY);
		assert_int_equal(rec.len, 8);
		assert_int_equal(rec.raw, 20);
		assert_memory_equal(buf + 4, "abcdefgh", 8);
	}
}

static void
too_large_or_too_many_fragments_are_bad(void **state)
{
	static uint8_t empty[4 * (RPC_FRAGMENTS_MAX + 1)];
	struct rpc_record rec = {0};
	uint8_t big[4];
	size_t need;

	(void)state;
	be_store_u32(big, 0x80000000u | (RPC_RECORD_MAX + 1));
	assert_int_equal(rpc_record_next(&rec, big, 4, &need), RPC_RECORD_BAD);
	memset(&rec, 0, sizeof(rec));
	be_store_u32(big, 0x80000000u | RPC_RECORD_MAX);
	assert_int_equal(rpc_record_next(&rec, big, 4, &need), RPC_RECORD_NEED);
	memset(&rec, 0, sizeof(rec));
	assert_int_equal(rpc_record_next(&rec, empty, sizeof(empty), &need), RPC_RECORD_BAD);
}

static void
mount_paths(void **state)
{
	struct rpc_opaque path;
	struct be_reader r;
	char name[256], longname[300];
	const char *p = "//share/a//b/";

	(void)state;
	assert_int_equal(mount3_next_name(&p, name), 5);
	assert_string_equal(name, "share");
	assert_int_equal(mount3_next_name(&p, name), 1);
	assert_int_equal(mount3_next_name(&p, name), 1);
	assert_string_equal(name, "b");
	assert_int_equal(mount3_next_name(&p, name), 0);
	memset(longname, 'x', sizeof(longname));
	longname[299] = '\0';
	p = longname;
	assert_int_equal(mount3_next_name(&p, name), -ENAMETOOLONG);
	start();
	rpc_put_opaque(&w, "/a\0b", 4);
	be_reader_init(&r, mem, be_written(&w));
	assert_false(mount3_decode_path(&r, &path));
}

static void
rpcbind_messages(void **state)
{
	uint8_t msg[128];

	(void)state;
	assert_int_equal(rpcbind_encode(msg, sizeof(msg), 7, 1, 100003, 3, 2049), 56);
	assert_int_equal(rpcbind_encode(msg, 40, 7, 1, 100003, 3, 2049), 0);
	start();
	rpc_encode_accepted(&w, 7, RPC_SUCCESS, 0, 0);
	be_put_u32(&w, 1);
	assert_int_equal(rpcbind_decode_reply(mem, be_written(&w), 7), 1);
	assert_int_equal(rpcbind_decode_reply(mem, be_written(&w), 8), -EBADMSG);
	assert_int_equal(rpcbind_decode_reply(mem, be_written(&w) - 1, 7), -EBADMSG);
}

static void
every_errno_has_its_status(void **state)
{
	static const struct {
		int err;
		enum nfs3_stat stat;
	} expect[] = {{0, NFS3_OK}, {-EPERM, NFS3ERR_PERM}, {-ENOENT, NFS3ERR_NOENT},
	    {-EIO, NFS3ERR_IO}, {-EACCES, NFS3ERR_ACCES}, {-EEXIST, NFS3ERR_EXIST},
	    {-EXDEV, NFS3ERR_XDEV}, {-ENOTDIR, NFS3ERR_NOTDIR}, {-EISDIR, NFS3ERR_ISDIR},
	    {-EINVAL, NFS3ERR_INVAL}, {-EFBIG, NFS3ERR_FBIG}, {-ENOSPC, NFS3ERR_NOSPC},
	    {-EROFS, NFS3ERR_ROFS}, {-ENAMETOOLONG, NFS3ERR_NAMETOOLONG},
	    {-ENOTEMPTY, NFS3ERR_NOTEMPTY}, {-EDQUOT, NFS3ERR_DQUOT}, {-ESTALE, NFS3ERR_STALE},
	    {-ETIME, NFS3ERR_NOT_SYNC}, {-EBADCOOKIE, NFS3ERR_BAD_COOKIE},
	    {-ENOTSUP, NFS3ERR_NOTSUPP}, {-EAGAIN, NFS3ERR_JUKEBOX},
	    {-ERR_BACKPRESSURE, NFS3ERR_JUKEBOX}, {-ERR_OFFLINE, NFS3ERR_JUKEBOX},
	    {-ERR_THROTTLED, NFS3ERR_JUKEBOX}, {-ERR_STORE, NFS3ERR_JUKEBOX},
	    {-ERR_CREDENTIALS, NFS3ERR_JUKEBOX}, {-ERR_CHECKSUM, NFS3ERR_IO},
	    {-ERR_ARCHIVED, NFS3ERR_IO}, {-12345, NFS3ERR_SERVERFAULT}};

	(void)state;
	for (size_t i = 0; i < sizeof(expect) / sizeof(expect[0]); i++)
		assert_int_equal(nfs3_status(expect[i].err), expect[i].stat);
	for (int e = ERR_BASE + 1; e < ERR_MAX; e++) /* no project code was forgotten */
		assert_int_not_equal(nfs3_status(-e), NFS3ERR_SERVERFAULT);
	assert_int_equal(mount3_status(-EACCES), MNT3ERR_ACCES);
	assert_int_equal(mount3_status(-ESTALE), MNT3ERR_NOENT);
	assert_int_equal(mount3_status(-ERR_OFFLINE), MNT3ERR_IO);
	assert_int_equal(mount3_status(-EFBIG), MNT3ERR_SERVERFAULT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(handle_only_arguments),
	    cmocka_unit_test(name_arguments),
	    cmocka_unit_test(setattr_arguments),
	    cmocka_unit_test(io_arguments),
	    cmocka_unit_test(making_arguments),
	    cmocka_unit_test(two_place_arguments),
	    cmocka_unit_test(directory_arguments),
	    cmocka_unit_test(values_out_of_range_are_garbage),
	    cmocka_unit_test(bad_nanoseconds_are_marked),
	    cmocka_unit_test(attributes_are_encoded_as_rfc1813_says),
	    cmocka_unit_test(call_headers),
	    cmocka_unit_test(auth_sys_with_sixteen_groups_and_not_more),
	    cmocka_unit_test(records_come_in_any_fragments),
	    cmocka_unit_test(too_large_or_too_many_fragments_are_bad),
	    cmocka_unit_test(mount_paths),
	    cmocka_unit_test(rpcbind_messages),
	    cmocka_unit_test(every_errno_has_its_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
