/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_share.c - shares as the control plane has them: rows under "share", opened, probed,
 * reconfigured, deleted.
 *
 * phase     meaning                                  left by
 * CREATING  row durable, bucket not asked yet        first probe's answer, good or bad -> SERVING
 * SERVING   AVAILABLE or UNAVAILABLE, by the bucket   DeleteFileShare -> DELETING, FORCE_DELETING
 * DELETING  read-only; waits for pending uploads      all uploaded -> gone; ForceDelete
 * FORCE_DELETING  being forgotten                     gone
 * The deleting phases are in the row, so a restart goes on with them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_int.h"

#define PROBE_AGAIN_MS 3000

static void probe(struct control *c, const char *id);
static void destroy(struct control *c, const char *id);

struct job {
	struct work work;
	struct control *c;
	void (*fn)(struct control *c, const char *id);
	char id[64];
};

static void
run_job(struct work *w)
{
	struct job *j = container_of(w, struct job, work);

	j->fn(j->c, j->id);
	free(j);
}

void
controli_submit(struct control *c, const char *id, void (*fn)(struct control *, const char *))
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->work.fn = run_job;
	j->c = c;
	j->fn = fn;
	snprintf(j->id, sizeof(j->id), "%s", id);
	workq_submit(c->workq, &j->work);
}

struct list *
control_shares(struct control *c)
{
	return &c->shares;
}

struct control_share *
controli_share_by_id(struct control *c, const char *id)
{
	struct list *l;

	list_for_each(l, &c->shares)
	{
		struct control_share *s = container_of(l, struct control_share, link);

		if (strcmp(s->id, id) == 0)
			return s;
	}
	return NULL;
}

struct control_share *
control_share_by_arn(struct control *c, const char *arn, struct control_error *e)
{
	struct list *l;

	list_for_each(l, &c->shares)
	{
		struct control_share *s = container_of(l, struct control_share, link);

		if (strcmp(s->arn, arn) == 0)
			return s;
	}
	control_fail(e, "FileShareNotFound", "The specified file share was not found.");
	return NULL;
}

/* --- memory ----------------------------------------------------------------------------------- */

static void
set_row(struct control_share *s, json_t *row)
{
	json_decref(s->row);
	s->row = row;
	s->id = controli_row_string(row, "FileShareId");
	s->arn = controli_row_string(row, "FileShareARN");
	s->gateway_arn = controli_row_string(row, "GatewayARN");
	s->space_id = (uint32_t)json_integer_value(json_object_get(row, "SpaceId"));
}

static struct share_names *
names_new(struct control *c, const json_t *row, const struct cw_share_conf *conf)
{
	struct share_names *n = xcalloc(1, sizeof(*n));

	n->control = c;
	n->id = xstrdup(controli_row_string(row, "FileShareId"));
	n->arn = xstrdup(controli_row_string(row, "FileShareARN"));
	n->gateway_arn = xstrdup(controli_row_string(row, "GatewayARN"));
	n->location_arn = xstrdup(controli_row_string(row, "LocationARN"));
	n->bucket = xstrdup(conf->bucket != NULL ? conf->bucket : "");
	n->prefix = xstrdup(conf->prefix != NULL ? conf->prefix : "");
	return n;
}

static void
names_free(struct share_names *n)
{
	if (n == NULL)
		return;
	free(n->id);
	free(n->arn);
	free(n->gateway_arn);
	free(n->location_arn);
	free(n->bucket);
	free(n->prefix);
	free(n);
}

static void
share_free(struct control_share *s)
{
	list_del(&s->link);
	names_free(s->names);
	json_decref(s->row);
	free(s);
}

/* --- events ----------------------------------------------------------------------------------- */

json_t *
controli_share_detail(const struct share_names *n, json_t *json)
{
	json_object_set_new(json, "share-id", json_string(n->id));
	json_object_set_new(json, "share-arn", json_string(n->arn));
	json_object_set_new(json, "gateway-arn", json_string(n->gateway_arn));
	json_object_set_new(json, "bucket-name", json_string(n->bucket));
	json_object_set_new(json, "prefix", json_string(n->prefix));
	return json;
}

void
controli_share_event(void *arg, struct cw_share *share, const char *type, const char *json)
{
	struct share_names *n = arg;
	json_t *detail = json_loads(json, 0, NULL);
	const char *own; /* events that AWS has go by its names: "object-upload-complete" */
	char *name;

	(void)share;
	if (!json_is_object(detail)) {
		json_decref(detail);
		detail = json_pack("{s:s}", "text", json);
		if (detail == NULL)
			detail = json_object();
	}
	own = json_string_value(json_object_get(detail, "event-type"));
	name = xstrdup(own != NULL ? own : type);
	state_event(n->control->state, name, controli_share_detail(n, detail));
	free(name);
}

