/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.h - folder-private: requests that were done, known by their tags over a restart of the daemon.
 *
 * A tag goes into the index in the transaction that makes its change durable, so it is there exactly
 * if the change is.  What was there at the start is known for a quarter of an hour: whoever lost an
 * answer with the old daemon has asked again by then.
 */
#ifndef GATEWAY_REPLY_H
#define GATEWAY_REPLY_H

#include "gateway/node.h"

/* reply_load - start-up, before anybody knows the share. 0 or negative errno */
int reply_load(struct cw_share *s);
/* reply_add - the change just made is that of tag. locked */
void reply_add(struct cw_share *s, const uint8_t tag[CW_REPLY_TAG_LEN]);
/* reply_collect - tags added since, for the commit. locked */
void reply_collect(struct cw_share *s, struct index_txn *txn);
/* reply_is_known - was the request with this tag done in an earlier life? locked */
bool reply_is_known(struct cw_share *s, const uint8_t tag[CW_REPLY_TAG_LEN]);
void reply_free(struct cw_share *s);

#endif
