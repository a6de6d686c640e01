/**
 * Array parameters in Postgres' binary format, which costs a third less than text on both sides.
 *
 *   int32 dimensions = 1 | int32 has nulls | int32 element oid | int32 length | int32 lower bound = 1
 *   then per element:  int32 bytes (-1 = null) | value
 *
 * @see PostgreSQL src/backend/utils/adt/arrayfuncs.c, array_recv
 */
import type { ByteBuffer } from '../etf/index.ts'

const CHAR_OID = 18
const INT8_OID = 20
const INT4_OID = 23
const JSONB_OID = 3802

const HEADER_BYTES = 20
/** jsonb_recv takes this version byte, then JSON text. */
const JSONB_VERSION = 1

function header(out: Buffer, hasNulls: boolean, oid: number, length: number): number {
  let pos = out.writeInt32BE(1, 0)
  pos = out.writeInt32BE(hasNulls ? 1 : 0, pos)
  pos = out.writeInt32BE(oid, pos)
  pos = out.writeInt32BE(length, pos)
  return out.writeInt32BE(1, pos)
}

/** int8[] of ids that are strings of 8 characters, one per byte, big-endian. */
export function idArray(ids: readonly string[]): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + ids.length * 12)
  let pos = header(out, false, INT8_OID, ids.length)
  for (let i = 0; i < ids.length; i++) {
    pos = out.writeInt32BE(8, pos)
    pos += out.write(ids[i]!, pos, 8, 'latin1')
  }
  return out
}

/**
 * int8[] of one column of `source`, whose rows are `stride` bytes long.
 *
 * @param order  row numbers, in the order of the array.
 */
export function int8Column(
  source: Uint8Array,
  stride: number,
  offset: number,
  order: readonly number[],
): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + order.length * 12)
  let pos = header(out, false, INT8_OID, order.length)
  for (let i = 0; i < order.length; i++) {
    pos = out.writeInt32BE(8, pos)
    const from = order[i]! * stride + offset
    for (let byte = 0; byte < 8; byte++) out[pos + byte] = source[from + byte]!
    pos += 8
  }
  return out
}

/** int8[] of numbers that a double holds exactly. */
export function int8Array(values: readonly number[]): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + values.length * 12)
  let pos = header(out, false, INT8_OID, values.length)
  for (let i = 0; i < values.length; i++) {
    pos = out.writeInt32BE(8, pos)
    pos = out.writeInt32BE(Math.floor(values[i]! / 0x1_0000_0000), pos)
    pos = out.writeUInt32BE(values[i]! >>> 0, pos)
  }
  return out
}

export function int4Array(values: readonly number[]): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + values.length * 8)
  let pos = header(out, false, INT4_OID, values.length)
  for (let i = 0; i < values.length; i++) {
    pos = out.writeInt32BE(4, pos)
    pos = out.writeInt32BE(values[i]!, pos)
  }
  return out
}

/** "char"[] of one byte per element. */
export function charArray(codes: readonly number[], order: readonly number[]): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + order.length * 5)
  let pos = header(out, false, CHAR_OID, order.length)
  for (let i = 0; i < order.length; i++) {
    pos = out.writeInt32BE(1, pos)
    out[pos++] = codes[order[i]!]!
  }
  return out
}

/** jsonb[], written element by element into one growing buffer. */
export class JsonbArray {
  readonly #out: ByteBuffer
  #count = 0
  #hasNulls = false
  #lengthAt = 0

  /** @param out scratch memory; cleared here, free again after `finish`. */
  constructor(out: ByteBuffer) {
    this.#out = out
    out.clear()
    out.reserve(HEADER_BYTES)
    out.length = HEADER_BYTES
  }

  addNull(): void {
    this.#out.writeUint32(0xffff_ffff)
    this.#hasNulls = true
    this.#count++
  }

  /** Begins an element: append its JSON text to the buffer, then call `end`. */
  begin(): void {
    this.#lengthAt = this.#out.length
    this.#out.writeUint32(0)
    this.#out.writeByte(JSONB_VERSION)
  }

  end(): void {
    const out = this.#out
    out.bytes.writeInt32BE(out.length - this.#lengthAt - 4, this.#lengthAt)
    this.#count++
  }

  finish(): Buffer {
    header(this.#out.bytes, this.#hasNulls, JSONB_OID, this.#count)
    return this.#out.copy()
  }
}
