import type { Random } from './random.ts'

export interface BackoffOptions {
  /** Ceiling of the first wait. */
  readonly baseMs: number
  /** Ceiling of every later wait. */
  readonly maxMs: number
}

/**
 * How long to wait before attempt number `attempt` (0-based): exponential with "equal jitter", half
 * fixed and half random, so that many shards that fell together do not come back together and none
 * comes back at once.
 *
 * @returns whole milliseconds, at least half of the ceiling of this attempt.
 */
export function backoffMs(attempt: number, random: Random, options: BackoffOptions): number {
  const ceiling = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(attempt, 30))
  return Math.round(ceiling / 2 + (ceiling / 2) * random())
}
