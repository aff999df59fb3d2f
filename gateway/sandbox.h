/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.h - give up what the daemon will not need again. */
#ifndef GATEWAY_SANDBOX_H
#define GATEWAY_SANDBOX_H

#include "gateway/base/err.h"

/* sandbox_drop_user - become user (name) for good: groups, gid, uid; no new privileges.
 * result: 0; -ENOENT no such user; -EPERM not root. ctx: before any thread is started */
int sandbox_drop_user(const char *user) CW_MUST_CHECK;

/* sandbox_filter - refuse (EPERM) the system calls that only an intruder would make: mounting,
 * executing, tracing, kernel modules, keys, clocks, namespaces.  All threads, for good.
 * result: 0, negative errno where the kernel has no seccomp; ctx: any */
int sandbox_filter(void) CW_MUST_CHECK;

#endif
