import { backoffMs } from './backoff.ts'
import { type Clock, sleep } from './clock.ts'
import { BaseError } from './errors.ts'
import type { Log } from './ports.ts'
import type { Random } from './random.ts'

export interface StartRetryOptions {
  /** What is waited for, for the log: `etcd`. */
  readonly what: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Ends the start-up. */
  readonly signal: AbortSignal
  /** Failures that are not worth waiting although they are retryable. */
  readonly isFinal?: (error: BaseError) => boolean
}

const DEADLINE_MS = 30_000
const BACKOFF = { baseMs: 200, maxMs: 2000 }

/**
 * What a program needs at its start often starts together with it: a retryable failure is repeated for 30 s, and said once.
 *
 * @throws the last failure; the signal's reason when aborted.
 */
export async function retryAtStart<T>(
  options: StartRetryOptions,
  work: () => Promise<T>,
): Promise<T> {
  const { what, clock, random, log, signal, isFinal } = options
  const deadline = clock.monotonic() + DEADLINE_MS
  for (let attempt = 0; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof BaseError) || !error.retryable || isFinal?.(error)) throw error
      const waitMs = backoffMs(attempt, random, BACKOFF)
      if (clock.monotonic() + waitMs > deadline) throw error
      if (attempt === 0) {
        log.warn('not there yet: trying again for 30 s', { what, error: error.message })
      }
      await sleep(clock, waitMs, signal)
    }
  }
}
