/**
 * Ids on their way from an event to a row: 8 bytes big-endian, as Postgres' binary int8 wants them, and as
 * strings of 8 characters, one per byte, where they are keys. No bigint is made.
 */
import { writeSnowflake } from '../etf/index.ts'

const ID_BYTES = 8
/** A row has at most this many int8 columns. */
const IDS_MAX = 4

export class Ids {
  readonly bytes: Buffer = Buffer.alloc(IDS_MAX * ID_BYTES)

  /** Writes the snowflake at a range. @returns false, and writes 0, when there is none. */
  read(index: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (start >= 0 && writeSnowflake(bytes, start, end, this.bytes, index * ID_BYTES)) return true
    this.clear(index)
    return false
  }

  clear(index: number): void {
    this.bytes.fill(0, index * ID_BYTES, (index + 1) * ID_BYTES)
  }

  write(index: number, id: string): void {
    this.bytes.write(id, index * ID_BYTES, ID_BYTES, 'latin1')
  }

  writeNumber(index: number, value: number): void {
    this.bytes.writeBigInt64BE(BigInt(value), index * ID_BYTES)
  }

  /** The key string of one id. */
  text(index: number): string {
    return this.bytes.toString('latin1', index * ID_BYTES, (index + 1) * ID_BYTES)
  }
}

/** The key string of a snowflake. */
export function idText(id: bigint): string {
  const bytes = Buffer.allocUnsafe(ID_BYTES)
  bytes.writeBigInt64BE(BigInt.asIntN(64, id))
  return bytes.toString('latin1', 0, ID_BYTES)
}