/* --- the store of a share ------------------------------------------------------------------------ */

/* For the row; locked. */
static int
make_store(struct control *c, const json_t *row, const struct cw_share_conf *sc,
    struct objstore **out, char *err_text, size_t err_cap)
{
	const char *dns = controli_row_string(row, "VPCEndpointDNSName");
	char *endpoint = dns[0] != '\0' ? xasprintf("https://%s", dns) : NULL;
	char *label = xasprintf("share=\"%s\"", sc->name);
	struct store_wish w = {
	    .bucket = sc->bucket,
	    .endpoint = endpoint,
	    .region = controli_row_string(row, "BucketRegion"),
	    .label = label,
	    .cred = config_cred_for_role(c->conf, controli_row_string(row, "Role")),
	    .requester_pays = sc->requester_pays,
	};
	int r = controli_store_new(c, &w, out, err_text, err_cap);

	free(endpoint);
	free(label);
	return r;
}

/* A store of its own for what the control plane asks, so that it never races with the share's. */
static int
make_store_of(
    struct control *c, const struct control_share *s, struct objstore **out, char *text, size_t cap)
{
	struct cw_share_conf sc;
	int r = control_share_conf(s->row, c->conf, &sc, text, cap);

	if (r == 0)
		r = make_store(c, s->row, &sc, out, text, cap);
	cw_share_conf_free(&sc);
	return r;
}

static int
open_share(struct control *c, struct control_share *s, char *err_text, size_t err_cap)
{
	struct cw_share_conf sc;
	struct cw_share_env env = {
	    .cache = c->cache,
	    .appliance_id = c->appliance_id,
	    .event = controli_share_event,
	};
	int r = control_share_conf(s->row, c->conf, &sc, err_text, err_cap);

	if (r == 0) {
		sc.read_only |= s->phase >= SHARE_DELETING;
		s->names = names_new(c, s->row, &sc);
		env.event_arg = s->names;
		r = make_store(c, s->row, &sc, &env.store, err_text, err_cap);
	}
	if (r == 0) {
		r = cw_share_open(s->space_id, &sc, &env, &s->share);
		if (r < 0)
			snprintf(err_text, err_cap, "%s", err_str(r));
	}
	cw_share_conf_free(&sc);
	return r;
}

/* --- is the bucket there? -------------------------------------------------------------------------- */

static void
start_probe(struct control *c, struct control_share *s)
{
	if (s->is_probing || c->closing)
		return;
	s->is_probing = true;
	controli_submit(c, s->id, probe);
}

static void
note_probe(struct control *c, struct control_share *s, int err, const char *text)
{
	bool was_ok = s->probe_err == 0, first = s->probe_err == -EINPROGRESS;

	s->is_probing = false;
	s->probed_ms = clock_mono_ms();
	s->probe_err = err;
	snprintf(s->probe_text, sizeof(s->probe_text), "%s", err == 0 ? "" : text);
	if (s->phase == SHARE_CREATING)
		s->phase = SHARE_SERVING;
	if (err == 0 && !was_ok) {
		log_info("gateway.control", "share-available", "share=%s bucket=%s", s->id,
		    s->names != NULL ? s->names->bucket : "");
	} else if (err < 0 && (was_ok || first)) {
		log_warn(
		    "gateway.control", "share-unavailable", "share=%s why=\"%s\"", s->id, text);
		if (s->names != NULL)
			state_event(c->state, "share-unavailable",
			    controli_share_detail(s->names, json_pack("{s:s}", "reason", text)));
	}
}

/* What the owner of the share should look at. */
static void
explain(struct control *c, const struct control_share *s, int err, const char *code, char *text,
    size_t cap)
{
	const struct config_cred *cred =
	    config_cred_for_role(c->conf, controli_row_string(s->row, "Role"));
	const char *bucket = s->names != NULL ? s->names->bucket : "";

	if (err_is(err, EACCES))
		snprintf(text, cap,
		    "access to bucket %s is denied: are the credentials \"%s\" right, and may they "
		    "use it? (%s)",
		    bucket, cred != NULL ? cred->name : "auto",
		    code[0] != '\0' ? code : err_str(err));
	else
		snprintf(text, cap, "bucket %s: %s%s%s", bucket, err_str(err),
		    code[0] != '\0' ? ": " : "", code);
}

