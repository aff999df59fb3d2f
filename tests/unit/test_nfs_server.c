/* SPDX-License-Identifier: Apache-2.0 */
/* The NFS server over real sockets, with a fake gateway behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "frontends/nfs/mount3.h"
#include "frontends/nfs/nfs.h"
#include "frontends/nfs/nfs3.h"
#include "tests/unit/nfs_fake.h"

static struct nfs_server *server;
static uint8_t out[2 * 1024 * 1024], in[2 * 1024 * 1024];
static struct be_writer w;
static struct be_reader r;
static uint32_t next_xid = 100;

static int
setup(void **state)
{
	const struct nfs_server_conf conf = {.listen = "127.0.0.1:0",
	    .mount_listen = "127.0.0.1:0",
	    .loops = 2,
	    .max_connections = 8};

	(void)state;
	atomic_store(&fake_creates, 0);
	atomic_store(&fake_reads, 0);
	atomic_store(&fake_send_max, 0);
	atomic_store(&fake_send_result, 0);
	atomic_store(&fake_sent, 0);
	atomic_store(&fake_refuses, false);
	assert_int_equal(nfs_server_open(&conf, &server), 0);
	return nfs_server_start(server);
}

static int
teardown(void **state)
{
	(void)state;
	nfs_server_stop(server);
	assert_int_equal(atomic_load(&fake_refs), 0); /* every share reference was put back */
	return 0;
}

static int
dial(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons(nfs_server_port(server)),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval tv = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	return fd;
}

static void
begin_as(uint32_t prog, uint32_t vers, uint32_t proc, uint32_t flavor, uint32_t xid)
{
	be_writer_init(&w, out, sizeof(out));
	be_put_u32(&w, 0);
	be_put_u32(&w, xid);
	be_put_u32(&w, RPC_CALL);
	be_put_u32(&w, RPC_VERSION);
	be_put_u32(&w, prog);
	be_put_u32(&w, vers);
	be_put_u32(&w, proc);
	be_put_u32(&w, flavor);
	if (flavor == RPC_AUTH_SYS) {
		be_put_u32(&w, 20);
		for (int i = 0; i < 5; i++)
			be_put_u32(&w, 0);
	} else {
		be_put_u32(&w, 0);
	}
	be_put_u64(&w, 0);
}

static void
begin(uint32_t proc)
{
	begin_as(NFS3_PROGRAM, 3, proc, RPC_AUTH_SYS, ++next_xid);
}

static void
put_handle(uint64_t ino)
{
	uint8_t fh[FH_LEN];

	fh_encode(fh, 3, ino, FAKE_GEN);
	rpc_put_opaque(&w, fh, FH_LEN);
}

static void
put_name(const char *name)
{
	rpc_put_opaque(&w, name, (uint32_t)strlen(name));
}

