/** The loop: mutate, run, keep what reached something new, write down what broke a promise. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededRandom } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'
import { branchCounts, clearHits, noteHits } from './branch-counters.ts'
import { Checks } from './checks.ts'
import { Corpus } from './corpus.ts'
import { INPUT_BYTES_MAX, Mutator } from './mutator.ts'
import { makeSeeds } from './seeds.ts'
import { Violation } from './violation.ts'

/** In front of and behind each input, so that a reader that leaves its range reads something else. */
const MARGIN_BYTES = 64
const COMPRESSED = 80
/**
 * An input takes some ten microseconds for each kilobyte. What is suspected is hundreds of times that and grows with
 * the length: processor time counts the threads of collector and compiler as well.
 */
const SLOW_MS = 25
const SLOW_MS_PER_BYTE = 0.004
const SLOW_TRIES = 8
const FINDINGS_MAX = 20
const SHRINK_MS = 3000

export interface Finding {
  readonly promise: string
  readonly message: string
  readonly file: string
}

export interface FuzzStatus {
  readonly executions: number
  readonly seconds: number
  readonly corpus: number
  readonly branches: { readonly reached: number; readonly all: number }
  readonly findings: readonly Finding[]
}

export class Fuzzer {
  readonly #random: Random
  readonly #corpus: Corpus
  readonly #mutator: Mutator
  readonly #checks: Checks
  readonly #outcomes = new Set<number>()
  readonly #findings = new Map<string, Finding>()
  readonly #frame: Buffer = Buffer.alloc(INPUT_BYTES_MAX * 2 + 2 * MARGIN_BYTES)
  #executions = 0
  #milliseconds = 0
  #folder: string | null = null

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    this.#corpus = new Corpus(this.#random)
    this.#mutator = new Mutator(this.#random)
    this.#checks = new Checks(this.#random)
    // Errors are most of what happens here, and nobody reads where they were made.
    Error.stackTraceLimit = 0
    for (const input of makeSeeds()) {
      this.execute(input)
      this.#corpus.add(input)
    }
  }

  get status(): FuzzStatus {
    return {
      executions: this.#executions,
      seconds: this.#milliseconds / 1000,
      corpus: this.#corpus.size,
      branches: branchCounts(),
      findings: [...this.#findings.values()],
    }
  }

  /** Runs until the time is over, or so many executions are done, or too much was found. */
  run(milliseconds: number, executionsMax: number): void {
    const startMs = performance.now()
    let rounds = 0
    while (this.#executions < executionsMax && this.#findings.size < FINDINGS_MAX) {
      if ((++rounds & 63) === 0 && performance.now() - startMs >= milliseconds) break
      this.#mutator.mutate(this.#corpus.pick(), this.#corpus.pick())
      const input = this.#mutator.bytes.subarray(0, this.#mutator.length)
      if (this.execute(input)) this.#corpus.add(Buffer.from(input))
    }
    this.#milliseconds += performance.now() - startMs
  }

  /** @returns whether the input reached something new. */
  execute(input: Uint8Array): boolean {
    this.#executions++
    clearHits()
    const startMs = performance.now()
    const broken = this.#check(input)
    if (performance.now() - startMs > slowMs(input) && input[1] !== COMPRESSED)
      this.#checkTime(input)
    if (broken !== null) this.#found(broken, input)
    return noteHits()
  }

  /** @returns null when the codec keeps its promises for this input. */
  #check(input: Uint8Array): Violation | null {
    const frame = this.#frame
    const end = MARGIN_BYTES + input.length
    frame.set(input, MARGIN_BYTES)
    // The term's own first bytes once more: a reader that goes on behind the end finds a term there.
    frame.copyWithin(end, MARGIN_BYTES, MARGIN_BYTES + MARGIN_BYTES)
    try {
      const outcome = this.#checks.run(frame, MARGIN_BYTES, end)
      if (!this.#outcomes.has(outcome)) this.#outcomes.add(outcome)
      return null
    } catch (error) {
      if (error instanceof Violation) return error
      return new Violation('only EtfError leaves the codec', String(error), error)
    }
  }

  /** Slow by the clock may be the machine; slow by the processor's time, and again and again, is the codec. */
  #checkTime(input: Uint8Array): void {
    let best = Number.POSITIVE_INFINITY
    for (let i = 0; i < SLOW_TRIES; i++) {
      const start = process.cpuUsage()
      this.#check(input)
      const { user, system } = process.cpuUsage(start)
      best = Math.min(best, (user + system) / 1000)
    }
    if (best > slowMs(input)) {
      const message = `${best.toFixed(1)} ms for ${input.length} bytes`
      this.#found(new Violation('time is linear in the length', message), input)
    }
  }

  #found(violation: Violation, input: Uint8Array): void {
    if (this.#findings.has(violation.promise)) return
    const smallest = this.#shrink(violation.promise, input)
    this.#folder ??= mkdtempSync(join(tmpdir(), 'gateway-fuzz-'))
    const file = join(this.#folder, `${this.#findings.size}.etf`)
    writeFileSync(file, smallest)
    this.#findings.set(violation.promise, {
      promise: violation.promise,
      message: this.#check(smallest)?.message ?? violation.message,
      file,
    })
  }

  /** Leaves out what is not needed to break the same promise. */
  #shrink(promise: string, input: Uint8Array): Buffer {
    let best = Buffer.from(input)
    const endMs = performance.now() + SHRINK_MS
    for (let size = best.length >> 1; size >= 1; size >>= 1) {
      for (let at = 1; at + size <= best.length && performance.now() < endMs; ) {
        const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)])
        // What is checked only now and then gets several chances.
        let isBroken = false
        for (let i = 0; i < 40 && !isBroken; i++)
          isBroken = this.#check(shorter)?.promise === promise
        if (isBroken) best = shorter
        else at += size
      }
    }
    return best
  }
}

function slowMs(input: Uint8Array): number {
  return SLOW_MS + SLOW_MS_PER_BYTE * input.length
}
