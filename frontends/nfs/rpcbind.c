/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/rpcbind.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontends/nfs/rpc_msg.h"
#include "gateway/base/clock.h"
#include "gateway/base/strbuf.h"

#define PMAP_PORT 111
#define PMAP_PROGRAM 100000u
#define PMAP_VERSION 2u
#define PMAPPROC_SET 1u
#define PMAPPROC_UNSET 2u
#define TRIES 3
#define TRY_MS 300
/* above the ports of well-known services, below the unprivileged ones */
#define RESERVED_LOW 600
#define RESERVED_HIGH 1023

struct rpcbind {
	int fd;
	uint32_t xid;
};

int
rpcbind_open(struct rpcbind **out)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons(PMAP_PORT),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct rpcbind *r;
	int fd, err = -EADDRINUSE;

	*out = NULL;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	for (int port = RESERVED_HIGH; port >= RESERVED_LOW && err == -EADDRINUSE; port--) {
		struct sockaddr_in from = {.sin_family = AF_INET,
		    .sin_port = htons((uint16_t)port),
		    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

		err = bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ? -errno : 0;
	}
	if (err == 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err = -errno;
	if (err < 0) {
		close(fd);
		return err;
	}
	r = xcalloc(1, sizeof(*r));
	r->fd = fd;
	r->xid = (uint32_t)clock_mono_ns();
	*out = r;
	return 0;
}

void
rpcbind_free(struct rpcbind *r)
{
	if (r == NULL)
		return;
	close(r->fd);
	free(r);
}

size_t
rpcbind_encode(uint8_t *out, size_t cap, uint32_t xid, uint32_t proc, uint32_t program,
    uint32_t version, uint16_t port)
{
	const uint32_t words[] = {xid, RPC_CALL, RPC_VERSION, PMAP_PROGRAM, PMAP_VERSION, proc,
	    RPC_AUTH_NONE, 0, RPC_AUTH_NONE, 0, program, version, IPPROTO_TCP, port};
	struct be_writer w;

	be_writer_init(&w, out, cap);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		be_put_u32(&w, words[i]);
	return w.bad ? 0 : be_written(&w);
}

int
rpcbind_decode_reply(const uint8_t *data, size_t len, uint32_t xid)
{
	struct be_reader r;
	bool is_ours;
	uint32_t value;

	be_reader_init(&r, data, len);
	is_ours = be_u32(&r) == xid;
	is_ours = be_u32(&r) == RPC_REPLY && is_ours;
	is_ours = be_u32(&r) == 0 && is_ours; /* accepted */
	be_u32(&r);			      /* verifier */
	rpc_get_opaque(&r, RPC_AUTH_BODY_MAX);
	is_ours = be_u32(&r) == RPC_SUCCESS && is_ours;
	value = be_u32(&r);
	if (r.bad || !is_ours)
		return -EBADMSG;
	return value != 0;
}

static int
ask(struct rpcbind *r, uint32_t proc, uint32_t program, uint32_t version, uint16_t port)
{
	uint8_t msg[128], answer[512];
	uint32_t xid = ++r->xid;
	size_t len = rpcbind_encode(msg, sizeof(msg), xid, proc, program, version, port);

	for (int i = 0; i < TRIES; i++) {
		struct pollfd p = {.fd = r->fd, .events = POLLIN};
		ssize_t n;

		if (send(r->fd, msg, len, MSG_NOSIGNAL) < 0)
			return -errno;
		if (poll(&p, 1, TRY_MS) <= 0)
			continue;
		n = recv(r->fd, answer, sizeof(answer), MSG_DONTWAIT);
		if (n < 0)
			return -errno; /* ECONNREFUSED: none runs */
		n = rpcbind_decode_reply(answer, (size_t)n, xid);
		if (n >= 0)
			return (int)n;
		/* a late answer to an earlier question: ask again */
	}
	return -ETIMEDOUT;
}

int
rpcbind_unset(struct rpcbind *r, uint32_t program, uint32_t version)
{
	int n = ask(r, PMAPPROC_UNSET, program, version, 0);

	return n < 0 ? n : 0; /* false: there was nothing to take back */
}

int
rpcbind_set(struct rpcbind *r, uint32_t program, uint32_t version, uint16_t port)
{
	int n = rpcbind_unset(r, program, version);

	if (n == 0)
		n = ask(r, PMAPPROC_SET, program, version, port);
	if (n < 0)
		return n;
	return n > 0 ? 0 : -EPERM;
}
