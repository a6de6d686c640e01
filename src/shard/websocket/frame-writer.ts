/** Frames of a client: whole, and masked with four random bytes. See RFC 6455 §5.3. */
import { randomFillSync } from 'node:crypto'
import { CONTROL_BYTES_MAX, FIN, FrameOpcode, LENGTH_16, LENGTH_64, MASK } from './frame.ts'

type Opcode = (typeof FrameOpcode)[keyof typeof FrameOpcode]

/** Random bytes are made for many masks at once: a call for four costs as much as one for thousands. */
const masks = Buffer.allocUnsafeSlow(4096)
let masksUsed = masks.length

/** A frame with this payload, header and mask included. */
export function clientFrame(opcode: Opcode, payload: Uint8Array): Buffer {
  const { length } = payload
  const lengthBytes = length < LENGTH_16 ? 0 : length < 0x10000 ? 2 : 8
  const maskStart = 2 + lengthBytes
  const frame = Buffer.allocUnsafe(maskStart + 4 + length)
  frame[0] = FIN | opcode
  if (lengthBytes === 0) {
    frame[1] = MASK | length
  } else if (lengthBytes === 2) {
    frame[1] = MASK | LENGTH_16
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = MASK | LENGTH_64
    frame.writeBigUInt64BE(BigInt(length), 2)
  }
  writeMask(frame, maskStart)
  const start = maskStart + 4
  for (let index = 0; index < length; index++) {
    frame[start + index] = payload[index]! ^ frame[maskStart + (index & 3)]!
  }
  return frame
}

/** A close frame; the reason is cut to what fits. */
export function closeFrame(closeCode: number, reason = ''): Buffer {
  const payload = Buffer.alloc(CONTROL_BYTES_MAX)
  payload.writeUInt16BE(closeCode, 0)
  const end = 2 + payload.write(reason, 2, 'utf8')
  return clientFrame(FrameOpcode.Close, payload.subarray(0, end))
}

function writeMask(frame: Buffer, pos: number): void {
  if (masksUsed === masks.length) {
    randomFillSync(masks)
    masksUsed = 0
  }
  masks.copy(frame, pos, masksUsed, masksUsed + 4)
  masksUsed += 4
}
