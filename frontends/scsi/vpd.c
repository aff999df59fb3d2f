/* SPDX-License-Identifier: Apache-2.0 */
/* vpd.c - vital product data pages. */
#include <stdio.h>
#include <string.h>

#include "frontends/scsi/cdb.h"
#include "frontends/scsi/limits.h"
#include "frontends/scsi/scsi_int.h"

/* 83h, SPC-4 7.8.6: who this is. Designators of the unit come first: some initiators read 255 bytes. */
static uint8_t *
designator(uint8_t *p, uint8_t protocol_and_set, uint8_t piv_assoc_type, size_t len)
{
	p[0] = protocol_and_set;
	p[1] = piv_assoc_type;
	p[2] = 0;
	p[3] = (uint8_t)len;
	return p + 4;
}

/* A SCSI name string ends in NUL and is padded to 4 bytes (SPC-4 7.8.6.11). */
static uint8_t *
name_string(uint8_t *p, uint8_t piv_assoc_type, const char *name)
{
	size_t len = strlen(name), padded = (len + 4) & ~(size_t)3;

	p = designator(p, 0x50 | 3 /* iSCSI, UTF-8 */, piv_assoc_type, padded);
	memset(p, 0, padded);
	memcpy(p, name, len);
	return p + padded;
}

static size_t
page_identification(struct scsi_task *t, uint8_t *out)
{
	const struct scsi_target *target = t->nexus->target;
	const char *iqn = cw_volume_conf(target->volume)->iqn;
	size_t serial = strlen(target->serial);
	char port_name[256];
	uint8_t *p = out;

	p = designator(p, 1, 3, 8); /* NAA of the unit */
	scsi_put64(p, target->naa);
	p += 8;
	p = designator(p, 2, 1, 8 + serial); /* T10 vendor ID based */
	memcpy(p, "Amazon  ", 8);
	memcpy(p + 8, target->serial, serial);
	p += 8 + serial;
	p = designator(p, 0x50 | 1, 0x94, 4); /* relative target port */
	scsi_put32(p, t->nexus->tag);
	p += 4;
	p = designator(p, 0x50 | 1, 0x95, 4); /* target port group */
	scsi_put32(p, t->nexus->tag);
	p += 4;
	snprintf(port_name, sizeof(port_name), "%.223s,t,0x%04x", iqn, t->nexus->tag);
	p = name_string(p, 0x98, port_name); /* of the target port */
	snprintf(port_name, sizeof(port_name), "%.223s", iqn);
	p = name_string(p, 0xa8, port_name); /* of the target device */
	return (size_t)(p - out);
}

/* 86h, SPC-4 7.8.7 */
static size_t
page_extended(struct scsi_task *t, uint8_t *p)
{
	(void)t;
	memset(p, 0, 60);
	p[1] = 0x07; /* HEADSUP, ORDSUP, SIMPSUP */
	p[2] = 0x01; /* V_SUP: the cache is volatile until it is synchronized */
	return 60;
}

/* 8fh, SPC-4 7.8.17: EXTENDED COPY(LID1) */
static size_t
page_third_party(struct scsi_task *t, uint8_t *out)
{
	static const uint8_t commands[] = {0, 1 /* supported commands */, 0, 12, 8, 0x83, 1, 0x00,
	    0x84, 2, 0x00, 0x03, 0, 0, 0, 0};
	static const uint8_t descriptors[] = {
	    0, 8 /* supported descriptors */, 0, 4, 2, 0x02, 0xe4, 0};
	uint8_t *p = out;

	(void)t;
	memcpy(p, commands, sizeof(commands));
	p += sizeof(commands);
	memset(p, 0, 32);
	p[1] = 0x04; /* parameter data */
	p[3] = 28;
	scsi_put16(p + 8, XCOPY_MAX_TARGETS);
	scsi_put16(p + 10, XCOPY_MAX_SEGMENTS);
	scsi_put32(p + 12, XCOPY_MAX_LIST);
	p += 32;
	memcpy(p, descriptors, sizeof(descriptors));
	p += sizeof(descriptors);
	memset(p, 0, 36);
	scsi_put16(p, 0x8001); /* general copy operations */
	p[3] = 32;
	scsi_put32(p + 4, 64); /* total concurrent copies */
	scsi_put32(p + 8, 64);
	scsi_put32(p + 12, XCOPY_MAX_SEGMENT_BYTES);
	p[16] = 9; /* data segment granularity, log2 */
	p += 36;
	return (size_t)(p - out);
}

