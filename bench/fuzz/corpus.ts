import type { Random } from '../../src/base/index.ts'
import { findTerms } from './term-walker.ts'
import type { TermRange } from './term-walker.ts'

const ENTRIES_MAX = 6000
const TERMS_MAX = 400
const RECENT = 100

export interface CorpusEntry {
  readonly bytes: Buffer
  readonly terms: readonly TermRange[]
}

/** Inputs that reached something that none before them had. In memory only. */
export class Corpus {
  readonly #entries: CorpusEntry[] = []
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  get size(): number {
    return this.#entries.length
  }

  /** @param bytes are kept: a copy if they change. */
  add(bytes: Buffer): void {
    const entry = { bytes, terms: findTerms(bytes, TERMS_MAX) }
    if (this.#entries.length < ENTRIES_MAX) this.#entries.push(entry)
    else this.#entries[Math.floor(this.#random() * ENTRIES_MAX)] = entry
  }

  /** Mostly the smallest of three: it runs sooner and a change of it hits more. Often one of the latest. */
  pick(): CorpusEntry {
    let best = this.#any()
    if (this.#random() < 0.1) return best
    for (let i = 0; i < 2; i++) {
      const other = this.#any()
      if (other.bytes.length < best.bytes.length) best = other
    }
    return best
  }

  #any(): CorpusEntry {
    const { length } = this.#entries
    const from = this.#random() < 0.3 ? Math.max(0, length - RECENT) : 0
    return this.#entries[from + Math.floor(this.#random() * (length - from))]!
  }
}
