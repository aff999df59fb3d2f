/* SPDX-License-Identifier: Apache-2.0 */
/*
 * objstore_door.h - a store that hands on to another one, which may be replaced or taken away.
 *
 * Many threads send requests and none of them takes a lock over it, so a store cannot just be closed
 * under them.  They all go through its door: what was behind it is closed when it is replaced (what
 * is under way ends with -ECANCELED), and a door that is shut refuses whatever still comes, as a store
 * that closes would.  The has_ facts are those found by a probe through the door; keeps_versions
 * follows the store's with the next request.
 */
#ifndef S3_OBJSTORE_DOOR_H
#define S3_OBJSTORE_DOOR_H

#include "gateway/base/workq.h"
#include "s3/objstore.h"

/* objstore_door_new - a door before a store.
 * args:   store taken; its label and facts are copied. wq borrowed: completes what comes too late
 * result: never NULL; its ops->close shuts it and frees it, when nobody can be inside any more
 * ctx:    any thread */
struct objstore *objstore_door_new(struct objstore *store, struct workq *wq);
/* objstore_door_replace - from now on requests go to another store; the one before is closed.
 * args:   door from objstore_door_new(); store taken, NULL shuts the door; may be called again
 * ctx:    as ops->close: it waits for the done()s of the old store, so never from one, nor under a lock
 *         that they take */
void objstore_door_replace(struct objstore *door, struct objstore *store);

#endif
