/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/workq.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/strbuf.h"

struct workq {
	pthread_mutex_t mutex;
	pthread_cond_t has_work, is_idle;
	struct work *head, **tail;
	unsigned int nthreads, nbusy, nidle;
	bool stop;
	pthread_t threads[];
};

static void *
worker(void *arg)
{
	struct workq *q = arg;
	struct work *w;

	pthread_mutex_lock(&q->mutex);
	for (;;) {
		while (q->head == NULL && !q->stop) {
			q->nidle++;
			pthread_cond_wait(&q->has_work, &q->mutex);
			q->nidle--;
		}
		if (q->head == NULL)
			break;
		w = q->head;
		q->head = w->next;
		if (q->head == NULL)
			q->tail = &q->head;
		q->nbusy++;
		pthread_mutex_unlock(&q->mutex);
		w->fn(w);
		pthread_mutex_lock(&q->mutex);
		if (--q->nbusy == 0 && q->head == NULL)
			pthread_cond_broadcast(&q->is_idle);
	}
	pthread_mutex_unlock(&q->mutex);
	return NULL;
}

int
workq_new(const char *name, unsigned int nthreads, struct workq **out)
{
	struct workq *q = xcalloc(1, sizeof(*q) + nthreads * sizeof(q->threads[0]));
	char thread_name[16];
	int err;

	*out = NULL;
	pthread_mutex_init(&q->mutex, NULL);
	pthread_cond_init(&q->has_work, NULL);
	pthread_cond_init(&q->is_idle, NULL);
	q->tail = &q->head;
	for (; q->nthreads < nthreads; q->nthreads++) {
		err = pthread_create(&q->threads[q->nthreads], NULL, worker, q);
		if (err != 0) {
			workq_free(q);
			return -err;
		}
		snprintf(thread_name, sizeof(thread_name), "%.10s-%u", name, q->nthreads % 1000);
		pthread_setname_np(q->threads[q->nthreads], thread_name);
	}
	*out = q;
	return 0;
}

void
workq_submit(struct workq *q, struct work *w)
{
	w->next = NULL;
	pthread_mutex_lock(&q->mutex);
	*q->tail = w;
	q->tail = &w->next;
	if (q->nidle > 0) /* inside: once it is unlocked the work may end, and the queue with it */
		pthread_cond_signal(&q->has_work);
	pthread_mutex_unlock(&q->mutex);
}

void
workq_drain(struct workq *q)
{
	pthread_mutex_lock(&q->mutex);
	while (q->head != NULL || q->nbusy > 0)
		pthread_cond_wait(&q->is_idle, &q->mutex);
	pthread_mutex_unlock(&q->mutex);
}

void
workq_free(struct workq *q)
{
	if (q == NULL)
		return;
	pthread_mutex_lock(&q->mutex);
	q->stop = true;
	pthread_cond_broadcast(&q->has_work);
	pthread_mutex_unlock(&q->mutex);
	for (unsigned int i = 0; i < q->nthreads; i++)
		pthread_join(q->threads[i], NULL);
	pthread_mutex_destroy(&q->mutex);
	pthread_cond_destroy(&q->has_work);
	pthread_cond_destroy(&q->is_idle);
	free(q);
}
