/* SPDX-License-Identifier: Apache-2.0 */
/*
 * datain.c - data of READs, cut into Data-In PDUs.
 *
 * The place of one PDU is header, data, padding and digest in a row, so that answers of a wake-up are
 * one stretch of memory.  That of several is all headers, then all paddings and digests, then the data
 * in one piece as the task wants it:
 *
 *     | h0 h1 h2 ... | t0 t1 t2 ... | data |        sent: h0 d0 t0 h1 d1 t1 ...
 */
#include <string.h>
#include <sys/socket.h>

#include "frontends/iscsi/cmd.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"

#define HEAD_MAX (ISCSI_BHS_LEN + ISCSI_DIGEST_LEN)
#define TAIL_MAX 8u /* padding and digest */
#define STREAM_TX_IOVS 64

struct cut { /* one Data-In PDU */
	uint32_t off, len;
	bool ends_sequence;
};

/* 13.13: a sequence has at most MaxBurstLength */
static struct cut
cut_at(const struct iscsi_cmd *cmd, uint32_t off, uint32_t total)
{
	uint32_t burst = cmd->session->params.max_burst;
	uint32_t len = burst - off % burst;

	len = len < total - off ? len : total - off;
	if (len > cmd->segment)
		return (struct cut){off, cmd->segment, false};
	return (struct cut){off, len, true};
}

static uint32_t
count_cuts(const struct iscsi_cmd *cmd, uint32_t total)
{
	uint32_t burst = cmd->session->params.max_burst, segment = cmd->segment;
	uint32_t rest = total % burst;

	return total / burst * ((burst + segment - 1) / segment) + (rest + segment - 1) / segment;
}

void
iscsi_datain_reserve(struct iscsi_cmd *cmd, uint32_t cap)
{
	struct iscsi_conn *c = cmd->session->conn;
	uint32_t lead;

	cmd->segment = c->peer_segment;
	cmd->npdus = count_cuts(cmd, cap);
	lead = cmd->npdus == 1 ? ISCSI_BHS_LEN + (c->has_header_digest ? ISCSI_DIGEST_LEN : 0)
			       : cmd->npdus * (HEAD_MAX + TAIL_MAX);
	cmd->region_len = lead + cap + TAIL_MAX;
	cmd->region_off = iscsi_tx_reserve(c, cmd->region_len, &cmd->region);
	c->reserved_bytes += cmd->region_len;
	cmd->task.in = cmd->region->data + cmd->region_off + lead;
	cmd->task.in_cap = cap;
}

void
iscsi_datain_trim(struct iscsi_cmd *cmd)
{
	struct stream_buf *b = cmd->region;

	if (b == NULL)
		return;
	if (cmd->session->conn != NULL)
		cmd->session->conn->reserved_bytes -= cmd->region_len;
	stream_buf_put(&cmd->session->worker->stream.pool, b);
	cmd->region = NULL;
}

struct piece { /* where the parts of a PDU lie that are not data */
	uint8_t *head, *tail;
	uint32_t head_len, tail_len;
};

static struct piece
place(const struct iscsi_cmd *cmd, uint32_t i, struct cut cut)
{
	const struct iscsi_conn *c = cmd->session->conn;
	uint8_t *base = cmd->region->data + cmd->region_off;
	struct piece p = {.head = base,
	    .head_len = ISCSI_BHS_LEN + (c->has_header_digest ? ISCSI_DIGEST_LEN : 0),
	    .tail = (uint8_t *)cmd->task.in + cut.len,
	    .tail_len =
		iscsi_padded(cut.len) - cut.len + (c->has_data_digest ? ISCSI_DIGEST_LEN : 0)};

	if (cmd->npdus > 1) {
		p.head = base + i * HEAD_MAX;
		p.tail = base + cmd->npdus * HEAD_MAX + i * TAIL_MAX;
	}
	return p;
}

static void
fill(struct iscsi_cmd *cmd, uint32_t i, struct cut cut, bool has_status, const struct piece *p)
{
	struct iscsi_conn *c = cmd->session->conn;
	const uint8_t *data = (uint8_t *)cmd->task.in + cut.off;
	struct iscsi_data_in d = {.itt = cmd->itt,
	    .data_sn = i,
	    .offset = cut.off,
	    .data_len = cut.len,
	    .is_final = cut.ends_sequence,
	    .has_status = has_status,
	    .status = (uint8_t)cmd->task.status};
	struct iscsi_sn sn = iscsi_conn_sn(c, has_status);
	uint32_t pad = iscsi_padded(cut.len) - cut.len;

	if (has_status)
		d.residual_flags = iscsi_cmd_residual(cmd, &d.residual);
	iscsi_put_data_in(p->head, &d, &sn);
	if (c->has_header_digest)
		iscsi_tx_digest(p->head + ISCSI_BHS_LEN, digest_crc32c(0, p->head, ISCSI_BHS_LEN));
	memset(p->tail, 0, pad);
	if (c->has_data_digest)
		iscsi_tx_digest(
		    p->tail + pad, digest_crc32c(digest_crc32c(0, data, cut.len), p->tail, pad));
}

