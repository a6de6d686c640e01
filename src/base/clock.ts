/**
 * Time, as a thing that is handed in: everything that waits or measures takes a Clock, so that tests
 * own time and nothing in the program calls Date.now() or setTimeout() by itself.
 */

/** A pending timer; opaque to callers. */
export type Timer = { readonly timer: unique symbol } | NodeJS.Timeout | number

export interface Clock {
  /** Wall time in ms since the Unix epoch. May jump; only for what is shown or stored. */
  now(): number
  /** Monotonic time in ms from an arbitrary origin. Never jumps; for every deadline and interval. */
  monotonic(): number
  /** Calls `fn` once after `ms` milliseconds. */
  setTimeout(fn: () => void, ms: number): Timer
  clearTimeout(timer: Timer | undefined): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (timer) => {
    clearTimeout(timer as NodeJS.Timeout | undefined)
  },
}

/** Resolves after `ms`, or rejects with the signal's reason when it is aborted first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error)
      return
    }
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    function onAbort(): void {
      clock.clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/**
 * Waits for the promise, but not longer than `ms`.
 *
 * @returns whether it was settled in time; rejects when it rejected in time. What is late is left alone.
 */
export async function within(
  clock: Clock,
  promise: Promise<unknown>,
  ms: number,
): Promise<boolean> {
  const inTime = promise.then(() => true)
  // Nobody listens to a late failure.
  inTime.catch(() => undefined)
  const timeout = new AbortController()
  const late = sleep(clock, ms, timeout.signal).then(
    () => false,
    () => true,
  )
  try {
    return await Promise.race([inTime, late])
  } finally {
    timeout.abort()
  }
}
