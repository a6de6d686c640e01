import { beyondLimit, tooDeep } from './errors.ts'
import { DEPTH_MAX, LIST_RANGES_MAX, NEED_MORE } from './limits.ts'
import { smallIntegers } from './list-reader.ts'
import { skipElement, skipNested } from './skip.ts'
import { uint32At } from './uint32.ts'

const NIL_EXT = 106
const STRING_EXT = 107
const LIST_EXT = 108

const RANGES_MADE = 16

/** Where the elements of a list are. Grows to the longest list and is used again. */
export class ElementRanges {
  /** What the ranges index: the bytes that were read, but for a STRING_EXT, whose elements are terms of a table. */
  bytes: Uint8Array = smallIntegers
  starts = new Int32Array(RANGES_MADE)
  ends = new Int32Array(RANGES_MADE)
  length = 0

  /** @throws EtfError ETF_LIMIT */
  add(start: number, end: number): void {
    if (this.length === this.starts.length) {
      if (this.length === LIST_RANGES_MAX) {
        throw beyondLimit(LIST_EXT, start, 'A list', this.length + 1, LIST_RANGES_MAX)
      }
      this.starts = grown(this.starts)
      this.ends = grown(this.ends)
    }
    this.starts[this.length] = start
    this.ends[this.length++] = end
  }
}

function grown(values: Int32Array): Int32Array<ArrayBuffer> {
  const more = new Int32Array(2 * values.length)
  more.set(values)
  return more
}

/**
 * The ranges of the elements of the list at `start`, which stands inside of `levels` containers. A term that is
 * no list has none. A tail that is a list continues it; any other than nil is no element.
 *
 * @returns the offset behind the term, or NEED_MORE.
 */
export function readElements(
  bytes: Uint8Array,
  start: number,
  end: number,
  levels: number,
  out: ElementRanges,
): number {
  out.length = 0
  out.bytes = bytes
  if (start >= end) return NEED_MORE
  if (bytes[start] === STRING_EXT) {
    const behind = skipNested(bytes, start, end, levels)
    if (behind === NEED_MORE) return NEED_MORE
    out.bytes = smallIntegers
    for (let pos = start + 3; pos < behind; pos++) {
      out.add(2 * bytes[pos]!, 2 * bytes[pos]! + 2)
    }
    return behind
  }
  let pos = start
  // Continued lists are levels, as in skipTerm.
  let depth = levels
  while (bytes[pos] === LIST_EXT) {
    if (end - pos < 5) return NEED_MORE
    const count = uint32At(bytes, pos + 1)
    if (count >= end - pos - 5) return NEED_MORE
    if (count > 0 && depth++ === DEPTH_MAX) throw tooDeep(LIST_EXT, pos, DEPTH_MAX)
    pos += 5
    for (let i = 0; i < count; i++) {
      const behind = skipElement(bytes, pos, end, depth)
      if (behind === NEED_MORE) return NEED_MORE
      out.add(pos, behind)
      pos = behind
    }
    if (pos >= end) return NEED_MORE
  }
  return bytes[pos] === NIL_EXT ? pos + 1 : skipNested(bytes, pos, end, depth)
}