static void
send_all(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void
send_call(int fd)
{
	assert_false(w.bad);
	be_store_u32(out, 0x80000000u | (uint32_t)(be_written(&w) - 4));
	send_all(fd, out, be_written(&w));
}

static void
receive_exactly(int fd, void *to, size_t len)
{
	assert_int_equal(recv(fd, to, len, MSG_WAITALL), (ssize_t)len);
}

/* Take one reply; r stands behind the xid. result: the xid */
static uint32_t
receive_reply(int fd)
{
	uint32_t mark;

	receive_exactly(fd, in, 4);
	be_reader_init(&r, in, 4);
	mark = be_u32(&r);
	assert_true(mark & 0x80000000u);
	mark &= 0x7fffffffu;
	assert_true(mark <= sizeof(in));
	receive_exactly(fd, in, mark);
	be_reader_init(&r, in, mark);
	return be_u32(&r);
}

static void
expect_words(const uint32_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(be_u32(&r), words[i]);
	assert_false(r.bad);
}

#define EXPECT(...)                                                                                \
	expect_words((const uint32_t[]){__VA_ARGS__},                                              \
	    sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
/* reply, accepted, verifier, accept_stat */
#define EXPECT_ACCEPTED(stat) EXPECT(RPC_REPLY, 0, 0, 0, stat)

static uint32_t
status_of_call(int fd)
{
	send_call(fd);
	assert_int_equal(receive_reply(fd), next_xid);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	return be_u32(&r);
}

static void
expect_closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	assert_true(n == 0 || (n < 0 && errno != EAGAIN));
	close(fd);
}

/* --- RPC ---------------------------------------------------------------------------------------- */

static void
wrong_programs_versions_and_procedures(void **state)
{
	int fd = dial();

	(void)state;
	begin_as(100099, 1, 0, RPC_AUTH_NONE, 1);
	send_call(fd);
	assert_int_equal(receive_reply(fd), 1);
	EXPECT_ACCEPTED(RPC_PROG_UNAVAIL);
	begin_as(NFS3_PROGRAM, 4, 0, RPC_AUTH_NONE, 2);
	send_call(fd);
	assert_int_equal(receive_reply(fd), 2);
	EXPECT_ACCEPTED(RPC_PROG_MISMATCH);
	EXPECT(3, 3);
	begin_as(MOUNT_PROGRAM, 1, 0, RPC_AUTH_NONE, 3);
	send_call(fd);
	assert_int_equal(receive_reply(fd), 3);
	EXPECT_ACCEPTED(RPC_PROG_MISMATCH);
	begin_as(NFS3_PROGRAM, 3, 22, RPC_AUTH_SYS, 4);
	send_call(fd);
	assert_int_equal(receive_reply(fd), 4);
	EXPECT_ACCEPTED(RPC_PROC_UNAVAIL);
	begin_as(NFS3_PROGRAM, 3, NFS3PROC_GETATTR, RPC_AUTH_SYS, 5);
	be_put_u32(&w, 200); /* no such handle length */
	send_call(fd);
	assert_int_equal(receive_reply(fd), 5);
	EXPECT_ACCEPTED(RPC_GARBAGE_ARGS);
	begin_as(NFS3_PROGRAM, 3, NFS3PROC_GETATTR, 6, 6);
	put_handle(1);
	send_call(fd);
	assert_int_equal(receive_reply(fd), 6);
	EXPECT(RPC_REPLY, 1, 1, RPC_AUTH_BADCRED);
	begin_as(NFS3_PROGRAM, 3, 0, RPC_AUTH_NONE, 7);
	be_store_u32(out + 12, 3);
	send_call(fd);
	assert_int_equal(receive_reply(fd), 7);
	EXPECT(RPC_REPLY, 1, 0, 2, 2); /* denied, RPC_MISMATCH, 2..2 */
	begin_as(NFS3_PROGRAM, 3, 0, RPC_AUTH_NONE, 8);
	send_call(fd);
	assert_int_equal(receive_reply(fd), 8);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	close(fd);
}

static void
malformed_records_close_the_connection(void **state)
{
	static const uint8_t huge[4] = {0xff, 0xff, 0xff, 0xff};
	static const uint8_t short_call[8] = {0x80, 0, 0, 4, 1, 2, 3, 4};
	int fd = dial();

	(void)state;
	send_all(fd, huge, sizeof(huge));
	expect_closed(fd);
	fd = dial();
	send_all(fd, short_call, sizeof(short_call));
	expect_closed(fd);
}

static void
a_call_in_fragments_of_one_byte(void **state)
{
	uint8_t bytes[512];
	size_t n = 0, len;
	int fd = dial();

	(void)state;
	begin(NFS3PROC_GETATTR);
	put_handle(1);
	len = be_written(&w);
	for (size_t i = 4; i < len; i++) {
		be_store_u32(bytes, (i + 1 == len ? 0x80000000u : 0) | 1);
		bytes[4] = out[i];
		send_all(fd, bytes, 5);
		n++;
	}
	assert_int_equal(receive_reply(fd), next_xid);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	EXPECT(NFS3_OK, NF3DIR, 0755);
	assert_true(n > 50);
	close(fd);
}

static void
a_thousand_calls_at_once(void **state)
{
	int fd = dial();
	size_t len = 0;
	uint32_t first = next_xid + 1;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		begin(NFS3PROC_GETATTR);
		put_handle(1);
		be_store_u32(out, 0x80000000u | (uint32_t)(be_written(&w) - 4));
		memcpy(in + len, out, be_written(&w));
		len += be_written(&w);
	}
	send_all(fd, in, len);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(receive_reply(fd), first + i);
	close(fd);
}