/* b0h, SBC-3 6.6.4 */
static size_t
page_limits(struct scsi_task *t, uint8_t *p)
{
	uint32_t size = scsi_block_bytes(t);

	memset(p, 0, 60);
	p -= 4;	  /* offsets as in the standard, from the page's start */
	p[4] = 1; /* WSNZ: WRITE SAME of 0 blocks is not "to the end" */
	p[5] = CAW_MAX_BLOCKS;
	scsi_put16(p + 6, (uint16_t)(PHYSICAL_BLOCK / size)); /* optimal granularity */
	scsi_put32(p + 8, SCSI_IO_MAX / size);
	scsi_put32(p + 12, OPTIMAL_BYTES / size);
	scsi_put32(p + 16, SCSI_IO_MAX / size); /* prefetch */
	scsi_put32(p + 20, UNMAP_MAX_BLOCKS);
	scsi_put32(p + 24, UNMAP_MAX_DESCRIPTORS);
	scsi_put32(p + 28, PHYSICAL_BLOCK / size); /* unmap granularity, aligned at 0: */
	scsi_put32(p + 32, 0x80000000u);	   /* UGAVALID */
	scsi_put64(p + 36, WRITE_SAME_MAX_BLOCKS);
	return 60;
}

/* b1h, SBC-3 6.6.2 */
static size_t
page_characteristics(struct scsi_task *t, uint8_t *p)
{
	(void)t;
	memset(p, 0, 60);
	scsi_put16(p, 1); /* does not rotate */
	return 60;
}

/* b2h, SBC-3 6.6.5 */
static size_t
page_provisioning(struct scsi_task *t, uint8_t *p)
{
	(void)t;
	memset(p, 0, 4);
	p[1] = 0x80 | 0x40 | 0x20 | 0x04; /* LBPU, LBPWS, LBPWS10, LBPRZ */
	p[2] = 2;			  /* thin */
	return 4;
}

static size_t page_list(struct scsi_task *t, uint8_t *p);

static size_t
page_serial(struct scsi_task *t, uint8_t *p)
{
	size_t len = strlen(t->nexus->target->serial);

	memcpy(p, t->nexus->target->serial, len);
	return len;
}

/* ascending */
static const struct {
	uint8_t code;
	size_t (*put)(struct scsi_task *t, uint8_t *p);
} pages[] = {
    {0x00, page_list},
    {0x80, page_serial},
    {0x83, page_identification},
    {0x86, page_extended},
    {0x8f, page_third_party},
    {0xb0, page_limits},
    {0xb1, page_characteristics},
    {0xb2, page_provisioning},
};
#define NPAGES (sizeof(pages) / sizeof(pages[0]))

static size_t
page_list(struct scsi_task *t, uint8_t *p)
{
	(void)t;
	for (size_t i = 0; i < NPAGES; i++)
		p[i] = pages[i].code;
	return NPAGES;
}

size_t
scsi_vpd(struct scsi_task *t, uint8_t page, uint8_t *buf, size_t cap)
{
	size_t len;

	for (size_t i = 0; i < NPAGES; i++) {
		if (pages[i].code != page)
			continue;
		memset(buf, 0, cap);
		len = pages[i].put(t, buf + 4);
		buf[1] = page;
		scsi_put16(buf + 2, (uint16_t)len);
		return len + 4;
	}
	return 0;
}
