import { atomText } from './atom-text.ts'
import { bigAt } from './big.ts'
import { badTerm } from './errors.ts'
import { oldFloatAt } from './float-text.ts'
import { isWholeBinary, rareTermText } from './rare-terms.ts'
import { float64, integerAt } from './scalar.ts'
import { asBuffer, utf8Text } from './text.ts'

/**
 * The name that a map key gets where keys are strings (objects, JSON): text of a binary or atom (nil and true
 * included), decimal of an integer or float, `[]` of the empty list, the shell's form of a pid, fun or reference. Tuples, lists
 * and maps are `etf:` and the base64 of their term, which needs no recursion and stays unique.
 *
 * @param end behind the key, as skipTerm found it.
 */
export function keyText(bytes: Uint8Array, start: number, end: number): string {
  const tag = bytes[start]!
  switch (tag) {
    case 109:
      return utf8Text(bytes, start + 5, end)
    case 100:
    case 115:
    case 118:
    case 119:
      return atomText(bytes, start, end)
    case 97:
    case 98:
      return String(integerAt(bytes, start, end))
    case 110:
    case 111:
      return String(bigAt(bytes, start, end))
    case 70:
      return String(finite(float64(bytes, start + 1), start))
    case 99:
      return String(oldFloatAt(bytes, start))
    case 106:
      return '[]'
    case 77:
      return isWholeBinary(bytes, start)
        ? utf8Text(bytes, start + 6, end)
        : rareTermText(bytes, start, end)
    case 104:
    case 105:
    case 107:
    case 108:
    case 116:
      return `etf:${asBuffer(bytes).toString('base64', start, end)}`
    default:
      return rareTermText(bytes, start, end)
  }
}

/** Erlang has no NaN and no infinities; bytes that spell one are refused. */
export function finite(value: number, offset: number): number {
  if (!Number.isFinite(value)) throw badTerm(70, offset, 'is a float that is not finite')
  return value
}
