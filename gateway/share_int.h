/* SPDX-License-Identifier: Apache-2.0 */
/* share_int.h - folder-private: what a share keeps because readers take no lock. */
#ifndef GATEWAY_SHARE_INT_H
#define GATEWAY_SHARE_INT_H

#include "gateway/node.h"

struct share_conf_version {
	struct cw_share_conf conf;
	struct share_conf_version *older;
};

struct share_old_store {
	struct objstore *store;
	struct share_old_store *next;
};

/* share_op_begin - count an op in; false when the share closes. share_op_end - and out. Any lock state. */
bool share_op_begin(struct cw_share *s);
void share_op_end(struct cw_share *s);

#endif
