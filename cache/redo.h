/* SPDX-License-Identifier: Apache-2.0 */
/* redo.h - folder-private: few un-synced blocks ride in the index transaction; see redo.c. */
#ifndef CACHE_REDO_H
#define CACHE_REDO_H

#include <stdbool.h>
#include <stdint.h>

struct cache_space;
struct commit_space;

/* cachei_redo_put - read the un-synced blocks of the snapshot back into redo rows. unlocked */
int cachei_redo_put(struct commit_space *cs);
/* cachei_redo_replay - start-up: redo rows into the data file, made durable, rows cleared. */
int cachei_redo_replay(struct cache_space *s);
void cachei_redo_note(struct commit_space *cs); /* remember which blocks have rows. locked */
void cachei_redo_forget(struct cache_space *s); /* all rows are cleared. locked */
/* cachei_redo_pays - are so many bytes sooner durable as redo rows than by an fdatasync of the data file?
 * committer. cachei_redo_row_ns: what a row costs; 0: rows always pay. Tests set it. */
bool cachei_redo_pays(const struct cache_space *s, uint64_t bytes);
extern uint64_t cachei_redo_row_ns;
/* cachei_redo_sync_took - an fdatasync of few blocks took ns. committer */
void cachei_redo_sync_took(struct cache_space *s, uint64_t ns);

#endif
