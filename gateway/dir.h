/* SPDX-License-Identifier: Apache-2.0 */
/* dir.h - folder-private: the entries of a directory, in the order of their cookies. All locked. */
#ifndef GATEWAY_DIR_H
#define GATEWAY_DIR_H

#include "gateway/node.h"

#define DIR_COOKIE_DOT 1u
#define DIR_COOKIE_DOTDOT 2u
#define DIR_COOKIE_FIRST 3u

struct dir *dir_new(void);
void dir_free(struct dir *d);
/* dir_insert - n under cookie; append when it is the highest so far (raises next_cookie). */
void dir_insert(struct dir *d, struct node *n, uint64_t cookie);
/* dir_delete - leave a hole where n was; holes are squeezed out when they are half of all. */
void dir_delete(struct dir *d, struct node *n);
/* dir_raise_max_below - n was attached: every directory above knows how long keys below it may be. */
void dir_raise_max_below(const struct node *n);
/* dir_recount_max_below - walk the subtree and make the figure exact. result: it */
uint32_t dir_recount_max_below(struct node *n);

/* node.c and node_load.c share these. */
struct node *node_alloc(struct cw_share *s, uint64_t ino, uint32_t mode);
void node_attach_at(struct cw_share *s, struct node *dir, struct node *n, const char *name,
    size_t len, uint64_t cookie);
void node_destroy(struct cw_share *s, struct node *n);
/* node_key_len - length of the key of n, were there no limit (a file's is one shorter). */
size_t node_key_len(const struct cw_share *s, const struct node *n);

#endif
