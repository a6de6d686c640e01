/**
 * Contenders that take turns. Each gets a slice of time in every round, so that whatever else the machine does
 * falls on all of them alike; what counts is the median over the rounds, and ratios are taken within a round.
 */
import { setImmediate } from 'node:timers/promises'
import { AllocationCount } from './allocation-count.ts'
import type { BenchFlags } from './flags.ts'
import { Report } from './report.ts'

const WARM_UP_SECONDS = 0.12
/** A slice that is shorter than this says more about the clock than about the contender. */
const SLICE_SECONDS_MIN = 0.004

export interface Contender {
  readonly name: string
  /** Throws when this contender does not do what the others do. Called once, before anything is timed. */
  readonly check: () => void
  /** Does it `count` times; what it returns is kept, so that nothing can be optimized away. */
  readonly run: (count: number) => unknown
}

/** What a row must reach. `isMet` sees medians: ns for each operation, and the rival's time over ours. */
export interface Aim {
  readonly text: string
  readonly isMet: (ours: number, ratio: number) => boolean
}

export const NO_AIM: Aim = { text: 'none', isMet: () => true }

/** Ours takes the rival's time divided by `factor` at most. */
export function timesFaster(factor: number): Aim {
  return { text: `ratio >= ${factor}`, isMet: (_, ratio) => ratio >= factor }
}

/** Ours takes `factor` times as long as the rival at most. */
export function withinTimes(factor: number): Aim {
  return { text: `ratio >= 1/${factor}`, isMet: (_, ratio) => ratio >= 1 / factor }
}

/** Both, `nanoseconds` being exclusive. */
export function underAndNotSlower(nanoseconds: number): Aim {
  return {
    text: `< ${nanoseconds} ns, ratio >= 1`,
    isMet: (ours, ratio) => ours < nanoseconds && ratio >= 1,
  }
}

/** Nanoseconds for each operation, a number for each round, in the order of the contenders. */
export type Timings = ReadonlyMap<string, readonly number[]>

export class Bench {
  readonly #flags: BenchFlags
  readonly #report: Report
  readonly #broken = new Set<string>()
  #kept: unknown = null

  constructor(name: string, flags: BenchFlags) {
    this.#flags = flags
    this.#report = new Report(name, flags)
  }

  /** Checks all, then times all that are right. Names are unique within a call. */
  async measure(contenders: readonly Contender[]): Promise<Timings> {
    const timings = new Map<string, number[]>()
    const right = contenders.filter((contender) => this.#isRight(contender))
    const counts = right.map((contender) => this.#warmUp(contender))
    for (const { name } of right) timings.set(name, [])
    globalThis.gc?.()
    for (let round = 0; round < this.#flags.rounds; round++) {
      for (let turn = 0; turn < right.length; turn++) {
        // Another one begins in each round: nobody always runs behind the same neighbour's garbage.
        const index = (turn + round) % right.length
        const contender = right[index]!
        const count = counts[index]!
        const seconds = this.#time(contender, count)
        timings.get(contender.name)!.push((seconds * 1e9) / count)
      }
      await setImmediate()
    }
    return timings
  }

  /** One line: two contenders of a measurement. */
  compare(row: string, timings: Timings, ours: string, rival: string, aim: Aim): void {
    const mine = timings.get(ours)
    const theirs = timings.get(rival)
    if (mine === undefined || theirs === undefined) {
      this.#report.failed(row, 'ns', rival, aim.text)
      return
    }
    const ratios = mine.map((value, round) => theirs[round]! / value)
    const value = median(mine)
    const ratio = median(ratios)
    this.#report.add({
      row,
      unit: 'ns',
      ours: value,
      rival: median(theirs),
      rival_name: rival,
      ratio,
      spread: [Math.min(...ratios), Math.max(...ratios)],
      aim: aim.text,
      met: aim.isMet(value, ratio),
      correct: true,
    })
  }

  /**
   * Shows that a contender allocates nothing: no collection, and the heap as large as before, over `count`
   * operations. `control` allocates one small object each time and must be caught.
   */
  async allocatesNothing(
    row: string,
    contender: Contender,
    control: Contender,
    count: number,
  ): Promise<void> {
    const aim = '0 collections, 0 bytes'
    if (!this.#isRight(contender)) {
      this.#report.failed(row, 'bytes', control.name, aim)
      return
    }
    this.#warmUp(contender)
    this.#warmUp(control)
    // The control first: what measures is then warm as well.
    const theirs = await AllocationCount.of((n) => this.#keep(control.run(n)), count)
    const ours = await AllocationCount.of((n) => this.#keep(contender.run(n)), count)
    this.#report.add({
      row,
      unit: 'bytes',
      ours: ours.bytesPerOperation,
      rival: theirs.bytesPerOperation,
      rival_name: control.name,
      ratio: null,
      spread: [ours.collections, ours.collections],
      aim,
      met: ours.isNothing,
      correct: !theirs.isNothing,
    })
  }

  /** @returns the exit code: 1 when a check failed, whatever the aims. */
  finish(): number {
    return this.#report.finish()
  }

  #isRight(contender: Contender): boolean {
    if (this.#broken.has(contender.name)) return false
    try {
      contender.check()
      return true
    } catch (error) {
      this.#broken.add(contender.name)
      this.#report.problem(`${contender.name} is wrong`, error)
      return false
    }
  }

  /** @returns how often it runs in a slice. */
  #warmUp(contender: Contender): number {
    let count = 1
    let seconds = this.#time(contender, count)
    for (let total = seconds; total < WARM_UP_SECONDS; total += seconds) {
      if (seconds < WARM_UP_SECONDS / 8) count *= 2
      seconds = this.#time(contender, count)
    }
    const slice = Math.max(SLICE_SECONDS_MIN, this.#flags.seconds / this.#flags.rounds)
    return Math.max(1, Math.round((count * slice) / seconds))
  }

  #time(contender: Contender, count: number): number {
    const start = process.hrtime.bigint()
    const result = contender.run(count)
    const end = process.hrtime.bigint()
    this.#keep(result)
    return Number(end - start) / 1e9
  }

  #keep(result: unknown): void {
    this.#kept = result === this.#kept ? null : result
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}