/* Work queue, unlocked. */
static void
probe(struct control *c, const char *id)
{
	struct objstore_req req = {.op = OBJ_BUCKET_HEAD, .max_tries = 2};
	struct objstore *store = NULL;
	struct control_share *s;
	char text[256] = "", code[64] = "";
	int r = -ENOENT;

	control_lock(c);
	s = controli_share_by_id(c, id);
	if (s != NULL && !c->closing)
		r = make_store_of(c, s, &store, text, sizeof(text));
	control_unlock(c);
	if (store != NULL) {
		r = controli_store_ask(c, store, &req, 0);
		snprintf(code, sizeof(code), "%s", req.error_code);
		objstore_req_clear(&req);
	}
	control_lock(c);
	s = controli_share_by_id(c, id);
	if (s != NULL && r < 0 && text[0] == '\0')
		explain(c, s, r, code, text, sizeof(text));
	if (s != NULL)
		note_probe(c, s, r, text);
	control_unlock(c);
}

/* --- open, add, update -------------------------------------------------------------------------------- */

static struct control_share *
share_new(struct control *c, json_t *row)
{
	struct control_share *s = xcalloc(1, sizeof(*s));

	set_row(s, row);
	s->probe_err = -EINPROGRESS;
	list_add_tail(&c->shares, &s->link);
	return s;
}

int
control_share_add(struct control *c, json_t *row, struct control_error *e)
{
	json_t *identity;
	struct state_change changes[2];
	struct control_share *s;
	char text[256];
	int r;

	json_object_set_new(row, "SpaceId", json_integer(c->next_space_id));
	s = share_new(c, row);
	r = open_share(c, s, text, sizeof(text));
	if (r < 0) {
		share_free(s);
		return control_fail(e, "InvalidParameters", "%s", text);
	}
	identity =
	    json_pack("{s:s,s:i}", "Id", c->appliance_id, "NextSpaceId", (int)c->next_space_id + 1);
	changes[0] = (struct state_change){"share", s->id, row};
	changes[1] = (struct state_change){"appliance", "identity", identity};
	r = state_write(c->state, changes, 2);
	json_decref(identity);
	if (r < 0) {
		cw_share_destroy(s->share);
		share_free(s);
		return control_fail_internal(e, r, "the index takes no changes");
	}
	c->next_space_id++;
	start_probe(c, s);
	log_info("gateway.control", "share-created", "share=%s name=%s location=%s", s->id,
	    controli_row_string(row, "FileShareName"), controli_row_string(row, "LocationARN"));
	return 0;
}

int
control_share_update(
    struct control *c, struct control_share *s, json_t *row, struct control_error *e)
{
	struct cw_share_conf sc;
	char text[256];
	int r = control_share_conf(row, c->conf, &sc, text, sizeof(text));

	if (r < 0) {
		control_fail(e, "InvalidParameters", "%s", text);
		goto out;
	}
	r = state_put(c->state, "share", s->id, row);
	if (r < 0) {
		control_fail_internal(e, r, "the index takes no changes");
		goto out;
	}
	set_row(s, json_incref(row));
	sc.read_only |= s->phase >= SHARE_DELETING;
	if (s->share != NULL && (r = cw_share_reconfigure(s->share, &sc)) < 0)
		control_fail_internal(e, r, "the share refused its new settings");
out:
	json_decref(row);
	cw_share_conf_free(&sc);
	return r;
}

static enum share_phase
phase_of(const json_t *row)
{
	const char *p = controli_row_string(row, "Phase");

	if (strcmp(p, "DELETING") == 0)
		return SHARE_DELETING;
	return strcmp(p, "FORCE_DELETING") == 0 ? SHARE_FORCE_DELETING : SHARE_SERVING;
}

static void
deletion_done(struct work *w)
{
	struct promise *p = container_of(w, struct promise, work);

	destroy(p->control, p->share_id);
	controli_promise_free(p);
}

static void
all_uploaded(void *arg)
{
	controli_promise_keep(arg, deletion_done);
}

/* Wait for what is pending, or do not; the end is destroy(). Locked. */
static void
go_on_deleting(struct control *c, struct control_share *s)
{
	struct promise *p;

	if (s->phase == SHARE_FORCE_DELETING || s->share == NULL) {
		controli_submit(c, s->id, destroy);
		return;
	}
	p = controli_promise_new(c, s);
	if (cw_share_notify_uploaded(s->share, all_uploaded, p) < 0)
		controli_promise_free(p);
	cw_share_drain(s->share);
}

static int
load_one(void *arg, const char *key, const json_t *row)
{
	struct control *c = arg;
	struct control_share *s = share_new(c, json_deep_copy(row));

	(void)key;
	s->phase = phase_of(row);
	if (open_share(c, s, s->probe_text, sizeof(s->probe_text)) < 0) {
		s->probe_err = -EINVAL;
		log_err("gateway.control", "share-not-opened", "share=%s err=\"%s\"", s->id,
		    s->probe_text);
	}
	if (s->space_id >= c->next_space_id)
		c->next_space_id = s->space_id + 1;
	if (s->phase >= SHARE_DELETING)
		go_on_deleting(c, s);
	else if (s->share != NULL)
		start_probe(c, s);
	return 0;
}

