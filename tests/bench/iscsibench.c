/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iscsibench.c - a light iSCSI initiator that measures targets: raw socket, commands of a window sent
 * with one system call, answers taken as they come, nothing copied that need not be.
 *
 * usage: iscsibench --target IQN [--lun N] [--host H] [--port P] [--op read|write|mixed|tur|fill] [--size BYTES]
 *                   [--depth N] [--seconds S | --count N] [--span MIB] [--sequential] [--sync N] [--sync-end]
 *                   [--write-cache on|off]
 *
 * Random offsets within the first MIB, multiples of the size; mixed is 70 % reads.  --sync N: a
 * SYNCHRONIZE CACHE behind every N-th write; --sync-end: one when all is written, and its time counts;
 * --write-cache: MODE SELECT it first, for as long as the target lives; fill writes the span once, in order.  One line of JSON on stdout; exit status 1 if the run could not be made.
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

#include "frontends/iscsi/iscsi_format.h"
#include "gateway/base/be.h"
#include "gateway/base/clock.h"
#include "tests/bench/latency.h"

#define MIB (1024u * 1024)
#define DEPTH_MAX 256u
#define BLOCK 512u
#define SYNC_TAG 0x00ff0000u /* SYNCHRONIZE CACHEs in flight, counted up from here */

struct slot {
	uint8_t bhs[ISCSI_BHS_LEN];
	uint32_t immediate; /* bytes of payload behind it */
	uint32_t len;
	uint64_t sent_ns;
	bool is_write;
};

struct bench {
	const char *host, *target, *op, *write_cache;
	unsigned int port, lun, depth, sync_every;
	bool is_sequential, has_sync_end;
	double seconds;
	uint64_t count, span_mib;
	uint32_t size;
	int fd;
	/* negotiated */
	uint32_t peer_segment, first_burst;
	bool has_immediate;
	uint32_t cmd_sn, max_cmd_sn, exp_stat_sn;
	struct slot slots[DEPTH_MAX];
	unsigned int ready[DEPTH_MAX], nready, nsyncs_ready;
	uint64_t nflying, nsyncs_flying, nsyncs;
	uint8_t *rx;
	size_t rx_cap, rx_start, rx_len;
	uint64_t issued, completed, errors, bytes, writes, next_off, rnd, stop_ns;
	bool is_stopped;
	uint32_t first_error;
	struct latency latency;
};

static uint8_t payload[4 * MIB];

