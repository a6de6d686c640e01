/** Faults that wait for something to happen: the next connection, identify or resume. */
import type { WireMap } from './wire/value.ts'

/** What waits, and for what. */
export const NEXT_FAULTS = {
  'refuse-identify': 'the next identify is answered with op 9 false',
  'refuse-resume': 'the next RESUME is answered with op 9 (resumable=true or false)',
  'no-ready': 'the next identify is accepted, but READY does not come',
  'no-hello': 'the next connection gets no HELLO',
  'reconnect-before-hello': 'the next connection gets op 7 in place of HELLO',
  'refuse-connection': 'the next connection is refused before the upgrade (HTTP 503)',
  'rate-limit-members':
    'the next op 8 is answered with RATE_LIMITED, and so is every one for all members of the guild within delayMs',
  'slow-replay': 'the next RESUME is replayed slowly (delayMs per event)',
} as const
export type NextFault = keyof typeof NEXT_FAULTS

interface Waiting {
  readonly kind: NextFault
  /** -1: any shard. */
  readonly shard: number
  readonly fields: WireMap
  left: number
}

export class NextFaults {
  #waiting: Waiting[] = []

  add(kind: NextFault, shard: number, count: number, fields: WireMap): void {
    this.#waiting.push({ kind, shard, left: count, fields })
  }

  /** @param shardId -1 where the shard is not known yet: then only a fault for any shard fits. */
  take(kind: NextFault, shardId: number): WireMap | null {
    const found = this.#waiting.find(
      (waiting) => waiting.kind === kind && (waiting.shard === -1 || waiting.shard === shardId),
    )
    if (found === undefined) return null
    if (--found.left <= 0) this.#waiting = this.#waiting.filter((waiting) => waiting !== found)
    return found.fields
  }
}
