import { truncated } from './errors.ts'
import { NEED_MORE } from './limits.ts'
import { textHeader } from './scalar.ts'
import { skipElement } from './skip.ts'

const MAP_EXT = 116

/**
 * The pairs of a map, one after the other, as ranges. Reused: `open` begins anew.
 *
 *   | 116 | arity u32 | 109 | n u32 | guild_id | 110 | 8 | 0 | ........ | …
 *                     ^term         ^keyStart  ^keyEnd = valueStart      ^valueEnd
 */
export class MapReader {
  /** Where the key's term begins, its tag first. */
  keyTermStart = 0
  /** Whether the key is a binary or an atom. */
  isTextKey = false
  /** Text of the key; equal to `keyEnd` where it is none, or ''. */
  keyStart = 0
  keyEnd = 0
  valueStart = 0
  valueEnd = 0
  /** Pairs of the map, read or not. */
  length = 0
  #bytes: Uint8Array = EMPTY
  #pos = 0
  #end = 0
  #left = 0

  /**
   * @returns whether the term is a map.
   * @throws EtfError ETF_TRUNCATED when it claims more pairs than its bytes can hold.
   */
  open(bytes: Uint8Array, start: number, end: number): boolean {
    this.length = this.#left = 0
    if (start < 0 || start >= end || bytes[start] !== MAP_EXT) return false
    if (end - start < 5) throw truncated(end)
    const arity =
      ((bytes[start + 1]! << 24) |
        (bytes[start + 2]! << 16) |
        (bytes[start + 3]! << 8) |
        bytes[start + 4]!) >>>
      0
    if (arity * 2 > end - start - 5) throw truncated(end)
    this.#bytes = bytes
    this.#pos = start + 5
    this.#end = end
    this.length = this.#left = arity
    return true
  }

  /** Moves to the next pair. @returns false behind the last. @throws EtfError of skipTerm, ETF_TRUNCATED */
  next(): boolean {
    if (this.#left === 0) return false
    const bytes = this.#bytes
    const end = this.#end
    const keyTerm = this.#pos
    const keyEnd = skipElement(bytes, keyTerm, end, 1)
    if (keyEnd === NEED_MORE) throw truncated(end)
    const valueEnd = skipElement(bytes, keyEnd, end, 1)
    if (valueEnd === NEED_MORE) throw truncated(end)
    const tag = bytes[keyTerm]!
    const header = textHeader(tag)
    this.keyTermStart = keyTerm
    this.isTextKey = header !== 0
    this.keyStart = header === 0 ? keyEnd : keyTerm + header
    this.keyEnd = keyEnd
    this.valueStart = keyEnd
    this.valueEnd = valueEnd
    this.#pos = valueEnd
    this.#left--
    return true
  }
}

const EMPTY = new Uint8Array(0)