static void
connections_over_the_limit_are_closed(void **state)
{
	int fds[8], extra;

	(void)state;
	for (int i = 0; i < 8; i++) {
		fds[i] = dial();
		begin(NFS3PROC_NULL);
		send_call(fds[i]);
		receive_reply(fds[i]);
	}
	extra = dial();
	expect_closed(extra);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
}

/* --- NFS ---------------------------------------------------------------------------------------- */

static void
handles_are_checked(void **state)
{
	uint8_t fh[FH_LEN];
	int fd = dial();

	(void)state;
	begin(NFS3PROC_GETATTR);
	rpc_put_opaque(&w, "not a handle", 12);
	assert_int_equal(status_of_call(fd), NFS3ERR_BADHANDLE);
	begin(NFS3PROC_GETATTR);
	fh_encode(fh, 99, 1, FAKE_GEN);
	rpc_put_opaque(&w, fh, FH_LEN);
	assert_int_equal(status_of_call(fd), NFS3ERR_STALE);
	atomic_store(&fake_refuses, true);
	begin(NFS3PROC_GETATTR);
	put_handle(1);
	assert_int_equal(status_of_call(fd), NFS3ERR_ACCES);
	close(fd);
}

static void
names_are_checked(void **state)
{
	char name[300];
	int fd = dial();

	(void)state;
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	begin(NFS3PROC_LOOKUP);
	put_handle(1);
	put_name(name);
	assert_int_equal(status_of_call(fd), NFS3ERR_NAMETOOLONG);
	begin(NFS3PROC_LOOKUP);
	put_handle(1);
	rpc_put_opaque(&w, "a\0b", 3);
	assert_int_equal(status_of_call(fd), NFS3ERR_INVAL);
	begin(NFS3PROC_LOOKUP);
	put_handle(1);
	put_name("absent");
	assert_int_equal(status_of_call(fd), NFS3ERR_NOENT);
	EXPECT(1, NF3DIR); /* the directory's attributes */
	begin(NFS3PROC_LOOKUP);
	put_handle(1);
	put_name("f5");
	assert_int_equal(status_of_call(fd), NFS3_OK);
	EXPECT(FH_LEN);
	close(fd);
}

static void
put_read(uint64_t off, uint32_t count)
{
	begin(NFS3PROC_READ);
	put_handle(2);
	be_put_u64(&w, off);
	be_put_u32(&w, count);
}

static void
expect_data(uint64_t off, uint32_t count)
{
	EXPECT_ACCEPTED(RPC_SUCCESS);
	EXPECT(NFS3_OK, 1);
	be_bytes(&r, NFS3_ATTR_LEN);
	EXPECT(count, 0, count);
	assert_int_equal(be_left(&r), (count + 3) & ~3u);
	for (uint32_t i = 0; i < count / 4; i += 511) {
		uint32_t word;

		memcpy(&word, r.p + 4 * i, 4);
		assert_int_equal(word, (uint32_t)(off / 4) + i);
	}
}

static void
reads_from_one_byte_to_a_mebibyte(void **state)
{
	static const uint32_t counts[] = {0, 1, 3, 4, 4096, 65536, 1048576};
	int fd = dial();

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		put_read(8192 * i, counts[i]);
		send_call(fd);
		assert_int_equal(receive_reply(fd), next_xid);
		expect_data(8192 * i, counts[i]);
	}
	put_read(0, 2000000); /* more than rtmax: cut */
	send_call(fd);
	receive_reply(fd);
	expect_data(0, 1048576);
	close(fd);
}

