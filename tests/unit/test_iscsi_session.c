/* SPDX-License-Identifier: Apache-2.0 */
/* The full feature phase of the iSCSI server over real sockets, with memory for a volume. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "frontends/iscsi/iscsi.h"
#include "gateway/base/log.h"
#include "tests/unit/iscsi_client.h"
#include "tests/unit/iscsi_fake.h"

static struct iscsi_server *server;
static struct client cl, cl2;
static uint8_t pattern[1 << 20];

static int
setup(void **state)
{
	const struct iscsi_server_conf conf = {.listen = {"127.0.0.1:0"},
	    .loops = 2,
	    .max_connections = 8,
	    .login_ms = 700,
	    .nop_ms = 60000};

	(void)state;
	fake_init();
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + (i >> 9));
	assert_int_equal(iscsi_server_open(&conf, &server), 0);
	client_port = iscsi_server_port(server);
	log_set_level(LOG_LEVEL_ERR);
	return iscsi_server_start(server);
}

static int
teardown(void **state)
{
	(void)state;
	fake_release(NULL, false, 0, false);
	iscsi_server_stop(server);
	assert_int_equal(fake_refs, 0);
	assert_int_equal(fake_targets, 0);
	assert_int_equal(fake_nexuses, 0);
	return 0;
}

/* Wait until a counter has a value. */
static void
wait_for(atomic_int *what, int value)
{
	for (int i = 0; i < 5000 && *what != value; i++)
		usleep(1000);
	assert_int_equal(*what, value);
}

/* Collect Data-In of the current command. result: status; what came is in `into` */
static int
collect(struct client *c, uint8_t *into, uint32_t *total, uint32_t *npdus)
{
	*total = *npdus = 0;
	for (;;) {
		int op = client_recv(c);

		if (op == ISCSI_SCSI_RESPONSE)
			return c->h[3];
		assert_int_equal(op, ISCSI_DATA_IN);
		assert_int_equal(client_u32(c, 16), c->itt);
		assert_int_equal(client_u32(c, 36), *npdus);
		assert_int_equal(client_u32(c, 40), *total);
		memcpy(into + *total, c->data, c->len);
		*total += c->len;
		(*npdus)++;
		if (c->h[1] & 1)
			return c->h[3];
	}
}

static uint8_t got[2 << 20];

static void
check_read(struct client *c, uint32_t lba, uint16_t blocks, uint32_t want_pdus)
{
	uint32_t total, npdus;

	client_read_send(c, lba, blocks, blocks * 512u);
	assert_int_equal(collect(c, got, &total, &npdus), 0);
	assert_int_equal(total, blocks * 512u);
	assert_int_equal(npdus, want_pdus);
	assert_memory_equal(got, fake_disk + lba * 512, total);
	assert_int_equal(client_u32(c, 44), 0);
	assert_int_equal(c->h[1] & 0x86, 0x80);
}

static void
a_read_and_a_write_do_what_they_say(void **state)
{
	(void)state;
	client_enter(&cl, "MaxRecvDataSegmentLength=65536\n");
	assert_true(client_works(&cl));
	assert_string_equal(fake_port, CLIENT_NAME ",i,0x800000010001");
	check_read(&cl, 5, 8, 1);
	client_write_send(&cl, 16, 8, 4096, pattern, 4096, false);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.h[3], 0);
	assert_int_equal(client_u32(&cl, 16), cl.itt);
	assert_memory_equal(fake_disk + 16 * 512, pattern, 4096);
	client_close(&cl);
}

static void
long_reads_are_cut_by_segment_and_burst(void **state)
{
	(void)state;
	client_enter(&cl, "MaxRecvDataSegmentLength=65536\nMaxBurstLength=262144\n");
	check_read(&cl, 1, 2047, 16);
	assert_int_equal(cl.len, 65536 - 512);
	client_close(&cl);
	client_enter(&cl, "MaxRecvDataSegmentLength=1000\nMaxBurstLength=2500\n");
	check_read(&cl, 1, 20, 13); /* 1000 1000 500, four times, and 240 */
	client_close(&cl);
}

static void
the_final_bit_ends_each_burst(void **state)
{
	(void)state;
	client_enter(&cl, "MaxRecvDataSegmentLength=1024\nMaxBurstLength=2048\n");
	client_read_send(&cl, 0, 6, 3072);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(client_recv(&cl), ISCSI_DATA_IN);
		assert_int_equal(cl.h[1], i == 0 ? 0 : i == 1 ? 0x80 : 0x81);
	}
	client_close(&cl);
}

