/**
 * Steps over one term without looking into it. One flat loop: how many terms are still to be stepped
 * over at this level is a number, what remains of the outer levels lies on a stack of numbers.
 *
 *   scalars                                   containers: count, then that many terms
 *   | 97 | u8 |            SMALL_INTEGER      | 104 | n u8  | term × n |            SMALL_TUPLE
 *   | 98 | i32 |           INTEGER            | 105 | n u32 | term × n |            LARGE_TUPLE
 *   | 70 | 8 bytes |       NEW_FLOAT          | 108 | n u32 | term × n | tail |     LIST
 *   | 99 | 31 characters | FLOAT              | 116 | n u32 | (key, value) × n |    MAP
 *   | 110 | n u8 | sign | n bytes |  SMALL_BIG      | 106 |           NIL, the empty list
 *   | 111 | n u32 | sign | n bytes | LARGE_BIG      | 107 | n u16 | n bytes |  STRING: a list of bytes
 *   | 109 | n u32 | n bytes |        BINARY         | 77 | n u32 | bits | n bytes |  BIT_BINARY
 *   | 100 | n u16 | latin1 |  ATOM      | 118 | n u16 | UTF-8 |  ATOM_UTF8
 *   | 115 | n u8 | latin1 |   SMALL_ATOM | 119 | n u8 | UTF-8 | SMALL_ATOM_UTF8
 * Numbers are big-endian, digits of bigs little-endian. All tags: tags.ts.
 * The cases are constants of this file because imported ones make the loop twice as slow.
 * @see https://www.erlang.org/doc/apps/erts/erl_ext_dist
 */
import { badTerm, beyondLimit, tooDeep, unknownTag } from './errors.ts'
import { inflateTerm } from './inflate.ts'
import { ATOM_BYTES_MAX, ATOM_CHARACTERS_MAX, DEPTH_MAX, NEED_MORE } from './limits.ts'
import { uint32At } from './uint32.ts'

const NEW_FLOAT_EXT = 70
const BIT_BINARY_EXT = 77
const COMPRESSED = 80
const NEW_PID_EXT = 88
const NEW_PORT_EXT = 89
const NEWER_REFERENCE_EXT = 90
const SMALL_INTEGER_EXT = 97
const INTEGER_EXT = 98
const FLOAT_EXT = 99
const ATOM_EXT = 100
const REFERENCE_EXT = 101
const PORT_EXT = 102
const PID_EXT = 103
const SMALL_TUPLE_EXT = 104
const LARGE_TUPLE_EXT = 105
const NIL_EXT = 106
const STRING_EXT = 107
const LIST_EXT = 108
const BINARY_EXT = 109
const SMALL_BIG_EXT = 110
const LARGE_BIG_EXT = 111
const NEW_FUN_EXT = 112
const EXPORT_EXT = 113
const NEW_REFERENCE_EXT = 114
const SMALL_ATOM_EXT = 115
const MAP_EXT = 116
const ATOM_UTF8_EXT = 118
const SMALL_ATOM_UTF8_EXT = 119
const V4_PORT_EXT = 120

/** Arity, uniq, index, number of free variables and the size field itself. */
const NEW_FUN_BYTES_MIN = 29
/** @see Erlang ext_dist, NEWER_REFERENCE_EXT: at most five words of id. */
const REFERENCE_WORDS_MAX = 5

/** Terms left at each outer level. Skipping never calls back, so that one stack serves all calls. */
const pendingStack = new Int32Array(DEPTH_MAX)

/**
 * Steps over the term at `start`.
 *
 * @returns the offset behind the term, or NEED_MORE when it does not end before `end`. A count that
 *   cannot fit into the bytes left (each element takes one at least) returns at once.
 * @throws EtfError ETF_UNKNOWN_TAG, ETF_TOO_DEEP, ETF_LIMIT (atoms), ETF_BAD_TERM. Contents are not looked at: invalid
 *   text or a float that is not finite passes here and fails in decodeTerm.
 * Cost: one pass over tags and lengths, nothing allocated. A compressed term is inflated.
 */
export function skipTerm(bytes: Uint8Array, start: number, end: number): number {
  return skipNested(bytes, start, end, 0)
}

