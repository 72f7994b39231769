"""What may grow, and how much: slopes over the samples after the warm-up, each with its bound.

Memory: an object of 1 KiB that is left behind by each job is 1 MiB in 1,000 jobs. Python's and glibc's allocators, and
the growth of tables by doubling, move a process by a MiB or two within a run. So the slope must stay below 2 MiB per
1,000 jobs: 10,000 jobs then cost at most 20 MiB, and anything that leaks with each job is found. In a short run, where
the slope is mostly noise, the growth since the warm-up must stay below 12 MiB.
Descriptors and files have no noise but what is under way when a sample is taken: some connections, the file of a job.
Redis: what is over goes. Keys and memory under way are bounded by rate times retention; at the end, once everything
is over, exactly the families of keys are there that were there after the first job.
Logs: nothing fails in a soak, so that no process has an error to log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soak.soaking import Sample, Soak

WARM_UP_SHARE = 0.3
RSS_BYTES_PER_JOB = 2 * (1 << 20) / 1000
SHORT_GROWTH_BYTES = 12 * (1 << 20)
SLOPE_FROM_JOBS = 1000  # below, growth is judged and not the slope
UNDER_WAY_DESCRIPTORS = 12  # connections of IN_FLIGHT watches and calls that may be open at a sample
UNDER_WAY_FILES = 4


def warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples after the warm-up."""
    first = samples[-1].jobs * WARM_UP_SHARE
    return [sample for sample in samples if sample.jobs >= first]


def slope(jobs: Sequence[float], values: Sequence[float]) -> float:
    """Return the least-squares slope, per job; 0 for a single sample."""
    mean_jobs, mean_values = sum(jobs) / len(jobs), sum(values) / len(values)
    spread = sum((job - mean_jobs) ** 2 for job in jobs)
    return sum((j - mean_jobs) * (v - mean_values) for j, v in zip(jobs, values, strict=True)) / spread if spread else 0


def breaches(run: Soak) -> list[str]:
    """Return what grew beyond its bound, in words."""
    samples = warm(run.samples)
    first, last = samples[0], samples[-1]
    jobs = [float(sample.jobs) for sample in samples]
    found = []
    for name in first.rss_bytes:
        if name not in last.rss_bytes:
            found.append(f"{name} is gone")
            continue
        values = [float(sample.rss_bytes.get(name, 0)) for sample in samples]
        grown, per_job = values[-1] - values[0], slope(jobs, values)
        long = last.jobs - first.jobs >= SLOPE_FROM_JOBS
        if per_job > RSS_BYTES_PER_JOB if long else grown > SHORT_GROWTH_BYTES:
            found.append(f"memory of {name} grew by {grown / 2**20:.1f} MiB, {per_job:.0f} bytes per job")
        if last.descriptors[name] > first.descriptors[name] + UNDER_WAY_DESCRIPTORS:
            found.append(f"descriptors of {name} grew from {first.descriptors[name]} to {last.descriptors[name]}")
    if last.files > first.files + UNDER_WAY_FILES:
        found.append(f"files grew from {first.files} to {last.files}")
    if left := run.keys_after - run.keys_before:
        found.append(f"Redis kept {', '.join(sorted(left))}")
    if run.balance["submitted"] != run.balance["completed"]:
        found.append(f"not all that was submitted was completed: {run.balance}")
    if bad := {state: count for state, count in run.outcomes.items() if state not in {"SUCCEEDED", "CANCELLED"}}:
        found.append(f"jobs ended as {bad}")
    if run.log_errors:
        found.append(f"{len(run.log_errors)} errors in the logs, the first: {run.log_errors[0]}")
    return found
