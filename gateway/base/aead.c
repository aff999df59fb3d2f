/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/aead.h"

#include <openssl/evp.h>

#include "gateway/base/log.h"

/* begin - a context with key, nonce and additional data in it; lengths are ours, so it cannot fail
 * but for lack of memory. */
static EVP_CIPHER_CTX *
begin(const uint8_t *key, const uint8_t *nonce, const void *aad, size_t aad_len, int is_encryption)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	CW_ASSERT(ctx != NULL);
	CW_ASSERT(EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, is_encryption) == 1);
	CW_ASSERT(EVP_CipherUpdate(ctx, NULL, &n, aad, (int)aad_len) == 1);
	return ctx;
}

void
aead_seal(const uint8_t key[AEAD_KEY_LEN], const uint8_t nonce[AEAD_NONCE_LEN], const void *aad,
    size_t aad_len, const void *plain, size_t len, void *out)
{
	EVP_CIPHER_CTX *ctx = begin(key, nonce, aad, aad_len, 1);
	uint8_t *p = out;
	int n;

	CW_ASSERT(EVP_CipherUpdate(ctx, p, &n, plain, (int)len) == 1 && (size_t)n == len);
	CW_ASSERT(EVP_CipherFinal_ex(ctx, p + len, &n) == 1 && n == 0);
	CW_ASSERT(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, p + len) == 1);
	EVP_CIPHER_CTX_free(ctx);
}

int
aead_open(const uint8_t key[AEAD_KEY_LEN], const uint8_t nonce[AEAD_NONCE_LEN], const void *aad,
    size_t aad_len, const void *sealed, size_t len, void *out)
{
	EVP_CIPHER_CTX *ctx = begin(key, nonce, aad, aad_len, 0);
	const uint8_t *p = sealed;
	uint8_t tag[AEAD_TAG_LEN];
	int n, ok;

	for (size_t i = 0; i < sizeof(tag); i++)
		tag[i] = p[len + i];
	CW_ASSERT(EVP_CipherUpdate(ctx, out, &n, p, (int)len) == 1 && (size_t)n == len);
	CW_ASSERT(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, tag) == 1);
	ok = EVP_CipherFinal_ex(ctx, (uint8_t *)out + len, &n);
	EVP_CIPHER_CTX_free(ctx);
	return ok == 1 ? 0 : -ERR_CHECKSUM;
}