/** skipTerm of a term that stands inside of `levels` containers, which count against DEPTH_MAX. */
export function skipNested(bytes: Uint8Array, start: number, end: number, levels: number): number {
  const stack = pendingStack
  let pos = start
  let pending = 1
  let depth = levels
  for (;;) {
    if (pos >= end) return NEED_MORE
    const tag = bytes[pos++]!
    switch (tag) {
      case SMALL_INTEGER_EXT:
        pos += 1
        break
      case INTEGER_EXT:
        pos += 4
        break
      case NEW_FLOAT_EXT:
        pos += 8
        break
      case FLOAT_EXT:
        pos += 31
        break
      case SMALL_ATOM_EXT:
      case SMALL_ATOM_UTF8_EXT:
        if (pos >= end) return NEED_MORE
        pos += 1 + bytes[pos]!
        break
      case ATOM_EXT:
      case ATOM_UTF8_EXT: {
        if (end - pos < 2) return NEED_MORE
        const length = (bytes[pos]! << 8) | bytes[pos + 1]!
        if (length > ATOM_CHARACTERS_MAX && (tag === ATOM_EXT || length > ATOM_BYTES_MAX)) {
          const bytesMax = tag === ATOM_EXT ? ATOM_CHARACTERS_MAX : ATOM_BYTES_MAX
          throw beyondLimit(tag, pos - 1, 'An atom', length, bytesMax)
        }
        pos += 2 + length
        break
      }
      case BINARY_EXT:
        if (end - pos < 4) return NEED_MORE
        pos +=
          4 +
          (((bytes[pos]! << 24) |
            (bytes[pos + 1]! << 16) |
            (bytes[pos + 2]! << 8) |
            bytes[pos + 3]!) >>>
            0)
        break
      case SMALL_BIG_EXT:
        if (pos >= end) return NEED_MORE
        pos += 2 + bytes[pos]!
        break
      case NIL_EXT:
        break
      case STRING_EXT:
        if (end - pos < 2) return NEED_MORE
        pos += 2 + ((bytes[pos]! << 8) | bytes[pos + 1]!)
        break
      case MAP_EXT: {
        if (end - pos < 4) return NEED_MORE
        const pairs =
          ((bytes[pos]! << 24) |
            (bytes[pos + 1]! << 16) |
            (bytes[pos + 2]! << 8) |
            bytes[pos + 3]!) >>>
          0
        pos += 4
        if (pairs === 0) break
        if (pairs * 2 > end - pos) return NEED_MORE
        if (depth === DEPTH_MAX) throw tooDeep(tag, pos - 5, DEPTH_MAX)
        stack[depth++] = pending - 1
        pending = pairs * 2
        continue
      }
      case LIST_EXT: {
        if (end - pos < 4) return NEED_MORE
        const count =
          ((bytes[pos]! << 24) |
            (bytes[pos + 1]! << 16) |
            (bytes[pos + 2]! << 8) |
            bytes[pos + 3]!) >>>
          0
        pos += 4
        if (count >= end - pos) return NEED_MORE
        // No elements: the term is its tail, as in Erlang.
        if (count === 0) continue
        if (depth === DEPTH_MAX) throw tooDeep(tag, pos - 5, DEPTH_MAX)
        stack[depth++] = pending - 1
        pending = count + 1
        continue
      }
      case SMALL_TUPLE_EXT:
      case LARGE_TUPLE_EXT: {
        const header = tag === SMALL_TUPLE_EXT ? 1 : 4
        if (end - pos < header) return NEED_MORE
        const arity = header === 1 ? bytes[pos]! : uint32At(bytes, pos)
        pos += header
        if (arity === 0) break
        if (arity > end - pos) return NEED_MORE
        if (depth === DEPTH_MAX) throw tooDeep(tag, pos - 1 - header, DEPTH_MAX)
        stack[depth++] = pending - 1
        pending = arity
        continue
      }
      case LARGE_BIG_EXT:
        if (end - pos < 4) return NEED_MORE
        pos += 5 + uint32At(bytes, pos)
        break
      case COMPRESSED: {
        if (pos - 1 !== start || levels > 0) throw unknownTag(tag, pos - 1)
        const inflated = inflateTerm(bytes, start, end)
        return inflated === null ? NEED_MORE : inflated.end
      }
      default:
        pos = skipRareTerm(bytes, pos - 1, end)
        if (pos === NEED_MORE) return NEED_MORE
    }
    pending--
    while (pending === 0) {
      if (depth === levels) return pos > end ? NEED_MORE : pos
      pending = stack[--depth]!
    }
  }
}

