/* SPDX-License-Identifier: Apache-2.0 */
/* inquiry.c - INQUIRY (SPC-4 6.6) and its vital product data (SPC-4 7.8, SBC-3 6.6). */
#include <stdio.h>
#include <string.h>

#include "frontends/scsi/limits.h"
#include "frontends/scsi/scsi_int.h"

#define STANDARD_LEN 96
#define VPD_MAX 1024

#define VENDOR "Amazon  "	   /* what AWS' gateway says; its udev rule matches the product */
#define PRODUCT "Storage Gateway " /* ATTRS{model}=="Storage Gateway" */
#define REVISION "0001"

bool
scsi_prep_inquiry(struct scsi_task *t)
{
	bool has_evpd = (t->cdb[1] & 1) != 0;

	if ((t->cdb[1] & 2) != 0) /* CMDDT: obsolete */
		return scsi_refuse_cdb(t, 1);
	if (!has_evpd && t->cdb[2] != 0)
		return scsi_refuse_cdb(t, 2);
	return scsi_want_in(t, scsi_get16(t->cdb + 3), VPD_MAX);
}

static void
standard(const struct scsi_task *t, uint8_t *p)
{
	static const uint16_t versions[] = {
	    0x00a0 /* SAM-5 */, 0x0460 /* SPC-4 */, 0x04c0 /* SBC-3 */, 0x0960 /* iSCSI */};

	memset(p, 0, STANDARD_LEN);
	if (!scsi_is_lun_ours(t->lun))
		p[0] = 0x7f; /* no device there, nor can there be */
	p[2] = 6;	     /* SPC-4 */
	p[3] = 0x10 | 2;     /* HISUP, response data format */
	p[4] = STANDARD_LEN - 5;
	p[5] = 0x10 | 0x08; /* TPGS 01b: implicit; 3PC */
	p[7] = 0x02;	    /* CMDQUE */
	memcpy(p + 8, VENDOR, 8);
	memcpy(p + 16, PRODUCT, 16);
	memcpy(p + 32, REVISION, 4);
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		scsi_put16(p + 58 + 2 * i, versions[i]);
}

bool
scsi_run_inquiry(struct scsi_task *t)
{
	uint8_t buf[VPD_MAX];
	size_t len;

	if ((t->cdb[1] & 1) == 0) {
		standard(t, buf);
		scsi_reply(t, buf, STANDARD_LEN);
		return true;
	}
	len = scsi_is_lun_ours(t->lun) ? scsi_vpd(t, t->cdb[2], buf, sizeof(buf)) : 0;
	if (len == 0)
		scsi_sense_cdb(t, 2);
	else
		scsi_reply(t, buf, len);
	return true;
}
