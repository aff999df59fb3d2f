/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/scsi/mode.h"

#include <string.h>

#include "frontends/scsi/bytes.h"
#include "frontends/scsi/sense.h"

#define PAGE_RW_ERROR 0x01   /* SBC-3 6.5.8 */
#define PAGE_CACHING 0x08    /* SBC-3 6.5.5 */
#define PAGE_CONTROL 0x0a    /* SPC-4 7.5.7 */
#define PAGE_EXCEPTIONS 0x1c /* SBC-3 6.5.6 */
#define PAGE_ALL 0x3f
#define SUBPAGE_ALL 0xff

/* Pages as they are when nothing was changed; byte 0 and 1 are code and length. */
static const uint8_t rw_error[12] = {PAGE_RW_ERROR, 10, 0xc0 /* AWRE, ARRE: we relocate */};
static const uint8_t caching[20] = {0x80 | PAGE_CACHING, 18};
static const uint8_t control[12] = {0x80 | PAGE_CONTROL, 10,
    0x20 /* TST 001b: task sets by nexus */, 0x10 /* QUEUE ALGORITHM 1 */,
    0x00 /* UA_INTLCK_CTRL 0, SWP 0 */, 0x40 /* TAS */, 0, 0, 0xff, 0xff /* busy: unlimited */, 0,
    0};
static const uint8_t exceptions[12] = {PAGE_EXCEPTIONS, 10, 0x08 /* DEXCPT */};

static const struct page {
	const uint8_t *bytes;
	size_t len;
	uint8_t value_at, value_bit; /* what can be changed; 0: nothing */
} pages[] = {
    {rw_error, sizeof(rw_error), 0, 0},
    {caching, sizeof(caching), 2, 0x04},
    {control, sizeof(control), 4, 0x08},
    {exceptions, sizeof(exceptions), 0, 0},
};
#define NPAGES (sizeof(pages) / sizeof(pages[0]))

static bool
value_of(const struct page *p, const struct mode_values *v)
{
	return p->bytes == caching ? v->is_wce : v->is_swp;
}

static size_t
put_page(const struct page *p, enum mode_pc pc, const struct mode_values *v, uint8_t *out)
{
	memcpy(out, p->bytes, p->len);
	if (pc == MODE_CHANGEABLE)
		memset(out + 2, 0, p->len - 2);
	if (p->value_bit == 0)
		return p->len;
	out[p->value_at] &= (uint8_t)~p->value_bit;
	if (pc == MODE_CHANGEABLE || value_of(p, v))
		out[p->value_at] |= p->value_bit;
	return p->len;
}

size_t
mode_pages(uint8_t page, uint8_t subpage, enum mode_pc pc, const struct mode_values *v,
    uint8_t out[MODE_PAGES_MAX])
{
	const struct mode_values defaults = MODE_DEFAULT;
	size_t n = 0;

	if (subpage != 0 && !(subpage == SUBPAGE_ALL && page == PAGE_ALL))
		return 0; /* no page has subpages */
	for (size_t i = 0; i < NPAGES; i++) {
		if (page == PAGE_ALL || page == (pages[i].bytes[0] & 0x3f))
			n += put_page(&pages[i], pc, pc == MODE_DEFAULTS ? &defaults : v, out + n);
	}
	return n;
}

static const struct page *
find(uint8_t code)
{
	for (size_t i = 0; i < NPAGES; i++) {
		if ((pages[i].bytes[0] & 0x3f) == code)
			return &pages[i];
	}
	return NULL;
}

/* One page: all that cannot be changed must be as it is. */
static unsigned int
select_page(const uint8_t *in, size_t left, const struct mode_values *now, struct mode_values *out,
    size_t *used, unsigned int *byte)
{
	uint8_t mine[MODE_PAGES_MAX];
	const struct page *p;
	bool value;

	*byte = 0;
	if (left < 2)
		return ASC_PARAMETER_LIST_LENGTH;
	if ((in[0] & 0x40) != 0 || (p = find(in[0] & 0x3f)) == NULL)
		return ASC_INVALID_FIELD_IN_LIST;
	if (in[1] != p->len - 2) {
		*byte = 1;
		return ASC_INVALID_FIELD_IN_LIST;
	}
	if (left < p->len)
		return ASC_PARAMETER_LIST_LENGTH;
	put_page(p, MODE_CURRENT, now, mine);
	for (size_t i = 2; i < p->len; i++) {
		uint8_t mask = i == p->value_at ? (uint8_t)~p->value_bit : 0xff;

		if ((in[i] & mask) != (mine[i] & mask)) {
			*byte = (unsigned int)i;
			return ASC_INVALID_FIELD_IN_LIST;
		}
	}
	*used = p->len;
	if (p->value_bit == 0)
		return 0;
	value = (in[p->value_at] & p->value_bit) != 0;
	if (p->bytes == caching)
		out->is_wce = value;
	else
		out->is_swp = value;
	return 0;
}

/* The block descriptor may only say what is so: capacity (or 0, or all ones) and block length. */
static unsigned int
check_descriptor(const uint8_t *d, size_t len, bool is_long, uint64_t blocks, uint32_t block_bytes,
    unsigned int *byte)
{
	uint64_t n;
	uint32_t size;

	if (len == 0)
		return 0;
	*byte = 0;
	if (len != (is_long ? 16 : 8))
		return ASC_INVALID_FIELD_IN_LIST;
	n = is_long ? scsi_get64(d) : scsi_get32(d);
	size = is_long ? scsi_get32(d + 12) : scsi_get24(d + 5);
	if (n != 0 && n != blocks && n != (is_long ? UINT64_MAX : UINT32_MAX))
		return ASC_INVALID_FIELD_IN_LIST;
	*byte = is_long ? 12 : 5;
	return size == 0 || size == block_bytes ? 0 : ASC_INVALID_FIELD_IN_LIST;
}

unsigned int
mode_select_decode(const uint8_t *list, size_t len, bool is_10, uint64_t blocks,
    uint32_t block_bytes, const struct mode_values *now, struct mode_values *out,
    unsigned int *byte)
{
	size_t head = is_10 ? 8 : 4, desc, used = 0;
	unsigned int asc;

	*out = *now;
	*byte = 0;
	if (len == 0)
		return 0; /* no transfer is no error */
	if (len < head)
		return ASC_PARAMETER_LIST_LENGTH;
	desc = is_10 ? scsi_get16(list + 6) : list[3];
	if (len - head < desc)
		return ASC_PARAMETER_LIST_LENGTH;
	asc = check_descriptor(
	    list + head, desc, is_10 && (list[4] & 1) != 0, blocks, block_bytes, byte);
	*byte += (unsigned int)head;
	for (size_t at = head + desc; asc == 0 && at < len; at += used) {
		asc = select_page(list + at, len - at, now, out, &used, byte);
		*byte += (unsigned int)at;
	}
	return asc;
}
