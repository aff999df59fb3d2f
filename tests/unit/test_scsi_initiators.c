/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What initiators that cannot run here are known to send, in their order, and what they need to hear.  The source of each
 * expectation stands with it.
 */
#include "tests/unit/scsi_fixture.h"

static uint8_t buf[1 << 20];

/* Linux 6.1: drivers/scsi/scsi_scan.c scsi_probe_lun, scsi.c scsi_attach_vpd, sd.c sd_revalidate_disk */
static void
linux_probes_a_disk(void **state)
{
	(void)state;
	GOOD(a, NULL, 0, 36, 0x12, 0, 0, 0, 36, 0);
	assert_int_equal(r.in_len, 36);
	assert_int_equal(r.in[4] + 5, 96); /* then it asks again for so much */
	GOOD(a, NULL, 0, 96, 0x12, 0, 0, 0, 96, 0);
	GOOD(a, NULL, 0, 4096, 0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0);
	assert_int_equal(scsi_get32(r.in), 8);
	GOOD(a, NULL, 0, 255, 0x12, 1, 0, 0, 255,
	    0); /* scsi_attach_vpd: list, 80h, 83h, b0h to b2h */
	GOOD(a, NULL, 0, 255, 0x12, 1, 0x80, 0, 255, 0);
	GOOD(a, NULL, 0, 255, 0x12, 1, 0x83, 0, 255, 0);
	assert_int_equal(
	    r.in[4 + 1] & 0x3f, 3); /* a designator of the unit: what wwid is made of */
	CHECK(a, NULL, 0, 64, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0x12, 1, 0x89, 0, 64,
	    0); /* ATA */
	GOOD(a, NULL, 0, 0, 0, 0, 0, 0, 0, 0);
	GOOD(a, NULL, 0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	assert_int_equal(r.in[14] & 0xc0, 0xc0);
	/* sd_read_block_provisioning, sd_config_discard: LBPU and a MAXIMUM UNMAP LBA COUNT make UNMAP the way to discard */
	GOOD(a, NULL, 0, 64, 0x12, 1, 0xb2, 0, 64, 0);
	assert_int_equal(r.in[5] & 0x80, 0x80);
	GOOD(a, NULL, 0, 64, 0x12, 1, 0xb0, 0, 64, 0);
	assert_true(scsi_get32(r.in + 20) > 0);
	/* sd_read_write_protect_flag, sd_read_cache_type */
	GOOD(a, NULL, 0, 192, 0x1a, 0, 0x3f, 0, 192, 0);
	assert_int_equal(r.in[2] & 0x80, 0);
	GOOD(a, NULL, 0, 4, 0x1a, 0, 8, 0, 4, 0);
	GOOD(a, NULL, 0, 32, 0x1a, 0, 8, 0, 32, 0);
	assert_int_equal(r.in[12] & 0x3f, 8);
	assert_int_equal(
	    r.in[14] & 5, 0); /* write cache disabled, read cache enabled: Linux need not flush */
	assert_int_equal(r.in[2] & 0x10, 0x10);
	/* sd_read_write_same: is 93h there, and 41h? scsi_report_opcode asks with option 1 */
	GOOD(a, NULL, 0, 512, 0xa3, 0x0c, 1, 0x93, 0, 0, 0, 0, 2, 0, 0, 0);
	assert_int_equal(r.in[1] & 7, 3);
	GOOD(a, NULL, 0, 512, 0xa3, 0x0c, 1, 0x41, 0, 0, 0, 0, 2, 0, 0, 0);
	assert_int_equal(r.in[1] & 7, 3);
	/* what it cannot have: SECURITY PROTOCOL IN, zoned and ATA pass-through */
	GOOD(a, NULL, 0, 512, 0xa3, 0x0c, 1, 0xa2, 0, 0, 0, 0, 2, 0, 0, 0);
	assert_int_equal(r.in[1] & 7, 1);
	/* scsi_dh_alua: RTPG with the extended header first */
	GOOD(a, NULL, 0, 1024, 0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0);
	assert_int_equal(r.in[8] & 0x0f, 0);
}

#define KEY_1 0x1111111100000000ull
#define KEY_2 0x2222222200000000ull

static enum scsi_status
pr_out(struct scsi_nexus *n, uint8_t action, uint8_t type, uint64_t key, uint64_t new_key,
    uint8_t flags)
{
	uint8_t cdb[10] = {0x5f, action, type, [8] = 24}, list[24] = {0};

	scsi_put64(list, key);
	scsi_put64(list + 8, new_key);
	list[20] = flags;
	return command(n, cdb, 10, list, 24, 0);
}

static bool
is_holder_key(struct scsi_nexus *n, uint64_t key)
{
	GOOD(n, NULL, 0, 255, 0x5e, 1, 0, 0, 0, 0, 0, 0, 255, 0);
	return scsi_get32(r.in + 4) == 16 && scsi_get64(r.in + 8) == key && r.in[21] == 5;
}

/*
 * Windows failover cluster, "Validate SCSI-3 Persistent Reservation" and "Validate Disk Arbitration".  Steps as the report names
 * them (Microsoft's askcore blog, 2009-04-15, and quantum/esos issue 62: register a key, put a reserve, read it back - "some PR
 * implementations fail to report existing PR" -, preempt from the other node, unregister).  Type 5: write exclusive, registrants only.
 */
static void
windows_validates_a_cluster_disk(void **state)
{
	(void)state;
	assert_int_equal(pr_out(a, 6, 0, 0, KEY_1, 0), SCSI_GOOD); /* register and ignore */
	assert_int_equal(pr_out(a, 1, 5, KEY_1, 0, 0), SCSI_GOOD);
	assert_true(is_holder_key(a, KEY_1));
	/* the other node sees it, may read, may not write */
	assert_true(is_holder_key(b, KEY_1));
	assert_int_equal(block10(b, 0x28, 0, 1, 0, NULL, 0, 512), SCSI_GOOD);
	assert_int_equal(block10(b, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(
	    pr_out(b, 1, 5, KEY_2, 0, 0), SCSI_RESERVATION_CONFLICT); /* not registered */
	assert_int_equal(pr_out(b, 6, 0, 0, KEY_2, 0), SCSI_GOOD);
	assert_int_equal(pr_out(b, 1, 5, KEY_2, 0, 0), SCSI_RESERVATION_CONFLICT); /* defended */
	/* the owner is silent: the challenger preempts it */
	assert_int_equal(pr_out(b, 4, 5, KEY_2, KEY_1, 0), SCSI_GOOD);
	assert_true(is_holder_key(b, KEY_2));
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_UNIT_ATTENTION, ASC_REGISTRATIONS_PREEMPTED);
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(block10(b, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_GOOD);
	/* the reservation outlives a bus reset */
	assert_int_equal(tmf(b, SCSI_LUN_RESET, 0), SCSI_TMF_COMPLETE);
	clear_ua(a);
	clear_ua(b);
	assert_true(is_holder_key(b, KEY_2));
	assert_int_equal(pr_out(b, 2, 5, KEY_2, 0, 0), SCSI_GOOD);
	assert_int_equal(pr_out(b, 6, 0, 0, 0, 0), SCSI_GOOD); /* unregister */
	GOOD(a, NULL, 0, 255, 0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0);
	assert_int_equal(scsi_get32(r.in + 4), 0);
}

/*
 * Pacemaker's fence_scsi: sg_persist -I -S key (-Z: APTPL), type 5; fencing is PREEMPT AND ABORT of the victim's key.  A node
 * that comes back with another ISID registers and preempts its own key (ClusterLabs/fence-agents pull request 529).
 */
static void
fence_scsi_fences_and_comes_back(void **state)
{
	struct scsi_nexus *again;

	(void)state;
	assert_int_equal(pr_out(a, 6, 0, 0, KEY_1, 1), SCSI_GOOD);
	assert_int_equal(pr_out(a, 1, 5, KEY_1, 0, 0), SCSI_GOOD);
	assert_int_equal(pr_out(b, 6, 0, 0, KEY_2, 1), SCSI_GOOD);
	assert_int_equal(block10(b, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_GOOD);
	assert_int_equal(pr_out(a, 5, 5, KEY_1, KEY_2, 0), SCSI_GOOD);
	clear_ua(b);
	assert_int_equal(block10(b, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_RESERVATION_CONFLICT);
	assert_true(is_holder_key(a, KEY_1));
	/* a's host reboots */
	again = scsi_nexus_new(target, "iqn.2026-01.test:a,i,0x00023d0000ff", 1, loops[0]);
	clear_ua(again);
	assert_int_equal(block10(again, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_out(again, 6, 0, 0, KEY_1, 1), SCSI_GOOD);
	assert_int_equal(pr_out(again, 4, 5, KEY_1, KEY_1, 0), SCSI_GOOD);
	assert_true(is_holder_key(again, KEY_1));
	assert_int_equal(block10(again, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_GOOD);
	clear_ua(a);
	assert_int_equal(block10(a, 0x2a, 0, 1, 0, buf, 512, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_out(again, 3, 0, KEY_1, 0, 0), SCSI_GOOD);
	free_nexus(again);
}

/*
 * VMware ESXi, the primitives of "esxcli storage core device vaai status get" (opcodes 89h, 83h, 93h, 42h: VMware's VAAI white
 * paper): all four must be "supported"; VMFS-6 reclaims in units of UNMAP granularity.
 */
static void
vmware_finds_its_primitives(void **state)
{
	static const uint8_t opcodes[] = {0x89, 0x83, 0x93, 0x42};
	uint8_t cdb[16] = {0x89, [13] = 1}, list[24] = {0};
	uint32_t granularity;

	(void)state;
	for (size_t i = 0; i < sizeof(opcodes); i++) {
		GOOD(a, NULL, 0, 255, 0xa3, 0x0c, 3, opcodes[i], 0, 0, 0, 0, 0, 255, 0, 0);
		assert_int_equal(r.in[1] & 7, 3);
	}
	GOOD(a, NULL, 0, 64, 0x12, 1, 0xb0, 0, 64, 0);
	assert_true(r.in[5] >= 1); /* ATS of a block of 512 bytes */
	granularity = scsi_get32(r.in + 28) * 512;
	assert_true(granularity > 0 &&
		    (1 << 20) % granularity == 0); /* VMFS-6 blocks of 1 MiB are multiples */
	/* ATS: a heartbeat slot, taken by one host, contended by the other */
	memset(buf, 0, 512);
	memset(buf + 512, 0xa1, 512);
	scsi_put64(cdb + 2, 8192);
	assert_int_equal(command(a, cdb, 16, buf, 1024, 0), SCSI_GOOD);
	assert_int_equal(command(b, cdb, 16, buf, 1024, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_MISCOMPARE, ASC_MISCOMPARE);
	/* Zero: eager zeroing by 1 MiB */
	memset(buf, 0, 512);
	assert_int_equal(block16(a, 0x93, 16384, 2048, 0, buf, 512, 0), SCSI_GOOD);
	/* Delete: 1 MiB of a VMFS-6 block */
	scsi_put16(list, 22);
	scsi_put16(list + 2, 16);
	scsi_put64(list + 8, 16384);
	scsi_put32(list + 16, 2048);
	GOOD(a, list, 24, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	/* Clone: how large a copy may be */
	GOOD(a, NULL, 0, 64, 0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	assert_true(scsi_get16(r.in + 8) >= 2);
	assert_true(
	    scsi_get32(r.in + 16) >= 4 << 20); /* VMFS3.MaxHWTransferSize is 4 MiB by default */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(linux_probes_a_disk, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(windows_validates_a_cluster_disk, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(fence_scsi_fences_and_comes_back, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(vmware_finds_its_primitives, setup_512, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
