#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""isprime_flag.py TINE FLAG TIMES: the seconds that tine isprime takes for a prime of 64
bits with two workers, the median of TIMES in one run, with the pool there. FLAG: one of
--flag's words; or mirror, poll: of a server that is started here."""

import json
import shutil
import statistics
import subprocess
import sys

PRIME = 18446744073709551557
tine, flag, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
words = ["--flag", flag]
if flag in ("mirror", "poll"):
    if not shutil.which("redis-server"):
        print("there is no redis-server", file=sys.stderr)
        sys.exit(77)
    server = subprocess.Popen([tine, "manager"], stdout=subprocess.PIPE, text=True)
    words = ["--flag", server.stdout.readline().strip()]
    words += ["--poll"] if flag == "poll" else []
made = subprocess.run([tine, "isprime", "--json", "-j", "2", *words] + [str(PRIME)] * (times + 1),
                      stdout=subprocess.PIPE, text=True, check=True)
found = json.loads(made.stdout)["numbers"]
assert all(each["prime"] for each in found)
print(statistics.median(each["seconds"] for each in found[1:]) * 1e3)
