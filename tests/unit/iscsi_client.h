/* SPDX-License-Identifier: Apache-2.0 */
/* iscsi_client.h - an initiator for tests: raw socket, one PDU at a time, nothing hidden. */
#ifndef TESTS_ISCSI_CLIENT_H
#define TESTS_ISCSI_CLIENT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontends/iscsi/iscsi_format.h"
#include "frontends/iscsi/pdu.h"
#include "gateway/base/be.h"
#include "gateway/base/digest.h"

#define CLIENT_NAME "iqn.2016-04.test:client"
#define CLIENT_DATA (2u << 20)

struct client {
	int fd;
	bool has_header_digest, has_data_digest;
	uint32_t cmd_sn, itt, exp_stat_sn;
	uint8_t isid[6];
	uint8_t out[ISCSI_BHS_LEN + 64]; /* header being built */
	uint8_t h[ISCSI_BHS_LEN];	 /* last header received */
	uint8_t data[CLIENT_DATA];
	uint32_t len; /* of the data received */
};

static int client_port;

static inline void
client_dial_to(struct client *c, uint32_t addr)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)client_port),
	    .sin_addr.s_addr = htonl(addr)};
	struct timeval tv = {.tv_sec = 10};
	int one = 1;

	memset(c, 0, offsetof(struct client, out));
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	c->cmd_sn = 100;
	c->itt = 0x1000;
	memcpy(c->isid, "\x80\0\0\1\0\1", 6);
	assert_true(c->fd >= 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	assert_int_equal(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
}

static inline void
client_dial(struct client *c)
{
	client_dial_to(c, INADDR_LOOPBACK);
}

static inline void
client_send_raw(struct client *c, const void *p, size_t len)
{
	assert_int_equal(send(c->fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Start a request in c->out. */
static inline void
client_begin(struct client *c, uint8_t opcode, uint8_t flags, uint32_t itt)
{
	memset(c->out, 0, sizeof(c->out));
	c->out[0] = opcode;
	c->out[1] = flags;
	be_store_u32(c->out + 16, itt);
	be_store_u32(c->out + 24, c->cmd_sn);
	be_store_u32(c->out + 28, c->exp_stat_sn);
}

static inline void
put_digest(uint8_t *p, uint32_t crc)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(crc >> (8 * i));
}

/* break_digest: 1 header, 2 data */
static inline void
client_end_broken(struct client *c, const void *data, uint32_t len, int break_digest)
{
	static uint8_t all[CLIENT_DATA + 128];
	uint32_t n = ISCSI_BHS_LEN, padded = (len + 3) & ~3u;

	c->out[5] = (uint8_t)(len >> 16);
	c->out[6] = (uint8_t)(len >> 8);
	c->out[7] = (uint8_t)len;
	memcpy(all, c->out, n);
	if (c->has_header_digest) {
		put_digest(all + n, digest_crc32c(0, all, n) ^ (break_digest == 1));
		n += 4;
	}
	if (len > 0)
		memcpy(all + n, data, len);
	memset(all + n + len, 0, padded - len);
	if (c->has_data_digest && len > 0) {
		put_digest(
		    all + n + padded, digest_crc32c(0, all + n, padded) ^ (break_digest == 2));
		n += 4;
	}
	client_send_raw(c, all, n + padded);
}

static inline void
client_end(struct client *c, const void *data, uint32_t len)
{
	client_end_broken(c, data, len, 0);
}

static inline bool
client_get(struct client *c, void *to, size_t len)
{
	uint8_t *p = to;

	while (len > 0) {
		ssize_t n = recv(c->fd, p, len, 0);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* Receive one PDU, digests checked. result: its opcode, -1: the connection is closed, or silent */
static inline int
client_recv(struct client *c)
{
	uint8_t digest[4], want[4];
	uint32_t padded, crc;

	if (!client_get(c, c->h, ISCSI_BHS_LEN))
		return -1;
	if (c->has_header_digest) {
		assert_true(client_get(c, digest, 4));
		put_digest(want, digest_crc32c(0, c->h, ISCSI_BHS_LEN));
		assert_memory_equal(digest, want, 4);
	}
	c->len = (uint32_t)c->h[5] << 16 | (uint32_t)c->h[6] << 8 | c->h[7];
	padded = (c->len + 3) & ~3u;
	assert_true(padded <= CLIENT_DATA);
	assert_true(padded == 0 || client_get(c, c->data, padded));
	if (c->has_data_digest && c->len > 0) {
		crc = digest_crc32c(0, c->data, padded);
		assert_true(client_get(c, digest, 4));
		put_digest(want, crc);
		assert_memory_equal(digest, want, 4);
	}
	if (c->h[0] != ISCSI_R2T && !(c->h[0] == ISCSI_DATA_IN && !(c->h[1] & 1)) &&
	    !(c->h[0] == ISCSI_NOP_IN && memcmp(c->h + 16, "\xff\xff\xff\xff", 4) == 0))
		c->exp_stat_sn = 1 + (uint32_t)((uint32_t)c->h[24] << 24 | c->h[25] << 16 |
						c->h[26] << 8 | c->h[27]);
	return c->h[0];
}

static inline uint32_t
client_u32(const struct client *c, int at)
{
	return (uint32_t)c->h[at] << 24 | (uint32_t)c->h[at + 1] << 16 |
	       (uint32_t)c->h[at + 2] << 8 | c->h[at + 3];
}

static inline bool
client_is_silent(struct client *c, int ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return poll(&p, 1, ms) == 0;
}

/* text: pairs, each ended by '\n' here, by NUL on the wire */
static inline void
client_login_send(struct client *c, uint8_t flags, const char *text)
{
	char wire[20000];
	size_t len = strlen(text);

	assert_true(len < sizeof(wire));
	memcpy(wire, text, len);
	for (size_t i = 0; i < len; i++)
		wire[i] = wire[i] == '\n' ? '\0' : wire[i];
	client_begin(c, ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE, flags, c->itt);
	memcpy(c->out + 8, c->isid, 6);
	c->out[21] = 1; /* CID */
	client_end(c, wire, (uint32_t)len);
}

/* result: status class and detail; the answer's text is in data, NUL-terminated */
static inline int
client_login(struct client *c, uint8_t flags, const char *text)
{
	client_login_send(c, flags, text);
	if (client_recv(c) != ISCSI_LOGIN_RESPONSE)
		return -1;
	c->data[c->len] = '\0';
	return c->h[36] << 8 | c->h[37];
}

/* The value of a key in the answer; NULL: it is not there. */
static inline const char *
client_key(const struct client *c, const char *key)
{
	size_t n = strlen(key);

	for (uint32_t at = 0; at < c->len; at += (uint32_t)strlen((const char *)c->data + at) + 1) {
		const char *p = (const char *)c->data + at;

		if (strncmp(p, key, n) == 0 && p[n] == '=')
			return p + n + 1;
	}
	return NULL;
}

static inline void
client_enter_as(struct client *c, const char *volume, const char *more)
{
	char text[1024];

	snprintf(text, sizeof(text),
	    "InitiatorName=" CLIENT_NAME "\nTargetName=%s\nSessionType=Normal\n%s", volume, more);
	assert_int_equal(client_login(c, 0x87, text), 0);
	assert_int_equal(c->h[1] & 0x8f, 0x87);
	if (client_key(c, "HeaderDigest") != NULL)
		c->has_header_digest = strcmp(client_key(c, "HeaderDigest"), "CRC32C") == 0;
	if (client_key(c, "DataDigest") != NULL)
		c->has_data_digest = strcmp(client_key(c, "DataDigest"), "CRC32C") == 0;
}

/* dial and log in to volume 0. more: operational keys */
static inline void
client_enter(struct client *c, const char *more)
{
	client_dial(c);
	client_enter_as(c, "iqn.1997-05.com.amazon:vol0", more);
}

static inline void
client_close(struct client *c)
{
	close(c->fd);
}

/* --- SCSI --- */

static inline void
client_cdb10(struct client *c, uint8_t op, uint32_t lba, uint16_t blocks)
{
	c->out[32] = op;
	be_store_u32(c->out + 34, lba);
	c->out[39] = (uint8_t)(blocks >> 8);
	c->out[40] = (uint8_t)blocks;
}

static inline void
client_command(struct client *c, uint8_t flags, uint32_t edtl)
{
	client_begin(c, ISCSI_SCSI_COMMAND, flags, ++c->itt);
	be_store_u32(c->out + 20, edtl);
	c->cmd_sn++;
}

static inline void
client_read_send(struct client *c, uint32_t lba, uint16_t blocks, uint32_t edtl)
{
	client_command(c, 0xc1, edtl);
	client_cdb10(c, 0x28, lba, blocks);
	client_end(c, NULL, 0);
}

/* WRITE(10) header with immediate data; more: unsolicited Data-Out follows */
static inline void
client_write_send(struct client *c, uint32_t lba, uint16_t blocks, uint32_t edtl, const void *data,
    uint32_t len, bool more)
{
	client_command(c, more ? 0x21 : 0xa1, edtl);
	client_cdb10(c, 0x2a, lba, blocks);
	client_end(c, data, len);
}

static inline void
client_data_out(struct client *c, uint32_t ttt, uint32_t data_sn, uint32_t off, const void *data,
    uint32_t len, bool is_final)
{
	client_begin(c, ISCSI_DATA_OUT, is_final ? 0x80 : 0, c->itt);
	be_store_u32(c->out + 20, ttt);
	be_store_u32(c->out + 24, 0);
	be_store_u32(c->out + 36, data_sn);
	be_store_u32(c->out + 40, off);
	client_end(c, data, len);
}

/* TEST UNIT READY and its answer: does the session live? */
static inline bool
client_works(struct client *c)
{
	client_command(c, 0x81, 0);
	client_end(c, NULL, 0);
	return client_recv(c) == ISCSI_SCSI_RESPONSE && c->h[3] == 0 && client_u32(c, 16) == c->itt;
}

#endif
