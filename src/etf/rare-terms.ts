/**
 * Text for terms that have no counterpart in JavaScript or JSON. The forms follow what an Erlang shell
 * prints, with the node's name in place of its number.
 *
 *   pid <node.id.serial> · port #Port<node.id> · reference #Ref<node.creation.words> ·
 *   fun #Fun<module.index.uniq> · export fun module:name/arity · bit string <<1,2,5:3>>
 */
import { atomText } from './atom-text.ts'
import { badTerm, unknownTag } from './errors.ts'
import { NEED_MORE } from './limits.ts'
import { skipAtom } from './skip.ts'

/** @param end behind the term, as skipTerm found it. */
export function rareTermText(bytes: Uint8Array, start: number, end: number): string {
  const tag = bytes[start]!
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (tag) {
    case 77:
      return bitStringText(bytes, start + 6, end, bytes[start + 5]!)
    case 88:
    case 103: {
      const at = skipAtom(bytes, start + 1, end)
      return `<${atomText(bytes, start + 1, at)}.${view.getUint32(at)}.${view.getUint32(at + 4)}>`
    }
    case 89:
    case 102: {
      const at = skipAtom(bytes, start + 1, end)
      return `#Port<${atomText(bytes, start + 1, at)}.${view.getUint32(at)}>`
    }
    case 120: {
      const at = skipAtom(bytes, start + 1, end)
      return `#Port<${atomText(bytes, start + 1, at)}.${view.getBigUint64(at)}>`
    }
    case 101: {
      const at = skipAtom(bytes, start + 1, end)
      return `#Ref<${atomText(bytes, start + 1, at)}.${view.getUint32(at)}>`
    }
    case 90:
    case 114: {
      const at = skipAtom(bytes, start + 3, end)
      const words: number[] = []
      for (let word = at + (tag === 114 ? 1 : 4); word + 4 <= end; word += 4) {
        words.unshift(view.getUint32(word))
      }
      return `#Ref<${[atomText(bytes, start + 3, at), ...words].join('.')}>`
    }
    case 112: {
      const module = skipAtom(bytes, start + 30, end)
      if (module === NEED_MORE) throw badTerm(tag, start, 'is a fun without a module')
      const uniq = view
        .getUint32(start + 6)
        .toString(16)
        .padStart(8, '0')
      return `#Fun<${atomText(bytes, start + 30, module)}.${view.getUint32(start + 22)}.${uniq}>`
    }
    case 113: {
      const name = skipAtom(bytes, start + 1, end)
      const arity = skipAtom(bytes, name, end)
      return `fun ${atomText(bytes, start + 1, name)}:${atomText(bytes, name, arity)}/${bytes[arity + 1]!}`
    }
    default:
      throw unknownTag(tag, start)
  }
}

/** A bit string of whole bytes is a binary, and the readers treat it as one. */
export function isWholeBinary(bytes: Uint8Array, start: number): boolean {
  return bytes[start + 5] === 8 || bytes[start + 5] === 0
}

/** `<<1,2,5:3>>`: the last byte's upper `bits`, as a number of that many bits. */
function bitStringText(bytes: Uint8Array, start: number, end: number, bits: number): string {
  const parts: string[] = []
  for (let pos = start; pos < end - 1; pos++) parts.push(String(bytes[pos]!))
  parts.push(`${bytes[end - 1]! >>> (8 - bits)}:${bits}`)
  return `<<${parts.join(',')}>>`
}
