/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/vec.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"

void *
cachei_vec_push(struct vec *v, size_t item_size)
{
	char *item;

	if (v->n == v->cap) {
		v->cap = v->cap == 0 ? 8 : v->cap * 2;
		v->p = xrealloc(v->p, v->cap * item_size);
	}
	item = (char *)v->p + v->n * item_size;
	memset(item, 0, item_size);
	v->n++;
	return item;
}

void
cachei_vec_free(struct vec *v)
{
	free(v->p);
	memset(v, 0, sizeof(*v));
}

void
cachei_vec_prepend(struct vec *v, struct vec *from, size_t item_size)
{
	struct vec tmp;

	for (uint32_t i = 0; i < v->n; i++)
		memcpy(cachei_vec_push(from, item_size), (char *)v->p + i * item_size, item_size);
	tmp = *v;
	*v = *from;
	cachei_vec_free(&tmp);
	memset(from, 0, sizeof(*from));
}
