# SPDX-License-Identifier: Apache-2.0
"""As bench_iscsi, but with default settings of sealing and nothing held off: what was written before is compressed, uploaded
and merged locally while the next case is measured, on the same CPUs and the same disk as the store itself."""
import bench_iscsi


def run(work, reps, seconds, only):
    return bench_iscsi.run(work, reps, seconds, only, volumes="", name="sealing")