/** skipNested with a shorter way for the scalars that most elements are. */
export function skipElement(bytes: Uint8Array, start: number, end: number, levels: number): number {
  let behind = NEED_MORE
  if (end - start >= 5) {
    switch (bytes[start]) {
      case SMALL_INTEGER_EXT:
        return start + 2
      case INTEGER_EXT:
        return start + 5
      case NIL_EXT:
        return start + 1
      case SMALL_BIG_EXT:
        behind = start + 3 + bytes[start + 1]!
        break
      case BINARY_EXT:
        behind = start + 5 + uint32At(bytes, start + 1)
        break
      case SMALL_ATOM_EXT:
      case SMALL_ATOM_UTF8_EXT:
        behind = start + 2 + bytes[start + 1]!
        break
      case ATOM_EXT:
        if (bytes[start + 1] === 0) behind = start + 3 + bytes[start + 2]!
        break
      default:
    }
  }
  if (behind !== NEED_MORE) return behind > end ? NEED_MORE : behind
  return skipNested(bytes, start, end, levels)
}

/** Terms that no payload of Discord holds, but that Erlang writes: bit strings, funs, pids, ports, references. */
function skipRareTerm(bytes: Uint8Array, start: number, end: number): number {
  const tag = bytes[start]!
  let pos = start + 1
  switch (tag) {
    case BIT_BINARY_EXT: {
      if (end - pos < 5) return NEED_MORE
      const length = uint32At(bytes, pos)
      const bits = bytes[pos + 4]!
      if (bits > 8 || (bits === 0) !== (length === 0)) {
        throw badTerm(tag, start, `says that ${bits} bits of its last byte are used`)
      }
      return pos + 5 + length
    }
    case NEW_FUN_EXT: {
      if (end - pos < 4) return NEED_MORE
      const size = uint32At(bytes, pos)
      if (size < NEW_FUN_BYTES_MIN) throw badTerm(tag, start, `has a size of ${size} bytes`)
      return pos + size
    }
    case EXPORT_EXT: {
      pos = skipAtom(bytes, pos, end)
      if (pos !== NEED_MORE) pos = skipAtom(bytes, pos, end)
      if (pos === NEED_MORE || end - pos < 2) return NEED_MORE
      if (bytes[pos] !== SMALL_INTEGER_EXT) throw badTerm(tag, start, 'has no arity')
      return pos + 2
    }
    case REFERENCE_EXT:
    case PORT_EXT:
      return behindNode(bytes, pos, end, 5)
    case NEW_PORT_EXT:
      return behindNode(bytes, pos, end, 8)
    case PID_EXT:
      return behindNode(bytes, pos, end, 9)
    case NEW_PID_EXT:
    case V4_PORT_EXT:
      return behindNode(bytes, pos, end, 12)
    case NEW_REFERENCE_EXT:
    case NEWER_REFERENCE_EXT: {
      if (end - pos < 2) return NEED_MORE
      const words = (bytes[pos]! << 8) | bytes[pos + 1]!
      if (words > REFERENCE_WORDS_MAX) throw badTerm(tag, start, `has ${words} words of id`)
      const creation = tag === NEW_REFERENCE_EXT ? 1 : 4
      return behindNode(bytes, pos + 2, end, creation + 4 * words)
    }
    default:
      throw unknownTag(tag, start)
  }
}

/** A node's name, an atom, and `fixed` bytes behind it. */
function behindNode(bytes: Uint8Array, pos: number, end: number, fixed: number): number {
  const behind = skipAtom(bytes, pos, end)
  return behind === NEED_MORE ? NEED_MORE : behind + fixed
}

/** Steps over an atom; anything else is ETF_BAD_TERM. */
export function skipAtom(bytes: Uint8Array, pos: number, end: number): number {
  if (pos >= end) return NEED_MORE
  const tag = bytes[pos]!
  switch (tag) {
    case ATOM_EXT:
    case ATOM_UTF8_EXT:
    case SMALL_ATOM_EXT:
    case SMALL_ATOM_UTF8_EXT:
      return skipTerm(bytes, pos, end)
    default:
      throw badTerm(tag, pos, 'stands where an atom is needed')
  }
}