static void
reads_sent_from_where_they_lie_are_whole(void **state)
{
	(void)state;
	fake_sends = true;
	client_enter(&cl, "MaxRecvDataSegmentLength=262144\n");
	for (int i = 0; i < 20; i++)
		check_read(&cl, (uint32_t)i, 2048, 4);
	client_close(&cl);
	client_enter(&cl, "MaxRecvDataSegmentLength=100000\nHeaderDigest=CRC32C\n");
	for (int i = 0; i < 20; i++)
		check_read(&cl, (uint32_t)i, 2048, 12);
	client_close(&cl);
}

/* More than the socket takes at once, all of it asked for before anything is read. */
static void
a_reader_that_is_slow_gets_it_all(void **state)
{
	uint32_t total, npdus, itt;

	(void)state;
	for (int sends = 0; sends < 2; sends++) {
		fake_sends = sends;
		client_enter(&cl, "MaxRecvDataSegmentLength=262144\n");
		for (uint32_t i = 0; i < 100; i++)
			client_read_send(&cl, i, 2048, 1 << 20);
		usleep(100000);
		itt = cl.itt;
		for (uint32_t i = 0; i < 100; i++) {
			cl.itt = itt - 99 + i;
			assert_int_equal(collect(&cl, got, &total, &npdus), 0);
			assert_int_equal(total, 1 << 20);
			assert_memory_equal(got, fake_disk + i * 512, total);
		}
		client_close(&cl);
	}
}

static void
unsolicited_data_follows_its_command(void **state)
{
	(void)state;
	client_enter(&cl, "InitialR2T=No\nImmediateData=Yes\nFirstBurstLength=65536\n");
	client_write_send(&cl, 0, 128, 65536, pattern, 8192, true);
	client_data_out(&cl, ISCSI_NO_TAG, 0, 8192, pattern + 8192, 20000, false);
	client_data_out(&cl, ISCSI_NO_TAG, 1, 28192, pattern + 28192, 65536 - 28192, true);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.h[3], 0);
	assert_memory_equal(fake_disk, pattern, 65536);
	client_close(&cl);
}

/* Serve R2Ts until the response comes. piece: bytes of a Data-Out PDU */
static int
serve_r2ts(struct client *c, const uint8_t *data, uint32_t piece, uint32_t *nr2ts)
{
	*nr2ts = 0;
	for (;;) {
		uint32_t ttt, off, len;

		if (client_recv(c) == ISCSI_SCSI_RESPONSE)
			return c->h[3];
		assert_int_equal(c->h[0], ISCSI_R2T);
		assert_int_equal(client_u32(c, 36), *nr2ts);
		(*nr2ts)++;
		ttt = client_u32(c, 20);
		off = client_u32(c, 40);
		len = client_u32(c, 44);
		for (uint32_t at = 0, sn = 0; at < len; at += piece, sn++) {
			uint32_t n = len - at < piece ? len - at : piece;

			client_data_out(c, ttt, sn, off + at, data + off + at, n, at + n == len);
		}
	}
}

static void
long_writes_are_asked_for_by_r2ts(void **state)
{
	static const uint32_t pieces[] = {262144, 65536, 16384, 5000};
	uint32_t nr2ts;

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		client_enter(&cl, "MaxBurstLength=262144\nMaxOutstandingR2T=4\nInitialR2T=Yes\n"
				  "ImmediateData=No\n");
		memset(fake_disk, 0, 1 << 20);
		client_write_send(&cl, 0, 2048, 1 << 20, NULL, 0, false);
		assert_int_equal(serve_r2ts(&cl, pattern, pieces[i], &nr2ts), 0);
		assert_int_equal(nr2ts, 4);
		assert_memory_equal(fake_disk, pattern, 1 << 20);
		client_close(&cl);
	}
	/* immediate data, then the rest by R2T */
	client_enter(&cl, "InitialR2T=No\nImmediateData=Yes\nFirstBurstLength=262144\n"
			  "MaxBurstLength=524288\n");
	memset(fake_disk, 0, 1 << 20);
	client_write_send(&cl, 0, 2048, 1 << 20, pattern, 100000, false);
	assert_int_equal(serve_r2ts(&cl, pattern, 70000, &nr2ts), 0);
	assert_int_equal(nr2ts, 2);
	assert_memory_equal(fake_disk, pattern, 1 << 20);
	client_close(&cl);
}

static void
r2ts_are_pipelined_up_to_what_was_agreed(void **state)
{
	(void)state;
	client_enter(&cl, "MaxBurstLength=65536\nMaxOutstandingR2T=3\nImmediateData=No\n");
	client_write_send(&cl, 0, 2048, 1 << 20, NULL, 0, false);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(client_recv(&cl), ISCSI_R2T);
		assert_int_equal(client_u32(&cl, 40), i * 65536);
		assert_int_equal(client_u32(&cl, 44), 65536);
	}
	assert_true(client_is_silent(&cl, 50));
	client_close(&cl);
}