static void
reads_are_sent_from_where_they_lie(void **state)
{
	static const int most[] = {1048576, 300000, 4, 999999};
	int fd = dial();

	(void)state;
	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		uint32_t first = next_xid + 1;

		atomic_store(&fake_send_max, most[i]);
		for (uint32_t k = 0; k < 8; k++) { /* more than the socket takes at once */
			put_read(1048576ull * k, k == 5 ? 262143 : 1048576);
			send_call(fd);
		}
		for (uint32_t k = 0; k < 8; k++) {
			assert_int_equal(receive_reply(fd), first + k);
			expect_data(1048576ull * k, k == 5 ? 262143 : 1048576);
		}
	}
	assert_true(atomic_load(&fake_sent) > 1048576);
	close(fd);
}

static void
a_read_that_fails_when_it_was_begun_to_be_sent_closes_the_connection(void **state)
{
	char byte[4096];
	ssize_t n;
	int fd = dial();

	(void)state;
	atomic_store(&fake_send_max, 300000);
	atomic_store(&fake_send_result, -EIO);
	put_read(0, 1048576);
	send_call(fd);
	while ((n = recv(fd, byte, sizeof(byte), 0)) > 0)
		;
	assert_true(n == 0 || errno == ECONNRESET);
	close(fd);
	fd = dial(); /* and nothing else is harmed */
	atomic_store(&fake_send_max, 0);
	put_read(0, 1048576);
	send_call(fd);
	receive_reply(fd);
	expect_data(0, 1048576);
	close(fd);
}

static void
wait_slow(unsigned int n)
{
	for (int i = 0; i < 5000 && fake_count_slow() < n; i++)
		poll(NULL, 0, 1);
	assert_int_equal(fake_count_slow(), n);
}

static void
slow_reads_are_overtaken_and_answered_in_any_order(void **state)
{
	uint32_t first = next_xid + 1;
	bool seen[8] = {false};
	int fd = dial();

	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		put_read(FAKE_SLOW_OFFSET + 1048576ull * i, i % 2 == 0 ? 1048576 : 4096);
		send_call(fd);
	}
	wait_slow(8);
	begin(NFS3PROC_GETATTR);
	put_handle(1);
	assert_int_equal(status_of_call(fd), NFS3_OK);
	fake_release(0);
	for (int n = 0; n < 8; n++) {
		uint32_t i = receive_reply(fd) - first;

		assert_true(i < 8 && !seen[i]);
		seen[i] = true;
		expect_data(FAKE_SLOW_OFFSET + 1048576ull * i, i % 2 == 0 ? 1048576 : 4096);
	}
	put_read(FAKE_SLOW_OFFSET, 4096);
	send_call(fd);
	wait_slow(1);
	fake_release(-ERR_OFFLINE);
	receive_reply(fd);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	EXPECT(NFS3ERR_JUKEBOX, 0);
	close(fd);
}

static void
a_slow_write_keeps_its_bytes_while_others_come(void **state)
{
	uint32_t xid;
	int fd = dial();

	(void)state;
	begin(NFS3PROC_WRITE);
	put_handle(2);
	be_put_u64(&w, FAKE_SLOW_OFFSET);
	be_put_u32(&w, 6);
	be_put_u32(&w, NFS3_FILE_SYNC);
	rpc_put_opaque(&w, "SECRET", 6);
	send_call(fd);
	xid = next_xid;
	wait_slow(1);
	for (int i = 0; i < 50; i++) { /* more than one receive buffer of other calls */
		begin(NFS3PROC_WRITE);
		put_handle(2);
		be_put_u64(&w, 0);
		be_put_u32(&w, 32768);
		be_put_u32(&w, NFS3_UNSTABLE);
		memset(in, 'x', 32768);
		rpc_put_opaque(&w, in, 32768);
		assert_int_equal(status_of_call(fd), NFS3_OK);
	}
	fake_release(0);
	assert_int_equal(receive_reply(fd), xid);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	EXPECT(NFS3_OK, 0, 0, 6, NFS3_FILE_SYNC);
	assert_memory_equal(fake_written, "SECRET", 6);
	close(fd);
}

