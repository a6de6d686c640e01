/**
 * Frames to messages: a state machine without a socket, fed with whatever pieces arrive. The layout is
 * drawn in frame.ts.
 *
 *   read buffer  │hd│ payload A │hd│ payload B │hd│ payl         a message that lies whole in the buffer is
 *                    └─ handed out as offsets ─┘      └─ kept     handed out as it is, without a copy
 *
 * Only what spans reads, and messages in fragments, are collected in a buffer of their own.
 */
import { isUtf8 } from 'node:buffer'
import {
  CLOSE_CODE_ABSENT,
  CONTROL_BYTES_MAX,
  CONTROL_OPCODE_MIN,
  FIN,
  FrameOpcode,
  isCloseCode,
  LENGTH_16,
  LENGTH_64,
  LENGTH_BITS,
  MASK,
  OPCODE_BITS,
  RSV_BITS,
} from './frame.ts'

/** `protocol`: RFC 6455 is broken; `oversize`: the message is larger than the bound. */
export type FrameFault = 'protocol' | 'oversize'

export interface FrameHandler {
  /** One whole message: bytes[start, end), valid only during the call. */
  onMessage(bytes: Buffer, start: number, end: number): void
  /** The payload must come back in a pong: bytes[start, end), valid only during the call. */
  onPing(bytes: Buffer, start: number, end: number): void
  /** Final: the peer says goodbye; 1005 without a code. */
  onCloseFrame(closeCode: number, reason: string): void
  /** Final: the stream cannot be read on. */
  onFault(fault: FrameFault, message: string): void
}

const NOTHING = Buffer.alloc(0)
/** A header without mask: 2, 4 or 10 bytes. */
const HEADER_BYTES_MAX = 10
/** What a message that spans reads begins with, so that a length alone allocates nothing large. */
const COLLECT_BYTES_MIN = 32 * 1024
/** No opcode: between messages. */
const NONE = -1

export class FrameReader {
  readonly #handler: FrameHandler
  readonly #messageBytesMax: number
  #isDone = false
  /** A header that is not whole yet. */
  #header: Buffer = NOTHING
  #headerBytes = 0
  /** The frame whose payload is being read. */
  #opcode: number = NONE
  #isFinal = false
  #payloadLeft = 0
  /** The message that its data frames add up to, collected so far. */
  #messageOpcode: number = NONE
  #message: Buffer = NOTHING
  #messageBytes = 0
  /** A control frame may come between the fragments of a message. */
  #control: Buffer = NOTHING
  #controlBytes = 0

  /** @param messageBytesMax bound of one message; a longer one is refused by its header. */
  constructor(handler: FrameHandler, messageBytesMax: number) {
    this.#handler = handler
    this.#messageBytesMax = messageBytesMax
  }

  /** Reads bytes[start, end); everything that must outlive the call is copied. */
  read(bytes: Buffer, start: number, end: number): void {
    let pos = start
    while (pos < end && !this.#isDone) {
      pos =
        this.#opcode === NONE
          ? this.#readFrame(bytes, pos, end)
          : this.#readPayload(bytes, pos, end)
    }
  }

  /** Nothing is called back any more. */
  stop(): void {
    this.#isDone = true
    this.#message = NOTHING
  }

