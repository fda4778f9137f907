// SPDX-License-Identifier: Apache-2.0
// Who else used the machine. One busy process on the other core makes any 2-thread run several times slower, so a trial
// is disturbed when others took more than 6 % of a core, before it or while it ran. What the trial itself used is known
// exactly: the kernel adds the CPU time of children that have ended to their parent.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export const quietShare = 0.06;

export interface CpuTimes {
  /** Clock ticks of all cores: in use, given to other guests of the host, and all together. */
  busy: number;
  stolen: number;
  total: number;
  /** Clock ticks of this process and its ended children. */
  own: number;
}

/** From the "cpu" line of /proc/stat and the text of /proc/self/stat. */
export function parseCpuTimes(stat: string, selfStat: string): CpuTimes {
  const line = stat.split("\n", 1)[0] ?? "";
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, stolen = 0] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const busy = user + nice + system + irq + soft;
  // The command (field 2) may hold spaces; what follows the last parenthesis starts with field 3, so utime (14),
  // stime, cutime and cstime are at 11 to 14.
  const fields = selfStat.slice(selfStat.lastIndexOf(")") + 2).split(" ");
  const own = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return { busy, stolen, total: busy + idle + wait + stolen, own };
}

export function cpuTimes(): CpuTimes {
  return parseCpuTimes(readFileSync("/proc/stat", "utf8"), readFileSync("/proc/self/stat", "utf8"));
}

/** Cores' worth of time that others used between two readings; time stolen by the host is others' too. */
export function othersShare(from: CpuTimes, to: CpuTimes, cores: number): number {
  const total = to.total - from.total;
  if (total <= 0) return 0;
  const others = to.busy - from.busy - (to.own - from.own) + (to.stolen - from.stolen);
  return (Math.max(0, others) / total) * cores;
}

/** Waits for a quiet second, at most `patienceMs`. Returns the share of a core that others used last. */
export async function awaitQuiet(cores: number, patienceMs: number): Promise<number> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const before = cpuTimes();
    await sleep(1000);
    const share = othersShare(before, cpuTimes(), cores);
    if (share <= quietShare || performance.now() >= deadline) return share;
    await sleep(1000);
  }
}
