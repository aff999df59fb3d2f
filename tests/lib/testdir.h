/* SPDX-License-Identifier: Apache-2.0 */
/* testdir.h - files and directories of unit tests. All abort on failure. */
#ifndef TESTS_TESTDIR_H
#define TESTS_TESTDIR_H

/* testdir_remove - a directory with everything below it. */
void testdir_remove(const char *path);
/* testdir_copy - one file, as it is at this moment; nothing happens when there is none. */
void testdir_copy(const char *from, const char *to);
/* testdir_copy_db - an SQLite database with its write-ahead log. */
void testdir_copy_db(const char *from, const char *to);

#endif
