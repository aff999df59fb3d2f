/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - start, stop and reload of the control plane; identity; errors. */
#include "gateway/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_volume_int.h"

int
control_fail(struct control_error *e, const char *code, const char *fmt, ...)
{
	va_list ap;

	e->type = "InvalidGatewayRequestException";
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int
control_fail_internal(struct control_error *e, int err, const char *what)
{
	e->type = "InternalServerError";
	e->code = "InternalError";
	snprintf(e->message, sizeof(e->message), "%s: %s", what, err_str(err));
	return err;
}

void
control_uuid(char out[CONTROL_UUID_LEN])
{
	uint8_t b[16];

	random_bytes(b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(out, CONTROL_UUID_LEN,
	    "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
	    b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
	    b[15]);
}

const char *
controli_row_string(const json_t *row, const char *name)
{
	const char *s = json_string_value(json_object_get(row, name));

	return s != NULL ? s : "";
}

/* The appliance's own id (it marks our uploads) is made once and kept. */
static int
load_identity(struct control *c)
{
	json_t *row = state_get(c->state, "appliance", "identity");
	const char *id = controli_row_string(row, "Id");
	int r = 0;

	c->next_space_id = (uint32_t)json_integer_value(json_object_get(row, "NextSpaceId"));
	if (c->next_space_id == 0)
		c->next_space_id = 1;
	if (strlen(id) == CONTROL_UUID_LEN - 1) {
		memcpy(c->appliance_id, id, CONTROL_UUID_LEN);
	} else {
		json_t *fresh;

		control_uuid(c->appliance_id);
		fresh = json_pack(
		    "{s:s,s:i}", "Id", c->appliance_id, "NextSpaceId", (int)c->next_space_id);
		r = state_put(c->state, "appliance", "identity", fresh);
		json_decref(fresh);
	}
	json_decref(row);
	return r;
}

/* A marker that stands while we run: found at a start, the stop before was none of ours. */
static int
mark_running(struct control *c)
{
	json_t *old = state_get(c->state, "appliance", "running");
	json_t *now = json_pack("{s:I}", "SinceNs", (json_int_t)clock_real_ns());
	int r;

	if (old != NULL) {
		log_warn("gateway.control", "recovered",
		    "text=\"recovered from an unclean stop; everything acknowledged as durable is "
		    "there\"");
		state_event(c->state, "unclean-stop-recovered",
		    json_pack("{s:O?}", "running-since-ns", json_object_get(old, "SinceNs")));
	}
	r = state_put(c->state, "appliance", "running", now);
	json_decref(old);
	json_decref(now);
	return r;
}

static void
destroy(struct control *c)
{
	struct list *l, *tmp;

	list_for_each_safe(l, tmp, &c->gateways)
	{
		struct control_gateway *g = container_of(l, struct control_gateway, link);

		json_decref(g->row);
		free(g);
	}
	controli_promises_free(c);
	state_close(c->state);
	json_decref(c->disks);
	pthread_cond_destroy(&c->clock_cond);
	pthread_mutex_destroy(&c->promises_lock);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int
control_open(const struct cw_config *conf, struct cache *cache, struct s3_client *s3,
    struct control **out, char *err_text, size_t err_cap)
{
	struct control *c = xcalloc(1, sizeof(*c));
	int r;

	*out = NULL;
	c->conf = conf;
	c->cache = cache;
	c->s3 = s3;
	c->started_ms = clock_mono_ms();
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->gateways);
	list_init(&c->shares);
	list_init(&c->volumes);
	list_init(&c->snapshots);
	list_init(&c->jobs);
	pthread_cond_init(&c->clock_cond, NULL);
	list_init(&c->promises);
	pthread_mutex_init(&c->promises_lock, NULL);
	r = state_open(cache, &c->state);
	if (r == 0)
		r = workq_new("control", 4, &c->workq);
	if (r == 0)
		r = load_identity(c);
	if (r == 0)
		r = mark_running(c);
	control_lock(c);
	if (r == 0)
		r = controli_gateways_load(c);
	if (r == 0)
		r = controli_disks_load(c);
	if (r == 0)
		r = controli_shares_load(c);
	if (r == 0)
		r = controli_snapshots_load(c);
	if (r == 0)
		r = controli_volumes_load(c);
	if (r == 0)
		r = controli_notify_load(c);
	control_unlock(c);
	if (r == 0)
		r = controli_clock_start(c);
	if (r < 0) {
		snprintf(err_text, err_cap, "cannot read or write the gateway's state in %s: %s",
		    conf->cache_index, err_str(r));
		controli_shares_close(c);
		controli_volumes_close(c);
		if (c->workq != NULL)
			workq_free(c->workq);
		destroy(c);
		return r;
	}
	*out = c;
	return 0;
}

void
control_close(struct control *c)
{
	if (c == NULL)
		return;
	control_lock(c);
	c->closing = true;
	control_unlock(c);
	controli_jobs_stop(c);
	controli_clock_stop(c);
	controli_shares_close(c);
	controli_volumes_close(c);
	workq_free(c->workq);
	if (state_put(c->state, "appliance", "running", NULL) < 0)
		log_warn("gateway.control", "stop-not-marked",
		    "next=\"the next start says unclean stop\"");
	destroy(c);
}

void
control_reload(struct control *c, const struct cw_config *conf)
{
	control_lock(c);
	c->conf = conf;
	controli_shares_reload(c);
	controli_volumes_reload(c);
	control_unlock(c);
}

void
control_lock(struct control *c)
{
	pthread_mutex_lock(&c->lock);
}

void
control_unlock(struct control *c)
{
	pthread_mutex_unlock(&c->lock);
}

const struct cw_config *
control_config(const struct control *c)
{
	return c->conf;
}

struct cache *
control_cache(struct control *c)
{
	return c->cache;
}

struct state *
control_state(struct control *c)
{
	return c->state;
}

const char *
control_appliance_id(const struct control *c)
{
	return c->appliance_id;
}

uint64_t
control_uptime_s(const struct control *c)
{
	return (clock_mono_ms() - c->started_ms) / 1000;
}
