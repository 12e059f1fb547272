"""The benchmark: what is measured, on which systems, and what is made of it (rustfsfs/DESIGN.md, performance).

material, workloads.*    what is written and read, and how it is timed
systems, nullfs          what it runs on: the disk, the null file system, rustfsfs, the peers
runner                   each workload on each system in turn, again and again
figures, report, chart   PURE: medians, ratios, the table, the chart
guard                    have the key ratios become worse? (`make bench-quick`)
"""
