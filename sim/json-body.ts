import type { IncomingMessage } from 'node:http'
import { SimError } from './errors.ts'

const BODY_BYTES_MAX = 64 * 1024

/** @throws SimError SIM_BAD_FAULT when the body is no JSON object, or too large. */
export async function jsonBodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > BODY_BYTES_MAX) throw new SimError('SIM_BAD_FAULT', 'The body is too large.')
    chunks.push(chunk)
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    if (typeof body === 'object' && body !== null) return body as Record<string, unknown>
  } catch {
    // The sentence below says it.
  }
  throw new SimError(
    'SIM_BAD_FAULT',
    'The body is not a JSON object such as {"kind":"tcp-drop","shard":0}.',
  )
}
