/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontends/fuse/cwfuse_int.h"

#define JOURNAL_MAGIC "cwfusejn"
#define JOURNAL_VERSION 3u
#define JOURNAL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static int
map(int fd, struct cwfuse_journal **out)
{
	void *p = mmap(NULL, CWFUSE_JOURNAL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

int
cwfuse_journal_new(struct cwfuse_journal **out)
{
	struct cwfuse_journal *j = NULL;
	int fd = memfd_create("causeway-fuse", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	_Static_assert(sizeof(*j) <= CWFUSE_JOURNAL_HEAD, "journal head");
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, CWFUSE_JOURNAL_SIZE) < 0 || fcntl(fd, F_ADD_SEALS, JOURNAL_SEALS) < 0)
		err = -errno;
	else
		err = map(fd, &j);
	if (err < 0) {
		close(fd);
		return err;
	}
	memcpy(j->magic, JOURNAL_MAGIC, sizeof(j->magic));
	j->version = JOURNAL_VERSION;
	j->nslots = CWFUSE_SLOTS;
	j->slot_bytes = CWFUSE_SLOT;
	*out = j;
	return fd;
}

int
cwfuse_journal_map(int fd, struct cwfuse_journal **out)
{
	struct cwfuse_journal *j = NULL;
	struct stat st;
	int err, seals = fcntl(fd, F_GET_SEALS);

	/* Sealed: nobody can cut it short while it is mapped, which would be SIGBUS for us. */
	if (seals < 0 || (seals & JOURNAL_SEALS) != JOURNAL_SEALS || fstat(fd, &st) < 0 ||
	    st.st_size != (off_t)CWFUSE_JOURNAL_SIZE)
		return -EINVAL;
	err = map(fd, &j);
	if (err < 0)
		return err;
	if (memcmp(j->magic, JOURNAL_MAGIC, sizeof(j->magic)) != 0 ||
	    j->version != JOURNAL_VERSION || j->nslots != CWFUSE_SLOTS ||
	    j->slot_bytes != CWFUSE_SLOT || j->init_len > CWFUSE_INIT_MAX) {
		cwfuse_journal_unmap(j);
		return -EINVAL;
	}
	*out = j;
	return 0;
}

void
cwfuse_journal_unmap(struct cwfuse_journal *j)
{
	munmap(j, CWFUSE_JOURNAL_SIZE);
}

uint8_t *
cwfuse_journal_slot(struct cwfuse_journal *j, unsigned int i)
{
	return (uint8_t *)j + CWFUSE_JOURNAL_HEAD + (size_t)i * CWFUSE_SLOT;
}

uint8_t *
cwfuse_journal_answer(struct cwfuse_journal *j, unsigned int i)
{
	return cwfuse_journal_slot(j, i) + CWFUSE_SLOT - CWFUSE_ANSWER_MAX;
}

size_t
cwfuse_journal_left(struct cwfuse_journal *j, unsigned int i)
{
	struct fuse_in_header head;
	uint32_t state = atomic_load(&j->state[i]), len = j->len[i];

	if (state != CWFUSE_READING && state != CWFUSE_BUSY)
		return 0;
	memcpy(&head, cwfuse_journal_slot(j, i), sizeof(head));
	if (state == CWFUSE_READING)
		len = head.len;
	if (len < sizeof(head) || len > CWFUSE_SLOT || head.len != len)
		return 0;
	return len;
}
