"""What SLURM's commands print: recorded from a SLURM 22.05 of five nodes, and variants of other clusters."""

from __future__ import annotations

import textwrap


def _text(lines: str) -> str:
    return textwrap.dedent(lines).lstrip("\n")


SINFO = _text("""
    cpu1|vm|short|up|idle|1:00:00|2|8000|(null)
    cpu1|vm|long|up|idle|infinite|2|8000|(null)
    dead1|vm|long|up|unknown*|infinite|2|8000|gpu:h200:8
    dead1|vm|closed|down|unknown*|1-12:00:00|2|8000|gpu:h200:8
    gpu1|vm|main*|up|idle|2-00:00:00|2|8000|gpu:h100:4
    gpu1|vm|long|up|idle|infinite|2|8000|gpu:h100:4
    gpu2|vm|main*|up|down|2-00:00:00|2|8000|gpu:h100:4
    gpu2|vm|long|up|down|infinite|2|8000|gpu:h100:4
    old1|vm|short|up|idle|1:00:00|2|4000|gpu:a100:2
    old1|vm|long|up|idle|infinite|2|4000|gpu:a100:2
""")

# A large cluster: sockets, two models in a node, MIG slices, shards, nodes that sleep, drain or are full.
LARGE = _text("""
    g001|g001|hopper*|up|mixed|3-00:00:00|96|2000000|gpu:h100:8(S:0-1)
    g002|g002|hopper*|up|allocated|3-00:00:00|96|2000000|gpu:h100:8(S:0,1)
    g003|g003|hopper*|up|drained|3-00:00:00|96|2000000|gpu:h100:8(S:0-1)
    g004|g004|hopper*|up|idle~|3-00:00:00|64+|1000000|gpu:h100:4(IDX:0-3),nvme:1
    m001|m001|mig|up|idle|12:00:00|48|500000|gpu:1g.10gb:7(S:0),gpu:2g.20gb:3(S:1)
    t001|t001|mig|up|planned|12:00:00|48|500000|gpu:no_consume:4,shard:tesla:64
    c001|c001|cpu|up|idle*|30:00|128|250000|(null)
    c002|c002|cpu|up|draining|30:00|128|250000|
""")

CONFIG = _text("""
    Configuration data as of 2026-11-21T10:45:59
    AccountingStorageEnforce = none
    AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages
    AccountingStorageType   = accounting_storage/none
    ClusterName             = dev
    JobRequeue              = 1
    LaunchParameters        = (null)
    MinJobAge               = 300 sec
    SLURM_CONF              = /etc/slurm/slurm.conf
    SLURM_VERSION           = 22.05.8

    Slurmctld(primary) at vm is UP
""")

CONFIG_WITH_ACCOUNTS = (
    CONFIG.replace("accounting_storage/none", "accounting_storage/slurmdbd")
    .replace("Enforce = none", "Enforce = associations,limits,qos,safe")
    .replace("300 sec", "60 sec")
)

ACCOUNTS = "vision|vision\nlanguage|vision\nlanguage|vision\n"

TEST_ONLY = (
    "sbatch: Job 1 to start at 2026-11-21T10:45:59 using 1 processors on nodes gpu1 in partition main\n"
)
REFUSED = "allocation failure: Requested node configuration is not available\n"
