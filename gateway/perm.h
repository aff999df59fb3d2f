/* SPDX-License-Identifier: Apache-2.0 */
/* perm.h - folder-private: who may do what to a node. Pure functions of node and credential. */
#ifndef GATEWAY_PERM_H
#define GATEWAY_PERM_H

#include "gateway/node.h"

bool perm_in_group(const struct cw_cred *c, uint32_t gid);
/* perm_granted - which of CW_MAY_READ, _WRITE, _EXEC c has on n by its mode.
 * source: POSIX.1-2017 4.5 file access permissions */
uint32_t perm_granted(const struct node *n, const struct cw_cred *c);
/* perm_check - 0 when all of want is granted, else -EACCES. */
int perm_check(const struct node *n, const struct cw_cred *c, uint32_t want);
/* perm_check_io - perm_check for data of a file; is_owner_ok lets the owner pass; a file that may only
 * be executed may be read (its pages must come from somewhere: RFC 1813 4.4). */
int perm_check_io(const struct node *n, const struct cw_cred *c, uint32_t want, bool is_owner_ok);
/* perm_check_delete - may c take child out of dir? Write and search permission, sticky bit.
 * result: 0, -EACCES, -EPERM */
int perm_check_delete(const struct node *dir, const struct node *child, const struct cw_cred *c);
/* perm_drop_suid - mode after somebody without privilege changed content or owner. */
uint32_t perm_drop_suid(uint32_t mode);

#endif