static void
a_peer_that_leaves_its_slow_calls_behind(void **state)
{
	int fd = dial();

	(void)state;
	put_read(FAKE_SLOW_OFFSET, 1048576);
	send_call(fd);
	begin(NFS3PROC_WRITE);
	put_handle(2);
	be_put_u64(&w, FAKE_SLOW_OFFSET);
	be_put_u32(&w, 6);
	be_put_u32(&w, NFS3_FILE_SYNC);
	rpc_put_opaque(&w, "BYEBYE", 6);
	send_call(fd);
	wait_slow(2);
	close(fd);
	fd = dial(); /* whatever comes next finds the server well */
	begin(NFS3PROC_GETATTR);
	put_handle(1);
	assert_int_equal(status_of_call(fd), NFS3_OK);
	fake_release(0);
	begin(NFS3PROC_GETATTR);
	put_handle(1);
	assert_int_equal(status_of_call(fd), NFS3_OK);
	close(fd);
}

static void
a_half_closed_connection_gets_its_replies(void **state)
{
	int fd = dial();

	(void)state;
	put_read(FAKE_SLOW_OFFSET, 4096);
	send_call(fd);
	put_read(4096, 4096);
	send_call(fd);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(receive_reply(fd), next_xid);
	expect_data(4096, 4096);
	wait_slow(1);
	fake_release(0);
	assert_int_equal(receive_reply(fd), next_xid - 1);
	expect_data(FAKE_SLOW_OFFSET, 4096);
	expect_closed(fd);
}

static void
put_create(const char *name, uint32_t xid)
{
	begin_as(NFS3_PROGRAM, 3, NFS3PROC_CREATE, RPC_AUTH_SYS, xid);
	put_handle(1);
	put_name(name);
	be_put_u32(&w, NFS3_GUARDED);
	for (int i = 0; i < 6; i++)
		be_put_u32(&w, 0);
}

static void
a_repeated_create_runs_once(void **state)
{
	int fd = dial(), fd2;

	(void)state;
	put_create("f", 4711);
	send_call(fd);
	receive_reply(fd);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	EXPECT(NFS3_OK);
	close(fd);
	fd = dial();
	send_call(fd); /* the same bytes again, over a new connection */
	assert_int_equal(receive_reply(fd), 4711);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	EXPECT(NFS3_OK);
	assert_int_equal(atomic_load(&fake_creates), 1);
	put_create("f", 4712);
	send_call(fd);
	receive_reply(fd);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	EXPECT(NFS3ERR_EXIST);

	atomic_store(&fake_creates, 0);
	put_create("slow", 4713); /* and while the first is under way */
	send_call(fd);
	wait_slow(1);
	close(fd);
	fd2 = dial();
	send_call(fd2);
	begin(NFS3PROC_GETATTR); /* answered behind it: it was seen */
	put_handle(1);
	assert_int_equal(status_of_call(fd2), NFS3_OK);
	fake_release(0);
	assert_int_equal(receive_reply(fd2), 4713);
	EXPECT_ACCEPTED(RPC_SUCCESS);
	EXPECT(NFS3_OK);
	assert_int_equal(atomic_load(&fake_creates), 1);
	close(fd2);
}

static uint32_t
remove_with_xid(const char *name, uint32_t xid, uint8_t tag[CW_REPLY_TAG_LEN])
{
	int fd = dial();
	uint32_t status;

	begin_as(NFS3_PROGRAM, 3, NFS3PROC_REMOVE, RPC_AUTH_SYS, next_xid = xid);
	put_handle(1);
	put_name(name);
	status = status_of_call(fd);
	close(fd);
	assert_true(atomic_load(&fake_has_tag));
	memcpy(tag, fake_tag, CW_REPLY_TAG_LEN);
	return status;
}