static void
die(const char *what)
{
	fprintf(stderr, "iscsibench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t
data_len(const uint8_t *h)
{
	return (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
}

static void
put_data_len(uint8_t *h, uint32_t n)
{
	h[5] = (uint8_t)(n >> 16);
	h[6] = (uint8_t)(n >> 8);
	h[7] = (uint8_t)n;
}

/* --- the socket ----------------------------------------------------------------------------------- */

static void
send_iov(struct bench *b, struct iovec *iov, unsigned int n)
{
	unsigned int at = 0;

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
receive_all(struct bench *b, void *to, size_t len)
{
	uint8_t *p = to;

	while (len > 0) {
		ssize_t n = recv(b->fd, p, len, 0);

		if (n <= 0)
			die("receive");
		p += n;
		len -= (size_t)n;
	}
}

static void
dial(struct bench *b)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b->port)};
	int yes = 1;

	if (inet_pton(AF_INET, b->host, &to.sin_addr) != 1)
		die("host");
	b->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (b->fd < 0 || connect(b->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

/* --- login ---------------------------------------------------------------------------------------- */

static const char *
key_of(const char *text, size_t len, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p < text + len; p += strlen(p) + 1) {
		if (strncmp(p, key, n) == 0 && p[n] == '=')
			return p + n + 1;
	}
	return NULL;
}

/* One request and its answer. result: its length; the text is NUL-terminated */
static uint32_t
exchange_login(
    struct bench *b, uint8_t flags, const char *text, uint32_t len, char *answer, bool *is_done)
{
	uint8_t h[ISCSI_BHS_LEN] = {ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE, flags};
	struct iovec iov[3] = {{h, sizeof(h)}, {(void *)(uintptr_t)text, len}, {payload, -len & 3}};
	uint32_t n;

	put_data_len(h, len);
	memcpy(h + 8, "\x80\0\0\1\0\7", 6);
	be_store_u32(h + 24, b->cmd_sn);
	be_store_u32(h + 28, b->exp_stat_sn);
	memset(payload, 0, 4);
	send_iov(b, iov, 3);
	receive_all(b, h, sizeof(h));
	n = data_len(h);
	if (h[0] != ISCSI_LOGIN_RESPONSE || n > 8192)
		die("login answer");
	receive_all(b, answer, (n + 3) & ~3u);
	answer[n] = '\0';
	if (h[36] != 0 || h[37] != 0) {
		fprintf(stderr, "iscsibench: login status %02x%02x\n", h[36], h[37]);
		exit(1);
	}
	b->exp_stat_sn = get32(h + 24) + 1;
	b->max_cmd_sn = get32(h + 32);
	*is_done = (h[1] & 0x83) == 0x83;
	return n;
}

static void
note_answer(struct bench *b, const char *answer, uint32_t n)
{
	const char *v = key_of(answer, n, "MaxRecvDataSegmentLength");

	if (v != NULL)
		b->peer_segment = (uint32_t)atoi(v);
	v = key_of(answer, n, "FirstBurstLength");
	if (v != NULL)
		b->first_burst = (uint32_t)atoi(v);
	v = key_of(answer, n, "ImmediateData");
	if (v != NULL)
		b->has_immediate = strcmp(v, "Yes") == 0;
}

static void
log_in(struct bench *b)
{
	static const char keys[] =
	    "HeaderDigest=None\0DataDigest=None\0InitialR2T=No\0ImmediateData=Yes\0"
	    "MaxRecvDataSegmentLength=262144\0MaxBurstLength=1048576\0FirstBurstLength=262144\0"
	    "MaxOutstandingR2T=8\0MaxConnections=1\0ErrorRecoveryLevel=0\0DefaultTime2Wait=2\0"
	    "DefaultTime2Retain=0\0DataPDUInOrder=Yes\0DataSequenceInOrder=Yes";
	char text[1024], answer[8200];
	bool is_done;
	uint32_t n;
	int len = snprintf(text, sizeof(text),
	    "InitiatorName=iqn.2016-04.test:bench%cTargetName=%s%cSessionType=Normal%cAuthMethod="
	    "None",
	    0, b->target, 0, 0);

	b->cmd_sn = 1;
	b->peer_segment = 8192;
	b->first_burst = 65536;
	b->has_immediate = true;
	exchange_login(b, 0x81, text, (uint32_t)len + 1, answer, &is_done);
	n = exchange_login(b, 0x87, keys, sizeof(keys), answer, &is_done);
	note_answer(b, answer, n);
	while (!is_done) { /* the target has something to add */
		n = exchange_login(b, 0x87, "", 0, answer, &is_done);
		note_answer(b, answer, n);
	}
}

/* --- commands ------------------------------------------------------------------------------------- */

static void
build(struct bench *b, unsigned int i)
{
	struct slot *s = &b->slots[i];
	uint64_t blocks = b->span_mib * MIB / b->size, off;
	uint8_t *h = s->bhs;

	memset(h, 0, ISCSI_BHS_LEN);
	h[0] = ISCSI_SCSI_COMMAND;
	h[1] = 0x81;
	h[9] = (uint8_t)b->lun;
	be_store_u32(h + 16, i);
	s->immediate = s->len = 0;
	if (strcmp(b->op, "tur") == 0)
		return;
	off = (b->is_sequential ? b->next_off++ % blocks : xorshift(&b->rnd) % blocks) * b->size;
	s->is_write =
	    b->op[0] == 'w' || b->op[0] == 'f' || (b->op[0] == 'm' && xorshift(&b->rnd) % 10 >= 7);
	s->len = b->size;
	h[1] |= s->is_write ? ISCSI_CMD_WRITE : ISCSI_CMD_READ;
	be_store_u32(h + 20, b->size);
	h[32] = s->is_write ? 0x2a : 0x28;
	be_store_u32(h + 34, (uint32_t)(off / BLOCK));
	h[39] = (uint8_t)(b->size / BLOCK >> 8);
	h[40] = (uint8_t)(b->size / BLOCK);
	if (s->is_write && b->has_immediate) {
		s->immediate = b->size < b->first_burst ? b->size : b->first_burst;
		if (s->immediate > b->peer_segment)
			s->immediate = b->peer_segment;
		put_data_len(h, s->immediate);
	}
}

static void
issue(struct bench *b, unsigned int i)
{
	if (b->is_stopped || (b->count > 0 && b->issued >= b->count))
		return;
	build(b, i);
	b->issued++;
	b->ready[b->nready++] = i;
	if (b->slots[i].is_write && b->sync_every > 0 && ++b->writes % b->sync_every == 0)
		b->nsyncs_ready++;
}

static void
build_sync(struct bench *b, uint8_t *h)
{
	memset(h, 0, ISCSI_BHS_LEN);
	h[0] = ISCSI_SCSI_COMMAND;
	h[1] = 0x81;
	h[9] = (uint8_t)b->lun;
	be_store_u32(h + 16, SYNC_TAG + (uint32_t)(b->nsyncs++ & 0xffff));
	h[32] = 0x35;
}

static void
stamp(struct bench *b, uint8_t *h)
{
	be_store_u32(h + 24, b->cmd_sn++);
	be_store_u32(h + 28, b->exp_stat_sn);
}

/* room - commands that the target's window has place for. RFC 7143 4.2.2.1 */
static unsigned int
room(const struct bench *b)
{
	int32_t n = (int32_t)(b->max_cmd_sn - b->cmd_sn) + 1;

	return n < 0 ? 0 : (unsigned int)n;
}

static void
send_ready(struct bench *b)
{
	struct iovec iov[2 * DEPTH_MAX + 8];
	uint8_t syncs[8][ISCSI_BHS_LEN];
	unsigned int n = 0, taken = 0, nsyncs = 0;
	uint64_t now = clock_mono_ns();

	for (; taken < b->nready && room(b) > 0; taken++) {
		struct slot *s = &b->slots[b->ready[taken]];

		s->sent_ns = now;
		stamp(b, s->bhs);
		iov[n++] = (struct iovec){s->bhs, ISCSI_BHS_LEN};
		if (s->immediate > 0)
			iov[n++] = (struct iovec){payload, s->immediate};
	}
	for (; nsyncs < b->nsyncs_ready && nsyncs < 8 && room(b) > 0; nsyncs++) {
		build_sync(b, syncs[nsyncs]);
		stamp(b, syncs[nsyncs]);
		iov[n++] = (struct iovec){syncs[nsyncs], ISCSI_BHS_LEN};
	}
	b->nflying += taken;
	b->nsyncs_flying += nsyncs;
	b->nready -= taken;
	b->nsyncs_ready -= nsyncs;
	memmove(b->ready, b->ready + taken, b->nready * sizeof(b->ready[0]));
	send_iov(b, iov, n);
}

/* --- answers -------------------------------------------------------------------------------------- */

static void
send_data(struct bench *b, const uint8_t *r2t)
{
	uint32_t off = get32(r2t + 40), len = get32(r2t + 44), sn = 0;
	uint8_t h[64][ISCSI_BHS_LEN];
	struct iovec iov[128];
	unsigned int n = 0;

	for (uint32_t at = 0; at < len; sn++) {
		uint32_t piece = len - at < b->peer_segment ? len - at : b->peer_segment;
		uint8_t *d = h[n / 2];

		memset(d, 0, ISCSI_BHS_LEN);
		d[0] = ISCSI_DATA_OUT;
		d[1] = at + piece == len ? ISCSI_FINAL : 0;
		put_data_len(d, piece);
		memcpy(d + 16, r2t + 16, 8); /* both tags */
		be_store_u32(d + 28, b->exp_stat_sn);
		be_store_u32(d + 36, sn);
		be_store_u32(d + 40, off + at);
		iov[n++] = (struct iovec){d, ISCSI_BHS_LEN};
		iov[n++] = (struct iovec){payload + (off + at) % MIB, piece};
		at += piece;
		if (n == 128) {
			send_iov(b, iov, n);
			n = 0;
		}
	}
	send_iov(b, iov, n);
}

static void
take_status(struct bench *b, const uint8_t *h, uint64_t now)
{
	uint32_t itt = get32(h + 16);
	struct slot *s;

	b->exp_stat_sn = get32(h + 24) + 1;
	if (h[3] != 0) {
		b->errors++;
		if (b->first_error == 0)
			b->first_error = h[3];
	}
	if (itt >= SYNC_TAG) {
		b->nsyncs_flying--;
		return;
	}
	if (itt >= DEPTH_MAX)
		die("tag of nothing");
	s = &b->slots[itt];
	b->nflying--;
	b->completed++;
	b->bytes += h[3] == 0 ? s->len : 0;
	latency_note(&b->latency, now - s->sent_ns);
	issue(b, itt);
}

static void
take_pdu(struct bench *b, const uint8_t *h, uint64_t now)
{
	if ((int32_t)(get32(h + 32) - b->max_cmd_sn) > 0)
		b->max_cmd_sn = get32(h + 32);
	switch (h[0]) {
	case ISCSI_DATA_IN:
		if (h[1] & ISCSI_DATA_IN_STATUS)
			take_status(b, h, now);
		break;
	case ISCSI_SCSI_RESPONSE:
		take_status(b, h, now);
		break;
	case ISCSI_R2T:
		send_data(b, h);
		break;
	case ISCSI_NOP_IN:
		break;
	default:
		fprintf(stderr, "iscsibench: unexpected PDU %02x\n", h[0]);
		exit(1);
	}
}

/* Receive once and take every PDU whose data has come. */
static void
receive(struct bench *b)
{
	ssize_t n;
	uint64_t now;

	if (b->rx_cap - b->rx_len < MIB && b->rx_start > 0) {
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
	while (b->rx_len - b->rx_start >= ISCSI_BHS_LEN) {
		const uint8_t *h = b->rx + b->rx_start;
		size_t len = ISCSI_BHS_LEN + h[4] * 4u + ((data_len(h) + 3) & ~3u);

		if (b->rx_len - b->rx_start < len)
			break;
		b->rx_start += len;
		take_pdu(b, h, now);
	}
	if (b->rx_start == b->rx_len)
		b->rx_start = b->rx_len = 0;
}

static void
pump(struct bench *b)
{
	while (b->nready > 0 || b->nsyncs_ready > 0 || b->nflying > 0 || b->nsyncs_flying > 0) {
		if (b->nready > 0 || b->nsyncs_ready > 0)
			send_ready(b);
		receive(b);
	}
}

static double
run(struct bench *b)
{
	uint64_t start = clock_mono_ns();

	b->stop_ns = b->count > 0 ? 0 : start + (uint64_t)(b->seconds * 1e9);
	for (unsigned int i = 0; i < b->depth; i++)
		issue(b, i);
	pump(b);
	if (b->has_sync_end) {
		b->nsyncs_ready = 1;
		pump(b);
	}
	return (double)(clock_mono_ns() - start) / 1e9;
}

/* The unit attentions that a new session is owed. */
static void
settle(struct bench *b)
{
	const char *op = b->op;
	uint64_t count = b->count;

	b->op = "tur";
	b->count = 8;
	b->stop_ns = 0;
	issue(b, 0);
	pump(b);
	b->op = op;
	b->count = count;
	b->issued = b->completed = b->errors = 0;
	b->first_error = 0;
	memset(&b->latency, 0, sizeof(b->latency));
}

/* set_write_cache - WCE of the caching page, by MODE SELECT(10). */
static void
set_write_cache(struct bench *b)
{
	uint8_t list[28] = {[8] = 0x08, [9] = 18}, h[ISCSI_BHS_LEN] = {ISCSI_SCSI_COMMAND};
	struct iovec iov[2] = {{h, sizeof(h)}, {list, sizeof(list)}};

	list[10] = strcmp(b->write_cache, "on") == 0 ? 0x04 : 0;
	h[1] = 0x81 | ISCSI_CMD_WRITE;
	h[9] = (uint8_t)b->lun;
	put_data_len(h, sizeof(list));
	be_store_u32(h + 20, sizeof(list));
	h[32] = 0x55;
	h[33] = 0x10; /* PF */
	h[40] = sizeof(list);
	stamp(b, h);
	send_iov(b, iov, 2);
	receive_all(b, h, sizeof(h));
	if (h[0] != ISCSI_SCSI_RESPONSE || h[3] != 0 || data_len(h) != 0)
		die("MODE SELECT");
	b->exp_stat_sn = get32(h + 24) + 1;
}

static void
print_result(const struct bench *b, double s)
{
	printf("{\"op\":\"%s\",\"size\":%u,\"depth\":%u,\"count\":%llu,\"seconds\":%.3f,"
	       "\"ops_per_s\":%.0f,\"mb_per_s\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
	       "\"errors\":%llu,\"first_error\":%u}\n",
	    b->op, b->size, b->depth, (unsigned long long)b->completed, s, (double)b->completed / s,
	    (double)b->bytes / s / 1e6, latency_us(&b->latency, 0.5), latency_us(&b->latency, 0.99),
	    (unsigned long long)b->errors, b->first_error);
}

static void
parse(struct bench *b, int argc, char **argv)
{
	static const struct option options[] = {{"host", 1, NULL, 'h'}, {"port", 1, NULL, 'p'},
	    {"target", 1, NULL, 't'}, {"lun", 1, NULL, 'l'}, {"op", 1, NULL, 'o'},
	    {"size", 1, NULL, 'z'}, {"depth", 1, NULL, 'd'}, {"seconds", 1, NULL, 's'},
	    {"count", 1, NULL, 'c'}, {"span", 1, NULL, 'S'}, {"sequential", 0, NULL, 'q'},
	    {"sync", 1, NULL, 'y'}, {"sync-end", 0, NULL, 'e'}, {"write-cache", 1, NULL, 'w'},
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
		case 't':
			b->target = optarg;
			break;
		case 'l':
			b->lun = (unsigned int)atoi(optarg);
			break;
		case 'o':
			b->op = optarg;
			break;
		case 'z':
			b->size = (uint32_t)atoi(optarg);
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
			b->span_mib = strtoull(optarg, NULL, 10);
			break;
		case 'q':
			b->is_sequential = true;
			break;
		case 'y':
			b->sync_every = (unsigned int)atoi(optarg);
			break;
		case 'e':
			b->has_sync_end = true;
			break;
		case 'w':
			b->write_cache = optarg;
			break;
		default:
			exit(2);
		}
	}
	if (b->target == NULL || b->depth < 1 || b->depth > DEPTH_MAX || b->size % BLOCK != 0 ||
	    b->size < BLOCK || b->size > MIB || b->span_mib < 1) {
		fprintf(stderr,
		    "iscsibench: --target, depth 1..%u, size a multiple of 512 up to 1 MiB\n",
		    DEPTH_MAX);
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	static struct bench b = {.host = "127.0.0.1",
	    .op = "read",
	    .port = ISCSI_PORT,
	    .depth = 32,
	    .seconds = 1,
	    .size = 4096,
	    .span_mib = 256};

	parse(&b, argc, argv);
	b.rnd = clock_mono_ns() | 1;
	b.rx_cap = 4 * MIB;
	b.rx = malloc(b.rx_cap);
	dial(&b);
	log_in(&b);
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(xorshift(&b.rnd) >> 11);
	settle(&b);
	if (b.write_cache != NULL)
		set_write_cache(&b);
	if (strcmp(b.op, "fill") == 0) {
		b.is_sequential = b.has_sync_end = true;
		b.size = MIB;
		b.count = b.span_mib;
	}
	print_result(&b, run(&b));
	close(b.fd);
	free(b.rx);
	return b.errors > 0 && b.completed == b.errors ? 1 : 0;
}
