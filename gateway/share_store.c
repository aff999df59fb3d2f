/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share_store.c - the door between a share and its store, which can be shut.
 *
 * Many threads send requests and none of them takes a lock over it, so a store cannot just be closed
 * under them.  They all go through this door: shut, it closes the store behind it (what is under way
 * ends with -ECANCELED) and refuses whatever still comes, as a store that closes would.
 */
#include <pthread.h>
#include <stdlib.h>

#include "gateway/base/strbuf.h"
#include "gateway/share_int.h"
#include "s3/objstore.h"

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

static void
door_submit(struct objstore *s, struct objstore_req *req)
{
	struct door *d = container_of(s, struct door, pub);
	bool is_open;
	struct refusal *r;

	pthread_rwlock_rdlock(&d->lock);
	is_open = d->store != NULL;
	if (is_open)
		objstore_submit(d->store, req);
	pthread_rwlock_unlock(&d->lock);
	if (is_open)
		return;
	r = xcalloc(1, sizeof(*r)); /* done() is never called on the submitter's stack */
	r->work.fn = refuse;
	r->req = req;
	workq_submit(d->wq, &r->work);
}

void
share_door_shut(struct objstore *s)
{
	struct door *d = container_of(s, struct door, pub);
	struct objstore *store;

	pthread_rwlock_wrlock(&d->lock);
	store = d->store;
	d->store = NULL;
	pthread_rwlock_unlock(&d->lock);
	if (store != NULL)
		store->ops->close(store);
}

static void
door_close(struct objstore *s)
{
	struct door *d = container_of(s, struct door, pub);

	share_door_shut(s);
	pthread_rwlock_destroy(&d->lock);
	free(d->label);
	free(d);
}

struct objstore *
share_door_new(struct objstore *store, struct workq *wq)
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
