/* SPDX-License-Identifier: Apache-2.0 */
/* s3_script.h - an HTTP server that answers by a script, one step a request, and keeps what it was
 * sent. A thread per connection; everything ends with script_stop(). */
#ifndef TESTS_UNIT_S3_SCRIPT_H
#define TESTS_UNIT_S3_SCRIPT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

enum step_kind { REPLY, REPLY_AND_CLOSE, CLOSE, HANG };

struct step {
	enum step_kind kind;
	const char *text;     /* status line, headers, blank line, body */
	void (*before)(void); /* run before the answer */
};

#define SCRIPT_MAX 1024

struct script {
	int fd;
	char url[64];
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const struct step *steps;
	size_t nsteps, next; /* behind the last the last is repeated */
	char *requests[SCRIPT_MAX];
	size_t nrequests;
	int conns[SCRIPT_MAX];
	pthread_t threads[SCRIPT_MAX];
	size_t nconns;
	unsigned int active, most_active; /* requests being answered */
	bool stop;
};

struct script_conn {
	struct script *s;
	int fd;
};

/* script_read - one request, NULL at the end. */
static char *
script_read(int fd, struct strbuf *have)
{
	char buf[65536], *end = NULL;
	size_t body = 0, want;

	for (;;) {
		const char *length;
		ssize_t n;

		if (have->len > 0 && end == NULL)
			end = strstr(have->s, "\r\n\r\n");
		if (end != NULL) {
			length = strcasestr(have->s, "\r\ncontent-length:");
			body = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
			want = (size_t)(end - have->s) + 4 + body;
			if (have->len >= want) {
				char *request = xstrndup(have->s, want);

				memmove(have->s, have->s + want, have->len - want + 1);
				have->len -= want;
				return request;
			}
			end = NULL;
		}
		n = read(fd, buf, sizeof(buf));
		if (n <= 0)
			return NULL;
		strbuf_add(have, buf, (size_t)n);
	}
}

/* script_step - note the request, take its step. */
static const struct step *
script_step(struct script *s, char *request)
{
	const struct step *step;

	pthread_mutex_lock(&s->lock);
	CW_ASSERT(s->nrequests < SCRIPT_MAX);
	s->requests[s->nrequests++] = request;
	step = &s->steps[s->next];
	if (s->next + 1 < s->nsteps)
		s->next++;
	if (++s->active > s->most_active)
		s->most_active = s->active;
	pthread_cond_broadcast(&s->changed);
	while (step->kind == HANG && !s->stop)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return step;
}

static void *
script_conn(void *arg)
{
	struct script_conn *c = arg;
	struct strbuf have = STRBUF_INIT;
	bool more = true;
	char *request;

	while (more && (request = script_read(c->fd, &have)) != NULL) {
		const struct step *step = script_step(c->s, request);

		if (step->before != NULL)
			step->before();
		if (step->kind == REPLY || step->kind == REPLY_AND_CLOSE) {
			size_t len = strlen(step->text);

			more = send(c->fd, step->text, len, MSG_NOSIGNAL) == (ssize_t)len;
		}
		more = more && step->kind == REPLY;
		pthread_mutex_lock(&c->s->lock);
		c->s->active--;
		pthread_mutex_unlock(&c->s->lock);
	}
	shutdown(c->fd, SHUT_RDWR); /* closed by script_stop(), so that its number stays ours */
	strbuf_free(&have);
	free(c);
	return NULL;
}

static void *
script_accept(void *arg)
{
	struct script *s = arg;

	for (;;) {
		int fd = accept(s->fd, NULL, NULL);
		struct script_conn *c;

		if (fd < 0)
			return NULL;
		c = xcalloc(1, sizeof(*c));
		c->s = s;
		c->fd = fd;
		pthread_mutex_lock(&s->lock);
		CW_ASSERT(s->nconns < SCRIPT_MAX);
		s->conns[s->nconns] = fd;
		pthread_create(&s->threads[s->nconns++], NULL, script_conn, c);
		pthread_mutex_unlock(&s->lock);
	}
}

static struct script *
script_start(const struct step *steps, size_t nsteps)
{
	struct sockaddr_in addr = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct script *s = xcalloc(1, sizeof(*s));
	socklen_t len = sizeof(addr);

	s->steps = steps;
	s->nsteps = nsteps;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CW_ASSERT(bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
		  listen(s->fd, 128) == 0 &&
		  getsockname(s->fd, (struct sockaddr *)&addr, &len) == 0);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", ntohs(addr.sin_port));
	pthread_create(&s->thread, NULL, script_accept, s);
	return s;
}

/* script_wait - until n requests have come. */
static inline void
script_wait(struct script *s, size_t n)
{
	pthread_mutex_lock(&s->lock);
	while (s->nrequests < n)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void
script_stop(struct script *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (size_t i = 0; i < s->nconns; i++)
		shutdown(s->conns[i], SHUT_RDWR);
	for (size_t i = 0; i < s->nconns; i++) {
		pthread_join(s->threads[i], NULL);
		close(s->conns[i]);
	}
	for (size_t i = 0; i < s->nrequests; i++)
		free(s->requests[i]);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

#endif
