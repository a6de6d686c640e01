/**
 * What a websocket frame is made of. See RFC 6455 §5.2.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   ├─┬─────┬───────┬─┬─────────────┬───────────────────────────────┤
 *   │F│ RSV │opcode │M│ length      │ 126: length as u16            │
 *   │I│     │       │A│  0…125      │ 127: length as u64            │
 *   │N│     │       │S│             │                               │
 *   ├─┴─────┴───────┴─┴─────────────┴───────────────────────────────┤
 *   │ 4 bytes of mask, from clients only                            │
 *   ├───────────────────────────────────────────────────────────────┤
 *   │ payload                                                       │
 *   └───────────────────────────────────────────────────────────────┘
 */
export const FrameOpcode = {
  Continuation: 0,
  Text: 1,
  Binary: 2,
  Close: 8,
  Ping: 9,
  Pong: 10,
} as const

export const FIN = 0x80
export const RSV_BITS = 0x70
export const OPCODE_BITS = 0x0f
export const MASK = 0x80
export const LENGTH_BITS = 0x7f
/** In place of the length: it follows as u16, as u64. */
export const LENGTH_16 = 126
export const LENGTH_64 = 127
/** Opcodes from here on are control frames: never fragmented, at most 125 bytes of payload. */
export const CONTROL_OPCODE_MIN = 8
export const CONTROL_BYTES_MAX = 125

/** "No status code was present": never on the wire. See RFC 6455 §7.4.1. */
export const CLOSE_CODE_ABSENT = 1005
/** "Closed abnormally", without a close frame: never on the wire. */
export const CLOSE_CODE_ABNORMAL = 1006

/** Whether a peer may send this close code. See RFC 6455 §7.4 and the IANA registry. */
export function isCloseCode(code: number): boolean {
  if (code >= 3000) return code <= 4999
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)
}
