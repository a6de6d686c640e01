/** A clock that all processes of the machine share: CLOCK_MONOTONIC in µs. */
const base = Number(process.hrtime.bigint() / 1000n) - performance.now() * 1000

export function monotonicUs(): number {
  return base + performance.now() * 1000
}