/* Queue what of a piece of the stream was not sent before. */
static void
queue_rest(struct iscsi_cmd *cmd, const uint8_t *p, uint32_t len, uint32_t *skip)
{
	uint32_t done = *skip < len ? *skip : len;

	*skip -= done;
	if (len > done)
		stream_conn_queue(&cmd->session->conn->stream, cmd->region,
		    (uint32_t)(p + done - cmd->region->data), len - done);
}

uint32_t
iscsi_datain_queue(struct iscsi_cmd *cmd, bool has_status)
{
	uint32_t total = cmd->task.in_len, skip = cmd->sent, i = 0;
	const uint8_t *data = cmd->task.in;
	struct cut cut;

	for (uint32_t off = 0; off < total; off += cut.len, i++) {
		struct piece p;

		cut = cut_at(cmd, off, total);
		p = place(cmd, i, cut);
		if (cmd->sent == 0)
			fill(cmd, i, cut, has_status && off + cut.len == total, &p);
		queue_rest(cmd, p.head, p.head_len, &skip);
		queue_rest(cmd, data + off, cut.len, &skip);
		queue_rest(cmd, p.tail, p.tail_len, &skip);
	}
	if (cmd->sent > 0)
		stream_conn_flush_later(
		    &cmd->session->conn->stream); /* there the buffer is given back */
	return i;
}

/* --- straight from where the volume has it ------------------------------------------------------- */

/* Move `want` bytes of `from` to the end of `to`. */
static unsigned int
take_iov(struct iovec *to, unsigned int nto, struct iovec **from, uint32_t want)
{
	while (want > 0) {
		size_t n = (*from)->iov_len < want ? (*from)->iov_len : want;

		to[nto++] = (struct iovec){(*from)->iov_base, n};
		(*from)->iov_base = (char *)(*from)->iov_base + n;
		(*from)->iov_len -= n;
		want -= (uint32_t)n;
		if ((*from)->iov_len == 0)
			(*from)++;
	}
	return nto;
}

/* Of the first `sent` bytes of the stream, how many are data? */
static uint32_t
data_of(const struct iscsi_cmd *cmd, uint32_t sent)
{
	uint32_t data = 0, total = cmd->task.in_len;
	struct cut cut;

	for (uint32_t off = 0, i = 0; off < total; off += cut.len, i++) {
		struct piece p;

		cut = cut_at(cmd, off, total);
		p = place(cmd, i, cut);
		if (sent <= p.head_len)
			break;
		sent -= p.head_len;
		data += sent < cut.len ? sent : cut.len;
		if (sent <= cut.len + p.tail_len)
			break;
		sent -= cut.len + p.tail_len;
	}
	return data;
}

uint32_t
iscsi_datain_send(struct scsi_task *t, struct iovec *iov, unsigned int n)
{
	struct iscsi_cmd *cmd = container_of(t, struct iscsi_cmd, task);
	struct iscsi_conn *c = cmd->session->conn;
	struct iovec all[STREAM_TX_IOVS];
	uint32_t i = 0;
	unsigned int nall = 0;
	struct cut cut;
	ssize_t sent;

	if (!stream_conn_has_sent(&c->stream) || 3 * cmd->npdus + n > STREAM_TX_IOVS)
		return 0;
	t->status = SCSI_GOOD;
	t->in_len = t->in_cap;
	t->in_full = t->want_in;
	for (uint32_t off = 0; off < t->in_len; off += cut.len, i++) {
		struct piece p;

		cut = cut_at(cmd, off, t->in_len);
		p = place(cmd, i, cut);
		fill(cmd, i, cut, off + cut.len == t->in_len, &p);
		all[nall++] = (struct iovec){p.head, p.head_len};
		nall = take_iov(all, nall, &iov, cut.len);
		if (p.tail_len > 0)
			all[nall++] = (struct iovec){p.tail, p.tail_len};
	}
	sent = stream_tx_now(&c->stream.tx, c->stream.fd.fd, all, nall);
	if (sent <= 0) {
		c->stat_sn--; /* not used after all */
		return 0;
	}
	cmd->sent = (uint32_t)sent;
	/* it does not happen: a socket that takes anything takes pages */
	if (data_of(cmd, cmd->sent) == 0)
		stream_conn_break(&c->stream);
	return data_of(cmd, cmd->sent);
}
