/* SPDX-License-Identifier: Apache-2.0 */
/* node_row.h - folder-private: a node as a row of the index. */
#ifndef GATEWAY_NODE_ROW_H
#define GATEWAY_NODE_ROW_H

#include "gateway/node.h"

/* node_to_row - fill row; its strings are n's. locked */
void node_to_row(const struct cw_share *s, const struct node *n, struct index_node *row);

#endif
