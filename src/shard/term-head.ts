/**
 * Whether the first term of a range can fill it: what a tag and its length claim, against the bytes that
 * are there. Constant time. The envelope scanner does not walk `d`, and events that touch no row leave
 * the process as they came, so this is what keeps a `d` of nonsense out of the queues.
 */

/** @returns false for an unknown tag, or a length that cannot be true. */
export function isPlausibleTerm(bytes: Uint8Array, start: number, end: number): boolean {
  const rest = end - start - 1
  switch (bytes[start]) {
    case 97: // SMALL_INTEGER_EXT
      return rest === 1
    case 98: // INTEGER_EXT
      return rest === 4
    case 70: // NEW_FLOAT_EXT
      return rest === 8
    case 99: // FLOAT_EXT
      return rest === 31
    case 106: // NIL_EXT
      return rest === 0
    case 115: // SMALL_ATOM_EXT
    case 119: // SMALL_ATOM_UTF8_EXT
      return rest >= 1 && rest === 1 + bytes[start + 1]!
    case 100: // ATOM_EXT
    case 107: // STRING_EXT
    case 118: // ATOM_UTF8_EXT
      return rest >= 2 && rest === 2 + bytes[start + 1]! * 256 + bytes[start + 2]!
    case 110: // SMALL_BIG_EXT: length, sign, digits
      return rest >= 2 && rest === 2 + bytes[start + 1]!
    case 111: // LARGE_BIG_EXT
      return rest >= 5 && rest === 5 + uint32(bytes, start + 1)
    case 109: // BINARY_EXT
      return rest >= 4 && rest === 4 + uint32(bytes, start + 1)
    case 116: // MAP_EXT: a pair has at least two bytes
      return rest >= 4 && uint32(bytes, start + 1) * 2 <= rest - 4
    case 108: // LIST_EXT: elements and a tail
      return rest >= 5 && uint32(bytes, start + 1) < rest - 4
    case 104: // SMALL_TUPLE_EXT
      return rest >= 1 && bytes[start + 1]! <= rest - 1
    case 105: // LARGE_TUPLE_EXT
      return rest >= 4 && uint32(bytes, start + 1) <= rest - 4
    default:
      return false
  }
}

function uint32(bytes: Uint8Array, pos: number): number {
  return (
    bytes[pos]! * 0x1000000 + bytes[pos + 1]! * 0x10000 + bytes[pos + 2]! * 0x100 + bytes[pos + 3]!
  )
}
