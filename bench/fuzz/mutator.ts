/** Makes a new input of one or two of the corpus, in memory that is used again. */
import type { Random } from '../../src/base/index.ts'
import type { CorpusEntry } from './corpus.ts'

export const INPUT_BYTES_MAX = 16_384

const TAGS = [
  70, 77, 80, 88, 89, 90, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111,
  112, 113, 114, 115, 116, 118, 119, 120, 121, 82, 68,
]
const LENGTHS = [0, 1, 2, 3, 8, 9, 255, 256, 257, 65_535, 65_536, 0x7fff_ffff, 0xffff_ffff]

/** Pieces that a random byte does not find: keys of an envelope under each tag, literals, heads, hard text. */
const PIECES = [
  ...[
    'd',
    'op',
    's',
    't',
    'id',
    'user',
    'guild_id',
    '__proto__',
    'nil',
    'null',
    'true',
    'false',
  ].flatMap((name) => {
    const text = Buffer.from(name)
    return [
      [100, 0, text.length, ...text],
      [115, text.length, ...text],
      [118, 0, text.length, ...text],
      [119, text.length, ...text],
      [109, 0, 0, 0, text.length, ...text],
    ]
  }),
  [116, 0, 0, 0, 1],
  [116, 0, 0, 0, 4],
  [108, 0, 0, 0, 0],
  [108, 0, 0, 0, 1],
  [104, 1],
  [107, 0, 2],
  [110, 8, 0, 255, 255, 255, 255, 255, 255, 31, 0],
  [110, 8, 1, 0, 0, 0, 0, 0, 0, 32, 0],
  [110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  [70, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],
  [70, 0x80, 0, 0, 0, 0, 0, 0, 0],
  [70, 0x43, 0x40, 0, 0, 0, 0, 0, 0],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xf0, 0x9f, 0x98],
  [0xc0, 0x80],
  [80, 0, 0, 0, 2],
  ...['0', '9223372036854775807', '9223372036854775808', '18446744073709551615'].map(digits),
  ...['18446744073709551616', '99999999999999999999', '00000000000000000001'].map(digits),
].map((piece) => Buffer.from(piece))

/** Decimal text as a binary: an id that came as a string. */
function digits(text: string): number[] {
  return [109, 0, 0, 0, text.length, ...Buffer.from(text)]
}

export class Mutator {
  /** The input is `bytes[0, length)`. */
  readonly bytes: Buffer = Buffer.alloc(INPUT_BYTES_MAX * 2)
  length = 0
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  /** Byte 0 stays the version byte but in one of some hundred inputs. */
  mutate(base: CorpusEntry, other: CorpusEntry): void {
    this.bytes.set(base.bytes)
    this.length = base.bytes.length
    if (this.#below(3) > 0) this.#mutateTerms(base, other)
    let steps = this.#below(3) === 0 ? 1 << this.#below(5) : this.#below(3)
    for (; steps > 0; steps--) this.#mutateBytes(other.bytes)
    if (this.length > INPUT_BYTES_MAX) this.length = INPUT_BYTES_MAX
    if (this.length < 2) this.length = 2
    if (this.#below(500) === 0) this.bytes[0] = this.#below(256)
  }

  /** Whole terms: replaced by another's, doubled, wrapped, given another tag or length. */
  #mutateTerms(base: CorpusEntry, other: CorpusEntry): void {
    const term = this.#pick(base.terms)
    if (term === undefined) return
    const { start, end } = term
    switch (this.#below(7)) {
      case 0: {
        const source = this.#pick(other.terms)
        if (source === undefined) return
        this.#replace(start, end, other.bytes.subarray(source.start, source.end))
        return
      }
      case 1: {
        const source = this.#pick(base.terms)!
        this.#replace(start, end, base.bytes.subarray(source.start, source.end))
        return
      }
      case 2:
        this.#replace(start, start, base.bytes.subarray(start, end))
        return
      case 3:
        this.#replace(start, end, this.#pick(PIECES)!)
        return
      case 4: {
        // One more level around it: a tuple, or a list without its end, whose NIL is then missing.
        const head = [
          [104, 1],
          [108, 0, 0, 0, 1],
          [108, 0, 0, 0, 0],
          [116, 0, 0, 0, 1],
        ]
        this.#replace(start, start, Buffer.from(this.#pick(head)!))
        return
      }
      case 5:
        this.bytes[start] = this.#pick(TAGS)!
        return
      default:
        this.#setLength(start + 1)
    }
  }

  #mutateBytes(other: Buffer): void {
    const at = 1 + this.#below(Math.max(1, this.length - 1))
    switch (this.#below(11)) {
      case 0:
        this.bytes[at] = this.#below(256)
        return
      case 1:
        this.bytes[at] = this.#pick(TAGS)!
        return
      case 2:
        this.bytes[at] = this.bytes[at]! ^ (1 << this.#below(8))
        return
      case 3:
        this.bytes[at] = this.bytes[at]! + this.#below(9) - 4
        return
      case 4:
        this.#replace(at, Math.min(this.length, at + 1 + this.#below(12)), EMPTY)
        return
      case 5: {
        const from = 1 + this.#below(this.length)
        const piece = Buffer.from(
          this.bytes.subarray(from, Math.min(this.length, from + this.#below(40))),
        )
        this.#replace(at, at, piece)
        return
      }
      case 6: {
        const from = this.#below(other.length)
        this.#replace(at, at, other.subarray(from, from + this.#below(40)))
        return
      }
      case 7:
        this.#replace(at, at, this.#pick(PIECES)!)
        return
      case 8: {
        const piece = this.#pick(PIECES)!
        this.#replace(at, Math.min(this.length, at + piece.length), piece)
        return
      }
      case 9:
        this.#setLength(at)
        return
      default:
        // Few, or the rest of the corpus is never seen whole.
        if (this.#below(4) === 0) this.length = at
    }
  }

  #setLength(at: number): void {
    if (at + 4 > this.length) return
    const value = this.#pick(LENGTHS)!
    const way = this.#below(4)
    if (way < 2) this.bytes.writeUInt32BE(value, at)
    else if (way === 2) this.bytes.writeUInt16BE(value & 0xffff, at)
    else this.bytes[at + 3] = this.bytes[at + 3]! + this.#below(5) - 2
  }

  #replace(start: number, end: number, piece: Uint8Array): void {
    if (start > this.length || end < start) return
    if (this.length - (end - start) + piece.length > this.bytes.length) return
    this.bytes.copyWithin(start + piece.length, end, this.length)
    this.bytes.set(piece, start)
    this.length += piece.length - (end - start)
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[this.#below(list.length)]
  }
}

const EMPTY = new Uint8Array(0)