static void
many_writes_at_once_all_end(void **state)
{
	uint32_t first, nr2ts = 0, nresponses = 0;

	(void)state;
	client_enter(&cl, "ImmediateData=No\nMaxBurstLength=1048576\nMaxOutstandingR2T=8\n");
	first = cl.itt + 1;
	for (uint32_t i = 0; i < 100; i++) /* more than the memory for Data-Out of one session */
		client_write_send(&cl, i, 2048, 1 << 20, NULL, 0, false);
	while (nresponses < 100) {
		uint32_t ttt;

		if (client_recv(&cl) == ISCSI_SCSI_RESPONSE) {
			assert_int_equal(cl.h[3], 0);
			nresponses++;
			continue;
		}
		assert_int_equal(cl.h[0], ISCSI_R2T);
		nr2ts++;
		ttt = client_u32(&cl, 20);
		cl.itt = client_u32(&cl, 16);
		assert_true(cl.itt - first < 100);
		for (uint32_t k = 0; k < 4; k++)
			client_data_out(
			    &cl, ttt, k, k * 262144, pattern + k * 262144, 262144, k == 3);
	}
	assert_int_equal(nr2ts, 100);
	client_close(&cl);
}

static void
digests_cover_both_directions(void **state)
{
	uint32_t nr2ts;

	(void)state;
	client_enter(&cl, "HeaderDigest=CRC32C,None\nDataDigest=CRC32C\n"
			  "MaxRecvDataSegmentLength=30001\nMaxBurstLength=65536\n");
	assert_true(cl.has_header_digest && cl.has_data_digest);
	check_read(&cl, 3, 1, 1);
	check_read(&cl, 3, 256, 6);
	client_write_send(&cl, 0, 9, 4608, pattern, 4608, false);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	client_write_send(&cl, 0, 2048, 1 << 20, pattern, 65001, false);
	assert_int_equal(serve_r2ts(&cl, pattern, 20001, &nr2ts), 0);
	assert_memory_equal(fake_disk, pattern, 1 << 20);
	client_close(&cl);
}

static void
a_bad_header_digest_ends_the_connection(void **state)
{
	(void)state;
	client_enter(&cl, "HeaderDigest=CRC32C\n");
	assert_true(client_works(&cl));
	client_command(&cl, 0x81, 0);
	client_end_broken(&cl, NULL, 0, 1);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
}

static void
bad_data_digests_fail_the_command_only(void **state)
{
	static const uint32_t lens[] = {4096, 65536};

	(void)state;
	client_enter(&cl, "DataDigest=CRC32C\nImmediateData=No\nInitialR2T=Yes\n");
	for (size_t i = 0; i < 2; i++) {
		client_write_send(&cl, 0, (uint16_t)(lens[i] / 512), lens[i], NULL, 0, false);
		assert_int_equal(client_recv(&cl), ISCSI_R2T);
		client_begin(&cl, ISCSI_DATA_OUT, 0x80, cl.itt);
		memcpy(cl.out + 20, cl.h + 20, 4);
		client_end_broken(&cl, pattern, lens[i], 2);
		assert_int_equal(client_recv(&cl), ISCSI_REJECT);
		assert_int_equal(cl.h[2], ISCSI_REJECT_DATA_DIGEST);
		assert_int_equal(cl.len, 48);
		assert_int_equal(cl.data[0], ISCSI_DATA_OUT);
		assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
		assert_int_equal(cl.h[3], 2);
		assert_int_equal(cl.data[2 + 2], 0x0b);
		assert_int_equal(cl.data[2 + 12], 0x47);
		assert_int_equal(cl.data[2 + 13], 0x05);
	}
	assert_int_equal(fake_abandoned, 2);
	assert_true(client_works(&cl));
	client_close(&cl);
	/* with the command itself: its CmdSN is lost, and so is the session */
	client_enter(&cl, "DataDigest=CRC32C\n");
	client_command(&cl, 0xa1, 4096);
	client_cdb10(&cl, 0x2a, 0, 8);
	client_end_broken(&cl, pattern, 4096, 2);
	assert_int_equal(client_recv(&cl), ISCSI_REJECT);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
}

