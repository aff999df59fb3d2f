/* SPDX-License-Identifier: Apache-2.0 */
/* Reservations: the rules as a value, the commands over two nexuses, what survives. */
#include "tests/unit/scsi_fixture.h"

#define KEY_A 0xaaaaull
#define KEY_B 0xbbbbull
#define NAME_C "iqn.2026-01.test:c,i,0x00023d000003"

static const enum pr_type types[] = {PR_WRITE_EXCLUSIVE, PR_EXCLUSIVE_ACCESS, PR_WRITE_EXCLUSIVE_RO,
    PR_EXCLUSIVE_ACCESS_RO, PR_WRITE_EXCLUSIVE_AR, PR_EXCLUSIVE_ACCESS_AR};

/* --- commands ------------------------------------------------------------------------------------------ */

static enum scsi_status
pr_out(struct scsi_nexus *n, enum pr_action action, enum pr_type type, uint64_t key,
    uint64_t new_key, uint8_t flags)
{
	uint8_t cdb[10] = {0x5f, (uint8_t)action, (uint8_t)type, [8] = 24}, list[24] = {0};

	scsi_put64(list, key);
	scsi_put64(list + 8, new_key);
	list[20] = flags;
	return command(n, cdb, 10, list, 24, 0);
}

static enum scsi_status
pr_in(struct scsi_nexus *n, uint8_t action, uint16_t alloc)
{
	uint8_t cdb[10] = {0x5e, action};

	scsi_put16(cdb + 7, alloc);
	return command(n, cdb, 10, NULL, 0, alloc);
}

static void
register_both(void)
{
	assert_int_equal(pr_out(a, PR_REGISTER_IGNORE, 0, 0, KEY_A, 0), SCSI_GOOD);
	assert_int_equal(pr_out(b, PR_REGISTER, 0, 0, KEY_B, 0), SCSI_GOOD);
}

static void
assert_reserved(uint64_t key, enum pr_type type)
{
	assert_int_equal(pr_in(a, 1, 255), SCSI_GOOD);
	if (type == PR_NONE) {
		assert_int_equal(scsi_get32(r.in + 4), 0);
		return;
	}
	assert_int_equal(scsi_get32(r.in + 4), 16);
	assert_true(scsi_get64(r.in + 8) == key);
	assert_int_equal(r.in[21], type);
}

static uint8_t buf[4096];

static bool
can_read(struct scsi_nexus *n)
{
	enum scsi_status s = block10(n, 0x28, 0, 1, 0, NULL, 0, 512);

	assert_true(s == SCSI_GOOD || s == SCSI_RESERVATION_CONFLICT);
	return s == SCSI_GOOD;
}

static bool
can_write(struct scsi_nexus *n)
{
	enum scsi_status s = block10(n, 0x2a, 0, 1, 0, buf, 512, 0);

	assert_true(s == SCSI_GOOD || s == SCSI_RESERVATION_CONFLICT);
	return s == SCSI_GOOD;
}

/* iscsi-test-cu ProutReserve.Access*, ProutReserve.Simple; SPC-4 table 66 */
static void
each_type_lets_in_whom_it_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		enum pr_type type = types[i];
		bool is_we = type == PR_WRITE_EXCLUSIVE || type == PR_WRITE_EXCLUSIVE_RO ||
			     type == PR_WRITE_EXCLUSIVE_AR;
		bool is_for_registrants = type >= PR_WRITE_EXCLUSIVE_RO;

		register_both();
		assert_int_equal(pr_out(a, PR_RESERVE, type, KEY_A, 0, 0), SCSI_GOOD);
		assert_reserved(pr_type_is_all_registrants(type) ? 0 : KEY_A, type);
		assert_int_equal(pr_out(a, PR_RESERVE, type, KEY_A, 0, 0), SCSI_GOOD); /* again */
		assert_true(can_read(a) && can_write(a));
		assert_int_equal(can_read(b), is_we || is_for_registrants);
		assert_int_equal(can_write(b), is_for_registrants);
		assert_int_equal(pr_out(b, PR_REGISTER, 0, KEY_B, 0, 0), SCSI_GOOD);
		assert_int_equal(can_read(b), is_we);
		assert_false(can_write(b));
		assert_int_equal(pr_out(a, PR_RELEASE, type, KEY_A, 0, 0), SCSI_GOOD);
		assert_reserved(0, PR_NONE);
		assert_true(can_write(b));
		assert_int_equal(pr_out(a, PR_REGISTER, 0, KEY_A, 0, 0), SCSI_GOOD);
	}
}

