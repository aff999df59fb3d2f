/* SPDX-License-Identifier: Apache-2.0 */
/* Which peers may use a share, and as whom. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/unit/share_fixture.h"

static void
client_list_entries_are_parsed(void **state)
{
	static const struct {
		const char *text;
		int r;
		bool is_v6;
		unsigned int bits;
	} cases[] = {
	    {"10.0.0.0/16", 0, false, 16},
	    {"10.1.2.3", 0, false, 32},
	    {"0.0.0.0/0", 0, false, 0},
	    {"2001:db8::/32", 0, true, 32},
	    {"::1", 0, true, 128},
	    {"10.0.0.0/33", -EINVAL, false, 0},
	    {"2001:db8::/129", -EINVAL, false, 0},
	    {"10.0.0.0/", -EINVAL, false, 0},
	    {"10.0.0.0/-1", -EINVAL, false, 0},
	    {"10.0.0.0/1x", -EINVAL, false, 0},
	    {"10.0.0/8", -EINVAL, false, 0},
	    {"", -EINVAL, false, 0},
	    {"/8", -EINVAL, false, 0},
	    {"host.example", -EINVAL, false, 0},
	    {"10.0.0.0/0000000000000000000000000000000000000008", -EINVAL, false, 0},
	};
	struct cw_client_net net;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(cw_client_net_parse(cases[i].text, &net), cases[i].r);
		if (cases[i].r < 0)
			continue;
		assert_int_equal(net.is_v6, cases[i].is_v6);
		assert_int_equal(net.prefix_bits, cases[i].bits);
	}
	assert_int_equal(cw_client_net_parse(NULL, &net), -EINVAL);
}

static bool
allowed(struct fx *fx, const char *text)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		return cw_export_allows(fx->s, (const struct sockaddr *)&in);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return cw_export_allows(fx->s, (const struct sockaddr *)&in6);
}

static void
set_clients(struct fx *fx, const char *const *list, size_t n)
{
	size_t i;

	free(fx->conf.clients);
	fx->conf.clients = xcalloc(n + 1, sizeof(*fx->conf.clients));
	fx->conf.nclients = n;
	for (i = 0; i < n; i++)
		assert_int_equal(cw_client_net_parse(list[i], &fx->conf.clients[i]), 0);
	assert_int_equal(cw_share_reconfigure(fx->s, &fx->conf), 0);
}

static void
an_empty_list_lets_everybody_in(void **state)
{
	assert_true(allowed(*state, "192.0.2.1"));
	assert_true(allowed(*state, "2001:db8::1"));
}

static void
only_listed_networks_are_let_in(void **state)
{
	static const char *const list[] = {"10.0.0.0/15", "192.0.2.7", "2001:db8::/33"};
	struct fx *fx = *state;

	set_clients(fx, list, 3);
	assert_true(allowed(fx, "10.0.255.1"));
	assert_true(allowed(fx, "10.1.0.1"));
	assert_false(allowed(fx, "10.2.0.1"));
	assert_true(allowed(fx, "192.0.2.7"));
	assert_false(allowed(fx, "192.0.2.8"));
	assert_true(allowed(fx, "::ffff:10.1.0.1"));
	assert_false(allowed(fx, "::ffff:10.2.0.1"));
	assert_true(allowed(fx, "2001:db8:7fff::1"));
	assert_false(allowed(fx, "2001:db8:8000::1"));
	assert_false(allowed(fx, "::1"));
	set_clients(fx, NULL, 0);
}

static void
a_mapped_network_in_the_list_means_v4(void **state)
{
	static const char *const list[] = {"::ffff:10.0.0.0/104"};
	struct fx *fx = *state;

	set_clients(fx, list, 1);
	assert_true(allowed(fx, "10.9.9.9"));
	assert_true(allowed(fx, "::ffff:10.9.9.9"));
	assert_false(allowed(fx, "11.0.0.1"));
	set_clients(fx, NULL, 0);
}

static void
squash(struct fx *fx, enum cw_squash how, const struct cw_cred *in, struct cw_cred *out)
{
	fx->conf.squash = how;
	assert_int_equal(cw_share_reconfigure(fx->s, &fx->conf), 0);
	cw_export_squash(fx->s, in, out);
}

static void
squash_does_what_its_name_says(void **state)
{
	const struct cw_cred root = {.uid = 0, .gid = 0, .ngroups = 2, .groups = {0, 5}};
	const struct cw_cred user = {.uid = 7, .gid = 8, .ngroups = 2, .groups = {0, 5}};
	struct cw_cred c;

	squash(*state, CW_SQUASH_ROOT, &root, &c);
	assert_int_equal(c.uid, 65534);
	assert_int_equal(c.gid, 65534);
	assert_int_equal(c.groups[0], 65534);
	assert_int_equal(c.groups[1], 5);
	squash(*state, CW_SQUASH_ROOT, &user, &c);
	assert_int_equal(c.uid, 7);
	assert_int_equal(c.gid, 8);
	assert_int_equal(c.groups[0], 65534);
	squash(*state, CW_SQUASH_NONE, &root, &c);
	assert_int_equal(c.uid, 0);
	assert_int_equal(c.groups[0], 0);
	squash(*state, CW_SQUASH_ALL, &user, &c);
	assert_int_equal(c.uid, 65534);
	assert_int_equal(c.gid, 65534);
	assert_int_equal(c.ngroups, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(client_list_entries_are_parsed),
	    cmocka_unit_test(an_empty_list_lets_everybody_in),
	    cmocka_unit_test(only_listed_networks_are_let_in),
	    cmocka_unit_test(a_mapped_network_in_the_list_means_v4),
	    cmocka_unit_test(squash_does_what_its_name_says),
	};

	return cmocka_run_group_tests(tests, fx_setup, fx_teardown);
}
