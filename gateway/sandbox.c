/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.c - user and system-call filter.  The filter names what is refused, not what is allowed:
 * the libraries under us (libcurl, SQLite, libmicrohttpd, the C library) change what they call with
 * every release, and a wrong EPERM in them would be an outage.  The systemd unit is the outer wall.
 */
#include "gateway/sandbox.h"

#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "gateway/base/log.h"

int
sandbox_drop_user(const char *user)
{
	struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (pw == NULL)
		return errno != 0 ? -errno : -ENOENT;
	if (geteuid() == pw->pw_uid && getuid() == pw->pw_uid)
		return 0;
	if (initgroups(user, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* core files of the daemon stay possible */
	return 0;
}

static const char *const refused[] = {
    "execve", "execveat",							      /* programs */
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "fsmount", "open_tree", /* trees */
    "unshare", "setns",						    /* namespaces */
    "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", /* other processes */
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot",
    "swapon", "swapoff", "acct", "bpf", "perf_event_open", "userfaultfd", "add_key", "keyctl",
    "request_key",						  /* keys */
    "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", /* clocks */
    "open_by_handle_at", "quotactl", "nfsservctl", "lookup_dcookie", "vhangup", "iopl", "ioperm",
#ifndef CW_DEBUG
    "ptrace", /* the sanitizers of a debug build look for leaks with it */
#endif
};

int
sandbox_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r = 0;

	if (ctx == NULL)
		return -ENOMEM;
	/* Threads that run already are bound too. */
	r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; r == 0 && i < sizeof(refused) / sizeof(refused[0]); i++) {
		int nr = seccomp_syscall_resolve_name(refused[i]);

		if (nr !=
		    __NR_SCMP_ERROR) /* unknown to this library: cannot be called by number either */
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), nr, 0);
	}
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}
