/** Whether the gateway identified as often as it had to, and no more. */
import type { Finding } from './finding.ts'
import type { LedgerEnd, LedgerIdentify } from './ledger.ts'

export interface IdentifyInput {
  readonly identifies: readonly LedgerIdentify[]
  readonly ends: readonly LedgerEnd[]
  readonly shardCount: number
  readonly maxConcurrency?: number
  /** Identifies up to this `n` of the ledger were counted before, for instance before a restart. */
  readonly after?: number
  /** Whether the run began without sessions, so that each shard needed its first one. Default true. */
  readonly isFirstRun?: boolean
}

/** Two identifies of one key are not closer than this, less what clocks and sockets blur. */
const WINDOW_MS = 5000
const BLUR_MS = 100

/** One identify per shard at the beginning, and one for each of its sessions that was lost. */
export function checkIdentifies(input: IdentifyInput): Finding[] {
  const findings: Finding[] = []
  const identifies = input.identifies.filter((entry) => entry.n > (input.after ?? 0))
  const first = (input.isFirstRun ?? true) ? 1 : 0
  for (let shard = 0; shard < input.shardCount; shard++) {
    const made = identifies.filter((entry) => entry.shard === shard)
    const lost = input.ends.filter((end) => end.shard === shard && end.cause !== 'stopped')
    const due = first + lost.length
    for (const extra of made.slice(due)) {
      findings.push({
        what: 'identify_unexpected',
        shard,
        text: `shard ${shard} identified ${made.length} times, ${due} were needed; the first extra one is n=${extra.n} (${extra.outcome})`,
        ...(extra.session === null ? {} : { session: extra.session }),
      })
    }
    if (made.length < due) {
      findings.push({
        what: 'identify_missing',
        shard,
        text: `shard ${shard} identified ${made.length} times, ${due} were needed`,
      })
    }
  }
  findings.push(...tooClose(identifies, input.maxConcurrency ?? 1))
  return findings
}

function tooClose(identifies: readonly LedgerIdentify[], maxConcurrency: number): Finding[] {
  const findings: Finding[] = []
  const last = new Map<number, LedgerIdentify>()
  for (const entry of identifies) {
    const key = entry.shard % maxConcurrency
    const before = last.get(key)
    if (before !== undefined && entry.atMs - before.atMs < WINDOW_MS - BLUR_MS) {
      findings.push({
        what: 'identify_too_close',
        shard: entry.shard,
        text: `shard ${entry.shard} identified ${entry.atMs - before.atMs} ms after shard ${before.shard} of the same key ${key}`,
      })
    }
    last.set(key, entry)
  }
  return findings
}
