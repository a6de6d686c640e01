import { tooDeep, truncated } from './errors.ts'
import { DEPTH_MAX, NEED_MORE } from './limits.ts'
import { skipElement } from './skip.ts'
import { uint32At } from './uint32.ts'

const SMALL_INTEGER_EXT = 97
const NIL_EXT = 106
const STRING_EXT = 107
const LIST_EXT = 108

/** | 97 | 0 | 97 | 1 | … | 97 | 255 |: the bytes of a STRING_EXT have no tags, so these terms stand for them. */
export const smallIntegers = new Uint8Array(512)
for (let value = 0; value < 256; value++) {
  smallIntegers[2 * value] = SMALL_INTEGER_EXT
  smallIntegers[2 * value + 1] = value
}

const EMPTY = new Uint8Array(0)

/**
 * The elements of a list, one after the other, as ranges in `reader.bytes`: which are the bytes given to
 * `open`, but for a STRING_EXT (a list of small integers), whose elements are terms of a table.
 * A tail of LIST_EXT continues the list; any other is no element. Reused: `open` begins anew.
 */
export class ListReader {
  /** What `start` and `end` index. */
  bytes: Uint8Array = EMPTY
  start = 0
  end = 0
  /** Elements of the list, read or not. A tail that continues it adds its own when `next` comes to it. */
  length = 0
  #source: Uint8Array = EMPTY
  #pos = 0
  #limit = 0
  #left = 0
  /** The list and those that continued it, each of which is a level, as in skipTerm. */
  #levels = 1
  #isString = false
  #hasTail = false

  /**
   * @returns whether the term is a list; the empty list is one.
   * @throws EtfError ETF_TRUNCATED when it claims more elements than its bytes can hold.
   */
  open(bytes: Uint8Array, start: number, end: number): boolean {
    this.length = this.#left = 0
    this.#hasTail = false
    if (start < 0 || start >= end) return false
    const tag = bytes[start]!
    if (tag === NIL_EXT) return true
    if (tag !== LIST_EXT && tag !== STRING_EXT) return false
    this.#isString = tag === STRING_EXT
    const header = this.#isString ? 3 : 5
    if (end - start < header) throw truncated(end)
    const count = this.#isString
      ? (bytes[start + 1]! << 8) | bytes[start + 2]!
      : uint32At(bytes, start + 1)
    const tailBytes = this.#isString ? 0 : 1
    if (count + tailBytes > end - start - header) throw truncated(end)
    this.bytes = this.#isString ? smallIntegers : bytes
    this.#source = bytes
    this.#pos = start + header
    this.#limit = end
    this.length = this.#left = count
    this.#levels = 1
    this.#hasTail = !this.#isString
    return true
  }

  /** Moves to the next element. @returns false behind the last. @throws EtfError of skipTerm, ETF_TRUNCATED */
  next(): boolean {
    if (this.#left === 0 && !this.#continue()) return false
    this.#left--
    if (this.#isString) {
      this.start = 2 * this.#source[this.#pos++]!
      this.end = this.start + 2
      return true
    }
    const behind = skipElement(this.#source, this.#pos, this.#limit, this.#levels)
    if (behind === NEED_MORE) throw truncated(this.#limit)
    this.start = this.#pos
    this.end = behind
    this.#pos = behind
    return true
  }

  /** Behind the last element: whether the tail is a list with elements, which then are the next ones. */
  #continue(): boolean {
    if (!this.#hasTail) return false
    const limit = this.#limit
    for (;;) {
      const pos = this.#pos
      if (pos >= limit) throw truncated(limit)
      if (this.#source[pos] !== LIST_EXT) break
      if (limit - pos < 5) throw truncated(limit)
      const count = uint32At(this.#source, pos + 1)
      if (count >= limit - pos - 5) throw truncated(limit)
      if (count > 0 && this.#levels++ === DEPTH_MAX) throw tooDeep(LIST_EXT, pos, DEPTH_MAX)
      this.#pos = pos + 5
      this.length += count
      this.#left = count
      if (count > 0) return true
    }
    this.#hasTail = false
    return false
  }
}
