/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c - counters behind one mutex: a request costs far more than it. */
#include "s3/server/stats.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"
#include "s3/server/req.h"

struct counter {
	uint64_t requests, errors_4xx, errors_5xx, faults, bytes_in, bytes_out;
};

struct stats {
	pthread_mutex_t lock;
	struct counter ops[OP_MAX];
	uint64_t connections;
};

struct stats *
stats_new(void)
{
	struct stats *s = xcalloc(1, sizeof *s);

	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void
stats_free(struct stats *s)
{
	if (s == NULL)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void
stats_count(
    struct stats *s, int op, int status, bool by_fault, uint64_t bytes_in, uint64_t bytes_out)
{
	struct counter *c = &s->ops[op > 0 && op < OP_MAX ? op : 0];

	pthread_mutex_lock(&s->lock);
	c->requests++;
	c->errors_4xx += status >= 400 && status < 500;
	c->errors_5xx += status >= 500;
	c->faults += by_fault;
	c->bytes_in += bytes_in;
	c->bytes_out += bytes_out;
	pthread_mutex_unlock(&s->lock);
}

void
stats_connection(struct stats *s)
{
	pthread_mutex_lock(&s->lock);
	s->connections++;
	pthread_mutex_unlock(&s->lock);
}

void
stats_reset(struct stats *s)
{
	pthread_mutex_lock(&s->lock);
	memset(s->ops, 0, sizeof s->ops);
	s->connections = 0;
	pthread_mutex_unlock(&s->lock);
}

static json_t *
counter_json(const struct counter *c)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "requests", (json_int_t)c->requests,
	    "errors_4xx", (json_int_t)c->errors_4xx, "errors_5xx", (json_int_t)c->errors_5xx,
	    "faults", (json_int_t)c->faults, "bytes_in", (json_int_t)c->bytes_in, "bytes_out",
	    (json_int_t)c->bytes_out);
}

char *
stats_json(struct stats *s)
{
	json_t *top = json_object(), *ops = json_object();
	struct counter all = {0};
	char *text;
	int i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < OP_MAX; i++) {
		const struct counter *c = &s->ops[i];

		if (c->requests == 0)
			continue;
		json_object_set_new(ops, op_name((enum s3d_op)i), counter_json(c));
		all.requests += c->requests;
		all.errors_4xx += c->errors_4xx;
		all.errors_5xx += c->errors_5xx;
		all.faults += c->faults;
		all.bytes_in += c->bytes_in;
		all.bytes_out += c->bytes_out;
	}
	json_object_set_new(top, "connections", json_integer((json_int_t)s->connections));
	pthread_mutex_unlock(&s->lock);
	json_object_set_new(top, "all", counter_json(&all));
	json_object_set_new(top, "ops", ops);
	text = json_dumps(top, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(top);
	return text;
}