/* iscsi-test-cu ProutReserve.Ownership* */
static void
unregistering_the_holder_ends_what_was_its_own(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		enum pr_type type = types[i];

		register_both();
		assert_int_equal(pr_out(a, PR_RESERVE, type, KEY_A, 0, 0), SCSI_GOOD);
		assert_int_equal(pr_out(a, PR_REGISTER, 0, KEY_A, 0, 0), SCSI_GOOD);
		if (pr_type_is_all_registrants(type)) {
			assert_reserved(0, type);
			assert_int_equal(pr_out(b, PR_RELEASE, type, KEY_B, 0, 0), SCSI_GOOD);
		} else if (type >= PR_WRITE_EXCLUSIVE_RO) {
			CHECK(b, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_RESERVATIONS_RELEASED, 0, 0, 0,
			    0, 0, 0);
		}
		assert_reserved(0, PR_NONE);
		assert_int_equal(pr_out(b, PR_REGISTER, 0, KEY_B, 0, 0), SCSI_GOOD);
		assert_int_equal(pr_in(a, 0, 255), SCSI_GOOD);
		assert_int_equal(scsi_get32(r.in + 4), 0);
	}
}

/* iscsi-test-cu ProutRegister.Simple, PrinReadKeys.*, ProutClear.Simple */
static void
keys_are_kept_and_told(void **state)
{
	uint32_t gen;

	(void)state;
	assert_int_equal(pr_out(a, PR_REGISTER, 0, KEY_A, KEY_B, 0), SCSI_RESERVATION_CONFLICT);
	register_both();
	assert_int_equal(pr_out(a, PR_REGISTER, 0, 0, KEY_A + 1, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_out(a, PR_REGISTER, 0, KEY_A + 1, 5, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_in(a, 0, 8), SCSI_GOOD);
	assert_int_equal(r.in_len, 8);
	assert_int_equal(scsi_get32(r.in + 4), 16); /* not cut by the allocation length */
	assert_int_equal(pr_in(b, 0, 255), SCSI_GOOD);
	assert_true(scsi_get64(r.in + 8) == KEY_A && scsi_get64(r.in + 16) == KEY_B);
	gen = scsi_get32(r.in);
	assert_int_equal(
	    pr_out(a, PR_RESERVE, PR_EXCLUSIVE_ACCESS, KEY_B, 0, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_out(a, PR_RESERVE, PR_EXCLUSIVE_ACCESS, KEY_A, 0, 0), SCSI_GOOD);
	assert_int_equal(
	    pr_out(b, PR_RESERVE, PR_EXCLUSIVE_ACCESS, KEY_B, 0, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_out(b, PR_RELEASE, PR_EXCLUSIVE_ACCESS, KEY_B, 0, 0),
	    SCSI_GOOD); /* not the holder */
	assert_int_equal(
	    pr_out(a, PR_RELEASE, PR_WRITE_EXCLUSIVE, KEY_A, 0, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_RELEASE);
	assert_int_equal(pr_out(a, PR_RESERVE, 2, KEY_A, 0, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
	assert_int_equal(pr_in(b, 3, 4096), SCSI_GOOD);
	assert_int_equal(r.in[8 + 12], 1);
	assert_int_equal(r.in[8 + 13], PR_EXCLUSIVE_ACCESS);
	assert_int_equal(scsi_get16(r.in + 8 + 18), 1);
	assert_int_equal(r.in[8 + 24], 0x45);
	assert_string_equal((char *)r.in + 8 + 28, NAME_A);
	assert_int_equal(scsi_get32(r.in + 4) % 4, 0);
	assert_int_equal(pr_in(b, 2, 8), SCSI_GOOD);
	assert_int_equal(scsi_get16(r.in), 8);
	assert_int_equal(r.in[2], 0x1d);
	assert_int_equal(scsi_get16(r.in + 4), 0xea01);
	assert_int_equal(pr_out(b, PR_CLEAR, 0, KEY_B, 0, 0), SCSI_GOOD);
	CHECK(a, NULL, 0, 0, KEY_UNIT_ATTENTION, ASC_RESERVATIONS_PREEMPTED, 0, 0, 0, 0, 0, 0);
	assert_int_equal(pr_in(a, 0, 255), SCSI_GOOD);
	assert_int_equal(scsi_get32(r.in), gen + 1);
	assert_int_equal(scsi_get32(r.in + 4), 0);
}

/* iscsi-test-cu ProutPreempt; the failover cluster validation of Windows ousts the owner so */
static void
preempt_takes_the_reservation(void **state)
{
	uint32_t gen;

	(void)state;
	register_both();
	assert_int_equal(pr_out(a, PR_RESERVE, PR_WRITE_EXCLUSIVE_RO, KEY_A, 0, 0), SCSI_GOOD);
	assert_int_equal(pr_in(a, 0, 255), SCSI_GOOD);
	gen = scsi_get32(r.in);
	assert_int_equal(pr_out(b, PR_PREEMPT, PR_WRITE_EXCLUSIVE_RO, KEY_B, 0x123, 0),
	    SCSI_RESERVATION_CONFLICT);
	assert_int_equal(
	    pr_out(b, PR_PREEMPT, PR_WRITE_EXCLUSIVE_RO, KEY_B, 0, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST);
	assert_int_equal(pr_out(b, PR_PREEMPT, PR_WRITE_EXCLUSIVE_RO, KEY_B, KEY_A, 0), SCSI_GOOD);
	assert_int_equal(block10(a, 0x28, 0, 1, 0, NULL, 0, 512), SCSI_CHECK_CONDITION);
	assert_check(KEY_UNIT_ATTENTION, ASC_REGISTRATIONS_PREEMPTED);
	assert_reserved(KEY_B, PR_WRITE_EXCLUSIVE_RO);
	assert_true(can_read(a));
	assert_false(can_write(a));
	assert_int_equal(pr_in(a, 0, 255), SCSI_GOOD);
	assert_int_equal(scsi_get32(r.in), gen + 1);
	assert_int_equal(scsi_get32(r.in + 4), 8);
	/* the ousted node comes back: registers again, and may write as a registrant */
	assert_int_equal(pr_out(a, PR_REGISTER_IGNORE, 0, 0, KEY_A, 0), SCSI_GOOD);
	assert_true(can_write(a));
	/* its own registration only, no reservation of it: key of another one removed */
	assert_int_equal(
	    pr_out(b, PR_PREEMPT_ABORT, PR_WRITE_EXCLUSIVE_RO, KEY_B, KEY_A, 0), SCSI_GOOD);
	clear_ua(a);
	assert_false(can_write(a));
	assert_reserved(KEY_B, PR_WRITE_EXCLUSIVE_RO);
}

static void
preempt_and_abort_ends_the_writes_of_the_ousted(void **state)
{
	const uint8_t cdb[10] = {0x2a, 0, 0, 0, 0, 0, 0, 0, 1};
	const uint8_t out[10] = {0x5f, PR_PREEMPT_ABORT, PR_WRITE_EXCLUSIVE, [8] = 24};
	uint8_t list[24] = {0};
	struct io *write, *waits, *preempt;

	(void)state;
	register_both();
	assert_int_equal(pr_out(a, PR_RESERVE, PR_WRITE_EXCLUSIVE, KEY_A, 0, 0), SCSI_GOOD);
	fake_is_held = true;
	write = io_new(a, cdb, 10, buf, 512, 0);
	io_send(write);
	waits = io_new(a, cdb, 10, buf, 512, 0);
	waits->is_gathering = true; /* its Data-Out has not come */
	io_send(waits);
	on_loop(a->loop, nothing, NULL); /* both have begun: the ousting comes by another loop */
	scsi_put64(list, KEY_B);
	scsi_put64(list + 8, KEY_A);
	preempt = io_new(b, out, 10, list, 24, 0);
	io_send(preempt);
	io_take(waits);
	assert_int_equal(r.status, SCSI_TASK_ABORTED);
	assert_false(r.is_aborted); /* TAS: the initiator is told */
	usleep(20000);
	assert_int_equal(sem_trywait(&preempt->ended), -1); /* not before the write has ended */
	assert_int_equal(fake_release(), 1);
	io_take(write);
	assert_int_equal(r.status, SCSI_TASK_ABORTED);
	io_take(preempt);
	assert_int_equal(r.status, SCSI_GOOD);
	clear_ua(a);
	assert_false(can_write(a));
	assert_true(can_write(b));
}

/* A write that gathered its data while the reservation was taken from it must not land. */
static void
a_write_that_began_before_a_preempt_does_not_land(void **state)
{
	const uint8_t cdb[10] = {0x2a, 0, 0, 0, 0, 0, 0, 0, 1};
	struct io *write;

	(void)state;
	register_both();
	memset(buf, 'w', 512);
	write = io_new(a, cdb, 10, buf, 512, 0);
	write->is_gathering = true;
	io_send(write);
	on_loop(a->loop, nothing, NULL);
	assert_int_equal(pr_out(b, PR_RESERVE, PR_EXCLUSIVE_ACCESS, KEY_B, 0, 0), SCSI_GOOD);
	write->post.fn = io_execute_later;
	loop_post(loops[0], &write->post);
	io_take(write);
	assert_int_equal(r.status, SCSI_RESERVATION_CONFLICT);
	assert_int_equal(volume->data[0], 0);
}

/* SPC-4 table 66, SBC-3 table 13: rows by command; columns: WE and EA of another one, not registered */
static void
the_table_of_commands_under_reservations(void **state)
{
	static const struct {
		uint8_t cdb[16];
		uint8_t len;
		bool is_ok_we, is_ok_ea;
	} rows[] = {
	    {{0x00}, 6, true, true},			/* TEST UNIT READY */
	    {{0x03, 0, 0, 0, 18}, 6, true, true},	/* REQUEST SENSE */
	    {{0x12, 0, 0, 0, 36}, 6, true, true},	/* INQUIRY */
	    {{0x15, 0x10}, 6, false, false},		/* MODE SELECT */
	    {{0x1a, 0, 0x3f, 0, 255}, 6, true, false},	/* MODE SENSE */
	    {{0x1b, 0, 0, 0, 1}, 6, true, true},	/* START */
	    {{0x1b}, 6, false, false},			/* STOP */
	    {{0x1e}, 6, true, true},			/* ALLOW */
	    {{0x1e, 0, 0, 0, 1}, 6, false, false},	/* PREVENT */
	    {{0x25}, 10, true, true},			/* READ CAPACITY */
	    {{0x28, [8] = 1}, 10, true, false},		/* READ */
	    {{0x2a}, 10, false, false},			/* WRITE */
	    {{0x2f, [8] = 1}, 10, true, false},		/* VERIFY */
	    {{0x34, [8] = 1}, 10, true, false},		/* PRE-FETCH */
	    {{0x35}, 10, false, false},			/* SYNCHRONIZE CACHE */
	    {{0x42}, 10, false, false},			/* UNMAP */
	    {{0x5e, 0, [8] = 8}, 10, true, true},	/* PERSISTENT RESERVE IN */
	    {{0x83}, 16, false, false},			/* EXTENDED COPY */
	    {{0x84, 3, [13] = 64}, 16, false, false},	/* RECEIVE COPY RESULTS */
	    {{0x88, [13] = 1}, 16, true, false},	/* READ(16) */
	    {{0x89}, 16, false, false},			/* COMPARE AND WRITE */
	    {{0x8b}, 16, false, false},			/* ORWRITE */
	    {{0x9e, 0x10, [13] = 32}, 16, true, true},	/* READ CAPACITY(16) */
	    {{0x9e, 0x12, [13] = 24}, 16, true, false}, /* GET LBA STATUS */
	    {{0xa0, [9] = 16}, 12, true, true},		/* REPORT LUNS */
	    {{0xa3, 0x0a, [9] = 255}, 12, true, true},	/* REPORT TARGET PORT GROUPS */
	    {{0xa3, 0x0c, [9] = 255}, 12, true, false}, /* REPORT SUPPORTED OPERATION CODES */
	};

	(void)state;
	assert_int_equal(pr_out(a, PR_REGISTER_IGNORE, 0, 0, KEY_A, 0), SCSI_GOOD);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		bool is_we = types[i] == PR_WRITE_EXCLUSIVE || types[i] == PR_WRITE_EXCLUSIVE_RO ||
			     types[i] == PR_WRITE_EXCLUSIVE_AR;

		assert_int_equal(pr_out(a, PR_RESERVE, types[i], KEY_A, 0, 0), SCSI_GOOD);
		for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++) {
			bool ok = is_we ? rows[j].is_ok_we : rows[j].is_ok_ea;

			assert_int_equal(command(b, rows[j].cdb, rows[j].len, NULL, 0, 255),
			    ok ? SCSI_GOOD : SCSI_RESERVATION_CONFLICT);
			if (rows[j].cdb[0] != 0x15)
				assert_int_equal(
				    command(a, rows[j].cdb, rows[j].len, NULL, 0, 255), SCSI_GOOD);
		}
		assert_int_equal(pr_out(a, PR_RELEASE, types[i], KEY_A, 0, 0), SCSI_GOOD);
	}
}

/* iscsi-test-cu Reserve6.*; SPC-4 5.13.3 with CRH = 1 */
static void
reserve_and_release_beside_persistent_reservations(void **state)
{
	(void)state;
	GOOD(a, NULL, 0, 0, 0x16, 0, 0, 0, 0, 0);
	GOOD(a, NULL, 0, 0, 0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(
	    command(b, CDB(0x16, 0, 0, 0, 0, 0), NULL, 0, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(
	    command(b, CDB(0x1a, 0, 0x3f, 0, 255, 0), NULL, 0, 255), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(
	    command(b, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 255), SCSI_RESERVATION_CONFLICT);
	GOOD(b, NULL, 0, 96, 0x12, 0, 0, 0, 96, 0);
	GOOD(b, NULL, 0, 0, 0x17, 0, 0, 0, 0, 0); /* no effect */
	assert_false(can_read(b));
	assert_int_equal(pr_out(a, PR_REGISTER_IGNORE, 0, 0, KEY_A, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_in(a, 0, 255), SCSI_RESERVATION_CONFLICT);
	GOOD(a, NULL, 0, 0, 0x17, 0, 0, 0, 0, 0);
	GOOD(b, NULL, 0, 0, 0x16, 0, 0, 0, 0, 0);
	assert_false(can_read(a));
	/* nexus loss releases */
	free_nexus(b);
	b = scsi_nexus_new(target, NAME_B, 1, loops[1]);
	assert_true(can_read(a));
	clear_ua(b);
	/* a logical unit reset does, too */
	GOOD(b, NULL, 0, 0, 0x16, 0, 0, 0, 0, 0);
	assert_int_equal(tmf(a, SCSI_LUN_RESET, 0), SCSI_TMF_COMPLETE);
	clear_ua(a);
	clear_ua(b);
	assert_true(can_write(a));
	/* registrations but no reservation: nobody gets in by RESERVE */
	register_both();
	assert_int_equal(
	    command(a, CDB(0x16, 0, 0, 0, 0, 0), NULL, 0, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_out(a, PR_RESERVE, PR_WRITE_EXCLUSIVE_RO, KEY_A, 0, 0), SCSI_GOOD);
	GOOD(a, NULL, 0, 0, 0x16, 0, 0, 0, 0, 0);
	GOOD(b, NULL, 0, 0, 0x16, 0, 0, 0, 0, 0); /* a registrant: GOOD, and nothing happens */
	assert_true(can_write(a));
	GOOD(b, NULL, 0, 0, 0x17, 0, 0, 0, 0, 0);
	assert_reserved(KEY_A, PR_WRITE_EXCLUSIVE_RO);
	assert_int_equal(pr_out(a, PR_CLEAR, 0, KEY_A, 0, 0), SCSI_GOOD);
}

static enum scsi_status
register_and_move(
    struct scsi_nexus *n, uint64_t key, uint64_t new_key, const char *to, uint8_t flags)
{
	uint8_t cdb[10] = {0x5f, PR_REGISTER_MOVE}, list[24 + 64] = {0};
	size_t id = (4 + strlen(to) + 1 + 3) & ~(size_t)3;

	scsi_put64(list, key);
	scsi_put64(list + 8, new_key);
	list[17] = flags;
	scsi_put16(list + 18, 1);
	scsi_put32(list + 20, (uint32_t)id);
	list[24] = 0x45;
	scsi_put16(list + 26, (uint16_t)(id - 4));
	memcpy(list + 28, to, strlen(to));
	scsi_put32(cdb + 5, (uint32_t)(24 + id));
	return command(n, cdb, 10, list, 24 + id, 0);
}

static void
register_and_move_hands_the_reservation_over(void **state)
{
	(void)state;
	assert_int_equal(pr_out(a, PR_REGISTER_IGNORE, 0, 0, KEY_A, 0), SCSI_GOOD);
	assert_int_equal(register_and_move(a, KEY_A, KEY_B, NAME_B, 0), SCSI_RESERVATION_CONFLICT);
	assert_int_equal(pr_out(a, PR_RESERVE, PR_WRITE_EXCLUSIVE, KEY_A, 0, 0), SCSI_GOOD);
	assert_int_equal(register_and_move(a, KEY_A, KEY_B, NAME_A, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST);
	assert_int_equal(register_and_move(a, KEY_A, 0, NAME_B, 0), SCSI_CHECK_CONDITION);
	assert_int_equal(
	    register_and_move(a, KEY_A, KEY_B, NAME_B, 2), SCSI_GOOD); /* and unregisters a */
	assert_reserved(KEY_B, PR_WRITE_EXCLUSIVE);
	assert_true(can_write(b));
	assert_false(can_write(a));
	assert_int_equal(pr_in(a, 0, 255), SCSI_GOOD);
	assert_int_equal(scsi_get32(r.in + 4), 8);
	assert_int_equal(pr_out(b, PR_CLEAR, 0, KEY_B, 0, 0), SCSI_GOOD);
}

static void
others_can_be_registered_along(void **state)
{
	uint8_t cdb[10] = {0x5f, PR_REGISTER}, list[28 + 40] = {0};

	(void)state;
	scsi_put64(list + 8, KEY_A);
	list[20] = 8; /* SPEC_I_PT */
	scsi_put32(list + 24, 40);
	list[28] = 0x45;
	scsi_put16(list + 30, 36);
	memcpy(list + 32, NAME_B, strlen(NAME_B));
	cdb[8] = sizeof(list);
	assert_int_equal(command(a, cdb, 10, list, sizeof(list), 0), SCSI_GOOD);
	assert_int_equal(pr_in(a, 0, 255), SCSI_GOOD);
	assert_int_equal(scsi_get32(r.in + 4), 16);
	assert_int_equal(pr_out(b, PR_RESERVE, PR_EXCLUSIVE_ACCESS, KEY_A, 0, 0), SCSI_GOOD);
	assert_false(can_read(a));
	assert_int_equal(command(a, cdb, 10, list, 24, 0), SCSI_CHECK_CONDITION); /* cut */
	assert_check(KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	assert_int_equal(pr_out(b, PR_CLEAR, 0, KEY_A, 0, 0), SCSI_GOOD);
	clear_ua(a);
	/* ALL_TG_PT: the registration holds through other ports */
	assert_int_equal(pr_out(a, PR_REGISTER, 0, 0, KEY_A, 4), SCSI_GOOD);
	free_nexus(a);
	a = scsi_nexus_new(target, NAME_A, 2, loops[0]);
	clear_ua(a);
	assert_int_equal(pr_out(a, PR_RESERVE, PR_EXCLUSIVE_ACCESS, KEY_A, 0, 0), SCSI_GOOD);
	assert_true(can_write(a));
}

/* --- what survives ------------------------------------------------------------------------------------- */

static void
reopen(void)
{
	free_nexus(a);
	free_nexus(b);
	scsi_target_put(target);
	target = scsi_target_get(volume);
	a = scsi_nexus_new(target, NAME_A, 1, loops[0]);
	b = scsi_nexus_new(target, NAME_B, 1, loops[1]);
	clear_ua(a);
	clear_ua(b);
}

/* The process ends: what was kept in memory is gone. */
static void
restart(void)
{
	free_nexus(a);
	free_nexus(b);
	scsi_target_put(target);
	scsi_stop();
	target = scsi_target_get(volume);
	a = scsi_nexus_new(target, NAME_A, 1, loops[0]);
	b = scsi_nexus_new(target, NAME_B, 1, loops[1]);
	clear_ua(a);
	clear_ua(b);
}

static void
reservations_survive_logout_and_with_aptpl_a_restart(void **state)
{
	(void)state;
	fake_pr_saves = 0;
	register_both();
	assert_int_equal(pr_out(a, PR_RESERVE, PR_WRITE_EXCLUSIVE, KEY_A, 0, 0), SCSI_GOOD);
	assert_int_equal(atomic_load(&fake_pr_saves), 0);
	reopen();
	assert_reserved(KEY_A, PR_WRITE_EXCLUSIVE);
	assert_false(can_write(b));
	restart();
	assert_reserved(0, PR_NONE);
	assert_int_equal(pr_out(a, PR_REGISTER_IGNORE, 0, 0, KEY_A, 1), SCSI_GOOD);
	assert_int_equal(pr_out(a, PR_RESERVE, PR_EXCLUSIVE_ACCESS_RO, KEY_A, 0, 0), SCSI_GOOD);
	assert_int_equal(atomic_load(&fake_pr_saves), 2);
	assert_int_equal(pr_in(a, 2, 8), SCSI_GOOD);
	assert_int_equal(r.in[3], 0x81); /* PTPL_A */
	restart();
	assert_reserved(KEY_A, PR_EXCLUSIVE_ACCESS_RO);
	assert_false(can_read(b));
	assert_int_equal(pr_out(b, PR_REGISTER_IGNORE, 0, 0, KEY_B, 1), SCSI_GOOD);
	restart();
	assert_true(can_write(b));
	/* what could not be made durable did not happen */
	fake_pr_save_result = -EIO;
	assert_int_equal(pr_out(a, PR_CLEAR, 0, KEY_A, 0, 0), SCSI_CHECK_CONDITION);
	assert_check(KEY_MEDIUM_ERROR, ASC_WRITE_ERROR);
	assert_reserved(KEY_A, PR_EXCLUSIVE_ACCESS_RO);
	fake_pr_save_result = 0;
	assert_int_equal(pr_out(a, PR_CLEAR, 0, KEY_A, 0, 0), SCSI_GOOD);
	clear_ua(b);
	restart();
	assert_int_equal(pr_in(a, 0, 255), SCSI_GOOD);
	assert_int_equal(scsi_get32(r.in + 4), 0);
	assert_string_equal(volume->pr_text, "");
}

static void
saved_mode_values_survive_and_others_do_not(void **state)
{
	uint8_t list[] = {
	    0, 0, 0, 0, 0x08, 18, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

	(void)state;
	GOOD(a, list, sizeof(list), 0, 0x15, 0x10, 0, 0, sizeof(list), 0);
	GOOD(a, NULL, 0, 255, 0x1a, 8, 0x08, 0, 255, 0);
	assert_int_equal(r.in[6], 4);
	GOOD(a, NULL, 0, 255, 0x1a, 8, 0xc8, 0, 255, 0);
	assert_int_equal(r.in[6], 0);
	restart();
	GOOD(a, NULL, 0, 255, 0x1a, 8, 0x08, 0, 255, 0);
	assert_int_equal(r.in[6], 0);
	assert_true(atomic_load(&target->is_write_through));
	/* Linux: "write back" into cache_type saves, since the page says PS (drivers/scsi/sd.c) */
	GOOD(a, list, sizeof(list), 0, 0x15, 0x11, 0, 0, sizeof(list), 0);
	clear_ua(b);
	restart();
	GOOD(a, NULL, 0, 255, 0x1a, 8, 0x08, 0, 255, 0);
	assert_int_equal(r.in[6], 4);
	assert_false(atomic_load(&target->is_write_through));
	list[6] = 0;
	GOOD(a, list, sizeof(list), 0, 0x15, 0x11, 0, 0, sizeof(list), 0);
	assert_string_equal(volume->pr_text, "");
	list[7] = 1; /* a field that cannot be changed */
	CHECK(a, list, sizeof(list), 0, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST, 0x15, 0x10,
	    0, 0, sizeof(list), 0);
	CHECK(a, list, 10, 0, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH, 0x15, 0x10, 0, 0, 10,
	    0);
	CHECK(a, list, sizeof(list), 0, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB, 0x15, 0, 0,
	    0, sizeof(list), 0);
}

static void
damaged_text_is_no_reservation(void **state)
{
	static const char *const bad[] = {"pr 1 5 1 1 0\n", "pr 1 5 1 2 0\nreg 1 1 0 x\n",
	    "reg 0 1 0 x\n", "reg 1 1 0 \n", "pr 1 1 1 0 -1\nreg 1 1 0 x\nreg 2 1 0 X\n", "pr\n",
	    "pr 1 1 1 1 3\nreg 1 1 0 x\n"};
	struct pr_state *s = xcalloc(1, sizeof(*s));
	char *text;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(pr_text_parse(bad[i], s), i == 5 ? 0 : -EINVAL);
		assert_int_equal(s->n, 0);
		assert_true(pr_check(s));
	}
	assert_int_equal(
	    pr_text_parse(
		"mode 0 1\nfuture x\npr 1 7 1 8 -1\nreg 00000000000000ff 3 1 iqn.x,i,0x1\n", s),
	    0);
	assert_int_equal(s->generation, 7);
	assert_int_equal(s->type, PR_EXCLUSIVE_ACCESS_AR);
	assert_int_equal(s->regs[0].key, 0xff);
	text = pr_text_print(s);
	assert_string_equal(text, "pr 1 7 1 8 -1\nreg 00000000000000ff 3 1 iqn.x,i,0x1\n");
	free(text);
	free(s);
}

/* Long random sequences keep the invariants, and the text keeps all of it. */
static void
random_requests_keep_the_invariants(void **state)
{
	static struct pr_state s, back;
	static struct pr_request q;
	static struct pr_effects fx;
	char names[4][8] = {"w", "x", "y", "z"};
	unsigned int seed = 1, ok = 0;

	(void)state;
	s.holder = -1;
	for (int i = 0; i < 20000; i++) {
		struct pr_who who = {names[rand_r(&seed) % 4], (uint16_t)(1 + rand_r(&seed) % 2)};
		int me = pr_find(&s, who.name, who.port);

		memset(&q, 0, sizeof(q));
		q.action = (enum pr_action)(rand_r(&seed) % PR_ACTION_MAX);
		q.type = (uint8_t)(rand_r(&seed) % 10);
		q.key = rand_r(&seed) % 4 != 0 && me >= 0 ? s.regs[me].key
							  : (uint64_t)(rand_r(&seed) % 4);
		q.new_key = (uint64_t)(rand_r(&seed) % 4);
		q.is_all_ports = rand_r(&seed) % 8 == 0;
		q.is_aptpl = rand_r(&seed) % 2;
		q.is_unreg = rand_r(&seed) % 2;
		if (q.action == PR_REGISTER_MOVE) {
			q.nspec = 1;
			q.move_port = 1;
			memcpy(q.spec[0], names[rand_r(&seed) % 4], 2);
		}
		back = s;
		if (pr_apply(&s, &q, &who, &fx) != PR_OK)
			assert_memory_equal(&back, &s, sizeof(s));
		else
			ok++;
		assert_true(pr_check(&s));
		if (i % 100 == 0) {
			char *text = pr_text_print(&s);

			assert_int_equal(pr_text_parse(text, &back), 0);
			assert_memory_equal(&back, &s, sizeof(s));
			free(text);
		}
	}
	assert_true(ok > 2000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(each_type_lets_in_whom_it_should, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		unregistering_the_holder_ends_what_was_its_own, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(keys_are_kept_and_told, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(preempt_takes_the_reservation, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		preempt_and_abort_ends_the_writes_of_the_ousted, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		a_write_that_began_before_a_preempt_does_not_land, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		the_table_of_commands_under_reservations, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		reserve_and_release_beside_persistent_reservations, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		register_and_move_hands_the_reservation_over, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(others_can_be_registered_along, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		reservations_survive_logout_and_with_aptpl_a_restart, setup_512, teardown),
	    cmocka_unit_test_setup_teardown(
		saved_mode_values_survive_and_others_do_not, setup_512, teardown),
	    cmocka_unit_test(damaged_text_is_no_reservation),
	    cmocka_unit_test(random_requests_keep_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