  /** A frame's beginning, and its payload too when all of it is here. @returns the offset behind it. */
  #readFrame(bytes: Buffer, pos: number, end: number): number {
    if (this.#headerBytes > 0) return this.#collectHeader(bytes, pos, end)
    const size = headerSize(bytes, pos, end)
    if (size === 0 || pos + size > end) return this.#collectHeader(bytes, pos, end)
    if (!this.#open(bytes, pos)) return end
    const payloadStart = pos + size
    const payloadEnd = payloadStart + this.#payloadLeft
    if (payloadEnd > end) return payloadStart
    this.#finishFrame(bytes, payloadStart, payloadEnd)
    return payloadEnd
  }

  #collectHeader(bytes: Buffer, start: number, end: number): number {
    if (this.#header.length === 0) this.#header = Buffer.allocUnsafe(HEADER_BYTES_MAX)
    const header = this.#header
    let pos = start
    while (pos < end) {
      header[this.#headerBytes++] = bytes[pos++]!
      if (headerSize(header, 0, this.#headerBytes) !== this.#headerBytes) continue
      this.#headerBytes = 0
      if (!this.#open(header, 0)) return end
      if (this.#payloadLeft === 0) this.#finishFrame(NOTHING, 0, 0)
      return pos
    }
    return pos
  }

  /** Checks the header at `pos`, which is whole. @returns false after a fault. */
  #open(bytes: Buffer, pos: number): boolean {
    const first = bytes[pos]!
    const second = bytes[pos + 1]!
    const opcode = first & OPCODE_BITS
    const isFinal = (first & FIN) !== 0
    if ((first & RSV_BITS) !== 0) {
      return this.#fail('protocol', 'a reserved bit is set, but no extension was agreed')
    }
    if ((second & MASK) !== 0) return this.#fail('protocol', 'a frame of the server is masked')
    let length = second & LENGTH_BITS
    if (length === LENGTH_16) length = bytes.readUInt16BE(pos + 2)
    else if (length === LENGTH_64) {
      length = bytes.readUInt32BE(pos + 2) * 2 ** 32 + bytes.readUInt32BE(pos + 6)
    }
    if (opcode >= CONTROL_OPCODE_MIN) {
      if (opcode > FrameOpcode.Pong) return this.#fail('protocol', `opcode ${opcode} is reserved`)
      if (!isFinal) return this.#fail('protocol', 'a control frame is fragmented')
      if (length > CONTROL_BYTES_MAX) return this.#fail('protocol', 'a control frame is too long')
    } else {
      if (opcode > FrameOpcode.Binary) return this.#fail('protocol', `opcode ${opcode} is reserved`)
      if ((opcode === FrameOpcode.Continuation) !== (this.#messageOpcode !== NONE)) {
        return this.#fail('protocol', 'fragments of two messages are mixed')
      }
      if (this.#messageBytes + length > this.#messageBytesMax) {
        return this.#fail('oversize', `a message is larger than ${this.#messageBytesMax} bytes`)
      }
      if (opcode !== FrameOpcode.Continuation) this.#messageOpcode = opcode
    }
    this.#opcode = opcode
    this.#isFinal = isFinal
    this.#payloadLeft = length
    return true
  }

  /** A payload that spans reads: its part in this one. */
  #readPayload(bytes: Buffer, pos: number, end: number): number {
    const partEnd = Math.min(end, pos + this.#payloadLeft)
    const left = this.#payloadLeft - (partEnd - pos)
    if (left === 0) {
      this.#finishFrame(bytes, pos, partEnd)
    } else {
      if (this.#opcode >= CONTROL_OPCODE_MIN) this.#collectControl(bytes, pos, partEnd)
      else this.#collectMessage(bytes, pos, partEnd)
      this.#payloadLeft = left
    }
    return partEnd
  }

  /** The last part of a frame's payload: bytes[start, end). */
  #finishFrame(bytes: Buffer, start: number, end: number): void {
    const opcode = this.#opcode
    this.#opcode = NONE
    this.#payloadLeft = 0
    if (opcode >= CONTROL_OPCODE_MIN) {
      if (this.#controlBytes === 0) {
        this.#onControl(opcode, bytes, start, end)
        return
      }
      this.#collectControl(bytes, start, end)
      const length = this.#controlBytes
      this.#controlBytes = 0
      this.#onControl(opcode, this.#control, 0, length)
      return
    }
    if (!this.#isFinal) {
      this.#collectMessage(bytes, start, end)
    } else if (this.#messageBytes === 0) {
      this.#onMessage(bytes, start, end)
    } else {
      this.#collectMessage(bytes, start, end)
      const message = this.#message
      const length = this.#messageBytes
      this.#message = NOTHING
      this.#messageBytes = 0
      this.#onMessage(message, 0, length)
    }
  }

  #onMessage(bytes: Buffer, start: number, end: number): void {
    const isText = this.#messageOpcode === FrameOpcode.Text
    this.#messageOpcode = NONE
    if (isText && !isUtf8(bytes.subarray(start, end))) {
      this.#fail('protocol', 'a text message is not UTF-8')
      return
    }
    this.#handler.onMessage(bytes, start, end)
  }

  #onControl(opcode: number, bytes: Buffer, start: number, end: number): void {
    if (opcode === FrameOpcode.Ping) this.#handler.onPing(bytes, start, end)
    else if (opcode === FrameOpcode.Close) this.#onClose(bytes, start, end)
  }

  #onClose(bytes: Buffer, start: number, end: number): void {
    if (end === start) {
      this.stop()
      this.#handler.onCloseFrame(CLOSE_CODE_ABSENT, '')
      return
    }
    const closeCode = end - start === 1 ? 0 : bytes.readUInt16BE(start)
    if (!isCloseCode(closeCode)) {
      this.#fail('protocol', `${closeCode} is no close code`)
      return
    }
    const reason = bytes.subarray(start + 2, end)
    if (!isUtf8(reason)) {
      this.#fail('protocol', 'the reason of a close frame is not UTF-8')
      return
    }
    const text = reason.toString('utf8')
    this.stop()
    this.#handler.onCloseFrame(closeCode, text)
  }

  #collectControl(bytes: Buffer, start: number, end: number): void {
    if (this.#control.length === 0) this.#control = Buffer.allocUnsafe(CONTROL_BYTES_MAX)
    this.#controlBytes += bytes.copy(this.#control, this.#controlBytes, start, end)
  }

  #collectMessage(bytes: Buffer, start: number, end: number): void {
    const needed = this.#messageBytes + (end - start)
    if (this.#message.length < needed) {
      // Twice as much each time, but no more than the frame says it has.
      const doubled = Math.max(COLLECT_BYTES_MIN, this.#message.length * 2)
      const said = this.#messageBytes + this.#payloadLeft
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(doubled, said)))
      this.#message.copy(larger, 0, 0, this.#messageBytes)
      this.#message = larger
    }
    bytes.copy(this.#message, this.#messageBytes, start, end)
    this.#messageBytes = needed
  }

  #fail(fault: FrameFault, message: string): false {
    this.stop()
    this.#handler.onFault(fault, message)
    return false
  }
}

/** Bytes of the header at `pos`; 0 while its first two bytes are not there. */
function headerSize(bytes: Buffer, pos: number, end: number): number {
  if (end - pos < 2) return 0
  const length = bytes[pos + 1]! & LENGTH_BITS
  return length < LENGTH_16 ? 2 : length === LENGTH_16 ? 4 : 10
}
