/** What both rivals report of themselves. */
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks'
import type { RivalOptions, RivalState } from './messages.ts'

/** As prom-client measures the gateway's: timers of 10 ms that come late. */
const RESOLUTION_MS = 10

export function readRivalOptions(): RivalOptions {
  return JSON.parse(process.argv[2]!) as RivalOptions
}

/** Answers each message of the bench. @param events how many have come so far */
export function reportTo(events: () => number): void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  let gcMs = 0
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) gcMs += entry.duration
  }).observe({ entryTypes: ['gc'] })
  const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS)
  process.on('message', () => {
    process.send!({
      events: events(),
      loopP50Ms: ms(delay.percentile(50)),
      loopP99Ms: ms(delay.percentile(99)),
      loopMaxMs: ms(delay.max),
      gcMs,
    } satisfies RivalState)
    delay.reset()
  })
  process.on('disconnect', () => process.exit(0))
}
