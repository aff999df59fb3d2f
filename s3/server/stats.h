/* SPDX-License-Identifier: Apache-2.0 */
/* stats.h - requests and bytes per operation, for tests that count. Any thread. */
#ifndef S3D_STATS_H
#define S3D_STATS_H

#include <stdbool.h>
#include <stdint.h>

struct stats;

struct stats *stats_new(void);
void stats_free(struct stats *s);
/* stats_count - op is an enum s3d_op; status 0 = no reply was sent. */
void stats_count(
    struct stats *s, int op, int status, bool by_fault, uint64_t bytes_in, uint64_t bytes_out);
void stats_connection(struct stats *s);
void stats_reset(struct stats *s);
/* stats_json - malloced. */
char *stats_json(struct stats *s);

#endif
