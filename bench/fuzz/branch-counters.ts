/**
 * Counts which branches of the codec an input takes. Import it before anything that imports src/etf, and
 * that dynamically: modules that are loaded already have no counters.
 */
import { readFileSync } from 'node:fs'
import { registerHooks, stripTypeScriptTypes } from 'node:module'
import { instrument } from './instrument.ts'

const COUNTERS_MAX = 8192
const NAME = '__etfHits'
const hits = new Uint8Array(COUNTERS_MAX)
const words = new Uint32Array(hits.buffer)
/** Per counter the buckets seen so far, a bit for each. */
const seen = new Uint8Array(COUNTERS_MAX)
let counters = 0

/** 1, 2, 3, 4-7, 8-15, 16-31, 32-127, 128 and more: how often matters by magnitude, as in AFL. */
const bucketOf = Uint8Array.from({ length: 256 }, (_, count) => {
  if (count < 4) return count === 0 ? 0 : 1 << (count - 1)
  if (count < 8) return 8
  if (count < 16) return 16
  if (count < 32) return 32
  return count < 128 ? 64 : 128
})

/** Instruments every module of src/etf that is loaded from now on. */
export function countBranches(): void {
  Object.defineProperty(globalThis, NAME, { value: hits })
  registerHooks({
    load(url, context, nextLoad) {
      if (!/\/src\/etf\/[^/]+\.ts$/.test(url)) return nextLoad(url, context)
      const plain = stripTypeScriptTypes(readFileSync(new URL(url), 'utf8'))
      const { code, nextId } = instrument(plain, counters, NAME)
      counters = nextId
      return { format: 'module', source: code, shortCircuit: true }
    },
  })
}

export function clearHits(): void {
  words.fill(0, 0, (counters + 3) >> 2)
}

/** Remembers what was hit. @returns whether some branch was new, or taken a new magnitude of times. */
export function noteHits(): boolean {
  let isNew = false
  const end = (counters + 3) >> 2
  for (let word = 0; word < end; word++) {
    if (words[word] === 0) continue
    for (let at = word * 4; at < word * 4 + 4; at++) {
      const bucket = bucketOf[hits[at]!]!
      if ((bucket & ~seen[at]!) !== 0) {
        seen[at] = seen[at]! | bucket
        isNew = true
      }
    }
  }
  return isNew
}

export function branchCounts(): { readonly reached: number; readonly all: number } {
  let reached = 0
  for (let at = 0; at < counters; at++) if (seen[at] !== 0) reached++
  return { reached, all: counters }
}