static void
a_call_has_the_same_tag_after_a_restart(void **state)
{
	uint8_t a[CW_REPLY_TAG_LEN], b[CW_REPLY_TAG_LEN];

	assert_int_equal(remove_with_xid("f", 815, a), NFS3_OK);
	teardown(state);
	memset(fake_tag, 0, sizeof(fake_tag));
	setup(state);
	assert_int_equal(remove_with_xid("f", 815, b), NFS3_OK);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(remove_with_xid("f", 816, b), NFS3_OK);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(remove_with_xid("g", 815, b), NFS3_OK);
	assert_memory_not_equal(a, b, sizeof(a));
}

/* send what was begun. result: did its op bear a tag? */
static bool
has_tag(int fd)
{
	atomic_store(&fake_has_tag, false);
	status_of_call(fd);
	return atomic_load(&fake_has_tag);
}

static void
only_what_must_not_run_twice_has_a_tag(void **state)
{
	int fd = dial();

	(void)state;
	put_create("f", ++next_xid);
	assert_true(has_tag(fd));
	begin(NFS3PROC_CREATE);
	put_handle(1);
	put_name("f");
	be_put_u32(&w, NFS3_EXCLUSIVE);
	be_put_u64(&w, 1);
	assert_false(has_tag(fd));
	begin(NFS3PROC_RENAME);
	put_handle(1);
	put_name("f");
	put_handle(1);
	put_name("g");
	assert_true(has_tag(fd));
	for (uint32_t has_guard = 0; has_guard < 2; has_guard++) {
		begin(NFS3PROC_SETATTR);
		put_handle(2);
		for (int i = 0; i < 6; i++)
			be_put_u32(&w, 0);
		be_put_u32(&w, has_guard);
		if (has_guard)
			be_put_u64(&w, 5);
		assert_int_equal(has_tag(fd), has_guard);
	}
	begin(NFS3PROC_GETATTR);
	put_handle(1);
	assert_false(has_tag(fd));
	close(fd);
}

static void
what_was_made_and_is_gone_has_no_handle(void **state)
{
	int fd = dial();

	(void)state;
	begin(NFS3PROC_MKDIR);
	put_handle(1);
	put_name("gone");
	for (int i = 0; i < 6; i++)
		be_put_u32(&w, 0);
	assert_int_equal(status_of_call(fd), NFS3_OK);
	EXPECT(0, 0, 0, 0); /* handle, attributes, wcc */
	assert_int_equal(be_left(&r), 0);
	close(fd);
}

static void
nodes_and_links_are_refused_with_attributes(void **state)
{
	int fd = dial();

	(void)state;
	begin(NFS3PROC_MKNOD);
	put_handle(1);
	put_name("fifo");
	be_put_u32(&w, NF3FIFO);
	for (int i = 0; i < 6; i++)
		be_put_u32(&w, 0);
	assert_int_equal(status_of_call(fd), NFS3ERR_NOTSUPP);
	EXPECT(0, 1, NF3DIR);
	begin(NFS3PROC_MKNOD);
	put_handle(1);
	put_name("what");
	be_put_u32(&w, NF3REG);
	assert_int_equal(status_of_call(fd), NFS3ERR_BADTYPE);
	begin(NFS3PROC_LINK);
	put_handle(2);
	put_handle(1);
	put_name("other");
	assert_int_equal(status_of_call(fd), NFS3ERR_NOTSUPP);
	EXPECT(1, NF3REG);
	be_bytes(&r, NFS3_ATTR_LEN - 4);
	EXPECT(0, 0);
	assert_int_equal(be_left(&r), 0);
	close(fd);
}

