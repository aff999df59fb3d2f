/* SPDX-License-Identifier: Apache-2.0 */
/* sync_early.h - folder-private, part of sync_int.h: parts of a file that is still written. */
#ifndef GATEWAY_SYNC_EARLY_H
#define GATEWAY_SYNC_EARLY_H

struct sync;
struct sync_job;
struct node;
struct objstore_part;

#define SYNC_EARLY_SEQ (UINT64_MAX - 1) /* data_seq of the row of an upload without a seal */
struct early;
struct early_taken {
	struct early *e; /* early_join() is due */
	const char *upload_id;
	unsigned int nparts; /* from the first on */
	uint64_t part_size, mark_seq;
	uint64_t dropped; /* pages below it are out of memory */
	uint32_t sync_errors;
};
void early_init(struct sync *y);
void early_close(struct sync *y); /* locked, no users left */
/* early_has - is there one of this node, dead or alive? locked */
bool early_has(const struct sync *y, uint64_t ino);
/* early_left - n takes another name, or goes. locked */
void early_left(struct sync *y, struct node *n);
/* early_take - the seal of j is of this size: what was sent early becomes its upload, and the row says so.
 * result: false: there is nothing of use, and what there was will be aborted. jobs thread, unlocked */
bool early_take(struct sync_job *j, uint64_t size, struct early_taken *out);
/* early_forget - nothing that was sent early is of use. jobs thread, unlocked */
void early_forget(struct sync_job *j);
/* early_join - wait for the parts under way; fills parts[0..nparts), number 0 where one failed. e is freed.
 * jobs thread, unlocked */
void early_join(struct early *e, struct objstore_part *parts);

#endif