int
controli_shares_load(struct control *c)
{
	return state_each(c->state, "share", load_one, c);
}

void
controli_shares_close(struct control *c)
{
	struct list *l, *tmp;

	if (c->workq != NULL)
		workq_drain(c->workq);
	list_for_each_safe(l, tmp, &c->shares)
	{
		struct control_share *s = container_of(l, struct control_share, link);

		if (s->share != NULL)
			cw_share_close(s->share);
		share_free(s);
	}
}

/* Work queue, unlocked. */
static void
replace_store(struct control *c, const char *id)
{
	struct objstore *store = NULL;
	struct control_share *s;
	char text[256] = "";

	control_lock(c);
	s = controli_share_by_id(c, id);
	if (s != NULL && s->share != NULL && !c->closing) {
		if (make_store_of(c, s, &store, text, sizeof(text)) < 0)
			log_err("gateway.control", "credentials-not-taken", "share=%s err=\"%s\"",
			    id, text);
		else
			cw_share_replace_store(s->share, store);
		start_probe(c, s);
	}
	control_unlock(c);
}

void
controli_shares_reload(struct control *c)
{
	struct list *l;

	list_for_each(l, &c->shares)
	    controli_submit(c, container_of(l, struct control_share, link)->id, replace_store);
}

/* --- delete ----------------------------------------------------------------------------------------- */

static bool
owes_something(struct control_share *s)
{
	struct cw_share_status st;

	if (s->share == NULL)
		return false;
	memset(&st, 0, sizeof(st));
	cw_share_get_status(s->share, &st);
	return st.pending_files > 0;
}

/* Work queue, unlocked: the share's last moment. */
static void
destroy(struct control *c, const char *id)
{
	struct cw_share *share = NULL;
	struct control_share *s;

	control_lock(c);
	s = controli_share_by_id(c, id);
	if (s == NULL || c->closing || s->phase < SHARE_DELETING) {
		control_unlock(c);
		return;
	}
	if (s->phase == SHARE_DELETING && owes_something(s)) { /* came in before it was read-only */
		go_on_deleting(c, s);
		control_unlock(c);
		return;
	}
	share = s->share;
	s->share = NULL;
	control_unlock(c);
	if (share != NULL)
		cw_share_destroy(share);
	control_lock(c);
	s = controli_share_by_id(c, id);
	if (s != NULL && state_put(c->state, "share", id, NULL) == 0) {
		char *label =
		    xasprintf("share=\"%s\"", controli_row_string(s->row, "FileShareName"));

		metrics_drop(label);
		free(label);
		log_info("gateway.control", "share-deleted", "share=%s", id);
		if (s->names != NULL)
			state_event(c->state, "share-deleted",
			    controli_share_detail(s->names, json_object()));
		share_free(s);
	}
	control_unlock(c);
}

int
control_share_delete(
    struct control *c, struct control_share *s, bool force, struct control_error *e)
{
	enum share_phase phase = force ? SHARE_FORCE_DELETING : SHARE_DELETING;
	json_t *row;
	int r;

	if (s->phase >= phase)
		return 0; /* under way already */
	row = json_copy(s->row);
	json_object_set_new(row, "Phase", json_string(force ? "FORCE_DELETING" : "DELETING"));
	s->phase = phase;
	r = control_share_update(c, s, row, e);
	if (r < 0) {
		s->phase = phase_of(s->row);
		return r;
	}
	go_on_deleting(c, s);
	return 0;
}

/* --- status ------------------------------------------------------------------------------------------- */

static bool
is_available(struct control_share *s)
{
	struct cw_share_status st;

	if (s->share == NULL || s->probe_err < 0)
		return false;
	memset(&st, 0, sizeof(st));
	cw_share_get_status(s->share, &st);
	return st.available;
}

const char *
control_share_status(struct control *c, struct control_share *s)
{
	static const char *const names[] = {
	    [SHARE_CREATING] = "CREATING",
	    [SHARE_DELETING] = "DELETING",
	    [SHARE_FORCE_DELETING] = "FORCE_DELETING",
	};

	if (s->phase != SHARE_SERVING)
		return names[s->phase];
	if (is_available(s))
		return "AVAILABLE";
	if (s->share != NULL && clock_mono_ms() - s->probed_ms >= PROBE_AGAIN_MS)
		start_probe(c, s);
	return s->probe_err == -EINPROGRESS ? "AVAILABLE" : "UNAVAILABLE";
}

void
control_share_reason(struct control_share *s, char *out, size_t cap)
{
	struct cw_share_status st;

	snprintf(out, cap, "%s", s->probe_text);
	if (s->share == NULL || s->probe_err < 0)
		return;
	memset(&st, 0, sizeof(st));
	cw_share_get_status(s->share, &st);
	if (!st.available)
		snprintf(out, cap, "%s", st.reason);
}