/* Walk the whole directory with replies of at most maxcount bytes. */
static void
walk(int fd, bool is_plus, uint32_t dircount, uint32_t maxcount)
{
	uint64_t cookie = 0, verf = 0;
	uint32_t n = 0, eof = 0, dir_bytes;

	while (!eof) {
		uint32_t here = 0;

		begin(is_plus ? NFS3PROC_READDIRPLUS : NFS3PROC_READDIR);
		put_handle(1);
		be_put_u64(&w, cookie);
		be_put_u64(&w, verf);
		if (is_plus)
			be_put_u32(&w, dircount);
		be_put_u32(&w, maxcount);
		assert_int_equal(status_of_call(fd), NFS3_OK);
		assert_true(be_left(&r) <= maxcount);
		EXPECT(1, NF3DIR);
		be_bytes(&r, NFS3_ATTR_LEN - 4);
		verf = be_u64(&r);
		for (dir_bytes = 0; be_u32(&r) == 1; n++, here++) {
			char expect[16];
			struct rpc_opaque name;
			bool has_attr;

			assert_int_equal(be_u64(&r), n + 2);
			name = rpc_get_opaque(&r, 255);
			snprintf(expect, sizeof(expect), "f%07u", n);
			assert_memory_equal(name.data, expect, 8);
			cookie = be_u64(&r);
			dir_bytes += 28;
			if (!is_plus)
				continue;
			has_attr = be_u32(&r) == 1;
			assert_int_equal(has_attr, n % 3 != 0);
			if (has_attr)
				be_bytes(&r, NFS3_ATTR_LEN);
			EXPECT(1, FH_LEN);
			be_bytes(&r, FH_LEN);
		}
		eof = be_u32(&r);
		assert_int_equal(be_left(&r), 0);
		assert_false(r.bad);
		assert_true(here > 0);
		assert_true(!is_plus || dir_bytes <= dircount);
	}
	assert_int_equal(n, FAKE_FILES);
}

static void
directories_in_replies_of_any_size(void **state)
{
	int fd = dial();

	(void)state;
	walk(fd, false, 0, 512);
	walk(fd, false, 0, 8191); /* not a multiple of four */
	walk(fd, false, 0, 2000000);
	walk(fd, true, 65536, 65536);
	walk(fd, true, 512, 65536);
	walk(fd, true, 1 << 20, 1 << 20);
	begin(NFS3PROC_READDIR);
	put_handle(1);
	be_put_u64(&w, 0);
	be_put_u64(&w, 0);
	be_put_u32(&w, 110); /* not even one entry */
	assert_int_equal(status_of_call(fd), NFS3ERR_TOOSMALL);
	begin(NFS3PROC_READDIR);
	put_handle(1);
	be_put_u64(&w, 7);
	be_put_u64(&w, 12345); /* a verifier that is not ours */
	be_put_u32(&w, 4096);
	assert_int_equal(status_of_call(fd), NFS3ERR_BAD_COOKIE);
	close(fd);
}

