/* SPDX-License-Identifier: Apache-2.0 */
/* vol_frame.h - the frames of log objects: compression, encryption, checksum (FORMAT.md, Frame). */
#ifndef VOLUME_VOL_FRAME_H
#define VOLUME_VOL_FRAME_H

#include "gateway/volume/vol_format.h"

#define VOL_FRAME_STORED_MAX (VOL_FRAME_BYTES + 16u)
#define VOL_KEY_CHECK_LEN 16

/* Scratch memory of one thread at a time: compression contexts, a frame. */
struct vol_coder;
struct vol_coder *vol_coder_new(void);
void vol_coder_free(struct vol_coder *c); /* NULL is allowed */

/* vol_object_key - the key of one log object. */
void vol_object_key(const uint8_t volume_key[32], const uint8_t uuid[VOL_UUID_LEN], uint32_t term,
    uint64_t seq, uint8_t out[32]);
void vol_key_check(
    const uint8_t volume_key[32], const uint8_t uuid[VOL_UUID_LEN], uint8_t out[VOL_KEY_CHECK_LEN]);

/* vol_frame_encode - make the frame of e from its plain bytes.
 * args:   object_key NULL = not encrypted; plain may be out if neither compressed nor encrypted;
 *         e: block, nblocks, stored_off given; comp, stored_len, crc
 *         set; out has VOL_FRAME_STORED_MAX bytes. Compressed only where that saves an eighth */
void vol_frame_encode(struct vol_coder *c, const uint8_t *object_key, bool is_compressed,
    struct vol_extent *e, const void *plain, void *out);

/* vol_frame_decode - the plain bytes of a frame, verified.
 * args:   e: block, nblocks, comp, stored_off, stored_len, crc; out nblocks * 4,096 bytes
 * result: 0, -ERR_CHECKSUM with the reason in *why (static, may be NULL) */
int vol_frame_decode(struct vol_coder *c, const uint8_t *object_key, const struct vol_extent *e,
    const void *stored, void *out, const char **why) CW_MUST_CHECK;

#endif
