/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - the composition root: wires cache, S3, shares, NFS, FUSE and the API into one daemon. */
#ifndef GATEWAY_ENGINE_H
#define GATEWAY_ENGINE_H

#include "gateway/base/err.h"
#include "gateway/config.h"

struct engine;

/* engine_start - bring everything up; returns when shares are served.
 * args:   conf borrowed until engine_stop() or the next engine_reload()
 * result: 0; a negative errno after what is wrong, and what to do, was logged; all is undone
 * ctx:    main thread, signals that engine_run's caller waits for are blocked */
int engine_start(const struct cw_config *conf, struct engine **out) CW_MUST_CHECK;
/* engine_reload - SIGHUP: take over the credentials of conf. Borrowed from now on in place of the old. */
void engine_reload(struct engine *e, const struct cw_config *conf);
/* engine_stop - stop in the reverse order; nothing that was acknowledged is lost. */
void engine_stop(struct engine *e);

#endif
