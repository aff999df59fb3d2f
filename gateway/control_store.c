/* SPDX-License-Identifier: Apache-2.0 */
/* control_store.c - stores for shares, for volumes, and for what the control plane asks itself. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "gateway/base/clock.h"
#include "gateway/control_int.h"
#include "s3/objstore_door.h"

#define LOOK_NS 200000000 /* while an answer is waited for */

int
controli_store_new(struct control *c, const struct store_wish *w, struct objstore **out,
    char *err_text, size_t err_cap)
{
	const struct cw_config *conf = c->conf;
	char automatic[] = "auto";
	struct s3_store_conf s3 = {
	    .endpoint = conf->s3_endpoint,
	    .region = conf->s3_region,
	    .bucket = (char *)(uintptr_t)w->bucket,
	    .path_style = conf->s3_path_style,
	    .ca_file = conf->s3_ca_file,
	    .proxy = conf->s3_proxy,
	    .insecure_tls = conf->s3_insecure_tls,
	    .requester_pays = w->requester_pays,
	    .sse_c_key_base64 = conf->s3_sse_c_key,
	    .max_connections = (unsigned int)conf->s3_max_connections,
	    .max_tries = (unsigned int)conf->s3_max_tries,
	    .timeout_s = (unsigned int)conf->s3_timeout_s,
	    .metrics_label = (char *)(uintptr_t)w->label,
	};

	if (w->endpoint != NULL && w->endpoint[0] != '\0')
		s3.endpoint = (char *)(uintptr_t)w->endpoint;
	if (w->region != NULL && w->region[0] != '\0')
		s3.region = (char *)(uintptr_t)w->region;
	if (w->cred != NULL)
		s3.cred = w->cred->cred;
	else
		s3.cred.source = automatic;
	if (s3.max_connections == 0)
		s3.max_connections = (unsigned int)conf->sync_upload_threads;
	return objstore_s3_new(c->s3, &s3, out, err_text, err_cap);
}

struct ask {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool is_done;
};

static void
answered(struct objstore_req *req)
{
	struct ask *a = req->ctx;

	pthread_mutex_lock(&a->mutex);
	a->is_done = true;
	pthread_cond_signal(&a->cond);
	pthread_mutex_unlock(&a->mutex);
}

static bool
is_closing(struct control *c)
{
	bool r;

	control_lock(c);
	r = c->closing;
	control_unlock(c);
	return r;
}

int
controli_store_ask(
    struct control *c, struct objstore *store, struct objstore_req *req, uint64_t timeout_ms)
{
	struct ask a = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	uint64_t began_ms = clock_mono_ms();
	struct timespec until;
	bool is_done = false;

	req->done = answered;
	req->ctx = &a;
	objstore_submit(store, req);
	while (!is_done && !is_closing(c) &&
	       (timeout_ms == 0 || clock_mono_ms() - began_ms < timeout_ms)) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += LOOK_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_mutex_lock(&a.mutex);
		if (!a.is_done)
			(void)pthread_cond_timedwait(&a.cond, &a.mutex, &until);
		is_done = a.is_done;
		pthread_mutex_unlock(&a.mutex);
	}
	store->ops->close(store); /* ends it, should it still be under way */
	return req->result;
}

void
controli_job_begin(struct control *c, struct store_job *j, struct objstore *store)
{
	j->store = objstore_door_new(store, c->workq);
	list_add_tail(&c->jobs, &j->link);
	if (c->closing)
		objstore_door_replace(j->store, NULL);
}

void
controli_job_end(struct control *c, struct store_job *j)
{
	control_lock(c);
	list_del(&j->link);
	control_unlock(c);
	j->store->ops->close(j->store);
}

void
controli_jobs_stop(struct control *c)
{
	struct list *l;

	control_lock(c);
	list_for_each(l, &c->jobs)
	    objstore_door_replace(container_of(l, struct store_job, link)->store, NULL);
	control_unlock(c);
}