static void
residual_counts_tell_both_ways(void **state)
{
	uint32_t total, npdus;

	(void)state;
	client_enter(&cl, "");
	client_read_send(&cl, 0, 2, 4096); /* expects more than there is */
	assert_int_equal(collect(&cl, got, &total, &npdus), 0);
	assert_int_equal(total, 1024);
	assert_int_equal(cl.h[1] & 6, ISCSI_UNDERFLOW);
	assert_int_equal(client_u32(&cl, 44), 3072);
	client_read_send(&cl, 0, 8, 1000); /* less */
	assert_int_equal(collect(&cl, got, &total, &npdus), 0);
	assert_int_equal(total, 1000);
	assert_int_equal(cl.h[1] & 6, ISCSI_OVERFLOW);
	assert_int_equal(client_u32(&cl, 44), 3096);
	client_command(&cl, 0x81, 0); /* a READ that expects nothing */
	client_cdb10(&cl, 0x28, 0, 1);
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.h[1] & 6, ISCSI_OVERFLOW);
	assert_int_equal(client_u32(&cl, 44), 512);
	client_write_send(&cl, 0, 2, 4096, pattern, 4096, false);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.h[1] & 6, ISCSI_UNDERFLOW);
	assert_int_equal(client_u32(&cl, 44), 3072);
	client_write_send(&cl, 0, 8, 512, pattern, 512, false);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.h[1] & 6, ISCSI_OVERFLOW);
	assert_int_equal(client_u32(&cl, 44), 3584);
	client_close(&cl);
}

static void
sense_comes_with_check_condition(void **state)
{
	(void)state;
	client_enter(&cl, "InitialR2T=No\n");
	client_command(&cl, 0xc1, 512);
	cl.out[32] = 0xee;
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.h[3], 2);
	assert_int_equal(cl.len, 20);
	assert_int_equal(cl.data[1], 18);
	assert_int_equal(cl.data[2 + 12], 0x20);
	assert_int_equal(cl.h[1] & 6, ISCSI_UNDERFLOW);
	assert_int_equal(client_u32(&cl, 44), 512);
	/* a WRITE out of range: what was announced is still taken before the answer */
	client_write_send(&cl, 1u << 16, 128, 65536, pattern, 4096, true);
	assert_true(client_is_silent(&cl, 50));
	client_data_out(&cl, ISCSI_NO_TAG, 0, 4096, pattern, 60000, false);
	client_data_out(&cl, ISCSI_NO_TAG, 1, 64096, pattern, 1440, true);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.data[2 + 12], 0x21);
	assert_true(client_works(&cl));
	client_close(&cl);
}

/* What is sent, and the additional sense code that it gets. */
static void
wrong_data_out_fails_the_command(void **state)
{
	static const struct {
		uint32_t data_sn, off, len;
		int asc, ascq;
	} cases[] = {{27, 0, 512, 0x4b, 0}, {0xffffffff, 0, 512, 0x4b, 0}, {0, 512, 512, 0x4b, 0},
	    {0, 0, 1024, 0x0c, 0x0c}, {0, 0, 100, 0x0c, 0x0d}};

	(void)state;
	client_enter(&cl, "ImmediateData=No\nInitialR2T=Yes\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		client_write_send(&cl, 0, 1, 512, NULL, 0, false);
		assert_int_equal(client_recv(&cl), ISCSI_R2T);
		client_data_out(&cl, client_u32(&cl, 20), cases[i].data_sn, cases[i].off, pattern,
		    cases[i].len, true);
		assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
		assert_int_equal(cl.h[3], 2);
		assert_int_equal(cl.data[2 + 12], cases[i].asc);
		assert_int_equal(cl.data[2 + 13], cases[i].ascq);
	}
	/* twice the same number */
	client_write_send(&cl, 0, 2, 1024, NULL, 0, false);
	assert_int_equal(client_recv(&cl), ISCSI_R2T);
	client_data_out(&cl, client_u32(&cl, 20), 0, 0, pattern, 512, false);
	client_data_out(&cl, client_u32(&cl, 20), 0, 512, pattern, 512, true);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.h[3], 2);
	/* of no command at all: silently dropped, small and large */
	client_data_out(&cl, 1, 0, 0, pattern, 512, true);
	client_data_out(&cl, 1, 0, 0, pattern, 200000, true);
	/* data that was not agreed */
	client_write_send(&cl, 0, 1, 512, pattern, 512, false);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.data[2 + 12], 0x0c);
	assert_int_equal(cl.data[2 + 13], 0x0c);
	assert_true(client_works(&cl));
	assert_int_equal(fake_executed, 1);
	client_close(&cl);
}

static void
commands_outside_of_the_window_are_ignored(void **state)
{
	uint32_t exp;

	(void)state;
	client_enter(&cl, "");
	assert_true(client_works(&cl));
	exp = client_u32(&cl, 28);
	assert_true(client_u32(&cl, 32) - exp + 1 >= 128);
	cl.cmd_sn = client_u32(&cl, 32) + 1;
	client_command(&cl, 0x81, 0);
	client_end(&cl, NULL, 0);
	assert_true(client_is_silent(&cl, 50));
	cl.cmd_sn = exp - 1;
	client_command(&cl, 0x81, 0);
	client_end(&cl, NULL, 0);
	assert_true(client_is_silent(&cl, 50));
	cl.cmd_sn = exp;
	assert_true(client_works(&cl));
	cl.cmd_sn = exp + 3; /* a hole that nothing will ever fill */
	client_command(&cl, 0x81, 0);
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), ISCSI_REJECT);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
}

