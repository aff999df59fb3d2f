/* SPDX-License-Identifier: Apache-2.0 */
/* The journal that outlives a daemon: what is found in it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontends/fuse/cwfuse_int.h"
#include "gateway/fdpass.h"

static void
put_request(struct cwfuse_journal *j, unsigned int slot, uint32_t len)
{
	struct fuse_in_header head = {.len = len, .opcode = FUSE_GETATTR};

	memcpy(cwfuse_journal_slot(j, slot), &head, sizeof(head));
}

static void
unanswered_requests_are_found_after_a_restart(void **state)
{
	struct cwfuse_journal *j, *again;
	int fd = cwfuse_journal_new(&j);

	(void)state;
	assert_true(fd >= 0);
	put_request(j, 3, 100);
	j->len[3] = 100;
	atomic_store(&j->state[3], CWFUSE_BUSY);
	put_request(j, 5, 80); /* killed inside read(2): the kernel had written it all */
	atomic_store(&j->state[5], CWFUSE_READING);
	put_request(j, 6, 0); /* killed inside read(2): nothing had come */
	atomic_store(&j->state[6], CWFUSE_READING);
	put_request(j, 7, 90); /* answered */
	atomic_store(&j->state[7], CWFUSE_FREE);
	cwfuse_journal_unmap(j);
	assert_int_equal(cwfuse_journal_map(fd, &again), 0);
	assert_int_equal(cwfuse_journal_left(again, 3), 100);
	assert_int_equal(cwfuse_journal_left(again, 5), 80);
	assert_int_equal(cwfuse_journal_left(again, 6), 0);
	assert_int_equal(cwfuse_journal_left(again, 7), 0);
	cwfuse_journal_unmap(again);
	close(fd);
}

static void
lengths_that_cannot_be_are_no_requests(void **state)
{
	struct cwfuse_journal *j;
	int fd = cwfuse_journal_new(&j);

	(void)state;
	assert_true(fd >= 0);
	put_request(j, 0, 10); /* shorter than its own header */
	j->len[0] = 10;
	atomic_store(&j->state[0], CWFUSE_BUSY);
	put_request(j, 1, CWFUSE_SLOT + 1);
	atomic_store(&j->state[1], CWFUSE_READING);
	put_request(j, 2, 100);
	j->len[2] = 90;
	atomic_store(&j->state[2], CWFUSE_BUSY);
	atomic_store(&j->state[4], 77);
	assert_int_equal(cwfuse_journal_left(j, 0), 0);
	assert_int_equal(cwfuse_journal_left(j, 1), 0);
	assert_int_equal(cwfuse_journal_left(j, 2), 0);
	assert_int_equal(cwfuse_journal_left(j, 4), 0);
	cwfuse_journal_unmap(j);
	close(fd);
}

static void
memory_that_could_be_cut_short_is_refused(void **state)
{
	struct cwfuse_journal *j;
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, CWFUSE_JOURNAL_SIZE), 0);
	assert_int_equal(cwfuse_journal_map(fd, &j), -EINVAL);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(cwfuse_journal_map(fd, &j), -EINVAL); /* sealed, but no journal */
	close(fd);
}

static void
descriptors_travel_with_their_message(void **state)
{
	int pair[2], pipes[2], fds[FDPASS_MAX];
	char buf[64], byte = 0;
	size_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(fdpass_send(pair[0], "one", 3, &pipes[1], 1), 0);
	assert_int_equal(fdpass_send(pair[0], "two!", 4, NULL, 0), 0);
	assert_int_equal(fdpass_recv(pair[1], buf, sizeof(buf), fds, &n), 3);
	assert_string_equal(buf, "one");
	assert_int_equal(n, 1);
	assert_int_equal(write(fds[0], "x", 1), 1);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(fds[0]);
	assert_int_equal(fdpass_recv(pair[1], buf, sizeof(buf), fds, &n), 4);
	assert_int_equal(n, 0);
	assert_int_equal(fdpass_send(pair[0], "long message", 12, &pipes[1], 1), 0);
	assert_int_equal(fdpass_recv(pair[1], buf, 5, fds, &n), -EMSGSIZE);
	assert_int_equal(n, 0);
	close(pair[0]);
	assert_int_equal(fdpass_recv(pair[1], buf, sizeof(buf), fds, &n), 0);
	close(pair[1]);
	close(pipes[0]);
	close(pipes[1]);
}

static void
socket_file_of_a_dead_daemon_is_replaced(void **state)
{
	char dir[] = "/tmp/cwfuse-test-XXXXXX", deep[200], path[300];
	int a, b;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(deep, sizeof(deep), "%s/%0100d", dir, 1);
	assert_int_equal(mkdir(deep, 0700), 0);
	snprintf(path, sizeof(path), "%s/fuse.sock", deep); /* longer than a sockaddr_un takes */
	a = fdpass_listen(path);
	assert_true(a >= 0);
	assert_int_equal(fdpass_listen(path), -EADDRINUSE);
	close(a);
	assert_int_equal(fdpass_connect(path), -ECONNREFUSED);
	a = fdpass_listen(path);
	assert_true(a >= 0);
	b = fdpass_connect(path);
	assert_true(b >= 0);
	close(a);
	close(b);
	unlink(path);
	rmdir(deep);
	rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unanswered_requests_are_found_after_a_restart),
	    cmocka_unit_test(lengths_that_cannot_be_are_no_requests),
	    cmocka_unit_test(memory_that_could_be_cut_short_is_refused),
	    cmocka_unit_test(descriptors_travel_with_their_message),
	    cmocka_unit_test(socket_file_of_a_dead_daemon_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
