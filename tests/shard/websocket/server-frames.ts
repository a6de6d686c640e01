/** Frames as a server writes them, the broken ones included. */
export interface FrameParts {
  readonly opcode: number
  readonly payload: Uint8Array
  readonly isFinal?: boolean
  readonly rsv?: number
  readonly isMasked?: boolean
  /** Length form: by size, or always 16 or 64 bits. */
  readonly form?: 7 | 16 | 64
}

export function serverFrame(parts: FrameParts): Buffer {
  const { opcode, payload, isFinal = true, rsv = 0, isMasked = false } = parts
  const { length } = payload
  const form = parts.form ?? (length < 126 ? 7 : length < 0x10000 ? 16 : 64)
  const first = (isFinal ? 0x80 : 0) | (rsv << 4) | opcode
  const mask = isMasked ? 0x80 : 0
  let head: Buffer
  if (form === 7) {
    head = Buffer.from([first, mask | length])
  } else if (form === 16) {
    head = Buffer.from([first, mask | 126, 0, 0])
    head.writeUInt16BE(length, 2)
  } else {
    head = Buffer.from([first, mask | 127, 0, 0, 0, 0, 0, 0, 0, 0])
    head.writeBigUInt64BE(BigInt(length), 2)
  }
  return Buffer.concat([head, isMasked ? Buffer.alloc(4) : Buffer.alloc(0), payload])
}

export function serverClose(closeCode: number, reason: string | Uint8Array = ''): Buffer {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(closeCode)
  return serverFrame({ opcode: 8, payload: Buffer.concat([head, Buffer.from(reason)]) })
}