static void
the_window_closes_and_opens_again(void **state)
{
	uint32_t window, max;

	(void)state;
	client_enter(&cl, "");
	assert_true(client_works(&cl));
	window = client_u32(&cl, 32) - client_u32(&cl, 28) + 1;
	max = client_u32(&cl, 32);
	for (uint32_t i = 0; i < window + 1; i++) { /* the last one is too many */
		client_command(&cl, 0x81, 0);
		cl.out[32] = 0xf0;
		client_end(&cl, NULL, 0);
	}
	client_begin(&cl, ISCSI_NOP_OUT | ISCSI_IMMEDIATE, 0x80, 7);
	be_store_u32(cl.out + 20, ISCSI_NO_TAG);
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), ISCSI_NOP_IN);
	assert_int_equal(client_u32(&cl, 32), max);
	assert_int_equal(client_u32(&cl, 28), max + 1);
	assert_int_equal(fake_release(NULL, false, 0, false), window);
	for (uint32_t i = 0; i < window; i++)
		assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(client_u32(&cl, 32) - client_u32(&cl, 28) + 1, window);
	cl.cmd_sn--;
	assert_true(client_works(&cl));
	client_close(&cl);
}

static void
immediate_commands_are_bounded(void **state)
{
	int rejects = 0;

	(void)state;
	client_enter(&cl, "");
	for (int i = 0; i < 100; i++) {
		client_command(&cl, 0x81, 0);
		cl.cmd_sn--;
		cl.out[0] |= ISCSI_IMMEDIATE;
		cl.out[32] = 0xf0;
		client_end(&cl, NULL, 0);
	}
	while (!client_is_silent(&cl, 100)) {
		assert_int_equal(client_recv(&cl), ISCSI_REJECT);
		assert_int_equal(cl.h[2], ISCSI_REJECT_TOO_MANY_IMMEDIATE);
		rejects++;
	}
	assert_true(rejects > 0 && rejects < 100);
	assert_true(client_works(&cl));
	client_close(&cl);
}

static void
pings_are_answered(void **state)
{
	(void)state;
	client_enter(&cl, "MaxRecvDataSegmentLength=8192\n");
	client_begin(&cl, ISCSI_NOP_OUT, 0x80, 77);
	be_store_u32(cl.out + 20, ISCSI_NO_TAG);
	cl.cmd_sn++;
	client_end(&cl, "abcde", 5);
	assert_int_equal(client_recv(&cl), ISCSI_NOP_IN);
	assert_int_equal(client_u32(&cl, 16), 77);
	assert_int_equal(client_u32(&cl, 20), ISCSI_NO_TAG);
	assert_int_equal(cl.len, 5);
	assert_memory_equal(cl.data, "abcde", 5);
	/* more than we take at once is cut (11.18) */
	client_begin(&cl, ISCSI_NOP_OUT | ISCSI_IMMEDIATE, 0x80, 78);
	be_store_u32(cl.out + 20, ISCSI_NO_TAG);
	client_end(&cl, pattern, 200000);
	assert_int_equal(client_recv(&cl), ISCSI_NOP_IN);
	assert_int_equal(cl.len, 8192);
	/* one that wants no answer */
	client_begin(&cl, ISCSI_NOP_OUT | ISCSI_IMMEDIATE, 0x80, ISCSI_NO_TAG);
	be_store_u32(cl.out + 20, ISCSI_NO_TAG);
	client_end(&cl, NULL, 0);
	assert_true(client_works(&cl));
	client_close(&cl);
}

static void
tmf_send(struct client *c, uint8_t function, uint64_t lun, uint32_t ref)
{
	client_begin(c, ISCSI_TMF_REQUEST | ISCSI_IMMEDIATE, 0x80 | function, ++c->itt);
	be_store_u32(c->out + 8, (uint32_t)(lun >> 32));
	be_store_u32(c->out + 12, (uint32_t)lun);
	be_store_u32(c->out + 20, ref);
	client_end(c, NULL, 0);
}

static int
tmf(struct client *c, uint8_t function, uint64_t lun, uint32_t ref)
{
	tmf_send(c, function, lun, ref);
	assert_int_equal(client_recv(c), ISCSI_TMF_RESPONSE);
	assert_int_equal(client_u32(c, 16), c->itt);
	return c->h[2];
}

