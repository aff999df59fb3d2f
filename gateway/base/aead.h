/* SPDX-License-Identifier: Apache-2.0 */
/* aead.h - AES-256-GCM over libcrypto, one message a call. Any thread. */
#ifndef CW_BASE_AEAD_H
#define CW_BASE_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

#define AEAD_KEY_LEN 32
#define AEAD_NONCE_LEN 12
#define AEAD_TAG_LEN 16

/* aead_seal - encrypt len bytes to out, the tag behind them.
 * args:   nonce never used before with this key; out has len + AEAD_TAG_LEN bytes, may be plain
 * source: NIST SP 800-38D */
void aead_seal(const uint8_t key[AEAD_KEY_LEN], const uint8_t nonce[AEAD_NONCE_LEN],
    const void *aad, size_t aad_len, const void *plain, size_t len, void *out);

/* aead_open - decrypt and check len bytes with the tag behind them.
 * args:   out has len bytes, may be sealed; its content is undefined after an error
 * result: 0, -ERR_CHECKSUM (not what was sealed with this key, nonce and aad) */
int aead_open(const uint8_t key[AEAD_KEY_LEN], const uint8_t nonce[AEAD_NONCE_LEN], const void *aad,
    size_t aad_len, const void *sealed, size_t len, void *out) CW_MUST_CHECK;

#endif
