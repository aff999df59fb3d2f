/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NBUCKETS 23 /* 2^14 ns (16 us) to 2^36 ns (69 s) */
#define FIRST_SHIFT 14

enum metric_type { COUNTER, GAUGE, HISTOGRAM };
static const char *const type_names[] = {"counter", "gauge", "histogram"};

struct metric {
	char *name, *labels;
	const char *help;
	enum metric_type type;
	bool is_hidden;
	atomic_int_least64_t value; /* count of samples for a histogram */
	atomic_uint_least64_t sum_ns;
	atomic_uint_least64_t buckets[NBUCKETS + 1];
	struct metric *next;
};

static pthread_mutex_t metrics_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct metric *metrics_all; /* kept in order of name, so that a family prints together */

static struct metric *
find_or_add(const char *name, const char *labels, const char *help, enum metric_type type)
{
	struct metric **at, *m;

	if (labels == NULL)
		labels = "";
	pthread_mutex_lock(&metrics_mutex);
	for (at = &metrics_all; *at != NULL; at = &(*at)->next) {
		int order = strcmp((*at)->name, name);

		if (order == 0)
			order = strcmp((*at)->labels, labels);
		if (order == 0) {
			(*at)->is_hidden = false;
			m = *at;
			goto out;
		}
		if (order > 0)
			break;
	}
	m = xcalloc(1, sizeof(*m));
	m->name = xstrdup(name);
	m->labels = xstrdup(labels);
	m->help = help;
	m->type = type;
	m->next = *at;
	*at = m;
out:
	pthread_mutex_unlock(&metrics_mutex);
	return m;
}

struct metric *
metrics_counter(const char *name, const char *labels, const char *help)
{
	return find_or_add(name, labels, help, COUNTER);
}

struct metric *
metrics_gauge(const char *name, const char *labels, const char *help)
{
	return find_or_add(name, labels, help, GAUGE);
}

struct metric *
metrics_histogram(const char *name, const char *labels, const char *help)
{
	return find_or_add(name, labels, help, HISTOGRAM);
}

void
metric_add(struct metric *m, int64_t n)
{
	atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void
metric_set(struct metric *m, int64_t v)
{
	atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

int64_t
metric_get(const struct metric *m)
{
	return atomic_load_explicit(&m->value, memory_order_relaxed);
}

void
metric_observe_ns(struct metric *m, uint64_t ns)
{
	unsigned int i = 0;

	while (i < NBUCKETS && ns > 1ull << (FIRST_SHIFT + i))
		i++;
	atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->sum_ns, ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->value, 1, memory_order_relaxed);
}

static void
print_histogram(struct strbuf *out, const struct metric *m)
{
	const char *comma = m->labels[0] != '\0' ? "," : "";
	uint64_t total = 0;

	for (unsigned int i = 0; i < NBUCKETS; i++) {
		total += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
		strbuf_addf(out, "%s_bucket{%s%sle=\"%.9g\"} %llu\n", m->name, m->labels, comma,
		    (double)(1ull << (FIRST_SHIFT + i)) / 1e9, (unsigned long long)total);
	}
	total += atomic_load_explicit(&m->buckets[NBUCKETS], memory_order_relaxed);
	strbuf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", m->name, m->labels, comma,
	    (unsigned long long)total);
	strbuf_addf(out, "%s_sum%s%s%s %.9f\n", m->name, comma[0] ? "{" : "", m->labels,
	    comma[0] ? "}" : "",
	    (double)atomic_load_explicit(&m->sum_ns, memory_order_relaxed) / 1e9);
	strbuf_addf(out, "%s_count%s%s%s %llu\n", m->name, comma[0] ? "{" : "", m->labels,
	    comma[0] ? "}" : "", (unsigned long long)total);
}

void
metrics_print(struct strbuf *out)
{
	const char *family = "";

	pthread_mutex_lock(&metrics_mutex);
	for (const struct metric *m = metrics_all; m != NULL; m = m->next) {
		if (m->is_hidden)
			continue;
		if (strcmp(family, m->name) != 0) {
			family = m->name;
			strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
			    type_names[m->type]);
		}
		if (m->type == HISTOGRAM)
			print_histogram(out, m);
		else if (m->labels[0] != '\0')
			strbuf_addf(
			    out, "%s{%s} %lld\n", m->name, m->labels, (long long)metric_get(m));
		else
			strbuf_addf(out, "%s %lld\n", m->name, (long long)metric_get(m));
	}
	pthread_mutex_unlock(&metrics_mutex);
}

/* Holders of a pointer may still add, so a dropped metric is only hidden. */
void
metrics_drop(const char *label)
{
	pthread_mutex_lock(&metrics_mutex);
	for (struct metric *m = metrics_all; m != NULL; m = m->next) {
		if (strstr(m->labels, label) != NULL) {
			m->is_hidden = true;
			metric_set(m, 0);
		}
	}
	pthread_mutex_unlock(&metrics_mutex);
}
