/* SPDX-License-Identifier: Apache-2.0 */
/* login.h - the login phase of a connection (RFC 7143 section 6.3). Loop. */
#ifndef ISCSI_LOGIN_H
#define ISCSI_LOGIN_H

#include "frontends/iscsi/conn.h"

/* iscsi_login_pdu - one complete login request. It is answered now, or later while the connection is
 * held. args: c->pdu is its header */
void iscsi_login_pdu(struct iscsi_conn *c, const uint8_t *data, uint32_t len);
/* iscsi_login_end - forget a login that is under way; nothing if there is none. */
void iscsi_login_end(struct iscsi_conn *c);

#endif
