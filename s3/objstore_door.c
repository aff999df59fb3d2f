/* SPDX-License-Identifier: Apache-2.0 */
#include "s3/objstore_door.h"

#include <pthread.h>
#include <stdlib.h>

#include "gateway/base/list.h"
#include "gateway/base/strbuf.h"

struct door {
	struct objstore pub;
	pthread_rwlock_t lock;	/* read: a request is being handed over */
	struct objstore *store; /* NULL: shut */
	struct workq *wq;
	char *label; /* outlives the store's own */
};

struct refusal {
	struct work work;
	struct objstore_req *req;
};

static void
refuse(struct work *w)
{
	struct refusal *r = container_of(w, struct refusal, work);
	struct objstore_req *req = r->req;

	free(r);
	req->result = -ECANCELED;
	req->done(req);
}

/* What the store has learned from answers is looked up before the door. */
static void
take_over_facts(struct door *d)
{
	if (__atomic_load_n(&d->store->keeps_versions, __ATOMIC_RELAXED) &&
	    !__atomic_load_n(&d->pub.keeps_versions, __ATOMIC_RELAXED))
		__atomic_store_n(&d->pub.keeps_versions, true, __ATOMIC_RELAXED);
}

static void
door_submit(struct objstore *s, struct objstore_req *req)
{
	struct door *d = container_of(s, struct door, pub);
	bool is_open;
	struct refusal *r;

	pthread_rwlock_rdlock(&d->lock);
	is_open = d->store != NULL;
	if (is_open) {
		objstore_submit(d->store, req);
		take_over_facts(d);
	}
	pthread_rwlock_unlock(&d->lock);
	if (is_open)
		return;
	r = xcalloc(1, sizeof(*r)); /* done() is never called on the submitter's stack */
	r->work.fn = refuse;
	r->req = req;
	workq_submit(d->wq, &r->work);
}

void
objstore_door_replace(struct objstore *door, struct objstore *store)
{
	struct door *d = container_of(door, struct door, pub);
	struct objstore *old;

	pthread_rwlock_wrlock(&d->lock);
	old = d->store;
	d->store = store;
	pthread_rwlock_unlock(&d->lock);
	if (old != NULL)
		old->ops->close(old);
}

static void
door_close(struct objstore *s)
{
	struct door *d = container_of(s, struct door, pub);

	objstore_door_replace(s, NULL);
	pthread_rwlock_destroy(&d->lock);
	free(d->label);
	free(d);
}

struct objstore *
objstore_door_new(struct objstore *store, struct workq *wq)
{
	static const struct objstore_ops ops = {.submit = door_submit, .close = door_close};
	struct door *d = xcalloc(1, sizeof(*d));

	d->pub = *store;
	d->pub.ops = &ops;
	d->pub.label = d->label = xstrdup(store->label != NULL ? store->label : "");
	d->store = store;
	d->wq = wq;
	pthread_rwlock_init(&d->lock, NULL);
	return &d->pub;
}
