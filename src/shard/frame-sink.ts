/** Where a connection's decoded payloads go, and why a frame could not become one. */

/**
 * Why a frame was refused; label `cause` of gateway_frames_bad_total.
 *
 * - `corrupt`: the compressed stream does not inflate.
 * - `oversize`: larger than the frame bound, compressed or inflated.
 * - `malformed`: no whole payload: bad ETF or JSON, truncated, or bytes behind its end.
 * - `protocol`: a payload that makes no sense, such as a HELLO without interval.
 * - `websocket`: the websocket framing itself is broken.
 * - `sink`: a well-framed event whose inside the cache or a destination could not read.
 */
export type BadFrameCause = 'corrupt' | 'oversize' | 'malformed' | 'protocol' | 'websocket' | 'sink'

export const BAD_FRAME_CAUSES: readonly BadFrameCause[] = [
  'corrupt',
  'oversize',
  'malformed',
  'protocol',
  'websocket',
  'sink',
]

export interface FrameSink {
  /** One whole payload: bytes[start, end), valid only during the call. */
  onPayload(bytes: Buffer, start: number, end: number): void
  /** Nothing more comes from this stream afterwards. */
  onBadFrame(cause: BadFrameCause, message: string): void
}
