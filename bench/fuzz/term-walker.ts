/** A reader of its own, slow and simple: where terms begin and end, so that mutations can swap whole terms. */

export interface TermRange {
  readonly start: number
  readonly end: number
}

/** All terms inside of the one behind the version byte, as far as they can be read, `max` at most. */
export function findTerms(bytes: Uint8Array, max: number): TermRange[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const ranges: { start: number; end: number }[] = []
  const open: { index: number; left: number }[] = []
  let pos = 1
  while (pos < bytes.length && ranges.length < max) {
    const index = ranges.push({ start: pos, end: bytes.length }) - 1
    const size = sizeOf(view, pos)
    if (size === null || pos + size.bytes > bytes.length) break
    pos += size.bytes
    open.push({ index, left: size.terms })
    for (let top = open.at(-1); top !== undefined && top.left === 0; top = open.at(-1)) {
      ranges[top.index]!.end = pos
      open.pop()
    }
    const parent = open.at(-1)
    if (parent === undefined) break
    parent.left--
  }
  return ranges
}

/** Bytes of a term's head, or of the whole scalar, and how many terms follow. */
function sizeOf(view: DataView, pos: number): { bytes: number; terms: number } | null {
  const has = (count: number): boolean => pos + count <= view.byteLength
  const u8 = (): number => (has(2) ? view.getUint8(pos + 1) : 0)
  const u16 = (): number => (has(3) ? view.getUint16(pos + 1) : 0)
  const u32 = (): number => (has(5) ? view.getUint32(pos + 1) : 0)
  switch (view.getUint8(pos)) {
    case 70:
      return { bytes: 9, terms: 0 }
    case 97:
      return { bytes: 2, terms: 0 }
    case 98:
      return { bytes: 5, terms: 0 }
    case 99:
      return { bytes: 32, terms: 0 }
    case 100:
    case 107:
    case 118:
      return { bytes: 3 + u16(), terms: 0 }
    case 115:
    case 119:
      return { bytes: 2 + u8(), terms: 0 }
    case 104:
      return { bytes: 2, terms: u8() }
    case 105:
      return { bytes: 5, terms: u32() }
    case 106:
      return { bytes: 1, terms: 0 }
    case 108:
      return { bytes: 5, terms: u32() + 1 }
    case 109:
      return { bytes: 5 + u32(), terms: 0 }
    case 77:
      return { bytes: 6 + u32(), terms: 0 }
    case 110:
      return { bytes: 3 + u8(), terms: 0 }
    case 111:
      return { bytes: 6 + u32(), terms: 0 }
    case 116:
      return { bytes: 5, terms: u32() * 2 }
    default:
      return null
  }
}
