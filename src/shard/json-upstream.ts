/**
 * `-upstream json`: a JSON payload becomes the ETF payload that Discord would have sent, so that
 * everything behind the connection knows one encoding. Slower than ETF: each payload is parsed and
 * encoded again. Ids stay the strings that JSON has; ETF allows both.
 */
import { encodeTerm } from '../etf/index.ts'

/**
 * One payload of JSON as one external term with version byte, `d` first as in Discord's ETF.
 *
 * @throws SyntaxError, TypeError, RangeError or EtfError for what is no payload.
 */
export function etfPayload(bytes: Buffer, start: number, end: number): Uint8Array {
  const payload: unknown = JSON.parse(bytes.toString('utf8', start, end))
  if (payload === null || typeof payload !== 'object' || Array.isArray(payload)) {
    throw new TypeError('the payload is not a JSON object')
  }
  const { d, op, s, t } = payload as Record<string, unknown>
  return encodeTerm({ d, op, s, t })
}