static void
a_peer_that_does_not_read_is_not_read_from(void **state)
{
	int fd = dial();
	unsigned int ncalls = 0;
	int nreads;

	(void)state;
	put_read(0, 1048576);
	be_store_u32(out, 0x80000000u | (uint32_t)(be_written(&w) - 4));
	/* 400,000 calls would be 45 MB and ask for 400 GB: the server must stop taking them */
	while (ncalls < 400000 && send(fd, out, be_written(&w), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		ncalls++;
	assert_true(ncalls < 400000);
	/* and what it took has its bound: one MiB queued, besides what the two sockets hold */
	do {
		nreads = atomic_load(&fake_reads);
		poll(NULL, 0, 300);
	} while (atomic_load(&fake_reads) > nreads && nreads < 64);
	assert_true(atomic_load(&fake_reads) < 64);
	for (int i = 0; i < 20; i++) {
		receive_reply(fd);
		expect_data(0, 1048576);
	}
	close(fd);
}

/* --- MOUNT, stop ----------------------------------------------------------------------------------- */

static uint32_t
mount_path(int fd, const char *path)
{
	begin_as(MOUNT_PROGRAM, 3, MOUNTPROC3_MNT, RPC_AUTH_SYS, ++next_xid);
	put_name(path);
	return status_of_call(fd);
}

static void
mounts(void **state)
{
	int fd = dial();

	(void)state;
	assert_int_equal(mount_path(fd, "/demo"), MNT3_OK);
	EXPECT(FH_LEN);
	be_bytes(&r, FH_LEN);
	EXPECT(1, RPC_AUTH_SYS);
	assert_int_equal(mount_path(fd, "/demo/dir/"), MNT3_OK);
	assert_int_equal(mount_path(fd, "/demo/f1"), MNT3ERR_NOTDIR);
	assert_int_equal(mount_path(fd, "/demo/none"), MNT3ERR_NOENT);
	assert_int_equal(mount_path(fd, "/other"), MNT3ERR_NOENT);
	assert_int_equal(mount_path(fd, ""), MNT3ERR_NOENT);
	begin_as(MOUNT_PROGRAM, 3, MOUNTPROC3_DUMP, RPC_AUTH_SYS, ++next_xid);
	assert_int_equal(status_of_call(fd), 1);
	EXPECT(9);
	assert_memory_equal(be_bytes(&r, 12), "127.0.0.1", 9);
	EXPECT(5);
	assert_memory_equal(be_bytes(&r, 8), "/demo", 5);
	EXPECT(1);
	begin_as(MOUNT_PROGRAM, 3, MOUNTPROC3_UMNTALL, RPC_AUTH_SYS, ++next_xid);
	send_call(fd);
	receive_reply(fd);
	begin_as(MOUNT_PROGRAM, 3, MOUNTPROC3_DUMP, RPC_AUTH_SYS, ++next_xid);
	assert_int_equal(status_of_call(fd), 0);
	begin_as(MOUNT_PROGRAM, 3, MOUNTPROC3_EXPORT, RPC_AUTH_SYS, ++next_xid);
	assert_int_equal(status_of_call(fd), 1);
	EXPECT(5);
	assert_memory_equal(be_bytes(&r, 8), "/demo", 5);
	EXPECT(0, 0);
	atomic_store(&fake_refuses, true);
	assert_int_equal(mount_path(fd, "/demo"), MNT3ERR_ACCES);
	close(fd);
}

static void *
release_later(void *arg)
{
	(void)arg;
	poll(NULL, 0, 100);
	fake_release(0);
	return NULL;
}

static void
stop_answers_what_is_under_way(void **state)
{
	pthread_t thread;
	int fd;

	assert_int_equal(setup(state), 0);
	fd = dial();
	put_read(FAKE_SLOW_OFFSET, 4096);
	send_call(fd);
	wait_slow(1);
	assert_int_equal(pthread_create(&thread, NULL, release_later, NULL), 0);
	teardown(state);
	pthread_join(thread, NULL);
	assert_int_equal(receive_reply(fd), next_xid);
	expect_data(FAKE_SLOW_OFFSET, 4096);
	expect_closed(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(wrong_programs_versions_and_procedures),
	    TEST(malformed_records_close_the_connection),
	    TEST(a_call_in_fragments_of_one_byte),
	    TEST(a_thousand_calls_at_once),
	    TEST(connections_over_the_limit_are_closed),
	    TEST(handles_are_checked),
	    TEST(names_are_checked),
	    TEST(reads_from_one_byte_to_a_mebibyte),
	    TEST(reads_are_sent_from_where_they_lie),
	    TEST(a_read_that_fails_when_it_was_begun_to_be_sent_closes_the_connection),
	    TEST(slow_reads_are_overtaken_and_answered_in_any_order),
	    TEST(a_slow_write_keeps_its_bytes_while_others_come),
	    TEST(a_peer_that_leaves_its_slow_calls_behind),
	    TEST(a_half_closed_connection_gets_its_replies),
	    TEST(a_repeated_create_runs_once),
	    TEST(a_call_has_the_same_tag_after_a_restart),
	    TEST(only_what_must_not_run_twice_has_a_tag),
	    TEST(what_was_made_and_is_gone_has_no_handle),
	    TEST(nodes_and_links_are_refused_with_attributes),
	    TEST(directories_in_replies_of_any_size),
	    TEST(a_peer_that_does_not_read_is_not_read_from),
	    TEST(mounts),
	    cmocka_unit_test(stop_answers_what_is_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
