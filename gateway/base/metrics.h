/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - counters, gauges and latency histograms in Prometheus' text format.
 *
 * A metric is registered once under a name with a fixed label string (such as
 * share="demo",op="read") and lives for the process.  Adding is one relaxed atomic.
 */
#ifndef CW_BASE_METRICS_H
#define CW_BASE_METRICS_H

#include <stdint.h>

#include "gateway/base/strbuf.h"

struct metric;

/* metrics_counter, _gauge, _histogram - find or register; labels may be NULL; help is kept from the
 * first registration of a name. Never NULL. Any thread. Names end in _total, _bytes, _seconds... */
struct metric *metrics_counter(const char *name, const char *labels, const char *help);
struct metric *metrics_gauge(const char *name, const char *labels, const char *help);
struct metric *metrics_histogram(const char *name, const char *labels, const char *help);

void metric_add(struct metric *m, int64_t n);
void metric_set(struct metric *m, int64_t v);
int64_t metric_get(const struct metric *m);
/* metric_observe_ns - histogram sample; buckets are fixed powers of two from 16 us to 64 s. */
void metric_observe_ns(struct metric *m, uint64_t ns);

/* metrics_print - all of them, with HELP and TYPE lines, grouped by name. */
void metrics_print(struct strbuf *out);
/* metrics_drop - remove every metric whose labels contain this exact label (a share that went). */
void metrics_drop(const char *label);

#endif
