/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c - /-/faults, /-/refuse and /-/stats: for tests, only with --admin, only from loopback. */
#include <stdlib.h>
#include <string.h>

#include "s3/server/listener.h"
#include "s3/server/req.h"
#include "s3/server/stats.h"

static void
json_reply(struct s3d_req *rq, char *text)
{
	rq->reply.content_type = "application/json";
	strbuf_adds(&rq->reply.body, text != NULL ? text : "{}");
	strbuf_addc(&rq->reply.body, '\n');
	free(text);
}

static enum s3e
run_faults(struct s3d_req *rq)
{
	const char *json = strcmp(rq->method, "DELETE") == 0 ? "{}" : strbuf_str(&rq->body.mem);
	char err_text[256];

	if (strcmp(rq->method, "GET") == 0) {
		json_reply(rq, faults_get(rq->srv->faults));
		return S3E_OK;
	}
	if (faults_set(rq->srv->faults, json, err_text, sizeof err_text) != 0) {
		rq->reply.status = 400;
		rq->reply.content_type = "text/plain";
		strbuf_addf(&rq->reply.body, "%s\n", err_text);
		return S3E_OK;
	}
	json_reply(rq, faults_get(rq->srv->faults));
	return S3E_OK;
}

enum s3e
admin_run(struct s3d_req *rq)
{
	unsigned int ms;

	if (strcmp(rq->raw_path, "/-/faults") == 0)
		return run_faults(rq);
	if (strcmp(rq->raw_path, "/-/stats") == 0) {
		if (strcmp(rq->method, "DELETE") == 0)
			stats_reset(rq->srv->stats);
		json_reply(rq, stats_json(rq->srv->stats));
		return S3E_OK;
	}
	if (strcmp(rq->raw_path, "/-/refuse") == 0 && strcmp(rq->method, "POST") == 0) {
		if (req_param_uint(rq, "ms", 1000, 3600000, &ms) != 0)
			return S3E_InvalidArgument;
		listener_refuse(rq->srv->listener, ms);
		json_reply(rq, NULL);
		return S3E_OK;
	}
	return S3E_MethodNotAllowed;
}
