/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - what the block limits page promises and the commands hold to. */
#ifndef SCSI_LIMITS_H
#define SCSI_LIMITS_H

#define PHYSICAL_BLOCK 4096u	     /* bytes: the volume merges smaller writes */
#define OPTIMAL_BYTES (256u << 10)   /* OPTIMAL TRANSFER LENGTH: a chunk of the cache */
#define WRITE_SAME_MAX_BLOCKS 32768u /* MAXIMUM WRITE SAME LENGTH: bounds one command's work */
#define UNMAP_MAX_BLOCKS (1u << 20)  /* MAXIMUM UNMAP LBA COUNT, of all descriptors together */
#define UNMAP_MAX_DESCRIPTORS 256u
#define CAW_MAX_BLOCKS 255u /* MAXIMUM COMPARE AND WRITE LENGTH: all that its CDB can say */

#define XCOPY_MAX_TARGETS 8u
#define XCOPY_MAX_SEGMENTS 64u
#define XCOPY_MAX_LIST 2048u /* bytes of descriptors */
#define XCOPY_MAX_SEGMENT_BYTES (256u << 20)

#endif
