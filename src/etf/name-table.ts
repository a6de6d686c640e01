import { isText, utf8Text } from './text.ts'

const BUCKETS = 1024
const UNKNOWN_NAMES_MAX = 256

/**
 * Event names from bytes to one string object each, so that names compare by reference and a known
 * name allocates nothing. Unknown names are kept too, up to 256; later ones are made anew each time.
 */
export class NameTable {
  readonly #buckets: (string[] | undefined)[] = new Array<string[] | undefined>(BUCKETS).fill(
    undefined,
  )
  #unknownCount = 0

  /** @param names ASCII. */
  constructor(names: readonly string[]) {
    for (const name of names) {
      const bytes = Buffer.from(name)
      this.#add(hash(bytes, 0, bytes.length), name)
    }
  }

  /** The string of `bytes[start, end)`; '' for an empty range. */
  intern(bytes: Uint8Array, start: number, end: number): string {
    if (start >= end) return ''
    const slot = hash(bytes, start, end)
    const bucket = this.#buckets[slot]
    if (bucket !== undefined) {
      for (let i = 0; i < bucket.length; i++) {
        const name = bucket[i]!
        if (isText(bytes, start, end, name)) return name
      }
    }
    const name = utf8Text(bytes, start, end)
    if (this.#unknownCount < UNKNOWN_NAMES_MAX) {
      this.#unknownCount++
      this.#add(slot, name)
    }
    return name
  }

  #add(slot: number, name: string): void {
    const bucket = this.#buckets[slot]
    if (bucket === undefined) this.#buckets[slot] = [name]
    else if (!bucket.includes(name)) bucket.push(name)
  }
}

/** Length and four bytes tell Discord's event names apart well enough. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start
  const middle = bytes[start + (length >> 1)]!
  const mixed =
    length * 31 +
    bytes[start]! * 7 +
    middle * 131 +
    bytes[end - 1]! * 17 +
    bytes[start + (length >> 2)]! * 61
  return mixed & (BUCKETS - 1)
}