static void
hold(struct client *c)
{
	client_command(c, 0x81, 0);
	c->out[32] = 0xf0;
	client_end(c, NULL, 0);
}

static void
tasks_can_be_aborted(void **state)
{
	uint32_t held, waiting;

	(void)state;
	client_enter(&cl, "ImmediateData=No\nInitialR2T=Yes\n");
	hold(&cl);
	held = cl.itt;
	client_write_send(&cl, 0, 8, 4096, NULL, 0, false);
	waiting = cl.itt;
	assert_int_equal(client_recv(&cl), ISCSI_R2T);
	assert_int_equal(tmf(&cl, ISCSI_TMF_ABORT_TASK, 0, 0xdead), ISCSI_TMF_NO_TASK);
	assert_int_equal(tmf(&cl, ISCSI_TMF_ABORT_TASK, 1ull << 48, held), ISCSI_TMF_NO_TASK);
	assert_int_equal(tmf(&cl, ISCSI_TMF_ABORT_TASK, 0, held), ISCSI_TMF_COMPLETE);
	assert_int_equal(tmf(&cl, ISCSI_TMF_ABORT_TASK, 0, waiting), ISCSI_TMF_COMPLETE);
	assert_int_equal(fake_abandoned, 1);
	/* its data may still come */
	client_begin(&cl, ISCSI_DATA_OUT, 0x80, waiting);
	client_end(&cl, pattern, 4096);
	hold(&cl);
	hold(&cl);
	assert_int_equal(tmf(&cl, ISCSI_TMF_ABORT_TASK_SET, 0, 0), ISCSI_TMF_COMPLETE);
	assert_int_equal(fake_aborted, 3);
	assert_int_equal(tmf(&cl, ISCSI_TMF_CLEAR_ACA, 0, 0), ISCSI_TMF_NOT_SUPPORTED);
	assert_int_equal(tmf(&cl, ISCSI_TMF_TASK_REASSIGN, 0, 0), ISCSI_TMF_NO_REASSIGN);
	assert_int_equal(tmf(&cl, 99, 0, 0), ISCSI_TMF_NOT_SUPPORTED);
	assert_int_equal(tmf(&cl, ISCSI_TMF_LUN_RESET, 1ull << 48, 0), ISCSI_TMF_NO_LUN);
	hold(&cl);
	client_write_send(&cl, 0, 8, 4096, NULL, 0, false);
	assert_int_equal(client_recv(&cl), ISCSI_R2T);
	assert_int_equal(tmf(&cl, ISCSI_TMF_LUN_RESET, 0, 0), ISCSI_TMF_COMPLETE);
	assert_int_equal(tmf(&cl, ISCSI_TMF_CLEAR_TASK_SET, 0, 0), ISCSI_TMF_COMPLETE);
	assert_int_equal(tmf(&cl, ISCSI_TMF_TARGET_WARM_RESET, 0, 0), ISCSI_TMF_COMPLETE);
	assert_int_equal(fake_resets, 2);
	assert_true(client_works(&cl));
	client_close(&cl);
}

static void
a_cold_reset_ends_all_sessions_of_the_target(void **state)
{
	(void)state;
	client_enter(&cl, "");
	client_dial(&cl2);
	cl2.isid[5] = 9;
	client_enter_as(&cl2, FAKE_IQN "0", "");
	assert_int_equal(tmf(&cl, ISCSI_TMF_TARGET_COLD_RESET, 0, 0), ISCSI_TMF_COMPLETE);
	assert_int_equal(client_recv(&cl), -1);
	assert_int_equal(client_recv(&cl2), -1);
	client_close(&cl);
	client_close(&cl2);
}

static void
logout_send(struct client *c, uint8_t reason, uint16_t cid)
{
	client_begin(c, ISCSI_LOGOUT_REQUEST | ISCSI_IMMEDIATE, 0x80 | reason, ++c->itt);
	c->out[21] = (uint8_t)cid;
	client_end(c, NULL, 0);
}

static void
logout_is_answered_and_closes(void **state)
{
	(void)state;
	for (uint8_t reason = 0; reason < 2; reason++) {
		client_enter(&cl, "");
		logout_send(&cl, ISCSI_LOGOUT_RECOVERY, 1);
		assert_int_equal(client_recv(&cl), ISCSI_LOGOUT_RESPONSE);
		assert_int_equal(cl.h[2], ISCSI_LOGOUT_NO_RECOVERY);
		logout_send(&cl, ISCSI_LOGOUT_CONNECTION, 99);
		assert_int_equal(client_recv(&cl), ISCSI_LOGOUT_RESPONSE);
		assert_int_equal(cl.h[2], ISCSI_LOGOUT_NO_CID);
		hold(&cl);
		logout_send(&cl, reason, 1);
		assert_int_equal(client_recv(&cl), ISCSI_LOGOUT_RESPONSE);
		assert_int_equal(cl.h[2], ISCSI_LOGOUT_OK);
		assert_int_equal(client_recv(&cl), -1);
		client_close(&cl);
	}
	assert_int_equal(fake_aborted, 2);
	wait_for(&fake_nexuses, 0);
}

