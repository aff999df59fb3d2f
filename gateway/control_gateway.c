/* SPDX-License-Identifier: Apache-2.0 */
/* control_gateway.c - activated gateways: rows under "gateway". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/digest.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_int.h"

struct list *
control_gateways(struct control *c)
{
	return &c->gateways;
}

struct control_gateway *
control_gateway_by_arn(struct control *c, const char *arn, struct control_error *e)
{
	struct list *l;

	list_for_each(l, &c->gateways)
	{
		struct control_gateway *g = container_of(l, struct control_gateway, link);

		if (strcmp(g->arn, arn) == 0)
			return g;
	}
	control_fail(e, "GatewayNotFound", "The specified gateway was not found.");
	return NULL;
}

static void
set_row(struct control_gateway *g, json_t *row)
{
	json_decref(g->row);
	g->row = row;
	g->id = controli_row_string(row, "GatewayId");
	g->arn = controli_row_string(row, "GatewayARN");
}

static void
add(struct control *c, json_t *row)
{
	struct control_gateway *g = xcalloc(1, sizeof(*g));

	set_row(g, row);
	list_add_tail(&c->gateways, &g->link);
}

int
control_gateway_put(struct control *c, struct control_gateway *g, json_t *row)
{
	int r = state_put(c->state, "gateway", controli_row_string(row, "GatewayId"), row);

	if (r < 0) {
		json_decref(row);
		return r;
	}
	if (g != NULL)
		set_row(g, row);
	else
		add(c, row);
	return 0;
}

int
control_gateway_del(struct control *c, struct control_gateway *g)
{
	int r = control_disk_release(c, g->id);

	if (r == 0)
		r = state_put(c->state, "gateway", g->id, NULL);
	if (r < 0)
		return r;
	list_del(&g->link);
	json_decref(g->row);
	free(g);
	return 0;
}

static int
load_one(void *arg, const char *key, const json_t *row)
{
	(void)key;
	add(arg, json_deep_copy(row));
	return 0;
}

int
controli_gateways_load(struct control *c)
{
	return state_each(c->state, "gateway", load_one, c);
}

static bool
id_is_taken(struct control *c, const char *id)
{
	struct list *l;

	list_for_each(l, &c->gateways)
	{
		if (strcmp(container_of(l, struct control_gateway, link)->id, id) == 0)
			return true;
	}
	return controli_share_by_id(c, id) != NULL;
}

void
control_new_id(struct control *c, const char *prefix, char out[24])
{
	uint8_t b[4];

	do {
		random_bytes(b, sizeof(b));
		snprintf(out, 24, "%s%02X%02X%02X%02X", prefix, b[0], b[1], b[2], b[3]);
	} while (id_is_taken(c, out));
}

const char *
control_partition(const char *region)
{
	if (strncmp(region, "cn-", 3) == 0)
		return "aws-cn";
	if (strncmp(region, "us-gov-", 7) == 0)
		return "aws-us-gov";
	return "aws";
}
