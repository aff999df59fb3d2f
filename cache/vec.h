/* SPDX-License-Identifier: Apache-2.0 */
/* vec.h - folder-private: a growing array of plain structs. */
#ifndef CACHE_VEC_H
#define CACHE_VEC_H

#include <stddef.h>
#include <stdint.h>

struct vec {
	void *p;
	uint32_t n, cap;
};

void *cachei_vec_push(struct vec *v, size_t item_size); /* a new zeroed item at the end */
void cachei_vec_free(struct vec *v);
/* cachei_vec_prepend - items of `from` go before those of v; from is empty afterwards. */
void cachei_vec_prepend(struct vec *v, struct vec *from, size_t item_size);

#endif