static void
a_session_of_the_same_name_is_replaced(void **state)
{
	(void)state;
	client_enter(&cl, "");
	hold(&cl);
	assert_true(client_works(&cl));
	client_dial(&cl2);
	client_enter_as(&cl2, FAKE_IQN "0", "");
	assert_int_equal(client_recv(&cl), -1);
	assert_int_equal(fake_aborted, 1);
	assert_int_equal(fake_nexuses, 1);
	assert_true(client_works(&cl2));
	client_close(&cl);
	/* another ISID, or another target, is another session */
	client_dial(&cl);
	cl.isid[5] = 2;
	client_enter_as(&cl, FAKE_IQN "0", "");
	assert_true(client_works(&cl));
	assert_true(client_works(&cl2));
	client_close(&cl);
	client_dial(&cl);
	client_enter_as(&cl, FAKE_IQN "1", "");
	assert_true(client_works(&cl));
	assert_true(client_works(&cl2));
	client_close(&cl);
	client_close(&cl2);
}

static void
the_volume_may_end_its_sessions(void **state)
{
	(void)state;
	client_enter(&cl, "");
	assert_true(client_works(&cl));
	assert_int_equal(fake_tell_sessions(false), 1);
	wait_for(&fake_changed, 1);
	fake_tell_sessions(true);
	assert_int_equal(client_recv(&cl), ISCSI_ASYNC_MESSAGE);
	assert_int_equal(cl.h[36], ISCSI_ASYNC_LOGOUT);
	assert_int_equal(client_u32(&cl, 16), ISCSI_NO_TAG);
	assert_true(cl.h[43] > 0);
	fake_tell_sessions(true); /* once is enough */
	assert_true(client_works(&cl));
	logout_send(&cl, 0, 1);
	assert_int_equal(client_recv(&cl), ISCSI_LOGOUT_RESPONSE);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
	/* and one that does not listen is closed */
	client_enter(&cl, "");
	fake_tell_sessions(true);
	assert_int_equal(client_recv(&cl), ISCSI_ASYNC_MESSAGE);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
	fake_is_closing = true;
	client_dial(&cl);
	assert_int_equal(
	    client_login(&cl, 0x87, "InitiatorName=" CLIENT_NAME "\nTargetName=" FAKE_IQN "0\n"),
	    ISCSI_LOGIN_UNAVAILABLE);
	client_close(&cl);
}

static void
commands_that_complete_later_are_answered(void **state)
{
	uint32_t total, npdus;

	(void)state;
	fake_is_async = true;
	client_enter(&cl, "");
	for (int i = 0; i < 50; i++) {
		client_write_send(&cl, (uint32_t)i, 8, 4096, pattern + i, 4096, false);
		assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
		client_read_send(&cl, (uint32_t)i, 8, 4096);
		assert_int_equal(collect(&cl, got, &total, &npdus), 0);
		assert_memory_equal(got, pattern + i, 4096);
	}
	/* many under way when the connection goes */
	for (uint32_t i = 0; i < 100; i++)
		client_write_send(&cl, i, 8, 4096, pattern, 4096, false);
	client_close(&cl);
	wait_for(&fake_nexuses, 0);
}

static void
a_write_runs_from_where_it_was_received(void **state)
{
	(void)state;
	client_enter(&cl, "");
	client_write_send(&cl, 0, 8, 4096, pattern, 4096, false);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_true(fake_last->out_len == 4096 && ((uintptr_t)fake_last_out & 63) == 48);
	client_close(&cl);
}

static void
an_extended_cdb_arrives_whole(void **state)
{
	uint8_t ahs[20] = {0, 17, 1, 0}; /* 1 reserved byte and 16 of CDB */

	(void)state;
	client_enter(&cl, "");
	client_command(&cl, 0x81, 0);
	cl.out[4] = 5;
	memcpy(cl.out + 48, ahs, 20);
	client_send_raw(&cl, cl.out, 48 + 20);
	assert_int_equal(client_recv(&cl), ISCSI_SCSI_RESPONSE);
	assert_int_equal(cl.h[3], 0);
	cl.out[4] = 1; /* says more than there is */
	client_send_raw(&cl, cl.out, 48 + 4);
	assert_int_equal(client_recv(&cl), ISCSI_REJECT);
	client_close(&cl);
}

