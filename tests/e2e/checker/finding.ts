/** What a check found wrong: one sentence for a reader, and the facts by which the event or row is found. */
export interface Finding {
  /** Closed set, so that tests can ask for one. */
  readonly what:
    | 'missing'
    | 'out_of_order'
    | 'unknown'
    | 'altered'
    | 'unwanted'
    | 'wrong_list'
    | 'wrong_envelope'
    | 'gap_not_named'
    | 'gap_bounds'
    | 'gap_avoidable'
    | 'row_missing'
    | 'row_unexpected'
    | 'row_differs'
    | 'identify_unexpected'
    | 'identify_missing'
    | 'identify_too_close'
  readonly text: string
  readonly shard?: number
  readonly session?: string
  readonly s?: number
  readonly t?: string
  readonly table?: string
  readonly key?: string
  readonly path?: string
}

/** At most this many of one kind are worth reading. */
const SHOWN_MAX = 10

/** The findings as a text for a failed assertion: the first of each kind, and how many there are. */
export function describeFindings(findings: readonly Finding[]): string {
  const kinds = Map.groupBy(findings, (finding) => finding.what)
  const lines: string[] = []
  for (const [what, list] of kinds) {
    lines.push(`${what}: ${list.length}`)
    for (const finding of list.slice(0, SHOWN_MAX)) lines.push(`  ${finding.text}`)
  }
  return lines.join('\n')
}
