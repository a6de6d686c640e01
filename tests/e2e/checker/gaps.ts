/** Which events a client can have received: all but those of the gaps that the simulator's rules made unavoidable. */
import type { Finding } from './finding.ts'
import type { GapLine, LedgerEnd, LedgerLine } from './ledger.ts'

/** Causes that say that a session was lost, with what Discord still held for it. */
const SESSION_LOST = /^session_/

/** How sure it is that the client has an event. */
export type Receipt = 'sure' | 'possible' | 'impossible'

export class Receipts {
  readonly #gapsOfSession: Map<string, GapLine[]>
  readonly #endOfSession: Map<string, LedgerEnd>

  constructor(gaps: readonly GapLine[], ends: readonly LedgerEnd[]) {
    this.#gapsOfSession = Map.groupBy(gaps, (gap) => gap.session)
    this.#endOfSession = new Map(ends.map((end) => [end.session, end]))
  }

  /**
   * Inside a gap an event is possible as far as it was sent: a process that was killed may have handed on what it
   * could not acknowledge any more.
   */
  of(line: Pick<LedgerLine, 'session' | 's'>): Receipt {
    const end = this.#endOfSession.get(line.session)
    // What was never sent before the session ended is received by nobody, named or not.
    if (end !== undefined && end.cause !== 'stopped' && line.s > end.lastSent) return 'impossible'
    const gap = this.#gapsOfSession
      .get(line.session)
      ?.find(({ from, to }) => line.s >= from && (to === null || line.s <= to))
    return gap === undefined ? 'sure' : 'possible'
  }
}

/** Every unavoidable gap is named by a line with its bounds, and no line names another. */
export function checkGaps(input: {
  readonly ends: readonly LedgerEnd[]
  readonly gaps: readonly GapLine[]
  /** Causes of our own that this run allows, such as a queue that was filled on purpose. */
  readonly allowedCauses?: readonly string[]
}): Finding[] {
  const findings: Finding[] = []
  const lines = input.gaps.filter((gap) => !(input.allowedCauses ?? []).includes(gap.cause))
  for (const end of input.ends) {
    if (end.cause === 'stopped') continue
    const from = (end.resumeSeq ?? end.lastSent) + 1
    const line = lines.find((gap) => gap.session === end.session)
    const where = { shard: end.shard, session: end.session }
    if (line === undefined) {
      if (from > end.last) continue
      findings.push({
        what: 'gap_not_named',
        ...where,
        s: from,
        text: `shard ${end.shard} session ${end.session}: ${from} to ${end.last} were lost (${end.cause}), and no gap line says so`,
      })
      continue
    }
    // After a refused RESUME both know where the client stood. Without one it may have read less than was sent.
    const isFromRight = end.resumeSeq === null ? line.from <= from : line.from === from
    const isToRight = line.to === null || line.to === end.last
    if (isFromRight && isToRight) continue
    findings.push({
      what: 'gap_bounds',
      ...where,
      s: line.from,
      text: `shard ${end.shard} session ${end.session}: the gap line says ${line.from} to ${line.to ?? 'the end'}, the ledger ${from} to ${end.last}`,
    })
  }
  for (const gap of lines) {
    const end = input.ends.find((entry) => entry.session === gap.session)
    if (end !== undefined && end.cause !== 'stopped' && SESSION_LOST.test(gap.cause)) continue
    findings.push({
      what: 'gap_avoidable',
      shard: gap.shard,
      session: gap.session,
      s: gap.from,
      text: `shard ${gap.shard} session ${gap.session}: ${gap.from} to ${gap.to ?? 'the end'} were lost (${gap.cause}), though the session could have brought them`,
    })
  }
  return findings
}