static void
nonsense_is_rejected(void **state)
{
	static const uint8_t opcodes[] = {0x07, 0x10, 0x1e, 0x20, 0x3f, 0x03};

	(void)state;
	client_enter(&cl, "");
	for (size_t i = 0; i < sizeof(opcodes); i++) {
		client_begin(&cl, opcodes[i] | ISCSI_IMMEDIATE, 0x80, ++cl.itt);
		client_end(&cl, pattern, i % 2 ? 100 : 20000);
		assert_int_equal(client_recv(&cl), ISCSI_REJECT);
		assert_int_equal(cl.data[0], opcodes[i] | ISCSI_IMMEDIATE);
	}
	assert_true(client_works(&cl));
	/* a tag that is in use */
	hold(&cl);
	client_command(&cl, 0x81, 0);
	be_store_u32(cl.out + 16, cl.itt - 1);
	client_end(&cl, NULL, 0);
	assert_int_equal(client_recv(&cl), ISCSI_REJECT);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
	/* a data segment of more than we declared */
	client_enter(&cl, "");
	client_begin(&cl, ISCSI_NOP_OUT | ISCSI_IMMEDIATE, 0x80, 1);
	client_end(&cl, pattern, 300000);
	assert_int_equal(client_recv(&cl), -1);
	client_close(&cl);
}

static void
random_bytes_never_hurt(void **state)
{
	uint32_t x = 12345;

	(void)state;
	for (int round = 0; round < 60; round++) {
		uint8_t junk[600];

		for (size_t i = 0; i < sizeof(junk); i++) {
			x = x * 1664525 + 1013904223;
			junk[i] = (uint8_t)(x >> 24);
		}
		if (round % 3 == 0)
			client_dial(&cl);
		else
			client_enter(&cl, "");
		if (round % 3 == 2)
			junk[0] = (uint8_t)(round % 7), junk[4] = 0, junk[5] = 0, junk[6] = 0;
		(void)!send(cl.fd, junk, sizeof(junk), MSG_NOSIGNAL);
		usleep(1000);
		client_close(&cl);
	}
	client_enter(&cl, "");
	assert_true(client_works(&cl));
	client_close(&cl);
}

static void
a_stop_asks_for_logout_first(void **state)
{
	pthread_t stopper;

	(void)state;
	client_enter(&cl, "");
	assert_true(client_works(&cl));
	assert_int_equal(
	    pthread_create(&stopper, NULL, (void *(*)(void *))(void *)iscsi_server_stop, server),
	    0);
	assert_int_equal(client_recv(&cl), ISCSI_ASYNC_MESSAGE);
	assert_true(client_works(&cl));
	logout_send(&cl, 0, 1);
	assert_int_equal(client_recv(&cl), ISCSI_LOGOUT_RESPONSE);
	assert_int_equal(client_recv(&cl), -1);
	pthread_join(stopper, NULL);
	client_close(&cl);
	server = NULL;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_read_and_a_write_do_what_they_say),
	    TEST(long_reads_are_cut_by_segment_and_burst),
	    TEST(the_final_bit_ends_each_burst),
	    TEST(reads_sent_from_where_they_lie_are_whole),
	    TEST(a_reader_that_is_slow_gets_it_all),
	    TEST(unsolicited_data_follows_its_command),
	    TEST(long_writes_are_asked_for_by_r2ts),
	    TEST(r2ts_are_pipelined_up_to_what_was_agreed),
	    TEST(many_writes_at_once_all_end),
	    TEST(digests_cover_both_directions),
	    TEST(a_bad_header_digest_ends_the_connection),
	    TEST(bad_data_digests_fail_the_command_only),
	    TEST(residual_counts_tell_both_ways),
	    TEST(sense_comes_with_check_condition),
	    TEST(wrong_data_out_fails_the_command),
	    TEST(commands_outside_of_the_window_are_ignored),
	    TEST(the_window_closes_and_opens_again),
	    TEST(immediate_commands_are_bounded),
	    TEST(pings_are_answered),
	    TEST(tasks_can_be_aborted),
	    TEST(a_cold_reset_ends_all_sessions_of_the_target),
	    TEST(logout_is_answered_and_closes),
	    TEST(a_session_of_the_same_name_is_replaced),
	    TEST(the_volume_may_end_its_sessions),
	    TEST(commands_that_complete_later_are_answered),
	    TEST(a_write_runs_from_where_it_was_received),
	    TEST(an_extended_cdb_arrives_whole),
	    TEST(nonsense_is_rejected),
	    TEST(random_bytes_never_hurt),
	    TEST(a_stop_asks_for_logout_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
