#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
# PostgreSQL on ext4 on a volume, in a Linux guest: the gateway is killed, the guest loses power, both at once.
exec "$(dirname "$0")/volume-postgres.sh" cached host g i b
